//! Error codes and the one error type that crosses service boundaries.
//!
//! Clients branch on the number alone, so numbers and names are fixed by the public contract (`contract/errors.csv`).
//! An error carries a detail that is safe to show, and a source that is only for the log. The numbers that webhook
//! receivers choose pass through unchanged, which is why [`Code`] is open to numbers that the table does not know.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// Result with the shared [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Numeric error code of the public contract.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $const:ident = $number:literal, $name:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $const: Self = Self($number);)*

            /// Every code of the contract, ascending.
            pub const ALL: &[Self] = &[$(Self::$const),*];

            /// The short symbolic name that clients get as `errMsg`; empty for numbers outside the contract.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($number => $name,)*
                    _ => "",
                }
            }
        }
    };
}

codes! {
    /// A rate limiter refused the request; REST answers it with HTTP status 429.
    RATE_LIMITED = 429, "TooManyRequests";
    /// A failure that has no code of its own; the cause is in the log, not in the answer.
    INTERNAL = 500, "ServerInternalError";
    /// Default of the code table. Reserved.
    UNKNOWN = 1000, "UnknownCode";
    /// The request breaks a rule on its form or its values.
    ARGS = 1001, "ArgsError";
    /// The caller may not do this.
    NO_PERMISSION = 1002, "NoPermissionError";
    /// A record with this key exists. Reserved.
    DUPLICATE_KEY = 1003, "DuplicateKeyError";
    /// The addressed record does not exist.
    NOT_FOUND = 1004, "RecordNotFoundError";
    /// The shipped default secret is still in use. Reserved.
    SECRET_NOT_CHANGED = 1050, "SecretNotChangedError";
    /// The user is not registered.
    USER_ID_NOT_FOUND = 1101, "UserIDNotFoundError";
    /// The user id is registered already.
    REGISTERED_ALREADY = 1102, "RegisteredAlreadyError";
    /// The group does not exist.
    GROUP_ID_NOT_FOUND = 1201, "GroupIDNotFoundError";
    /// The wanted group id is taken.
    GROUP_ID_EXISTED = 1202, "GroupIDExisted";
    /// The sender is not a member of the group.
    NOT_IN_GROUP = 1203, "NotInGroupYetError";
    /// The group has been dissolved.
    GROUP_DISMISSED = 1204, "DismissedAlreadyError";
    /// The group type is not supported; the name is empty in the contract. Reserved.
    GROUP_TYPE = 1205, "";
    /// The application to join has been answered before.
    GROUP_REQUEST_HANDLED = 1206, "GroupRequestHandled";
    /// A user asked to befriend himself.
    ADD_YOURSELF = 1301, "CanNotAddYourselfError";
    /// The receiver has the sender on his black list.
    BLOCKED_BY_PEER = 1302, "BlockedByPeer";
    /// The server demands friendship and the receiver has not befriended the sender.
    NOT_PEERS_FRIEND = 1303, "NotPeersFriend";
    /// Both users are friends already.
    RELATIONSHIP_ALREADY = 1304, "RelationshipAlreadyError";
    /// The friend application has been answered before.
    FRIEND_REQUEST_HANDLED = 1305, "FriendRequestHandled";
    /// Read receipts are switched off. Reserved.
    HAS_READ_DISABLED = 1401, "MessageHasReadDisable";
    /// The sender is muted in the group.
    MUTED_IN_GROUP = 1402, "MutedInGroup";
    /// The whole group is muted and the sender is an ordinary member.
    MUTED_GROUP = 1403, "MutedGroup";
    /// The message has been revoked before.
    REVOKED_ALREADY = 1404, "MsgAlreadyRevoke";
    /// The token's life is over; clients log out.
    TOKEN_EXPIRED = 1501, "TokenExpiredError";
    /// The token belongs to another user or platform than the connection names.
    TOKEN_INVALID = 1502, "TokenInvalidError";
    /// The token cannot be decoded.
    TOKEN_MALFORMED = 1503, "TokenMalformedError";
    /// The token's time has not come.
    TOKEN_NOT_VALID_YET = 1504, "TokenNotValidYetError";
    /// The token has a wrong signature or an unknown state.
    TOKEN_UNKNOWN = 1505, "TokenUnknownError";
    /// Another login or an administrator ended this login; clients show that.
    TOKEN_KICKED = 1506, "TokenKickedError";
    /// The token is not registered, or no longer.
    TOKEN_NOT_EXIST = 1507, "TokenNotExistError";
    /// The gateway holds as many connections as it may.
    CONN_OVER_MAX = 1601, "ConnOverMaxNumLimit";
    /// A parameter of the WebSocket handshake is missing or invalid.
    CONN_ARGS = 1602, "ConnArgsErr";
    /// The gateway could not push to the connection.
    PUSH_MSG = 1603, "PushMsgErr";
    /// The iOS client is in the background, so the message goes by offline push.
    IOS_BACKGROUND_PUSH = 1604, "IOSBackgroundPushErr";
    /// The upload took too long. Reserved.
    UPLOAD_EXPIRED = 1701, "FileUploadedExpiredError";
    /// A webhook failed; webhook receivers use it. Reserved.
    CALLBACK = 80000, "CallbackError";
    /// The database failed. Reserved: such failures are sent as [`Code::INTERNAL`].
    DATABASE = 90002, "DatabaseError";
    /// A webhook receiver could not be reached or took too long.
    NETWORK = 90004, "NetworkError";
    /// A webhook's answer, a generated id or a form does not fit.
    DATA = 90007, "DataError";
}

impl Code {
    /// Any number, also one that only a webhook receiver knows. Zero means success and is no error, so it becomes
    /// [`Code::INTERNAL`].
    #[must_use]
    pub const fn from_number(number: i32) -> Self {
        if number == 0 {
            Self::INTERNAL
        } else {
            Self(number)
        }
    }

    /// The number clients get as `errCode`.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "" => write!(f, "error {}", self.0),
            name => f.write_str(name),
        }
    }
}

/// A failed operation: what clients may know (code, message, detail) and what only the log gets (source).
#[derive(Clone)]
pub struct Error {
    code: Code,
    message: Option<Box<str>>,
    detail: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with `code`; `detail` is shown to clients and must hold no secrets.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: None,
            detail: detail.into(),
            source: None,
        }
    }

    /// [`Code::ARGS`]: the request breaks a rule.
    pub fn args(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::ARGS, detail)
    }

    /// [`Code::NO_PERMISSION`]: the caller may not do this.
    pub fn no_permission(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NO_PERMISSION, detail)
    }

    /// [`Code::NOT_FOUND`]: the addressed record does not exist.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NOT_FOUND, detail)
    }

    /// [`Code::INTERNAL`] caused by `source`, of which clients learn nothing.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Code::INTERNAL, "internal error").with_source(source)
    }

    /// Attaches the cause, for the log alone.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Replaces the code's name as the message for clients: a parser's text, or what a webhook receiver chose.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Box<str>>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What clients get as `errMsg`: the code's name unless replaced.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_else(|| self.code.name())
    }

    /// The replaced message, if any.
    #[must_use]
    pub fn custom_message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// What clients get as `errDlt`.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The error and all its causes in one line, for the log.
    #[must_use]
    pub fn report(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message)?,
            None => write!(f, "{}", self.code)?,
        }
        if self.detail.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.0, self.report())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|e| e as &(dyn StdError + 'static))
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::new(code, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        let contract: Vec<(i32, &str)> = include_str!("../contract/errors.csv")
            .lines()
            .skip(1)
            .map(|line| {
                let (code, name) = line.split_once(',').unwrap();
                (code.parse().unwrap(), name)
            })
            .collect();
        let ours: Vec<_> = Code::ALL.iter().map(|c| (c.number(), c.name())).collect();
        assert_eq!(ours, contract);
        assert!(ours.is_sorted());
    }

    #[test]
    fn a_webhook_code_passes_through_with_its_own_message() {
        let e = Error::new(Code::from_number(4242), "try later").with_message("Closed");
        assert_eq!(
            (e.code().number(), e.message(), e.detail()),
            (4242, "Closed", "try later")
        );
    }

    #[test]
    fn zero_never_becomes_an_error_code() {
        assert_eq!(Code::from_number(0), Code::INTERNAL);
    }

    #[test]
    fn the_source_is_in_the_report_and_not_in_what_clients_see() {
        let e = Error::internal("disk on fire");
        assert_eq!(
            (e.message(), e.detail()),
            ("ServerInternalError", "internal error")
        );
        assert!(!e.to_string().contains("fire"));
        assert_eq!(
            e.report(),
            "ServerInternalError (internal error): disk on fire"
        );
    }
}
