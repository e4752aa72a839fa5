//! What a newcomer does first, with the commands that `magpie up` prints.

use std::path::Path;

use crate::process::{Server, magpie, output, text};

fn admin(server: &Server, dir: &Path, args: &[&str]) -> (bool, String) {
    let mut all = vec!["admin"];
    all.extend(args);
    all.extend([
        "--api",
        server.url("api"),
        "--data-dir",
        dir.to_str().expect("a plain path"),
    ]);
    let output = output(&all);
    (
        output.status.success(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

#[test]
fn a_user_is_made_and_gets_a_message_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert_eq!(
        admin(&server, dir.path(), &["create-user", "alice"]),
        (true, "created user alice\n".to_owned())
    );
    let (sent, answer) = admin(
        &server,
        dir.path(),
        &["send", "--to", "alice", "hello alice"],
    );
    assert!(sent && answer.starts_with("sent message "), "{answer}");
    let (known, token) = admin(&server, dir.path(), &["token", "alice"]);
    assert!(known && token.split('.').count() == 3, "{token}");
    server.terminate();
    assert_eq!(server.wait(), (Some(0), String::new()));

    let server = Server::start(dir.path());
    let (again, answer) = admin(&server, dir.path(), &["create-user", "alice"]);
    assert!(!again && answer.contains("1102"), "{answer}");
    let (sent, answer) = admin(
        &server,
        dir.path(),
        &["send", "--to", "alice", "hello again"],
    );
    assert!(sent, "{answer}");
}

#[test]
fn the_server_is_found_where_its_configuration_has_it_listen() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let address = server.url("api").strip_prefix("http://").unwrap();
    let admin = |address: &str| {
        magpie(&["admin", "token", "--data-dir", dir.path().to_str().unwrap()])
            .env("MAGPIE_LISTEN_API", address)
            .output()
            .unwrap()
    };
    let found = admin(address);
    assert!(found.status.success(), "{}", text(&found.stderr));
    let nowhere = admin("127.0.0.1:0");
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("--api"));
}

#[test]
fn without_a_server_the_error_says_where_one_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    drop(Server::start(dir.path()));
    let data = dir.path().to_str().unwrap();
    let output = output(&[
        "admin",
        "token",
        "--api",
        "http://127.0.0.1:9",
        "--data-dir",
        data,
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("no server at 127.0.0.1:9"),
        "{}",
        text(&output.stderr)
    );
}
