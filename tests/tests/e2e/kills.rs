//! kill -9 under load, again and again: what was acknowledged is there once and in order, and pushes go on.

use magpie_tests::evidence::Evidence;
use magpie_tests::load::{Device, Run, pair, settle};
use magpie_tests::{Rest, Server};
use serde_json::json;

/// How often the server is killed.
const KILLS: usize = 12;

/// Who reads where, by REST beside the connections.
struct Reader {
    user: String,
    token: String,
    conversation: String,
}

impl Reader {
    fn of(device: &Device) -> Self {
        Self {
            user: device.user.clone(),
            token: device.token.clone(),
            conversation: device.conversation(),
        }
    }

    /// The read position and the newest seq, as the server has them.
    async fn positions(&self, rest: &Rest) -> (i64, i64) {
        let body = json!({"userID": self.user, "conversationIDs": [self.conversation]});
        let data = rest
            .data("/msg/get_conversations_has_read_and_max_seq", &body)
            .await;
        let seqs = &data["seqs"][&self.conversation];
        let number = |name: &str| seqs[name].as_i64().unwrap_or(0);
        (number("hasReadSeq"), number("maxSeq"))
    }
}

/// Looks at every user's read position; every second user then reads everything.
async fn read_positions(server: &Server, readers: &[Reader], evidence: &mut Evidence) {
    for (at, reader) in readers.iter().enumerate() {
        let rest = server.anonymous().with_token(&reader.token);
        let mut note = |seq| {
            let seen = (reader.user.clone(), reader.conversation.clone(), seq);
            evidence.cursors.push(seen);
        };
        let (read, max) = reader.positions(&rest).await;
        note(read);
        if at % 2 == 0 && max > 0 {
            let body = json!({"userID": reader.user, "conversationID": reader.conversation, "hasReadSeq": max, "seqs": []});
            rest.data("/msg/mark_conversation_as_read", &body).await;
            note(max);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_under_load_it_loses_doubles_and_reorders_nothing() {
    let mut server = Server::start().await;
    let mut evidence = Evidence::default();
    let mut devices = Vec::new();
    for n in 0..3 {
        devices.extend(pair(&server, &format!("ann{n}"), &format!("bob{n}")).await);
    }
    let readers: Vec<Reader> = devices.iter().step_by(2).map(Reader::of).collect();
    let mut interrupted = 0;
    for life in 0..=KILLS {
        // At once, so that connections also meet what the server still has to do from before.
        let run = Run::start(&server.ws_urls(), devices, life);
        read_positions(&server, &readers, &mut evidence).await;
        run.under_way(rand::random_range(100..1000)).await;
        if life < KILLS {
            server.kill().await;
        } else {
            run.stop();
        }
        let (back, lives) = run.ended().await;
        devices = back;
        for life in lives {
            interrupted += life.connection.unanswered();
            assert_eq!(life.connection.refused(), [0; 0], "nothing is refused");
            evidence.connections.push(life.connection);
        }
        if life < KILLS {
            server.restart().await.expect("it starts over what is left");
        }
    }
    read_positions(&server, &readers, &mut evidence).await;
    settle(&server.ws_urls(), &mut devices, &mut evidence).await;
    assert!(
        interrupted > KILLS * devices.len(),
        "{interrupted} sends were interrupted"
    );
    println!(
        "{} acknowledged, {} stored, {interrupted} interrupted",
        evidence.acknowledged(),
        evidence.stored()
    );
    let faults = evidence.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(!server.log().contains("panicked"), "it panicked");

    // A clean restart changes nothing of it.
    assert!(server.terminate().await.expect("it drains").success());
    server.restart().await.expect("it starts");
    settle(&server.ws_urls(), &mut devices, &mut evidence).await;
    let faults = evidence.faults();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
