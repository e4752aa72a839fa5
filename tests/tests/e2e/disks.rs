//! Disks that are full or refuse writes: sends are refused and nothing acknowledged is lost, service resumes by itself, and a
//! start that can't work says why in one line. Embedded engines only: a cluster's process has no files.

use std::path::Path;

use magpie_tests::evidence::Evidence;
use magpie_tests::load::{Run, eventually, pair, settle};
use magpie_tests::{Disk, Options, Rest, Server, needs_embedded};
use serde_json::json;

/// Room for all that the load writes while the disk has some.
const MEGABYTES: u32 = 512;

/// Why not on a cluster.
const WHY: &str = "it fills the disk of a process";

fn on(disk: &Disk) -> Options {
    Options {
        data_dir: Some(disk.path().join("data")),
        ..Options::default()
    }
}

/// A back end's send is refused in words, and what it reads is still answered.
async fn back_ends_are_told(admin: &Rest) {
    let body = json!({"sendID": "ann", "recvID": "bob", "senderPlatformID": 5, "sessionType": 1,
        "contentType": 101, "content": {"content": "x"}});
    let answer = admin.post("/msg/send_msg", &body).await.json();
    assert_eq!(
        (&answer["errCode"], &answer["errMsg"]),
        (&json!(500), &json!("ServerInternalError")),
        "{answer}"
    );
    let detail = answer["errDlt"].as_str().unwrap_or_default();
    assert!(detail.contains("busy"), "{answer}");
    let users = json!({"userIDs": ["ann", "bob"]});
    let found = admin.data("/user/get_users_info", &users).await;
    assert_eq!(found["usersInfo"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_sends_and_loses_nothing_and_service_resumes_with_room() {
    if needs_embedded("disks", WHY) {
        return;
    }
    let disk = Disk::new(MEGABYTES).expect("a disk");
    let mut server = Server::start_with(on(&disk)).await.expect("it starts");
    let mut devices = pair(&server, "ann", "bob").await;
    for device in &mut devices {
        device.padding = 6000;
        // Sends go on while the store is full and the log still has some room.
        device.max_unpushed = usize::MAX;
    }
    let admin = server.admin().await;
    let mut evidence = Evidence::default();
    let mut refused = Vec::new();
    for round in 0..2 {
        let run = Run::start(&server.ws_urls(), devices, round);
        run.under_way(50).await;
        disk.fill().expect("the disk fills up");
        eventually("refusals to every device", || {
            run.gauges.iter().all(|g| g.refused() >= 20)
        })
        .await;
        assert!(server.is_running(), "the process lives");
        back_ends_are_told(&admin).await;
        disk.free().expect("room again");
        let before: Vec<_> = run
            .gauges
            .iter()
            .map(|g| (g.acknowledged(), g.live()))
            .collect();
        eventually("answers and pushes to every device again", || {
            let mut gauges = run.gauges.iter().zip(&before);
            gauges.all(|(g, (acknowledged, live))| {
                g.acknowledged() > acknowledged + 20 && g.live() > live + 20
            })
        })
        .await;
        run.stop();
        let (back, lives) = run.ended().await;
        devices = back;
        for life in lives {
            assert_eq!(life.connection.unanswered(), 0, "every send is answered");
            refused.extend(life.connection.refused());
            evidence.connections.push(life.connection);
        }
    }
    assert!(refused.iter().all(|code| *code == 500), "{refused:?}");
    settle(&server.ws_urls(), &mut devices, &mut evidence).await;
    let faults = evidence.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(
        evidence.stored_unacknowledged(),
        [""; 0],
        "refused is not stored"
    );
    assert!(!server.log().contains("panicked"), "it panicked");

    assert!(server.terminate().await.expect("it drains").success());
    server.restart().await.expect("the files are whole");
    settle(&server.ws_urls(), &mut devices, &mut evidence).await;
    let faults = evidence.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// One line on stderr that says all this, and exit code 1.
async fn fails_to_start(data_dir: &Path, says: &[&str]) {
    let (code, text) = Server::refused(&Options::default(), data_dir)
        .await
        .expect("it ends by itself");
    assert_eq!(
        (code, text.lines().count()),
        (1, 1),
        "one line and exit code 1, but:\n{text}"
    );
    assert!(text.starts_with("magpie: "), "{text}");
    for part in says {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

#[tokio::test]
async fn a_read_only_data_directory_is_named_before_any_port_is_taken() {
    if needs_embedded("disks", WHY) {
        return;
    }
    let disk = Disk::new(64).expect("a disk");
    let data = disk.path().join("data");
    let mut server = Server::start_with(on(&disk)).await.expect("it starts");
    assert!(server.terminate().await.expect("it drains").success());
    disk.make_read_only().expect("nobody writes");
    let says = |path: &Path| {
        [
            "Read-only file system".to_owned(),
            path.display().to_string(),
        ]
    };
    for path in [data.clone(), disk.path().join("missing")] {
        let says = says(&path);
        fails_to_start(&path, &[&says[0], &says[1], "data directory"]).await;
    }
    // With a port that is taken the directory is still what it complains about.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let options = Options {
        args: vec!["--ws-listen".to_owned(), address],
        ..Options::default()
    };
    let (code, text) = Server::refused(&options, &data).await.expect("it ends");
    assert!(
        code == 2 || text.contains("Read-only file system"),
        "{code}: {text}"
    );
}

#[tokio::test]
async fn an_engine_that_can_not_write_ends_the_start_in_one_line() {
    if needs_embedded("disks", WHY) {
        return;
    }
    let disk = Disk::new(64).expect("a disk");
    let data = disk.path().join("data");
    let mut server = Server::start_with(on(&disk)).await.expect("it starts");
    server.register(&["ann", "bob"]).await;
    assert!(server.terminate().await.expect("it drains").success());

    let log = Disk::over(&data.join("log"), 1).expect("a disk over the log");
    log.make_read_only().expect("nobody writes");
    fails_to_start(&data, &["message log", "Read-only file system"]).await;
    drop(log);

    server
        .restart()
        .await
        .expect("it starts where it can write");
    let mut ann = server.connect("ann", 5).await;
    ann.send_text("bob", "still here").await;

    // A new store, for one that was there may find room in its own files; beside a log that has room.
    let new = disk.path().join("new");
    std::fs::create_dir_all(new.join("log")).expect("a folder");
    let room = Disk::over(&new.join("log"), 64).expect("a disk over the log");
    disk.fill().expect("the disk fills up");
    fails_to_start(&new, &["the store can't be opened", "the disk is full"]).await;
    drop(room);
}
