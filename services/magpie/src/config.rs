//! The configuration of the whole program, grouped by service, and `magpie config`.

mod cluster;
mod engines;
mod limits;
mod openim;
mod reference;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use magpie_service::{
    config::{Loaded, Secret, Sources},
    grpc, run, serve, telemetry,
};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{self, Listen as ListenFlags, Settings},
    output::{Failure, say},
};

/// Everything that can be set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) shared: Shared,
    pub(crate) data: Data,
    pub(crate) listen: Listen,
    pub(crate) telemetry: telemetry::Config,
    pub(crate) shutdown: run::Config,
    pub(crate) grpc: grpc::Config,
    pub(crate) cluster: cluster::Cluster,
    pub(crate) internal: serve::Config,
    pub(crate) calls: cluster::Calls,
    pub(crate) etcd: cluster::Etcd,
    pub(crate) kafka: cluster::Kafka,
    pub(crate) mongo: cluster::Mongo,
    pub(crate) redis: cluster::Redis,
    pub(crate) log: engines::Log,
    pub(crate) store: engines::Store,
    pub(crate) gateway: magpie_gateway::Config,
    pub(crate) api: magpie_api::Config,
    pub(crate) auth: magpie_auth::Config,
    pub(crate) user: magpie_user::Config,
    pub(crate) friend: magpie_friend::Config,
    pub(crate) group: magpie_group::Config,
    pub(crate) conversation: magpie_conversation::Config,
    pub(crate) msg: magpie_msg::Config,
    pub(crate) transfer: magpie_transfer::Config,
    pub(crate) push: magpie_push::Config,
    pub(crate) third: magpie_third::Config,
    pub(crate) rtc_signaling: magpie_rtc_signaling::Config,
}

/// What all services know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Shared {
    /// Signs the tokens and is what an application's back end must know. Empty: read from `data.secret_file`. Short variable:
    /// `MAGPIE_SECRET`.
    pub(crate) secret: Secret,
    /// Users who are application administrators; made at the start if missing. A new token of one ends his earlier ones after five
    /// minutes, and `magpie admin` takes one of the first: give a back end an administrator of its own.
    pub(crate) admin_user_ids: Vec<String>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            secret: Secret::default(),
            admin_user_ids: vec!["imAdmin".to_owned()],
        }
    }
}

/// Where everything is stored by `magpie up`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Data {
    /// Directory of the log, the store and the secret.
    pub(crate) dir: PathBuf,
    /// File with the shared secret. Empty: `secret` in the data directory, made at the first start.
    pub(crate) secret_file: PathBuf,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            dir: "./data".into(),
            secret_file: PathBuf::new(),
        }
    }
}

/// Addresses to listen on; port 0 picks a free one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    /// WebSocket gateway.
    pub(crate) ws: SocketAddr,
    /// REST API.
    pub(crate) api: SocketAddr,
    /// Health, readiness, metrics: for operators, without authentication.
    pub(crate) ops: SocketAddr,
    /// gRPC for back ends.
    pub(crate) grpc: SocketAddr,
    /// For the other services of a cluster. A process of several services takes one port for each, from this one on.
    pub(crate) internal: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            ws: local(10001),
            api: local(10002),
            ops: local(10003),
            grpc: local(10004),
            internal: local(0),
        }
    }
}

/// Short names of variables.
const ALIASES: &[(&str, &str)] = &[
    ("MAGPIE_SECRET", "shared.secret"),
    ("MAGPIE_DATA_DIR", "data.dir"),
];

/// Variables that are no settings: of the command line, the build, `scripts/` and the tests.
const IGNORED: &[&str] = &[
    "MAGPIE_CONFIG",
    "MAGPIE_COMMIT",
    "MAGPIE_CACHE",
    "MAGPIE_BIN",
    "MAGPIE_CHROMIUM",
    "MAGPIE_PROFILE",
    "MAGPIE_TEST_ENGINES",
];

/// Loads and checks the configuration.
pub(crate) fn load(
    settings: &Settings,
    listen: Option<&ListenFlags>,
) -> Result<Loaded<Config>, Failure> {
    let env = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let sources = Sources {
        file: settings.config.clone(),
        env,
        aliases: ALIASES,
        ignored: IGNORED,
        flags: settings.flags(listen),
    };
    let mut loaded = magpie_service::config::load::<Config>(&sources)?;
    check(&loaded)?;
    limits::check(&loaded)?;
    loaded.config.gateway.multi_login_policy = loaded.config.auth.multi_login_policy;
    Ok(loaded)
}

fn check(loaded: &Loaded<Config>) -> Result<(), Failure> {
    let config = &loaded.config;
    let wrong = |text: String| Err(Failure::Usage(text));
    if config.shared.admin_user_ids.is_empty() {
        return wrong("shared.admin_user_ids names no administrator".to_owned());
    }
    for id in &config.shared.admin_user_ids {
        if let Err(e) = magpie_types::UserId::new(id.as_str()) {
            return wrong(format!("shared.admin_user_ids: {e}"));
        }
    }
    if !config.shared.secret.is_empty() && !config.data.secret_file.as_os_str().is_empty() {
        return wrong(
            "shared.secret and data.secret_file are both set; set one of them".to_owned(),
        );
    }
    if let Err(e) = telemetry::check_filter(&config.telemetry.log_filter) {
        return wrong(e.to_string());
    }
    if config.log.max_backlog_minutes * 2 >= config.log.retention_hours * 60 {
        return wrong(
            "log.max_backlog_minutes must be below half of log.retention_hours".to_owned(),
        );
    }
    if !(0.0..=1.0).contains(&config.telemetry.otlp_ratio) {
        return wrong("telemetry.otlp_ratio is a share between 0 and 1".to_owned());
    }
    if cfg!(not(feature = "otlp")) && !config.telemetry.otlp_endpoint.is_empty() {
        return wrong(
            "telemetry.otlp_endpoint is set, but this build has no exporter (cargo feature `otlp`)"
                .to_owned(),
        );
    }
    Ok(())
}

/// `magpie config`.
pub(crate) fn command(args: &cli::Config) -> Result<ExitCode, Failure> {
    if args.markdown {
        say(reference::page()?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = load(&args.settings, Some(&args.listen))?;
    let mut group = "";
    for setting in &loaded.settings {
        // A service without settings is an empty table.
        let Some((table, name)) = setting.key.split_once('.') else {
            continue;
        };
        if table != group {
            say(&format!(
                "{}[{table}]",
                if group.is_empty() { "" } else { "\n" }
            ));
            group = table;
        }
        // TOML has no word for "unset".
        let line = if setting.value.is_empty() {
            format!("# {name} =")
        } else {
            format!("{name} = {}", setting.value)
        };
        say(&format!("{line:<48} # {}", setting.origin));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_setting_has_its_own_variable() {
        let keys = magpie_service::config::defaults_of::<Config>().unwrap();
        let names: HashSet<String> = keys
            .iter()
            .map(|(key, _)| magpie_service::config::name_of(key))
            .collect();
        assert_eq!(names.len(), keys.len());
    }

    #[test]
    fn the_reference_page_is_the_committed_one() {
        let page = reference::page().unwrap();
        let committed = include_str!("../../../docs/configuration.md");
        assert!(
            page == committed,
            "docs/configuration.md differs: magpie config --markdown > docs/configuration.md"
        );
    }
}
