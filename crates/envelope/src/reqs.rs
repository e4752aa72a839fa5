//! Request identifiers: what the body of an envelope is.
//!
//! Clients stop working when they receive a number that is not listed here, so nothing else may be sent to them.

/// Newest seqs of all conversations.
pub const GET_MAX_SEQ: i32 = 1001;
/// Pulls messages by ranges of seqs.
pub const PULL_MSG_BY_RANGE: i32 = 1002;
/// Sends a message.
pub const SEND_MSG: i32 = 1003;
/// Sends a signalling message; answered with an error.
pub const SEND_SIGNAL: i32 = 1004;
/// Pulls messages by lists of seqs.
pub const PULL_MSG_BY_SEQS: i32 = 1005;
/// Read seq and newest seq of conversations.
pub const GET_READ_AND_MAX_SEQ: i32 = 1006;
/// Newest message of conversations.
pub const GET_LAST_MSG: i32 = 1007;
/// Push: messages and notifications.
pub const PUSH_MSG: i32 = 2001;
/// Push: the connection is ended because of another login or a forced logout.
pub const KICK: i32 = 2002;
/// Logs out.
pub const LOGOUT: i32 = 2003;
/// The application moved to the background or back.
pub const SET_BACKGROUND: i32 = 2004;
/// Presence subscription; also the number of its pushes.
pub const SUBSCRIBE_PRESENCE: i32 = 2005;

/// Whether a client may send this number. Any other number ends the connection.
#[must_use]
pub fn is_request(req_identifier: i32) -> bool {
    matches!(req_identifier, GET_MAX_SEQ..=GET_LAST_MSG | LOGOUT..=SUBSCRIBE_PRESENCE)
}
