//! Opens connections, and makes sure that the database is ours, readable by this program, and used by one process.

use std::{
    fs::{File, OpenOptions, Permissions, TryLockError},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use magpie_store::StoreError;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::{Options, checkpoint::settle, error::unavailable, wal_file};

/// `magp`: what the file says of itself in its header.
const APPLICATION_ID: i64 = 0x6d61_6770;
/// Version of the layout that [`crate::table`] makes.
const FORMAT: i64 = 1;
/// Prepared statements that one connection keeps.
const STATEMENTS: usize = 256;

/// Takes the lock beside the database; it is held until the file is closed, also by a crash.
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    let name = beside(path, ".lock");
    let fail = |e: std::io::Error| {
        StoreError::Unavailable(format!("{} can't be locked: {e}", name.display()))
    };
    let file = open_own(&name).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
            "{} is in use by another process",
            path.display()
        ))),
        Err(TryLockError::Error(e)) => Err(fail(e)),
    }
}

/// Opens a file, or makes it, and takes it from everybody but its owner, whatever the umask says.
fn open_own(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Makes sure that the database's files are its owner's alone. SQLite gives the log and its index the database's mode when it
/// makes them; those that an earlier version left are corrected here.
fn own(path: &Path) -> Result<(), StoreError> {
    let fail = |e: std::io::Error| {
        StoreError::Unavailable(format!("{} can't be opened: {e}", path.display()))
    };
    drop(open_own(path).map_err(fail)?);
    for suffix in ["-wal", "-shm"] {
        let name = beside(path, suffix);
        if name.exists() {
            drop(open_own(&name).map_err(fail)?);
        }
    }
    Ok(())
}

/// Opens the writer's connection; makes the database if there is none.
pub(crate) fn open_writer(path: &Path, options: &Options) -> Result<Connection, StoreError> {
    own(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = match wal_file::layer() {
        Some(layer) => Connection::open_with_flags_and_vfs(path, flags, layer),
        None => Connection::open_with_flags(path, flags),
    };
    conn.and_then(|conn| {
        configure(&conn, options, options.writer_cache)?;
        let empty = pragma(&conn, "page_count")? == 0;
        if empty {
            conn.pragma_update(None, "page_size", options.page_size)?;
        }
        let mode: String = conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Ok(Err(StoreError::Unavailable(format!("{}: no write-ahead log on this file system", path.display()))));
        }
        // A log that grew under load is cut back when it starts over.
        conn.pragma_update(None, "journal_size_limit", i64::try_from(options.wal_soft_limit.saturating_mul(2)).unwrap_or(i64::MAX))?;
        let (application, format) = (pragma(&conn, "application_id")?, pragma(&conn, "user_version")?);
        if application == 0 && format == 0 && pragma(&conn, "schema_version")? == 0 {
            conn.execute_batch(&format!(
                "BEGIN IMMEDIATE; PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FORMAT}; COMMIT"
            ))?;
        } else if application != APPLICATION_ID {
            return Ok(Err(StoreError::Unavailable(format!("{} is another program's database", path.display()))));
        } else if format != FORMAT {
            let reason = format!("{} has format {format}, this program knows {FORMAT}", path.display());
            return Ok(Err(StoreError::Unavailable(reason)));
        }
        settle(&conn)?;
        Ok(Ok(conn))
    })
    .unwrap_or_else(|e| Err(StoreError::Unavailable(format!("{}: {}", path.display(), unavailable(&e)))))
}

/// Opens a connection of a database that [`open_writer`] has opened: for reads, or for checkpoints.
pub(crate) fn open_more(
    path: &Path,
    options: &Options,
    cache: usize,
) -> Result<Connection, StoreError> {
    let open = || {
        let conn = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        configure(&conn, options, cache)?;
        Ok(conn)
    };
    open().map_err(|e| unavailable(&e))
}

pub(crate) fn configure(
    conn: &Connection,
    options: &Options,
    cache: usize,
) -> rusqlite::Result<()> {
    // A plan is for every value of its parameters; else each page is planned anew, for another value of its LIMIT.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.busy_timeout(options.busy_timeout)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(
        None,
        "cache_size",
        -i64::try_from(cache / 1024).unwrap_or(i64::MAX),
    )?;
    conn.pragma_update(None, "temp_store", "MEMORY")
}

/// The value of a pragma that is a number.
pub(crate) fn pragma(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, name, |row| row.get(0))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
