//! `magpie admin repartition` beside a running cluster: what refuses it, what it survives, and that no chat notices.

use std::time::Duration;

use magpie_tests::proxy::{Mode, Proxy};
use magpie_tests::{Client, Cluster, Engines, Handshake, Options, text_message};
use prost::Message as _;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::spawn_blocking;

/// Chats: several share a partition before it and after it.
const CHATS: usize = 12;
/// Messages of a round of each chat.
const ROUND: usize = 5;
/// How long one run of the command may take.
const BOUND: Duration = Duration::from_secs(120);

/// Somebody writes, somebody reads on another gateway; both stay connected.
struct Chat {
    writer: Client,
    reader: Client,
    /// What was acknowledged, in order.
    sent: Vec<String>,
    /// How many of it the reader was pushed.
    read: usize,
}

impl Chat {
    async fn start(cluster: &Cluster, n: usize) -> Self {
        let [writer, reader] = [format!("writer{n}"), format!("reader{n}")];
        cluster.register(&[&writer, &reader]).await;
        let urls = cluster.ws_urls();
        let connect = async |user: &str, url: &str| {
            let token = cluster.user_token(user, 5).await;
            let client = Client::connect(url, &Handshake::js(user, 5, &token)).await;
            client.expect("a login")
        };
        Self {
            writer: connect(&writer, &urls[n % 2]).await,
            reader: connect(&reader, &urls[(n + 1) % 2]).await,
            sent: Vec::new(),
            read: 0,
        }
    }

    fn conversation(&self) -> String {
        format!("si_{}_{}", self.reader.user, self.writer.user)
    }

    async fn write(&mut self) {
        for _ in 0..ROUND {
            let text = format!("message {}", self.sent.len() + 1);
            let sent = self.writer.send_text(&self.reader.user, &text).await;
            self.sent.push(sent.client_msg_id);
        }
    }

    /// The reader is pushed the rest, in order.
    async fn read(&mut self) {
        for id in &self.sent[self.read..] {
            let push = self.reader.push().await.expect("a push");
            assert_eq!(push.message.client_msg_id, *id);
            self.read += 1;
            assert_eq!(push.message.seq, i64::try_from(self.read).expect("few"));
        }
    }

    /// Everything is stored once and where it belongs; a message that is sent again is known.
    async fn check(&mut self) {
        let mut again = text_message(&self.writer.user, &self.reader.user, "message 1");
        again.client_msg_id.clone_from(&self.sent[0]);
        let body = again.encode_to_vec().into();
        let request = self.writer.send_request(1003, body).await.expect("sent");
        let answer = self.writer.answer(&request).await.expect("an answer");
        assert_eq!(answer.err_code, 0, "{}", answer.err_msg);
        self.write().await;
        self.read().await;
        let conversation = self.conversation();
        let stored = self.reader.pull_all(&conversation).await.expect("a pull");
        let ids: Vec<_> = stored.iter().map(|m| m.client_msg_id.clone()).collect();
        assert_eq!(ids, self.sent);
        assert!(stored.iter().zip(1..).all(|(m, seq)| m.seq == seq));
    }
}

/// What the command says until a line with this, after which it is killed, or until its end; its exit code, if it had one.
async fn repartition(
    cluster: &mut Cluster,
    args: &[&str],
    kill_after: Option<&str>,
) -> (Option<i32>, String) {
    let args = [&["repartition"], args].concat();
    let mut command = cluster.admin_command(&args).expect("a command");
    let mut child = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let stdout = child.stdout.take().expect("piped");
    let run = async {
        let mut said = String::new();
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.expect("text") {
            said.push_str(&line);
            said.push('\n');
            if kill_after.is_some_and(|text| line.contains(text)) {
                child.kill().await.expect("killed");
                break;
            }
        }
        let output = child.wait_with_output().await.expect("its end");
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status.code(), said)
    };
    let done = tokio::time::timeout(BOUND, run).await;
    let done = done.expect("the command ends");
    println!("{args:?} killed after {kill_after:?}: {done:?}");
    done
}

async fn refused(cluster: &mut Cluster, args: &[&str], why: &str) {
    let (code, said) = repartition(cluster, args, None).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(why), "{why:?} is missing: {said}");
}

fn instances(cluster: &Cluster, service: &str) -> Vec<usize> {
    let all = 0..cluster.size();
    all.filter(|at| cluster.service(*at) == service).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_gets_other_partitions_and_no_chat_notices() {
    if super::skipped("cluster::repartition") {
        return;
    }
    let engines = spawn_blocking(Engines::shared).await;
    let engines = engines.expect("the engines start");
    let way = Proxy::start().await.expect("a port");
    way.lead_to(engines.mongo.port());
    let mut cluster = Cluster::start_on(engines, 2, Options::default()).await;
    let [msg, transfer, push] = ["msg", "transfer", "push"].map(|s| instances(&cluster, s));
    let uri = format!("mongodb://{}/?directConnection=true", way.address);
    for at in &push {
        let restarted = cluster.restart_with(*at, "MAGPIE_MONGO_URI", &uri).await;
        restarted.expect("push starts");
    }
    cluster.register(&["gina", "gus"]).await;
    let mut chats = Vec::new();
    for n in 0..CHATS {
        let mut chat = Chat::start(&cluster, n).await;
        chat.write().await;
        chat.read().await;
        chats.push(chat);
    }
    let more = ["--partitions", "24"];
    let at_once = ["--partitions", "24", "--wait", "0"];
    refused(&mut cluster, &at_once, "msg is running: stop ").await;

    // Without the store push can't read the members of a new group and is held up: what was sent is in the log when msg is gone.
    // Nobody knows of one msg, which stands still.
    way.set(Mode::Cut);
    let group = json!({
        "ownerUserID": "gina", "memberUserIDs": ["gus"], "groupInfo": {"groupName": "g", "groupType": 2},
    });
    let admin = cluster.admin().await;
    admin.data("/group/create_group", &group).await;
    for chat in &mut chats {
        chat.write().await;
    }
    let ended = cluster.terminate_one(msg[0]).await.expect("it drains");
    assert!(ended.success());
    cluster.signal_one(msg[1], libc::SIGSTOP).expect("stopped");
    let soon = ["--partitions", "24", "--wait", "15"];
    refused(&mut cluster, &soon, "push is ").await;
    way.set(Mode::Pass);
    for chat in &mut chats {
        chat.read().await;
    }

    for line in ["closed", "are made", "in use"] {
        let (code, said) = repartition(&mut cluster, &more, Some(line)).await;
        assert_eq!(code, None, "{said}");
        if line == "closed" {
            let (code, text) = cluster.refused_one(msg[0]).await.expect("it ends");
            assert_eq!(code, 1);
            let why = "is being repartitioned: wait for `magpie admin repartition --partitions 24`";
            assert!(text.contains(why), "{text}");
        }
    }
    let (code, said) = repartition(&mut cluster, &more, None).await;
    assert_eq!(code, Some(0), "{said}");

    // Those that still have the old figure end by themselves, and don't come back with it.
    cluster
        .signal_one(msg[1], libc::SIGCONT)
        .expect("it goes on");
    let old = [&msg[1..], &transfer, &push].concat();
    for at in &old {
        let ended = cluster.ended_one(*at).await.expect("its end");
        assert_eq!(ended.code(), Some(1), "{}", cluster.service(*at));
    }
    let (code, text) = cluster.refused_one(msg[0]).await.expect("it ends");
    assert_eq!(code, 1);
    let why = "kafka.partitions is 8 and the message log has 24 partitions";
    assert!(text.contains(why), "{text}");
    cluster.set_env("MAGPIE_KAFKA_PARTITIONS", "24");
    for at in [&msg[..1], &old].concat() {
        cluster.restart_one(at).await.expect("it starts");
    }
    for chat in &mut chats {
        chat.check().await;
    }
    assert!(!cluster.log().contains("panicked"), "a process panicked");
}
