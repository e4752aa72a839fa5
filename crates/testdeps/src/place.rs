//! A folder and two ports that no other server of any test process on this machine has.
//!
//! `PORT.lock` in a common folder is locked as long as its owner lives, `PORT/` is the server's folder. Ports are below
//! the range that systems use for outgoing connections: nothing takes one while its server is killed for a while.

use std::{
    env,
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Once,
};

/// A server uses its port, the next one, and in a Redis cluster or for TLS the one 10,000 above.
const PORTS: std::ops::Range<u16> = 20_000..22_700;

pub(crate) struct Place {
    port: u16,
    dir: PathBuf,
    _lock: File,
}

impl Place {
    pub(crate) fn reserve() -> Self {
        static SWEPT: Once = Once::new();
        let base = base();
        SWEPT.call_once(|| sweep(&base));
        let place = PORTS.step_by(2).find_map(|port| take(&base, port));
        place.expect("a free port between 20000 and 22700")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Deletes what the server wrote.
    pub(crate) fn empty(&self) {
        remove(&self.dir);
    }
}

fn base() -> PathBuf {
    let user = fs::metadata("/proc/self").map_or(0, |m| m.uid());
    let base = env::temp_dir().join(format!("magpie-testdeps-{user}"));
    fs::create_dir_all(&base).expect("the temporary folder is writable");
    base
}

fn take(base: &Path, port: u16) -> Option<Place> {
    let lock = File::create(base.join(format!("{port}.lock"))).ok()?;
    lock.try_lock().ok()?;
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    if !free(port) || !free(port + 1) {
        return None;
    }
    let dir = base.join(port.to_string());
    if !is_removed(&dir) {
        return None;
    }
    fs::create_dir(&dir).ok()?;
    Some(Place {
        port,
        dir,
        _lock: lock,
    })
}

/// Deletes the folders of test processes that were killed, or that kept a server in a static. What can't be deleted, because a
/// killed server is not quite dead, is for the next one.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let dir = entry.path();
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        // Held until the folder is gone: nobody takes it meanwhile.
        if let Ok(lock) = File::open(dir.with_extension("lock"))
            && lock.try_lock().is_ok()
        {
            is_removed(&dir);
        }
    }
}

fn remove(dir: &Path) {
    assert!(is_removed(dir), "{} can't be deleted", dir.display());
}

fn is_removed(dir: &Path) -> bool {
    fs::remove_dir_all(dir)
        .err()
        .is_none_or(|e| e.kind() == std::io::ErrorKind::NotFound)
}
