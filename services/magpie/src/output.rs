//! What the program says on its terminal, and how it ends when something is wrong.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use magpie_service::config::ConfigError;

/// Why a command ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong: exit code 2.
    Usage(String),
    /// It failed while working: exit code 1.
    Work(anyhow::Error),
}

impl Failure {
    /// One line on stderr and the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, 2),
            Self::Work(error) => (format!("{error:#}"), 1),
        };
        // A closed terminal leaves nobody to tell.
        drop(writeln!(
            io::stderr(),
            "magpie: {}",
            text.replace('\n', " ")
        ));
        ExitCode::from(code)
    }
}

impl From<ConfigError> for Failure {
    fn from(e: ConfigError) -> Self {
        Self::Usage(e.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(e: anyhow::Error) -> Self {
        Self::Work(e)
    }
}

/// Writes to stdout; a reader that went away (`| head`) is no failure.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// The address as a client on this machine uses it.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_everybody_is_shown_as_one_to_connect_to() {
        assert_eq!(
            reachable("0.0.0.0:7".parse().unwrap()).to_string(),
            "127.0.0.1:7"
        );
        assert_eq!(reachable("[::]:7".parse().unwrap()).to_string(), "[::1]:7");
        assert_eq!(
            reachable("10.0.0.1:7".parse().unwrap()).to_string(),
            "10.0.0.1:7"
        );
    }
}
