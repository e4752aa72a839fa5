//! Two users who chat while somebody else attacks the server, and must not notice.
//!
//! They take turns: each message is acknowledged, pushed to the other one with the next seq, and answered. At the end both have
//! the same unbroken chat, the server has not panicked, and its memory has not grown beyond a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, ensure};
use tokio::task::JoinHandle;

use crate::{Client, Server};

/// By how much the server's memory may grow at most; generous, it tells a leak or a bomb from ordinary work.
const GROWTH_KIB: u64 = 200 << 10;
/// Turns that must work after the attack.
const LAST_TURNS: i64 = 20;

/// Their conversation.
const CHAT: &str = "si_good1_good2";

/// The two, chatting.
#[derive(Debug)]
pub struct Bystanders {
    stop: Arc<AtomicBool>,
    chat: JoinHandle<anyhow::Result<i64>>,
    resident: u64,
    growth: u64,
}

impl Bystanders {
    /// Registers them and lets them chat.
    ///
    /// # Panics
    /// The server refuses them.
    pub async fn start(server: &Server) -> Self {
        server.register(&["good1", "good2"]).await;
        let first = server.connect("good1", 5).await;
        let second = server.connect("good2", 2).await;
        let stop = Arc::new(AtomicBool::new(false));
        let chat = tokio::spawn(chat(first, second, Arc::clone(&stop)));
        Self {
            stop,
            chat,
            resident: memory(server, "VmRSS"),
            growth: GROWTH_KIB,
        }
    }

    /// Lets the server grow by more than usual, in MiB, for attacks whose harmless part takes memory.
    #[must_use]
    pub fn with_growth(self, mebibytes: u64) -> Self {
        Self {
            growth: mebibytes << 10,
            ..self
        }
    }

    /// Ends the attack: they chat a little longer, then everything is checked.
    ///
    /// # Panics
    /// They noticed something, or the server panicked or grew.
    pub async fn unharmed(self, server: &Server) {
        self.stop.store(true, Ordering::Relaxed);
        let turns = self.chat.await.expect("the chat does not panic");
        let turns = turns.expect("the chat goes on undisturbed");
        let mut reader = server.connect("good2", 5).await;
        let stored = reader.pull_all(CHAT).await.expect("a pull");
        let texts = stored.iter().map(|message| &*message.content);
        let expected = (1..=turns).map(|turn| format!(r#"{{"content":"turn {turn}"}}"#));
        assert!(
            texts.eq(expected.map(String::into_bytes)),
            "the chat is whole and in order"
        );
        assert!(!server.log().contains("panicked"), "the server panicked");
        let grown = memory(server, "VmHWM").saturating_sub(self.resident);
        assert!(grown < self.growth, "the server grew by {grown} KiB");
    }
}

async fn chat(mut first: Client, mut second: Client, stop: Arc<AtomicBool>) -> anyhow::Result<i64> {
    let mut last = i64::MAX;
    for turn in 1.. {
        let (from, to) = if turn % 2 == 1 {
            (&mut first, &mut second)
        } else {
            (&mut second, &mut first)
        };
        let mut message = crate::text_message(&from.user, &to.user, &format!("turn {turn}"));
        message.sender_platform_id = from.platform;
        let sent = from.send_message(&message).await;
        let sent = sent.with_context(|| format!("turn {turn} is not acknowledged"))?;
        for client in [from, to] {
            let ours = |push: &crate::Push| push.conversation == CHAT;
            let push = client.push_where(ours).await;
            let push = push.with_context(|| format!("turn {turn} is not pushed"))?;
            ensure!(
                push.message.seq == turn && push.message.server_msg_id == sent.server_msg_id,
                "{} gets {push:?} in turn {turn}",
                client.user
            );
        }
        if stop.load(Ordering::Relaxed) {
            last = last.min(turn + LAST_TURNS);
        }
        if turn == last {
            return Ok(turn);
        }
    }
    unreachable!("the turns don't end before the return")
}

/// A line of the status of its processes, KiB in all.
fn memory(server: &Server, field: &str) -> u64 {
    let of = |pid: u32| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
            .expect("the status has this line")
    };
    let pids = server.pids();
    assert!(!pids.is_empty(), "the server runs");
    pids.into_iter().map(of).sum()
}
