//! What the program says on its terminal, and how it ends when something is wrong.

use std::{
    io::{self, Write as _},
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
