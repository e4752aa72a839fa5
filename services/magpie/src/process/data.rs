//! The data directory of `magpie up`: who uses it, and the secret in it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use magpie_service::config::Secret;
use rand::RngCore as _;

use crate::{config::Config, output::Failure};

/// Longest secret file that is read, bytes.
const MAX_SECRET: u64 = 4096;

/// A secret of fewer characters can be guessed.
const SHORT_SECRET: usize = 16;

/// Where the secret of this configuration is, if it is a file.
pub(crate) fn secret_file(config: &Config) -> Option<PathBuf> {
    if !config.shared.secret.is_empty() {
        None
    } else if config.data.secret_file.as_os_str().is_empty() {
        Some(config.data.dir.join("secret"))
    } else {
        Some(config.data.secret_file.clone())
    }
}

/// The secret that is set or in its file.
pub(crate) fn secret(config: &Config) -> Result<Secret, Failure> {
    match secret_file(config) {
        None => Ok(config.shared.secret.clone()),
        Some(path) => read(&path),
    }
}

/// The secret in this file.
pub(crate) fn read(path: &Path) -> Result<Secret, Failure> {
    let wrong = |why: String| Failure::Usage(format!("the secret file {} {why}", path.display()));
    let size = fs::metadata(path)
        .map_err(|e| wrong(format!("can't be read: {e}")))?
        .len();
    if size > MAX_SECRET {
        return Err(wrong(format!("is longer than {MAX_SECRET} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|e| wrong(format!("can't be read: {e}")))?;
    match text.trim() {
        "" => Err(wrong("is empty".to_owned())),
        secret => Ok(secret.to_owned().into()),
    }
}

/// Whether the configuration names a secret file; a wrong name is found before anything is made.
pub(crate) fn named_secret(config: &Config) -> Result<bool, Failure> {
    let named = !config.data.secret_file.as_os_str().is_empty();
    if named {
        read(&config.data.secret_file)?;
    }
    Ok(named)
}

/// Warns of a secret that can be guessed, and of a file that others can read.
pub(crate) fn warn_of_weak(config: &Config, secret: &Secret) {
    let length = secret.expose().chars().count();
    if length < SHORT_SECRET {
        tracing::warn!(
            length,
            "shared.secret is shorter than {SHORT_SECRET} characters: whoever guesses it is administrator; \
             take a random one, as from `openssl rand -hex 32`"
        );
    }
    let Some(file) = secret_file(config) else {
        return;
    };
    if fs::metadata(&file).is_ok_and(|data| data.permissions().mode() & 0o077 != 0) {
        tracing::warn!(
            "the secret file {0} can be read by others on this machine: chmod 600 {0}",
            file.display()
        );
    }
}

/// A data directory that this process alone uses, until dropped.
pub(crate) struct DataDir {
    /// Where it is.
    pub(crate) path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing, takes it, and makes its secret if one is needed.
    pub(crate) fn open(config: &Config) -> Result<(Self, Secret), Failure> {
        let named = named_secret(config)?;
        let path = config.data.dir.clone();
        let failed = || format!("the data directory {} can't be used", path.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .with_context(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(anyhow!(
                    "the data directory {} is used by another process",
                    path.display()
                )
                .into());
            }
            Err(fs::TryLockError::Error(e)) => {
                return Err(anyhow::Error::new(e).context(failed()).into());
            }
        }
        if let Some(file) = secret_file(config).filter(|file| !named && !file.exists()) {
            create_secret(&path, &file).with_context(failed)?;
        }
        let secret = secret(config)?;
        Ok((Self { path, _lock: lock }, secret))
    }
}

/// A random secret of 256 bits, readable by its owner alone; after a crash it is there or not, never in part.
fn create_secret(dir: &Path, file: &Path) -> io::Result<()> {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    let unfinished = dir.join("secret.new");
    let mut out = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)?;
    writeln!(out, "{}", hex::encode(bytes))?;
    out.sync_all()?;
    fs::rename(&unfinished, file)?;
    File::open(dir)?.sync_all()
}
