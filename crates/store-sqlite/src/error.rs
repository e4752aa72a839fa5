//! From SQLite's errors to the store's: what ends one request, and what ends the whole transaction.

use magpie_store::{Schema, StoreError};
use rusqlite::{ErrorCode, ffi::SQLITE_IOERR_SHMSIZE};

/// Why a request could not be carried out.
pub(crate) enum Failure {
    /// This request is wrong; the transaction goes on without it.
    Request(StoreError),
    /// The transaction can't go on.
    Engine(rusqlite::Error),
}

impl From<StoreError> for Failure {
    fn from(e: StoreError) -> Self {
        Self::Request(e)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(e: rusqlite::Error) -> Self {
        Self::Engine(e)
    }
}

impl Failure {
    /// As the caller sees it.
    pub(crate) fn into_store_error(self) -> StoreError {
        match self {
            Self::Request(e) => e,
            Self::Engine(e) => unavailable(&e),
        }
    }
}

/// Takes apart what a statement on `schema` answered: SQLite undoes a statement that breaks a constraint and keeps the
/// transaction, so only the request fails.
pub(crate) fn of_statement(schema: &'static Schema, e: rusqlite::Error) -> Failure {
    match e.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            Failure::Request(StoreError::Schema {
                collection: schema.collection,
                reason: e.to_string(),
            })
        }
        _ => Failure::Engine(e),
    }
}

/// True if the cause is outside the database and every other request would meet it too.
pub(crate) fn is_environmental(e: &rusqlite::Error) -> bool {
    matches!(
        e.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::OutOfMemory
        )
    )
}

/// The store's error for a failure of the engine, in words that an operator can act on.
pub(crate) fn unavailable(e: &rusqlite::Error) -> StoreError {
    let extended = e.sqlite_error().map(|error| error.extended_code);
    let what = match e.sqlite_error_code() {
        // SQLite calls it an I/O error when the file that is mapped as shared memory has no room to grow.
        _ if extended == Some(SQLITE_IOERR_SHMSIZE) => "the disk is full",
        Some(ErrorCode::DiskFull) => "the disk is full",
        Some(ErrorCode::ReadOnly) => "the database is read-only",
        Some(ErrorCode::SystemIoFailure) => "the disk answered with an i/o error",
        Some(ErrorCode::CannotOpen) => "the database can't be opened",
        Some(ErrorCode::DatabaseCorrupt) => "the database is damaged",
        Some(ErrorCode::NotADatabase) => "the file is not a database",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "the database is locked",
        Some(ErrorCode::PermissionDenied) => "the database may not be accessed",
        _ => "the database failed",
    };
    StoreError::Unavailable(format!("{what} ({e})"))
}
