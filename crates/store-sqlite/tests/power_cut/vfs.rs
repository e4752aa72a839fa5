//! A SQLite file layer that knows what was synced: it passes every call on to the real one, and remembers for each file
//! the bytes that are safe and the changes since. [`cut_power`] writes what a disk could hold if the power failed now.
//!
//! It can also refuse: a full disk, a failing sync.
#![expect(unsafe_code, reason = "SQLite's file layer is a table of C functions")]

use std::{
    collections::HashMap,
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    ptr,
    sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError},
};

use rusqlite::ffi::{
    SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_io_methods,
    sqlite3_vfs, sqlite3_vfs_find, sqlite3_vfs_register,
};

/// What the disk of one folder refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No file grows or changes.
    Full,
    /// Writes work, syncs don't.
    NoSync,
}

#[derive(Default)]
struct Disk {
    files: HashMap<PathBuf, Content>,
    faults: HashMap<PathBuf, Fault>,
}

#[derive(Default)]
struct Content {
    synced: Vec<u8>,
    since: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Cut(length) => file.truncate(*length),
            Self::Write(start, bytes) => {
                let end = start + bytes.len();
                file.resize(file.len().max(end), 0);
                if let Some(place) = file.get_mut(*start..end) {
                    place.copy_from_slice(bytes);
                }
            }
        }
    }
}

static DISK: LazyLock<Mutex<Disk>> = LazyLock::new(Mutex::default);

fn disk() -> MutexGuard<'static, Disk> {
    DISK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    fn fault(&self, path: &Path) -> Option<Fault> {
        path.parent()
            .and_then(|folder| self.faults.get(folder))
            .copied()
    }
}

/// Sets or clears the fault of a folder's disk.
pub(crate) fn set_fault(folder: &Path, fault: Option<Fault>) {
    let mut disk = disk();
    let folder = folder.canonicalize().unwrap();
    match fault {
        Some(fault) => disk.faults.insert(folder, fault),
        None => disk.faults.remove(&folder),
    };
}

/// Writes into `to` what the database files of `folder` could hold after a power cut at this moment: everything synced, and
/// of each change since then as `keep` says (a disk may write them in any order).
pub(crate) fn cut_power(folder: &Path, to: &Path, mut keep: impl FnMut() -> bool) {
    let disk = disk();
    let folder = folder.canonicalize().unwrap();
    let mut kept = 0;
    for (path, content) in disk
        .files
        .iter()
        .filter(|(path, _)| path.parent() == Some(&*folder))
    {
        let mut bytes = content.synced.clone();
        content
            .since
            .iter()
            .filter(|_| keep())
            .for_each(|change| change.apply(&mut bytes));
        std::fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
        kept += 1;
    }
    assert_eq!(kept, 2, "the database and its log");
}

/// The process is killed now and the machine goes on: into `to` come the database files of `folder` as they look, with the knowledge
/// which of their bytes are safe.
pub(crate) fn kill(folder: &Path, to: &Path) {
    let mut disk = disk();
    let (folder, to) = (folder.canonicalize().unwrap(), to.canonicalize().unwrap());
    let of_folder = disk.files.iter();
    let of_folder = of_folder.filter(|(path, _)| path.parent() == Some(&*folder));
    let moved: Vec<_> = of_folder
        .map(|(path, content)| {
            let new = to.join(path.file_name().unwrap());
            std::fs::copy(path, &new).unwrap();
            let seen = std::fs::read(&new).unwrap();
            let since = vec![Change::Cut(0), Change::Write(0, seen)];
            let synced = content.synced.clone();
            (new, Content { synced, since })
        })
        .collect();
    assert_eq!(moved.len(), 2, "the database and its log");
    disk.files.extend(moved);
}

/// A `sqlite3_vfs` may be shared between threads; SQLite itself does so.
struct Registered(*mut sqlite3_vfs);
// SAFETY: the pointer is to a structure that is never changed nor freed after registration.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

static REAL: OnceLock<Registered> = OnceLock::new();

/// Makes this layer the process's default; every database opened afterwards is watched.
pub(crate) fn install() {
    REAL.get_or_init(|| {
        // SAFETY: SQLite is initialised by the call; null asks for the default layer, which lives as long as the process.
        unsafe {
            let real = sqlite3_vfs_find(ptr::null());
            let layer = sqlite3_vfs {
                szOsFile: (*real).szOsFile + size_of::<File>() as c_int,
                pNext: ptr::null_mut(),
                zName: c"power-cut".as_ptr(),
                xOpen: Some(open),
                xDelete: Some(delete),
                ..*real
            };
            assert_eq!(
                sqlite3_vfs_register(Box::leak(Box::new(layer)), 1),
                SQLITE_OK
            );
            Registered(real)
        }
    });
}

fn real_vfs() -> *mut sqlite3_vfs {
    REAL.get().expect("registered before any file is opened").0
}

/// What SQLite allocates for an open file: this, and behind it the real layer's structure.
#[repr(C)]
struct File {
    base: sqlite3_file,
    /// Owned; null for files without a name and for shared memory, which no power cut keeps.
    path: *mut PathBuf,
}

/// The real layer's structure of an open file.
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: `szOsFile` made SQLite allocate both structures, one behind the other.
    unsafe { file.cast::<u8>().add(size_of::<File>()).cast() }
}

unsafe fn path<'a>(file: *mut sqlite3_file) -> Option<&'a Path> {
    // SAFETY: `open` has set the field to null or to a leaked box that `close` frees.
    unsafe { (*file.cast::<File>()).path.as_ref().map(PathBuf::as_path) }
}

/// Calls the same function of the real file.
macro_rules! pass {
    ($file:ident . $function:ident ($($argument:expr),*)) => {{
        // SAFETY: SQLite calls with a file that `open` has opened, and the real layer offers every function of version 2.
        unsafe {
            let real = real($file);
            (*(*real).pMethods).$function.expect("the real layer has it")(real $(, $argument)*)
        }
    }};
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: the arguments are SQLite's own and are passed on; `file` has room for both structures.
    unsafe {
        let shim = file.cast::<File>();
        (*shim).base.pMethods = ptr::null();
        (*shim).path = ptr::null_mut();
        let result = (*real_vfs()).xOpen.expect("the real layer opens files")(
            real_vfs(),
            name,
            real(file),
            flags,
            out,
        );
        if !(*real(file)).pMethods.is_null() {
            (*shim).base.pMethods = &METHODS;
        }
        if result == SQLITE_OK && !name.is_null() {
            let path = PathBuf::from(OsStr::from_bytes(CStr::from_ptr(name).to_bytes()));
            disk().files.entry(path.clone()).or_insert_with(|| Content {
                synced: std::fs::read(&path).unwrap_or_default(),
                since: Vec::new(),
            });
            (*shim).path = Box::into_raw(Box::new(path));
        }
        result
    }
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: the arguments are SQLite's own and are passed on.
    unsafe {
        disk().files.remove(Path::new(OsStr::from_bytes(
            CStr::from_ptr(name).to_bytes(),
        )));
        (*real_vfs()).xDelete.expect("the real layer deletes files")(real_vfs(), name, sync)
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes each file once; the path was leaked by `open`.
    unsafe {
        let shim = file.cast::<File>();
        if !(*shim).path.is_null() {
            drop(Box::from_raw((*shim).path));
        }
    }
    pass!(file.xClose())
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    to: *mut c_void,
    count: c_int,
    at: sqlite3_int64,
) -> c_int {
    pass!(file.xRead(to, count, at))
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    count: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: `from` points to `count` bytes.
    let (path, bytes) = unsafe {
        (
            path(file),
            std::slice::from_raw_parts(from.cast::<u8>(), count as usize),
        )
    };
    let mut disk = disk();
    if let Some(path) = path {
        if disk.fault(path) == Some(Fault::Full) {
            return SQLITE_FULL;
        }
        let content = disk.files.entry(path.to_owned()).or_default();
        content
            .since
            .push(Change::Write(at as usize, bytes.to_vec()));
    }
    pass!(file.xWrite(from, count, at))
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    let mut disk = disk();
    // SAFETY: the file is open.
    if let Some(path) = unsafe { path(file) } {
        disk.files
            .entry(path.to_owned())
            .or_default()
            .since
            .push(Change::Cut(size as usize));
    }
    pass!(file.xTruncate(size))
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let mut disk = disk();
    // SAFETY: the file is open.
    if let Some(path) = unsafe { path(file) } {
        if disk.fault(path).is_some() {
            return SQLITE_IOERR_FSYNC;
        }
        let content = disk.files.entry(path.to_owned()).or_default();
        for change in std::mem::take(&mut content.since) {
            change.apply(&mut content.synced);
        }
    }
    pass!(file.xSync(flags))
}

unsafe extern "C" fn size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    pass!(file.xFileSize(size))
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass!(file.xLock(level))
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass!(file.xUnlock(level))
}

unsafe extern "C" fn is_reserved(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    pass!(file.xCheckReservedLock(out))
}

unsafe extern "C" fn control(
    file: *mut sqlite3_file,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    pass!(file.xFileControl(operation, argument))
}

unsafe extern "C" fn sector(file: *mut sqlite3_file) -> c_int {
    pass!(file.xSectorSize())
}

unsafe extern "C" fn characteristics(file: *mut sqlite3_file) -> c_int {
    pass!(file.xDeviceCharacteristics())
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    pass!(file.xShmMap(region, size, extend, out))
}

unsafe extern "C" fn shm_lock(
    file: *mut sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    pass!(file.xShmLock(offset, count, flags))
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    pass!(file.xShmBarrier());
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    pass!(file.xShmUnmap(delete))
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
