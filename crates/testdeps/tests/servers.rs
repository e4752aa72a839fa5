//! Every server starts, keeps its data over a kill, can be paused, and dies with the process that started it.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use magpie_testdeps::{Kind, Server};

const CHILD: &str = "TESTDEPS_CHILD";

/// Sends a line to Redis and gives the first bytes of the answer.
fn redis(server: &Server, line: &str, patience: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn redis_keeps_its_data_over_a_kill_until_it_is_emptied() {
    let server = Server::start_with(Kind::Redis, &["--appendfsync", "always"]);
    assert_eq!(redis(&server, "set k v", PATIENCE).unwrap(), "+OK\r\n");
    server.kill();
    assert!(redis(&server, "get k", PATIENCE).is_err());
    server.restart();
    assert_eq!(redis(&server, "get k", PATIENCE).unwrap(), "$1\r\nv\r\n");
    server.restart_empty();
    assert_eq!(redis(&server, "get k", PATIENCE).unwrap(), "$-1\r\n");
    let dir = server.dir().to_owned();
    drop(server);
    assert!(!dir.exists());
}

#[test]
fn a_stopped_server_takes_connections_and_answers_after_it_goes_on() {
    let server = Server::start(Kind::Redis);
    server.stop();
    assert!(redis(&server, "ping", Duration::from_millis(50)).is_err());
    server.cont();
    assert_eq!(redis(&server, "ping", PATIENCE).unwrap(), "+PONG\r\n");
}

#[test]
fn etcd_starts_again_after_a_kill() {
    let server = Server::start(Kind::Etcd);
    server.kill();
    server.restart();
}

#[test]
fn mongo_starts_again_after_a_kill() {
    let server = Server::start(Kind::Mongo);
    server.kill();
    server.restart();
}

#[test]
fn kafka_starts_again_after_a_kill() {
    let server = Server::start(Kind::Kafka);
    server.kill();
    server.restart();
}

#[test]
fn two_of_three_brokers_go_on() {
    let brokers = Server::kafka_cluster();
    brokers[0].kill();
    brokers[0].restart();
}

/// Not a test by itself: starts a server, says its process id and waits to be killed.
#[test]
fn child() {
    let Some(file) = env::var_os(CHILD) else {
        return;
    };
    // Started by a thread that is gone when the process is killed: the server must outlive it.
    let server = std::thread::spawn(|| Server::start(Kind::Redis));
    let server = server.join().unwrap();
    assert_eq!(redis(&server, "ping", PATIENCE).unwrap(), "+PONG\r\n");
    let pid = fs::read_to_string(server.dir().join("pid")).unwrap();
    let part = Path::new(&file).with_extension("part");
    fs::write(&part, pid.trim()).unwrap();
    fs::rename(part, file).unwrap();
    std::thread::park();
}

#[test]
fn a_server_dies_with_a_killed_test_process() {
    let file = env::temp_dir().join(format!("testdeps-child-{}", std::process::id()));
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, &file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = until("the child says its server", || {
        fs::read_to_string(&file).ok()
    });
    fs::remove_file(&file).unwrap();
    let server = Path::new("/proc").join(pid);
    assert!(server.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    until("the server ends", || (!server.exists()).then_some(()));
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
