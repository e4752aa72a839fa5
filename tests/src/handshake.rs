//! How a connection is opened, and what a refusal looks like.

use bytes::Bytes;

/// The query of a handshake.
#[derive(Debug, Clone)]
pub enum Query {
    /// Pairs that are percent-encoded.
    Pairs(Vec<(String, String)>),
    /// Text as it is.
    Raw(String),
}

/// How to open a connection.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// Path, normally `/`.
    pub path: String,
    /// Query.
    pub query: Query,
    /// Headers besides those of an upgrade.
    pub headers: Vec<(String, String)>,
    /// Whether the request asks for an upgrade at all.
    pub upgrade: bool,
}

impl Handshake {
    /// What the TypeScript SDK sends: JSON envelopes, result as the first text frame.
    #[must_use]
    pub fn js(user: &str, platform: i32, token: &str) -> Self {
        let platform = platform.to_string();
        let pairs = [
            ("sendID", user),
            ("token", token),
            ("platformID", &platform),
            ("operationID", "test-connect"),
            ("isBackground", "false"),
            ("sdkType", "js"),
            ("isMsgResp", "true"),
        ];
        Self::with_pairs(&pairs)
    }

    /// What the native core sends: gob envelopes in gzip, result as the HTTP answer.
    #[must_use]
    pub fn go(user: &str, platform: i32, token: &str) -> Self {
        let platform = platform.to_string();
        let pairs = [
            ("sendID", user),
            ("token", token),
            ("platformID", &platform),
            ("operationID", "test-connect"),
            ("isBackground", "false"),
            ("compression", "gzip"),
        ];
        Self::with_pairs(&pairs)
    }

    /// Any query on `/`.
    #[must_use]
    pub fn with_pairs(pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self {
            path: "/".to_owned(),
            query: Query::Pairs(pairs),
            headers: Vec::new(),
            upgrade: true,
        }
    }

    /// A parameter of the query, decoded; empty when absent.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        let Query::Pairs(pairs) = &self.query else {
            return "";
        };
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    pub(crate) fn request(&self, host: &str) -> String {
        let query = match &self.query {
            Query::Raw(text) => text.clone(),
            Query::Pairs(pairs) => url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs)
                .finish(),
        };
        let separator = if query.is_empty() { "" } else { "?" };
        let mut head = format!(
            "GET {}{separator}{query} HTTP/1.1\r\nHost: {host}\r\n",
            self.path
        );
        if self.upgrade {
            let key = tungstenite::handshake::client::generate_key();
            head.push_str(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            );
            head.push_str(&format!("Sec-WebSocket-Key: {key}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head
    }
}

/// A handshake that was answered over HTTP instead of an upgrade.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

impl Refusal {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
