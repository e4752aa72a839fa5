use std::{collections::BTreeMap, io::Write as _};

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Program {
    shared: Shared,
    gateway: Gateway,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Shared {
    secret: Secret,
    admins: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Gateway {
    max_connections: u32,
    origin: String,
    proxy: Option<String>,
    headers: BTreeMap<String, Secret>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            max_connections: 7,
            origin: "*".to_owned(),
            proxy: None,
            headers: BTreeMap::new(),
        }
    }
}

fn env(pairs: &[(&str, &str)]) -> Sources {
    Sources {
        env: pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ..Sources::default()
    }
}

fn toml(text: &str) -> (tempfile::NamedTempFile, Sources) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    };
    (file, sources)
}

fn error(sources: &Sources) -> String {
    load::<Program>(sources).unwrap_err().to_string()
}

fn origin_of(loaded: &Loaded<Program>, key: &str) -> String {
    loaded
        .settings
        .iter()
        .find(|s| s.key == key)
        .unwrap()
        .origin
        .clone()
}

#[test]
fn later_sources_win_and_every_value_names_its_origin() {
    let (file, mut sources) =
        toml("[gateway]\nmax_connections = 8\norigin = \"a\"\n[shared]\nadmins = [\"x\"]\n");
    sources.env = vec![
        ("MAGPIE_GATEWAY_ORIGIN".into(), "b".into()),
        ("MAGPIE_SHARED_ADMINS".into(), "y, 12".into()),
    ];
    sources.flags = vec![Flag {
        key: "gateway.origin",
        name: "--origin",
        value: "c".into(),
    }];
    let loaded = load::<Program>(&sources).unwrap();
    assert_eq!(loaded.config.gateway.max_connections, 8);
    assert_eq!(loaded.config.gateway.origin, "c");
    assert_eq!(loaded.config.shared.admins, ["y", "12"]);
    assert_eq!(
        origin_of(&loaded, "gateway.max_connections"),
        format!("file {}", file.path().display())
    );
    assert_eq!(origin_of(&loaded, "gateway.origin"), "flag --origin");
    assert_eq!(origin_of(&loaded, "gateway.proxy"), "default");
    assert_eq!(
        origin_of(&loaded, "shared.admins"),
        "variable MAGPIE_SHARED_ADMINS"
    );
}

#[test]
fn numbers_may_come_from_variables_and_flags() {
    let mut sources = env(&[("MAGPIE_GATEWAY_MAX_CONNECTIONS", "9")]);
    assert_eq!(
        load::<Program>(&sources)
            .unwrap()
            .config
            .gateway
            .max_connections,
        9
    );
    sources.flags = vec![Flag {
        key: "gateway.max_connections",
        name: "--max",
        value: "10".into(),
    }];
    assert_eq!(
        load::<Program>(&sources)
            .unwrap()
            .config
            .gateway
            .max_connections,
        10
    );
}

#[test]
fn an_unknown_key_of_the_file_names_the_closest() {
    let (file, sources) = toml("[gateway]\nmax_conections = 8\n");
    let path = file.path().display();
    assert_eq!(
        error(&sources),
        format!(
            "unknown setting gateway.max_conections in {path}; did you mean gateway.max_connections?"
        )
    );
}

#[test]
fn an_unknown_variable_names_the_closest() {
    assert_eq!(
        error(&env(&[("MAGPIE_GATEWAY_MAX_CONNECTION", "8")])),
        "unknown setting MAGPIE_GATEWAY_MAX_CONNECTION in the environment; did you mean MAGPIE_GATEWAY_MAX_CONNECTIONS?"
    );
}

#[test]
fn variables_of_kubernetes_services_are_not_settings() {
    let links = env(&[
        ("MAGPIE_API_SERVICE_HOST", "10.0.0.1"),
        ("MAGPIE_API_SERVICE_PORT_HTTP", "1"),
        ("MAGPIE_PORT", "tcp://10.0.0.1:1"),
        ("MAGPIE_PORT_1_TCP_ADDR", "10.0.0.1"),
    ]);
    load::<Program>(&links).unwrap();
}

#[test]
fn a_value_of_the_wrong_type_is_one_line_with_key_and_origin() {
    let message = error(&env(&[("MAGPIE_GATEWAY_MAX_CONNECTIONS", "many")]));
    assert_eq!(message.lines().count(), 1);
    assert!(
        message.contains("gateway.max_connections")
            && message.contains("MAGPIE_GATEWAY_MAX_CONNECTIONS"),
        "{message}"
    );
}

#[test]
fn a_missing_or_broken_file_is_one_line() {
    let missing = Sources {
        file: Some("/no/such/file".into()),
        ..Sources::default()
    };
    assert!(error(&missing).starts_with("can't read /no/such/file: "));
    let (_file, broken) = toml("[gateway\n");
    assert_eq!(error(&broken).lines().count(), 1);
}

#[test]
fn names_of_maps_may_have_dots() {
    let (file, sources) = toml("[gateway.headers]\n\"x.y.z\" = \"hunter2\"\n");
    let loaded = load::<Program>(&sources).unwrap();
    assert_eq!(loaded.config.gateway.headers["x.y.z"].expose(), "hunter2");
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert_eq!(
        origin_of(&loaded, "gateway.headers.x.y.z"),
        format!("file {}", file.path().display())
    );
}

#[test]
fn secrets_are_read_but_never_shown() {
    let mut sources = env(&[("MAGPIE_SECRET", "hunter2")]);
    sources.aliases = &[("MAGPIE_SECRET", "shared.secret")];
    let loaded = load::<Program>(&sources).unwrap();
    assert_eq!(loaded.config.shared.secret.expose(), "hunter2");
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert_eq!(
        origin_of(&loaded, "shared.secret"),
        "variable MAGPIE_SECRET"
    );
}
