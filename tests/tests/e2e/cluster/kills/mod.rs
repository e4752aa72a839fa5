//! kill -9 of a whole service while changes of every kind are under way: each has happened completely once all is quiet, or not at all.
//!
//! One wave of changes after the other meets the end of one service. As soon as a few of a wave are answered, so that the others are
//! under way, both instances of the service are killed; they start again, and those who take over what was left do so. Then all
//! facts of a change have to say the same: the state of both sides, the version lists, the line in the chat, stored once, and what
//! devices were told. A change that was answered with success has happened.

mod changes;
mod kinds;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use magpie_tests::{Cluster, Rest};

use changes::{Change, Ears};
use kinds::Wave;

/// In this order; the changes of a wave of their own meet the end of each.
const KILLED: [&str; 6] = ["msg", "transfer", "conversation", "group", "friend", "user"];
/// How long what was left may take: it is taken over when it is 30 s old, and looked for every 10 s.
const TAKEN_OVER: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Asks for a change; the answer, if it was no success.
async fn ask(rest: Rest, path: &'static str, body: Bytes) -> Result<(), String> {
    let operation_id = format!("test-{:016x}", rand::random::<u64>());
    let headers = [
        ("operationID", operation_id.as_str()),
        ("Content-Type", "application/json"),
        ("token", rest.token().unwrap_or_default()),
    ];
    match rest.call("POST", path, &headers, body).await {
        Ok(answer) if answer.code() == 0 => Ok(()),
        Ok(answer) => Err(String::from_utf8_lossy(&answer.body).into_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// Kills every instance of a service, and starts them again.
async fn kill(cluster: &mut Cluster, service: &str) {
    let all = 0..cluster.size();
    let of_service: Vec<usize> = all.filter(|at| cluster.service(*at) == service).collect();
    for at in &of_service {
        cluster.signal_one(*at, libc::SIGKILL).expect("it runs");
    }
    for at in of_service {
        cluster.ended_one(at).await.expect("it ends");
        cluster.restart_one(at).await.expect("it starts");
    }
}

/// What is wrong with a change now, and whether it has happened.
async fn judge(
    admin: &Rest,
    ears: &Ears,
    change: &Change,
    answer: &Result<(), String>,
) -> Result<bool, String> {
    let facts = change.facts(admin, ears).await;
    let happened = facts.iter().any(|(_, there)| *there == 1);
    let wrong = facts
        .iter()
        .any(|(_, there)| *there != usize::from(happened));
    if wrong || answer.is_ok() && !happened {
        return Err(format!("{}: {answer:?}, {facts:?}", change.name));
    }
    Ok(happened)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_any_kind_survives_the_end_of_any_service_whole_or_not_at_all() {
    if super::skipped("cluster::kills") {
        return;
    }
    let mut cluster = Cluster::start(2).await;
    let admin = cluster.admin().await;
    let ears = Ears::default();
    let names: Vec<String> = (0..KILLED.len()).map(|n| format!("k{n}")).collect();
    let waves = names
        .iter()
        .map(|name| Wave::prepare(&cluster, &admin, name, &ears));
    let waves = join_all(waves).await;
    let mut all: Vec<(Change, Result<(), String>)> = Vec::new();
    for (wave, service) in waves.into_iter().zip(KILLED) {
        let mut under_way = FuturesUnordered::new();
        for change in wave.changes {
            let body = Bytes::from(change.body.to_string());
            let asked = tokio::spawn(ask(change.caller.clone(), change.path, body));
            under_way.push(async move { (change, asked.await.expect("no panic")) });
        }
        let asked = under_way.len();
        for _ in 0..rand::random_range(1..=asked / 2) {
            all.extend(under_way.next().await);
        }
        kill(&mut cluster, service).await;
        all.extend(under_way.collect::<Vec<_>>().await);
    }
    let begun = Instant::now();
    let mut open: Vec<usize> = (0..all.len()).collect();
    loop {
        let looks = open.iter().filter_map(|at| all.get(*at));
        let judged = looks.map(|(change, answer)| judge(&admin, &ears, change, answer));
        let judged = join_all(judged).await;
        let (mut wrong, mut whole) = (Vec::new(), 0);
        let mut left = Vec::new();
        for (at, judged) in open.iter().zip(judged) {
            match judged {
                Ok(happened) => whole += usize::from(happened),
                Err(text) => {
                    left.push(*at);
                    wrong.push(text);
                }
            }
        }
        if left.is_empty() && open.len() == all.len() {
            let answered = all.iter().filter(|(_, answer)| answer.is_ok()).count();
            assert!(answered > all.len() / 2, "most changes succeed");
            let (all, took) = (all.len(), begun.elapsed());
            println!(
                "{all} changes, {answered} answered with success, {whole} happened; whole after {took:?}"
            );
            break;
        }
        let late = begun.elapsed() > TAKEN_OVER;
        assert!(!late, "after {TAKEN_OVER:?}:\n{}", wrong.join("\n"));
        if left.is_empty() {
            // Once more all of them: what was whole has to be so still.
            left = (0..all.len()).collect();
        } else {
            tokio::time::sleep(LOOK).await;
        }
        open = left;
    }
    assert!(!cluster.log().contains("panicked"), "a process panicked");
}
