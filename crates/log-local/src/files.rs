//! The file layer: the few operations the log needs, as a trait.
//!
//! Durability is explicit: bytes are durable after [`File::fdatasync`], names after [`Files::sync_dir`]. [`OsFiles`] is the
//! real one; [`LossyFiles`](crate::lossy::LossyFiles) forgets everything that was not synced.

use std::{
    fs, io,
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// One open file.
pub trait File: Send + Sync + 'static {
    /// Writes all of `bytes` at `at`.
    fn pwrite(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Reads up to `into.len()` bytes at `at`; fewer only at the end of the file.
    fn pread(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Makes what was written durable, with the file's size.
    fn fdatasync(&self) -> io::Result<()>;
    /// Fills the range with zeros, so that writing there later changes no metadata and a sync costs one flush.
    fn preallocate(&self, from: u64, len: usize) -> io::Result<()> {
        self.pwrite(&vec![0; len], from)
    }
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;
}

/// One flat directory of files.
pub trait Files: Send + Sync + 'static {
    /// Creates a file, or empties it, for reading and writing.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes creations and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Takes the directory for this process until the guard is dropped.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;
}

/// Messages are their owner's alone, whatever the umask and the directory say.
const MODE: u32 = 0o600;

/// Opens a file as `options` say and takes it from everybody else.
fn open_own(options: &fs::OpenOptions, path: &Path) -> io::Result<fs::File> {
    let file = options.clone().mode(MODE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

/// A directory of the operating system.
#[derive(Debug)]
pub struct OsFiles {
    dir: PathBuf,
}

impl OsFiles {
    /// Uses `dir`, which is created when it is missing.
    pub fn new(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        if let Some(parent) = dir.parent()
            && !parent.as_os_str().is_empty()
        {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(Self {
            dir: dir.to_owned(),
        })
    }
}

impl Files for OsFiles {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::File::options();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(open_own(&options, &self.dir.join(name))?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = fs::File::options();
        options.read(true).write(true);
        Ok(Arc::new(open_own(&options, &self.dir.join(name))?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn sync_dir(&self) -> io::Result<()> {
        fs::File::open(&self.dir)?.sync_all()
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let path = self.dir.join("lock");
        let mut options = fs::File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = open_own(&options, &path)?;
        if let Err(refused) = file.try_lock() {
            return Err(match refused {
                fs::TryLockError::Error(e) => e,
                fs::TryLockError::WouldBlock => {
                    let mut holder = String::new();
                    file.read_to_string(&mut holder)?;
                    let dir = self.dir.display();
                    let text = format!(
                        "{dir} is in use by process {} (lock file {})",
                        holder.trim(),
                        path.display()
                    );
                    io::Error::new(io::ErrorKind::ResourceBusy, text)
                }
            });
        }
        // Who holds it is information only: a full disk must not keep the log from opening.
        let noted = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = noted {
            tracing::warn!(%error, "can't write the process id into the lock file");
        }
        Ok(Box::new(file))
    }
}

impl File for fs::File {
    fn pwrite(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn pread(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..)
            && !rest.is_empty()
        {
            match self.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }

    fn fdatasync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
