//! Wrong configuration, the secret, the effective configuration.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::process::{Server, magpie, output, text};

/// Exit code 2 and one line that names what is wrong.
fn refused(args: &[&str], names: &[&str]) {
    let output = output(args);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(
        (error.lines().count(), text(&output.stdout).as_str()),
        (1, ""),
        "{error}"
    );
    assert!(names.iter().all(|name| error.contains(name)), "{error}");
}

#[test]
fn wrong_settings_end_with_code_2_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("magpie.toml");
    fs::write(&file, "[gateway]\nmax_conections = 5\n").unwrap();
    refused(
        &["up", "--config", file.to_str().unwrap()],
        &[
            "gateway.max_conections",
            "did you mean gateway.max_connections?",
        ],
    );
    refused(&["up", "--config", "/no/such/file"], &["/no/such/file"]);
    refused(
        &["up", "--ws-listen", "somewhere"],
        &["listen.ws", "--ws-listen"],
    );
    refused(
        &["up", "--ws-listen", "localhost:0"],
        &["localhost:0", "IP:port, like 127.0.0.1:10001"],
    );
    refused(
        &["admin", "stats", "--api", "http://127.0.0.1:1"],
        &["--ops"],
    );
    refused(
        &["up", "--secret-file", "/no/such/secret"],
        &["/no/such/secret"],
    );
    refused(&["gateway"], &["shared.secret", "MAGPIE_SECRET", "openssl"]);
    refused(
        &["foo"],
        &["no such command: foo", "up, config, admin", "rtc-signaling"],
    );
}

/// Found before a port is bound, and before anything is made.
#[test]
fn values_that_can_not_work_end_with_code_2_and_name_key_and_origin() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let wrong = [
        (
            "MAGPIE_GATEWAY_PRESENCE_RENEWAL_MS",
            "0",
            "gateway.presence_renewal_ms is 0 (variable MAGPIE_GATEWAY_PRESENCE_RENEWAL_MS)",
        ),
        (
            "MAGPIE_TRANSFER_DROP_AFTER_MS",
            "-1",
            "transfer.drop_after_ms is -1",
        ),
        (
            "MAGPIE_LISTEN_WS",
            "127.0.0.1:10002",
            "listen.ws and listen.api are both 127.0.0.1:10002",
        ),
        (
            "MAGPIE_SHARED_ADMIN_USER_IDS",
            "root,root",
            "shared.admin_user_ids names root twice",
        ),
        (
            "MAGPIE_TELEMETRY_OTLP_ENDPOINT",
            "otel:4317",
            "telemetry.otlp_endpoint",
        ),
        ("MAGPIE_TELEMETRY_OTLP_RATIO", "1.5", "telemetry.otlp_ratio"),
        (
            "MAGPIE_TELEMETRY_LOG_FILTER",
            "=x=y",
            "telemetry.log_filter",
        ),
        ("MAGPIE_API_MAX_REQUESTS", "many", "api.max_requests"),
        (
            "MAGPIE_API_MAX_REQUESTS",
            "99999999999999999999",
            "the number is out of range",
        ),
    ];
    for (variable, value, error) in wrong {
        let output = magpie(&["up", "--data-dir", data.to_str().unwrap()])
            .env(variable, value)
            .output()
            .unwrap();
        let shown = text(&output.stderr);
        assert_eq!(
            (output.status.code(), shown.lines().count()),
            (Some(2), 1),
            "{shown}"
        );
        assert!(shown.contains(error), "{shown}");
    }
    assert!(!data.exists());
    let zero = magpie(&["config"])
        .env("MAGPIE_MSG_HEAD_WAIT_MS", "0")
        .output()
        .unwrap();
    assert_eq!(zero.status.code(), Some(0));
}

#[test]
fn a_taken_port_ends_with_code_1_and_names_its_setting() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data");
    let output = output(&[
        "up",
        "--data-dir",
        data.to_str().unwrap(),
        "--ws-listen",
        &address,
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!data.exists(), "nothing is made when it can't start");
    let shown = text(&output.stderr);
    assert!(
        shown.contains(&format!("listen.ws: can't listen on {address}")),
        "{shown}"
    );
}

#[test]
fn help_shows_examples_of_commands_that_exist() {
    for command in [&[][..], &["up"], &["config"], &["admin"]] {
        let mut args = command.to_vec();
        args.push("--help");
        let help = output(&args);
        let shown = text(&help.stdout);
        assert_eq!(help.status.code(), Some(0));
        let (_, examples) = shown.split_once("Examples:").expect("examples");
        let words = examples
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("magpie "))
            .filter_map(|rest| rest.split_whitespace().next());
        for word in words {
            let known = output(&[word, "--help"]);
            assert_eq!(known.status.code(), Some(0), "magpie {word}");
        }
    }
}

#[test]
fn an_unknown_variable_ends_with_code_2() {
    let output = magpie(&["config"])
        .env("MAGPIE_GATEWAY_MAX_CONECTIONS", "5")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean MAGPIE_GATEWAY_MAX_CONNECTIONS?"));
}

#[test]
fn the_effective_configuration_names_origins_and_hides_the_secret() {
    let output = magpie(&["config", "--ws-listen", "127.0.0.1:7"])
        .env("MAGPIE_SECRET", "hunter2-and-sixteen-more")
        .env("MAGPIE_AUTH_MULTI_LOGIN_POLICY", "5")
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    let origin = |start: &str| {
        shown
            .lines()
            .find(|l| l.starts_with(start))
            .and_then(|l| l.rsplit("# ").next())
    };
    assert_eq!(origin("ws = \"127.0.0.1:7\""), Some("flag --ws-listen"));
    assert_eq!(
        origin("secret = \"[redacted]\""),
        Some("variable MAGPIE_SECRET")
    );
    assert_eq!(
        origin("multi_login_policy = 5"),
        Some("variable MAGPIE_AUTH_MULTI_LOGIN_POLICY")
    );
    assert_eq!(origin("max_connections = "), Some("default"));
    assert!(!shown.contains("hunter2-and-sixteen-more"));
}

#[test]
fn the_first_start_makes_a_secret_that_only_its_owner_can_read_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    drop(Server::start(&data));
    let path = data.join("secret");
    let secret = fs::read_to_string(&path).unwrap();
    assert_eq!(secret.trim().len(), 64);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    drop(Server::start(&data));
    assert_eq!(fs::read_to_string(&path).unwrap(), secret);
}

#[test]
fn two_processes_do_not_share_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _running = Server::start(dir.path());
    let second = output(&[
        "up",
        "--data-dir",
        dir.path().to_str().unwrap(),
        "--ws-listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
        "--ops-listen",
        "127.0.0.1:0",
        "--grpc-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains("used by another process"),
        "{}",
        text(&second.stderr)
    );
}

#[test]
fn a_secret_that_others_can_guess_or_read_is_warned_of_and_data_is_the_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (data, file) = (dir.path().join("data"), dir.path().join("secret"));
    fs::write(&file, "short\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let log = dir.path().join("log");
    let stderr = fs::File::create(&log).unwrap();
    let secret_file = [("MAGPIE_DATA_SECRET_FILE", file.to_str().unwrap())];
    drop(Server::start_with(&data, &secret_file, stderr.into()));
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("shorter than 16 characters"), "{log}");
    assert!(
        log.contains(&format!("chmod 600 {}", file.display())),
        "{log}"
    );
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                assert_eq!(mode, 0o600, "{}", entry.path().display());
            }
        }
    }
}
