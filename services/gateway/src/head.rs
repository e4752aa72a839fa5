//! The HTTP request that begins a connection, and the answers to it.

use magpie_envelope::handshake::HandshakeError;

/// More headers are refused.
const MAX_HEADERS: usize = 64;

/// The answer to a request that is no WebSocket upgrade.
pub(crate) const BAD_REQUEST: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Sec-WebSocket-Version: 13\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 12\r\nConnection: close\r\n\r\n\
    Bad Request\n";
/// The answer to an origin that may not connect.
pub(crate) const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 10\r\nConnection: close\r\n\r\nForbidden\n";

/// What the gateway reads from a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Without the `?`.
    pub(crate) query: String,
    pub(crate) origin: Option<String>,
    /// Whether frames are compressed, for callers who can't say it in the query.
    pub(crate) compression: Option<String>,
    /// `Sec-WebSocket-Key`, if this is an upgrade request that RFC 6455 allows.
    pub(crate) key: Option<String>,
}

/// The bytes are no HTTP request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadHead;

impl Head {
    /// Reads a request; `None` as long as it is incomplete. The number is its length: what follows are frames.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, BadHead> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(BadHead),
        };
        let target = request.path.unwrap_or_default();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let query = query.split_once('#').map_or(query, |(query, _)| query);
        let mut head = Self {
            query: query.to_owned(),
            ..Self::default()
        };
        let mut wanted = Upgrade::default();
        for header in request.headers.iter() {
            let Ok(value) = std::str::from_utf8(header.value) else {
                continue;
            };
            let value = value.trim();
            match header.name.to_ascii_lowercase().as_str() {
                "origin" => head.origin = Some(value.to_owned()),
                "compression" => head.compression = Some(value.to_owned()),
                "connection" => wanted.connection |= has_token(value, "upgrade"),
                "upgrade" => wanted.websocket |= has_token(value, "websocket"),
                "sec-websocket-version" => wanted.version = value == "13",
                // 16 bytes in base64.
                "sec-websocket-key" if value.len() == 24 => head.key = Some(value.to_owned()),
                _ => {}
            }
        }
        if request.method != Some("GET") || !wanted.complete() {
            head.key = None;
        }
        Ok(Some((head, length)))
    }

    /// Whether its origin may connect. Programs that are no browsers send none.
    pub(crate) fn is_allowed(&self, origins: &[String]) -> bool {
        let Some(origin) = &self.origin else {
            return true;
        };
        origins
            .iter()
            .any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

#[derive(Default)]
struct Upgrade {
    connection: bool,
    websocket: bool,
    version: bool,
}

impl Upgrade {
    fn complete(&self) -> bool {
        self.connection && self.websocket && self.version
    }
}

fn has_token(value: &str, token: &str) -> bool {
    value
        .split(',')
        .any(|t| t.trim().eq_ignore_ascii_case(token))
}

/// The refusal in HTTP form: clients look at the body and not at the status, which is 200 (gateway.md 2.2).
pub(crate) fn refusal(error: &HandshakeError) -> String {
    let body = error.to_json();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The acceptance of an upgrade.
pub(crate) fn switching(key: &str) -> String {
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "GET /any?sendID=u1&x=%20#f HTTP/1.1\r\nHost: h\r\nconnection: keep-alive, Upgrade\r\n\
        UPGRADE: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: http://a\r\n\r\nrest";

    #[test]
    fn an_upgrade_request_is_read_with_what_follows_it() {
        let (head, length) = Head::parse(UPGRADE.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (head.query.as_str(), head.key.is_some()),
            ("sendID=u1&x=%20", true)
        );
        assert_eq!(UPGRADE.len() - length, "rest".len());
    }

    #[test]
    fn an_incomplete_request_is_waited_for_and_a_wrong_one_refused() {
        for n in 0..UPGRADE.len() - 5 {
            assert_eq!(Head::parse(&UPGRADE.as_bytes()[..n]), Ok(None), "{n}");
        }
        assert_eq!(Head::parse(b"\x16\x03\x01\x02"), Err(BadHead));
    }

    #[test]
    fn what_is_no_upgrade_has_no_key() {
        for (from, to) in [
            ("GET", "POST"),
            ("Upgrade\r\n", "close\r\n"),
            ("13", "8"),
            ("WebSocket\r\n", "h2c\r\n"),
            ("==", "="),
        ] {
            let changed = UPGRADE.replacen(from, to, 1);
            assert_eq!(
                Head::parse(changed.as_bytes()).unwrap().unwrap().0.key,
                None,
                "{to}"
            );
        }
    }

    #[test]
    fn only_listed_origins_may_connect() {
        let (head, _) = Head::parse(UPGRADE.as_bytes()).unwrap().unwrap();
        assert!(head.is_allowed(&["*".to_owned()]));
        assert!(head.is_allowed(&["http://b".to_owned(), "HTTP://A".to_owned()]));
        assert!(!head.is_allowed(&["http://b".to_owned()]));
        assert!(Head::default().is_allowed(&[]));
    }

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        assert!(switching("dGhlIHNhbXBsZSBub25jZQ==").contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}
