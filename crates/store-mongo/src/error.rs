//! From the driver's errors to the store's: what may succeed later, and what never will.

use magpie_store::{Schema, StoreError};
use mongodb::error::{Error, ErrorKind, WriteConcernError, WriteFailure};

/// A unique index holds the values already.
pub(crate) const DUPLICATE: i32 = 11000;
/// What the server answers to a document or an update that it will never take: a bad value, another type, a size beyond the
/// limits, a document that an operator's validation rule refuses.
const NEVER: [i32; 9] = [2, 14, 121, 10334, 17280, 17419, 17420, 10003, DUPLICATE];
/// The server is going away, or is no primary (any more).
const NOT_NOW: [i32; 13] = [
    6, 7, 89, 91, 134, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435,
];

/// The error of a call on `schema`.
pub(crate) fn of_call(schema: &'static Schema, e: &Error) -> StoreError {
    match &*e.kind {
        ErrorKind::Command(error) => of_code(schema, error.code, &error.message),
        ErrorKind::Write(WriteFailure::WriteError(error)) => {
            of_code(schema, error.code, &error.message)
        }
        ErrorKind::InvalidArgument { message, .. } => never(schema, message),
        _ => unavailable(e),
    }
}

/// The error of a single write of a batch.
pub(crate) fn of_code(schema: &'static Schema, code: i32, message: &str) -> StoreError {
    if NEVER.contains(&code) {
        never(schema, message)
    } else {
        StoreError::Unavailable(format!("MongoDB refused with code {code}: {message}"))
    }
}

fn never(schema: &'static Schema, message: &str) -> StoreError {
    StoreError::Schema {
        collection: schema.collection,
        reason: message.to_owned(),
    }
}

/// The error of a call that may succeed later, in words that an operator can act on.
pub(crate) fn unavailable(e: &Error) -> StoreError {
    StoreError::Unavailable(match &*e.kind {
        ErrorKind::ServerSelection { message, .. } => {
            format!("no MongoDB primary is reachable ({message})")
        }
        ErrorKind::Authentication { message, .. } => {
            format!(
                "MongoDB refused the user or the password; check the URI and authSource ({message})"
            )
        }
        ErrorKind::DnsResolve { message, .. } => {
            format!("the name of the MongoDB server can't be resolved ({message})")
        }
        ErrorKind::InvalidTlsConfig { message, .. } => {
            format!("the TLS options of the MongoDB URI are wrong ({message})")
        }
        ErrorKind::Command(error) => format!(
            "MongoDB refused with code {}: {}",
            error.code, error.message
        ),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => return not_replicated(error),
        ErrorKind::InsertMany(error) => match &error.write_concern_error {
            Some(error) => return not_replicated(error),
            None => "MongoDB refused an insert".to_owned(),
        },
        kind => format!("the connection to MongoDB failed ({kind})"),
    })
}

/// The primary has the write, but not a majority in time: it may be lost in a failover.
pub(crate) fn not_replicated(e: &WriteConcernError) -> StoreError {
    StoreError::Unavailable(format!(
        "a majority of the replica set did not confirm a write in time; check the members (code {}: {})",
        e.code, e.message
    ))
}

/// True if the same command may succeed at once on another connection or server.
pub(crate) fn is_passing(e: &Error) -> bool {
    match &*e.kind {
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => true,
        ErrorKind::Command(error) => NOT_NOW.contains(&error.code),
        _ => false,
    }
}

/// The code with which a whole command was refused.
pub(crate) fn code(e: &Error) -> Option<i32> {
    match &*e.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

/// True if a single write met values that a unique index holds already.
pub(crate) fn is_duplicate(e: &Error) -> bool {
    matches!(&*e.kind, ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == DUPLICATE)
}

/// The index named in the message of a duplicate-key error (`... index: NAME dup key: ...`).
///
/// # Errors
/// `Unavailable` if the schema names no such index: a newer version of this program has made it, or an operator.
pub(crate) fn violated(schema: &'static Schema, message: &str) -> Result<&'static str, StoreError> {
    let after = message.split_once(" index: ");
    let name = after
        .and_then(|(_, rest)| rest.split(' ').next())
        .unwrap_or("?");
    if name == "_id_" {
        return Ok(schema.key.name);
    }
    let found = schema.unique.iter().find(|index| index.name == name);
    found.map(|index| index.name).ok_or_else(|| {
        StoreError::Unavailable(format!(
            "the unique index {name} of {}, which this version does not know, refuses a document; upgrade, or drop the index",
            schema.collection
        ))
    })
}

#[cfg(test)]
mod tests {
    use magpie_store::{Document, conformance::Item};

    use super::*;

    #[test]
    fn names_the_violated_index() {
        let of = |message| violated(Item::SCHEMA, message).ok();
        let message = "E11000 duplicate key error collection: db.conformance_items index: by_place dup key: { shelf: \"x index: y\", place: 1 }";
        assert_eq!(of(message), Some("by_place"));
        let key = "E11000 duplicate key error collection: db.conformance_items index: _id_ dup key: { _id: \"a index: by_place \" }";
        assert_eq!(of(key), Some("key"));
        assert_eq!(
            of("E11000 duplicate key error collection: db.x index: newer dup key: { }"),
            None
        );
        assert_eq!(of("something else"), None);
    }
}
