//! How [`Error`] travels in a gRPC status.
//!
//! The number is in the metadata `x-magpie-code`, a message that differs from the code's name in `x-magpie-message-bin`,
//! and the detail is the status message. Sources stay behind: who creates the status logs them first. The gRPC code is
//! only a class, for balancers, retries and foreign tools.

use magpie_types::{Code, Error};
use tonic::metadata::{BinaryMetadataValue, MetadataMap, MetadataValue};
use tonic::{Code as Class, Status};

const NUMBER: &str = "x-magpie-code";
const MESSAGE: &str = "x-magpie-message-bin";

/// Longest detail and message that go into a status, in bytes: header lists are bounded on the way.
const MAX_TEXT: usize = 1024;

/// The status that carries `error` to another process.
#[must_use]
pub fn to_status(error: &Error) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(NUMBER, MetadataValue::from(error.code().number()));
    if let Some(message) = error.custom_message() {
        let message = BinaryMetadataValue::from_bytes(shorten(message).as_bytes());
        metadata.insert_bin(MESSAGE, message);
    }
    Status::with_metadata(class(error.code()), shorten(error.detail()), metadata)
}

/// The error a status carries. Without our number it is [`Code::INTERNAL`] with the status as its source, or the code
/// that fits the class where clients can do something about it.
#[must_use]
pub fn from_status(status: Status) -> Error {
    let number = status
        .metadata()
        .get(NUMBER)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let Some(number) = number else {
        return foreign(status);
    };
    let message = status
        .metadata()
        .get_bin(MESSAGE)
        .and_then(|v| v.to_bytes().ok());
    let error = Error::new(Code::from_number(number), status.message().to_owned());
    match message {
        Some(message) => error.with_message(String::from_utf8_lossy(&message)),
        None => error,
    }
}

fn foreign(status: Status) -> Error {
    match status.code() {
        Class::InvalidArgument => Error::args(status.message().to_owned()),
        // What tonic answers to a body above the limit of a service.
        Class::OutOfRange => Error::args("the request is too large").with_source(status),
        Class::Unimplemented => Error::new(Code::INTERNAL, "not implemented").with_source(status),
        Class::Unavailable => Error::new(Code::INTERNAL, "service unavailable").with_source(status),
        Class::DeadlineExceeded => {
            Error::new(Code::INTERNAL, "deadline exceeded").with_source(status)
        }
        _ => Error::internal(status),
    }
}

/// The gRPC class of a code. Never `Unavailable`, on which callers retry: a code says that the call was served. Numbers
/// outside the contract are a webhook receiver's refusal.
fn class(code: Code) -> Class {
    match code {
        Code::RATE_LIMITED | Code::CONN_OVER_MAX => Class::ResourceExhausted,
        Code::INTERNAL
        | Code::UNKNOWN
        | Code::DATABASE
        | Code::NETWORK
        | Code::DATA
        | Code::CALLBACK
        | Code::PUSH_MSG => Class::Internal,
        Code::ARGS | Code::CONN_ARGS | Code::GROUP_TYPE | Code::ADD_YOURSELF => {
            Class::InvalidArgument
        }
        Code::NOT_FOUND | Code::USER_ID_NOT_FOUND | Code::GROUP_ID_NOT_FOUND => Class::NotFound,
        Code::DUPLICATE_KEY
        | Code::REGISTERED_ALREADY
        | Code::GROUP_ID_EXISTED
        | Code::RELATIONSHIP_ALREADY => Class::AlreadyExists,
        Code::TOKEN_EXPIRED
        | Code::TOKEN_INVALID
        | Code::TOKEN_MALFORMED
        | Code::TOKEN_NOT_VALID_YET
        | Code::TOKEN_UNKNOWN
        | Code::TOKEN_KICKED
        | Code::TOKEN_NOT_EXIST => Class::Unauthenticated,
        Code::NO_PERMISSION
        | Code::NOT_IN_GROUP
        | Code::BLOCKED_BY_PEER
        | Code::NOT_PEERS_FRIEND
        | Code::MUTED_IN_GROUP
        | Code::MUTED_GROUP => Class::PermissionDenied,
        _ => Class::FailedPrecondition,
    }
}

/// The longest prefix of whole characters within [`MAX_TEXT`].
fn shorten(text: &str) -> &str {
    let end = text.floor_char_boundary(MAX_TEXT);
    text.split_at(end).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travel(error: &Error) -> Error {
        from_status(to_status(error))
    }

    #[test]
    fn every_code_of_the_contract_survives_the_way() {
        for &code in Code::ALL {
            let error = travel(&Error::new(code, "why: \u{4e2d}\u{6587} %\n"));
            assert_eq!(
                (error.code(), error.message(), error.detail()),
                (code, code.name(), "why: \u{4e2d}\u{6587} %\n")
            );
        }
    }

    #[test]
    fn a_webhook_refusal_keeps_its_number_and_message() {
        let error = travel(
            &Error::new(Code::from_number(-7), "d").with_message("nicht jetzt, \u{fc}brigens"),
        );
        assert_eq!(
            (error.code().number(), error.message(), error.detail()),
            (-7, "nicht jetzt, \u{fc}brigens", "d")
        );
    }

    #[test]
    fn the_source_stays_in_the_process() {
        let status = to_status(&Error::internal("password is hunter2"));
        assert_eq!(
            (status.code(), status.message()),
            (Class::Internal, "internal error")
        );
        assert!(!format!("{status:?}").contains("hunter2"));
    }

    #[test]
    fn a_foreign_status_is_internal_and_its_text_is_not_shown() {
        let error = from_status(Status::unknown("stack trace"));
        assert_eq!(
            (error.code(), error.detail()),
            (Code::INTERNAL, "internal error")
        );
        assert!(error.report().contains("stack trace"));
    }

    #[test]
    fn a_number_that_is_no_number_is_ignored() {
        let mut status = Status::unavailable("x");
        status
            .metadata_mut()
            .insert(NUMBER, MetadataValue::from_static("abc"));
        assert_eq!(from_status(status).detail(), "service unavailable");
    }

    #[test]
    fn long_details_are_cut_at_a_character() {
        let error = travel(&Error::args("\u{e9}".repeat(1000)));
        assert_eq!(error.detail().len(), MAX_TEXT);
    }
}
