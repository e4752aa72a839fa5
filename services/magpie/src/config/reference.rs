//! `docs/configuration.md`: every setting with its default and meaning, and OpenIM's names for it.
//!
//! The meaning is the doc comment of the field, read from the source that is compiled in: one place to write it.

use std::fmt::Write as _;

use super::{Config, openim};
use crate::output::Failure;

/// Group, type and source of each part of the configuration.
const SOURCES: &[(&str, &str, &str)] = &[
    ("shared", "Shared", include_str!("../config.rs")),
    ("data", "Data", include_str!("../config.rs")),
    ("listen", "Listen", include_str!("../config.rs")),
    (
        "telemetry",
        "Config",
        include_str!("../../../../crates/service/src/telemetry.rs"),
    ),
    (
        "shutdown",
        "Config",
        include_str!("../../../../crates/service/src/run.rs"),
    ),
    (
        "grpc",
        "Config",
        include_str!("../../../../crates/service/src/grpc.rs"),
    ),
    ("cluster", "Cluster", include_str!("cluster.rs")),
    (
        "internal",
        "Config",
        include_str!("../../../../crates/service/src/serve.rs"),
    ),
    ("calls", "Calls", include_str!("cluster.rs")),
    ("etcd", "Etcd", include_str!("cluster.rs")),
    ("kafka", "Kafka", include_str!("cluster.rs")),
    ("mongo", "Mongo", include_str!("cluster.rs")),
    ("redis", "Redis", include_str!("cluster.rs")),
    ("log", "Log", include_str!("engines.rs")),
    ("store", "Store", include_str!("engines.rs")),
    (
        "gateway",
        "Config",
        include_str!("../../../gateway/src/config.rs"),
    ),
    ("api", "Config", include_str!("../../../api/src/config.rs")),
    (
        "auth",
        "Config",
        include_str!("../../../auth/src/config.rs"),
    ),
    (
        "user",
        "Config",
        include_str!("../../../user/src/config.rs"),
    ),
    (
        "friend",
        "Config",
        include_str!("../../../friend/src/config.rs"),
    ),
    (
        "group",
        "Config",
        include_str!("../../../group/src/config.rs"),
    ),
    (
        "conversation",
        "Config",
        include_str!("../../../conversation/src/config.rs"),
    ),
    ("msg", "Config", include_str!("../../../msg/src/config.rs")),
    (
        "transfer",
        "Config",
        include_str!("../../../transfer/src/config.rs"),
    ),
    (
        "push",
        "Config",
        include_str!("../../../push/src/config.rs"),
    ),
    (
        "third",
        "Config",
        include_str!("../../../third/src/config.rs"),
    ),
    (
        "rtc_signaling",
        "Config",
        include_str!("../../../rtc-signaling/src/config.rs"),
    ),
];

const HEAD: &str = "# Configuration

Made by `magpie config --markdown`; a test keeps it true. `magpie config` shows the values in force and where each is from.

A value comes from, later ones winning: its default, the TOML file of `--config` (one table per group below), its
`MAGPIE_*` variable (the key in capitals, `_` for the dot; lists are separated by commas), its flag. An unknown key or
variable is an error.
";

/// The page.
pub(super) fn page() -> Result<String, Failure> {
    let defaults = magpie_service::config::defaults_of::<Config>()?;
    let mut page = HEAD.to_owned();
    for (group, name, source) in SOURCES {
        let fields = fields(source, name, &format!("{group}."));
        let in_group: Vec<_> = defaults
            .iter()
            .filter(|(key, _)| {
                key.split_once('.')
                    .is_some_and(|(table, _)| table == *group)
            })
            .collect();
        if in_group.is_empty() {
            continue;
        }
        let _infallible = write!(
            page,
            "\n## {group}\n\n| key | default | meaning |\n|---|---|---|\n"
        );
        for (key, default) in in_group {
            let doc = fields
                .iter()
                .find(|(k, _)| k == key)
                .map_or("", |(_, doc)| doc.as_str());
            let _infallible = writeln!(page, "| `{key}` | `{default}` | {} |", cell(doc));
        }
    }
    page.push_str(
        "\n## Names of OpenIM\n\nWhere a setting of an OpenIM 3.8 deployment has gone.\n\n",
    );
    page.push_str("| file | key | here |\n|---|---|---|\n");
    for (file, key, here) in openim::NAMES {
        let _infallible = writeln!(page, "| {file} | {key} | {here} |");
    }
    Ok(page.replace("| `` |", "| |"))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Fields of a struct in a Rust source: dotted key and doc comment. Fields whose type is a struct of the same source are
/// followed into it.
fn fields(source: &str, name: &str, prefix: &str) -> Vec<(String, String)> {
    let head = format!("struct {name} {{");
    let lines = source
        .lines()
        .skip_while(|l| !l.ends_with(&head))
        .skip(1)
        .map(str::trim);
    let (mut found, mut doc) = (Vec::new(), String::new());
    for line in lines.take_while(|l| *l != "}") {
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
        } else if let Some((field, ty)) = line
            .strip_prefix("pub ")
            .or_else(|| line.strip_prefix("pub(crate) "))
            .and_then(|l| l.split_once(": "))
        {
            let key = format!("{prefix}{field}");
            found.extend(fields(source, ty.trim_end_matches(','), &format!("{key}.")));
            found.push((key, std::mem::take(&mut doc).trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_says_what_it_means() {
        let documented: Vec<String> = SOURCES
            .iter()
            .flat_map(|(group, name, source)| fields(source, name, &format!("{group}.")))
            .filter(|(_, doc)| !doc.is_empty())
            .map(|(key, _)| key)
            .collect();
        let silent: Vec<String> = magpie_service::config::defaults_of::<Config>()
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| key.contains('.') && !documented.contains(key))
            .collect();
        assert_eq!(silent, Vec::<String>::new());
    }

    #[test]
    fn names_of_openim_lead_to_settings_that_exist() {
        let keys: Vec<String> = magpie_service::config::defaults_of::<Config>()
            .unwrap()
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        for (_, name, here) in openim::NAMES {
            let mut codes = here
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|c| c.contains('.') && !c.contains(' ') && !c.contains('/'));
            assert!(
                codes.all(|code| keys.iter().any(|k| k == code)),
                "{name}: {here}"
            );
        }
    }
}
