//! The secrets of a cluster. A process whose secrets are missing, short or well known does not start.

use std::path::Path;

use magpie_service::config::Secret;

use crate::{config::Config, output::Failure, process::data};

/// Shortest secret by which services know each other, characters.
const INTERNAL: usize = 32;
/// Shortest secret that signs tokens, characters. Back ends that came from OpenIM may have chosen theirs.
const SHARED: usize = 16;
/// Secrets that stand in other people's documentation.
const KNOWN: &[&str] = &[
    "openim123",
    "openim",
    "secret",
    "changeme",
    "password",
    "tuoyun",
    "magpie",
    "admin",
    "default",
    "123456",
];
/// Fewest different characters.
const VARIETY: usize = 6;

/// Both, checked.
pub(super) struct Secrets {
    /// Signs tokens.
    pub(super) shared: Secret,
    /// By which services know each other.
    pub(super) internal: Secret,
}

impl Secrets {
    pub(super) fn of(config: &Config) -> Result<Self, Failure> {
        if config.shared.secret.is_empty() && config.data.secret_file.as_os_str().is_empty() {
            return Err(wrong(
                "shared.secret (MAGPIE_SECRET or --secret-file)",
                "is not set",
            ));
        }
        let shared = data::secret(config)?;
        check("shared.secret", &shared, SHARED)?;
        let internal = internal(config)?;
        check("cluster.secret", &internal, INTERNAL)?;
        if shared.expose() == internal.expose() {
            return Err(wrong(
                "cluster.secret",
                "is the same as shared.secret, which back ends know",
            ));
        }
        Ok(Self { shared, internal })
    }
}

fn internal(config: &Config) -> Result<Secret, Failure> {
    let (secret, file): (_, &Path) = (&config.cluster.secret, &config.cluster.secret_file);
    match (secret.is_empty(), file.as_os_str().is_empty()) {
        (true, true) => Err(wrong(
            "cluster.secret (MAGPIE_CLUSTER_SECRET or cluster.secret_file)",
            "is not set",
        )),
        (false, false) => Err(Failure::Usage(
            "cluster.secret and cluster.secret_file are both set; set one of them".to_owned(),
        )),
        (false, true) => Ok(secret.clone()),
        (true, false) => data::read(file),
    }
}

fn check(key: &str, secret: &Secret, shortest: usize) -> Result<(), Failure> {
    let text = secret.expose();
    if KNOWN.contains(&text.to_lowercase().as_str()) {
        return Err(wrong(key, "is a well-known one"));
    }
    if text.chars().count() < shortest {
        return Err(wrong(
            key,
            &format!("is shorter than {shortest} characters"),
        ));
    }
    let different: std::collections::HashSet<char> = text.chars().collect();
    if different.len() < VARIETY || repeats(text.as_bytes()) {
        return Err(wrong(key, "is too regular"));
    }
    Ok(())
}

/// Whether it is something shorter, over and over.
fn repeats(text: &[u8]) -> bool {
    (1..=text.len() / 2).any(|n| text[n..] == text[..text.len() - n])
}

fn wrong(key: &str, why: &str) -> Failure {
    Failure::Usage(format!("{key} {why}; make one with `openssl rand -hex 32`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shared: &str, internal: &str) -> Result<Secrets, Failure> {
        let mut config = Config::default();
        config.shared.secret = shared.to_owned().into();
        config.cluster.secret = internal.to_owned().into();
        Secrets::of(&config)
    }

    #[test]
    fn weak_secrets_are_refused() {
        let good = "b1c99fa0d02c4a3d8e5f6a7b8c9d0e1f";
        let other = "77f0e1d2c3b4a5968778695a4b3c2d1e";
        assert!(of(good, other).is_ok());
        for (shared, internal) in [
            ("", good),
            ("openIM123", good),
            ("short-secret", good),
            (good, ""),
            (good, "0123456789abcdef"),
            ("openIM123openIM123", good),
            (good, "changemechangemechangemechangeme"),
            (good, "0123456789abcdef0123456789abcdef"),
            (good, good),
            (good, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ] {
            assert!(of(shared, internal).is_err(), "{shared} {internal}");
        }
    }
}
