//! A SQLite file layer that writes the write-ahead log in large pieces.
//!
//! SQLite writes a commit as two small system calls per page (a frame header, then the page), which cost more than
//! everything else in a commit of a few dozen pages. This layer gathers contiguous writes to the log in memory and hands them
//! on as one when the log is synced, which with `synchronous=FULL` is before SQLite lets anybody see the commit. Reads,
//! and everything else that looks at the file, hand them on first. Only the writer's connection uses it; all other
//! files, and all locks, are the real layer's own.
//!
//! A write that can't be handed on fails the transaction: the error comes from the sync, or from the operation that
//! caused it and then again from the next sync.
#![expect(
    unsafe_code,
    reason = "SQLite's file layer is a table of C functions; rusqlite has no safe form of it"
)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    sync::OnceLock,
};

use rusqlite::ffi::{
    SQLITE_IOERR, SQLITE_OK, SQLITE_OPEN_WAL, sqlite3_file, sqlite3_int64, sqlite3_io_methods,
    sqlite3_vfs, sqlite3_vfs_find, sqlite3_vfs_register,
};

/// Bytes gathered at most.
const LIMIT: usize = 1 << 20;
/// Bytes handed on at once; SQLite's Unix layer takes less than 128 KiB.
const PIECE: usize = 120 << 10;

/// The layer's name, for opening a connection; registers it the first time. `None` if SQLite refuses.
pub(crate) fn layer() -> Option<&'static CStr> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let name = c"magpie-wal";
    let registered = *REGISTERED.get_or_init(|| {
        // SAFETY: null asks for the default layer, which is never freed; our copy of it is leaked, so it is not either.
        unsafe {
            let real = sqlite3_vfs_find(ptr::null());
            let Some(known) = real
                .as_ref()
                .filter(|vfs| vfs.iVersion >= 1 && vfs.xOpen.is_some())
            else {
                return false;
            };
            let Ok(size) = c_int::try_from(size_of::<WalFile>()) else {
                return false;
            };
            let layer = sqlite3_vfs {
                szOsFile: known.szOsFile + size,
                pNext: ptr::null_mut(),
                zName: name.as_ptr(),
                xOpen: Some(open),
                ..*known
            };
            REAL.get_or_init(|| RealLayer(real));
            sqlite3_vfs_register(Box::leak(Box::new(layer)), 0) == SQLITE_OK
        }
    });
    registered.then_some(name)
}

struct RealLayer(*mut sqlite3_vfs);
// SAFETY: SQLite itself uses a registered layer from all threads; we only call its functions.
unsafe impl Send for RealLayer {}
// SAFETY: as above.
unsafe impl Sync for RealLayer {}

static REAL: OnceLock<RealLayer> = OnceLock::new();

/// What SQLite allocates for an open log: this, and behind it the real layer's structure. A file belongs to one
/// connection, and a connection is used by one thread at a time.
#[repr(C)]
struct WalFile {
    base: sqlite3_file,
    gathered: *mut Gathered,
}

/// Bytes that belong at `start`, not yet written.
#[derive(Default)]
struct Gathered {
    start: i64,
    bytes: Vec<u8>,
    /// An earlier piece could not be written; the next sync must fail.
    lost: bool,
}

impl Gathered {
    fn end(&self) -> i64 {
        self.start
            .saturating_add(i64::try_from(self.bytes.len()).unwrap_or(i64::MAX))
    }
}

/// The real layer's structure of an open log.
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: `szOsFile` made SQLite allocate both structures, one behind the other; ours is two pointers
    // long, which keeps the alignment.
    unsafe { file.cast::<u8>().add(size_of::<WalFile>()).cast() }
}

unsafe fn gathered<'a>(file: *mut sqlite3_file) -> &'a mut Gathered {
    // SAFETY: `open` stores a leaked box before SQLite can call any method, `close` frees it after the last.
    unsafe { &mut *(*file.cast::<WalFile>()).gathered }
}

/// Calls the same function of the real file.
macro_rules! pass {
    ($file:ident . $function:ident ($($argument:expr),*) or $missing:expr) => {{
        // SAFETY: SQLite calls with a file that `open` has opened; the arguments are its own.
        unsafe {
            let real = real($file);
            match (*(*real).pMethods).$function {
                Some(function) => function(real $(, $argument)*),
                None => $missing,
            }
        }
    }};
}

/// Hands on what was gathered.
unsafe fn flush(file: *mut sqlite3_file) -> c_int {
    // SAFETY: the file is open.
    let gathered = unsafe { gathered(file) };
    if gathered.bytes.is_empty() {
        return SQLITE_OK;
    }
    let (mut at, mut result) = (gathered.start, SQLITE_OK);
    for piece in gathered.bytes.chunks(PIECE) {
        let count = piece.len() as c_int;
        result = pass!(file.xWrite(piece.as_ptr().cast(), count, at) or SQLITE_IOERR);
        if result != SQLITE_OK {
            break;
        }
        at += i64::from(count);
    }
    gathered.lost |= result != SQLITE_OK;
    gathered.bytes.clear();
    result
}

/// Flushes, then calls the real function; an error of the flush is the answer.
macro_rules! flush_and_pass {
    ($file:ident . $function:ident ($($argument:expr),*)) => {{
        // SAFETY: SQLite calls with an open file.
        match unsafe { flush($file) } {
            SQLITE_OK => pass!($file.$function($($argument),*) or SQLITE_IOERR),
            error => error,
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
    // SAFETY: the arguments are SQLite's own; `file` has room for the real structure alone and for both.
    unsafe {
        let Some(RealLayer(vfs)) = REAL.get() else {
            return SQLITE_IOERR;
        };
        let Some(open) = (**vfs).xOpen else {
            return SQLITE_IOERR;
        };
        if flags & SQLITE_OPEN_WAL == 0 {
            return open(*vfs, name, file, flags, out);
        }
        let wal = file.cast::<WalFile>();
        (*wal).base.pMethods = ptr::null();
        let result = open(*vfs, name, real(file), flags, out);
        // A failed open may leave a file that SQLite must close: it has methods then.
        if !(*real(file)).pMethods.is_null() {
            (*wal).gathered = Box::into_raw(Box::default());
            (*wal).base.pMethods = &METHODS;
        }
        result
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes each file once; the box was leaked by `open`.
    let flushed = unsafe {
        let flushed = flush(file);
        drop(Box::from_raw((*file.cast::<WalFile>()).gathered));
        flushed
    };
    match pass!(file.xClose() or SQLITE_IOERR) {
        SQLITE_OK => flushed,
        error => error,
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    count: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open, `from` points to `count` bytes.
    unsafe {
        let gathered = gathered(file);
        let bytes =
            std::slice::from_raw_parts(from.cast::<u8>(), usize::try_from(count).unwrap_or(0));
        if gathered.end() != at || gathered.bytes.len() + bytes.len() > LIMIT {
            let flushed = flush(file);
            if flushed != SQLITE_OK {
                return flushed;
            }
            gathered.start = at;
        }
        gathered.bytes.extend_from_slice(bytes);
    }
    SQLITE_OK
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let result = flush_and_pass!(file.xSync(flags));
    // SAFETY: the file is open.
    let lost = unsafe { std::mem::take(&mut gathered(file).lost) };
    if lost && result == SQLITE_OK {
        SQLITE_IOERR
    } else {
        result
    }
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    to: *mut c_void,
    count: c_int,
    at: sqlite3_int64,
) -> c_int {
    flush_and_pass!(file.xRead(to, count, at))
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    flush_and_pass!(file.xTruncate(size))
}

unsafe extern "C" fn size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    flush_and_pass!(file.xFileSize(size))
}

unsafe extern "C" fn control(
    file: *mut sqlite3_file,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    flush_and_pass!(file.xFileControl(operation, argument))
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass!(file.xLock(level) or SQLITE_IOERR)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass!(file.xUnlock(level) or SQLITE_IOERR)
}

unsafe extern "C" fn is_reserved(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    pass!(file.xCheckReservedLock(out) or SQLITE_IOERR)
}

unsafe extern "C" fn sector(file: *mut sqlite3_file) -> c_int {
    pass!(file.xSectorSize() or 0)
}

unsafe extern "C" fn characteristics(file: *mut sqlite3_file) -> c_int {
    pass!(file.xDeviceCharacteristics() or 0)
}

/// Version 1: a log has neither shared memory nor a memory map of its own.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
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
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};
