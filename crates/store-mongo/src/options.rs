//! What can be chosen about the engine.

use std::time::Duration;

use mongodb::options::ConnectionString;
use secrecy::{ExposeSecret as _, SecretString};

/// Settings of a [`MongoStore`](crate::MongoStore).
#[derive(Debug, Clone)]
pub struct Options {
    /// Connection string, with user, password and TLS options if any. Never printed.
    pub uri: SecretString,
    /// Database.
    pub database: String,
    /// Name under which the server lists this process's connections.
    pub app_name: String,
    /// Longest time for a new connection.
    pub connect_timeout: Duration,
    /// How long a call looks for a primary before it answers `Unavailable`.
    pub server_selection_timeout: Duration,
    /// Longest time of one call, all its round trips together.
    pub call_timeout: Duration,
    /// Longest time of `prepare`, which may build indexes over what is stored.
    pub prepare_timeout: Duration,
    /// How often each server is asked whether it is well; one that does not answer is given up after this time plus
    /// `connect_timeout`.
    pub heartbeat: Duration,
    /// Most connections to each server; a call that finds none free waits for one.
    pub pool_size: u32,
}

impl Options {
    /// The defaults for this connection string.
    pub fn new(uri: impl Into<SecretString>) -> Self {
        Self {
            uri: uri.into(),
            database: "magpie".to_owned(),
            app_name: "magpie".to_owned(),
            connect_timeout: Duration::from_secs(3),
            server_selection_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(10),
            prepare_timeout: Duration::from_secs(600),
            heartbeat: Duration::from_secs(2),
            pool_size: 32,
        }
    }

    /// Refuses a connection string that can't work, without asking a server or DNS.
    pub fn check(&self) -> Result<(), String> {
        let uri = self.uri.expose_secret();
        ConnectionString::parse(uri)
            .map(drop)
            .map_err(|e| unusable(uri, &e))
    }
}

/// What is wrong with a connection string. The driver's text may quote parts of it.
pub(crate) fn unusable(uri: &str, error: &mongodb::error::Error) -> String {
    if uri.contains('@') {
        "its text is withheld because it has a password; percent-encode special characters"
            .to_owned()
    } else {
        error.kind.to_string()
    }
}
