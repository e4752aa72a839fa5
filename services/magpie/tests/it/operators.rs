//! What operators use: the port with health, metrics, build and log filter; the command that shows it; the log.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use crate::process::{Server, output, text};

/// One HTTP request to the operators' port: status and body.
fn http(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let address = server.url("ops").strip_prefix("http://").expect("a URL");
    let mut stream = TcpStream::connect(address).expect("a connection");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    (status.expect("a status"), body.to_owned())
}

#[test]
fn the_port_shows_health_readiness_build_and_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(http(&server, "GET", "/healthz", ""), (200, "ok".to_owned()));
    assert_eq!(
        http(&server, "GET", "/readyz", ""),
        (200, "ready".to_owned())
    );
    let (status, build) = http(&server, "GET", "/buildinfo", "");
    let build: Value = serde_json::from_str(&build).unwrap();
    assert_eq!((status, build["name"].as_str()), (200, Some("magpie")));
    assert!(build["version"].is_string() && build["commit"].is_string());
    let (status, metrics) = http(&server, "GET", "/metrics", "");
    assert_eq!(status, 200);
    assert!(metrics.contains("# TYPE magpie_"), "{metrics}");
}

#[test]
fn the_log_filter_changes_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(http(&server, "GET", "/loglevel", "").1, "info");
    let (status, now) = http(&server, "PUT", "/loglevel", "warn,magpie_msg=debug");
    assert_eq!(status, 200, "{now}");
    assert!(
        http(&server, "GET", "/loglevel", "")
            .1
            .contains("magpie_msg=debug")
    );
    assert_eq!(http(&server, "PUT", "/loglevel", "=x=y").0, 400);
}

#[test]
fn stats_shows_it_on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let output = output(&["admin", "stats", "--ops", server.url("ops")]);
    let shown = text(&output.stdout);
    assert!(
        output.status.success()
            && shown.contains("state  ready")
            && shown.contains("\"name\":\"magpie\""),
        "{shown}"
    );
}

#[test]
fn the_log_is_json_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.jsonl");
    let env = [("MAGPIE_TELEMETRY_LOG_FORMAT", "json")];
    let stderr = File::create(&log).unwrap();
    let server = Server::start_with(&dir.path().join("data"), &env, stderr.into());
    server.terminate();
    assert_eq!(server.wait().0, Some(0));
    let lines: Vec<Value> = std::fs::read_to_string(&log)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ready = lines.iter().find(|l| l["message"] == "ready").unwrap();
    assert_eq!(
        (&ready["level"], ready["api"].is_string()),
        (&Value::from("INFO"), true)
    );
}
