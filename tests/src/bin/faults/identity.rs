//! Who a device is, and what all devices look at.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use magpie_proto::openim::sdkws::{MsgData, PullMessageBySeqsReq, SeqRange};
use magpie_tests::{Client, Conn, Handshake, text_message};
use magpie_types::ConversationId;
use tokio::time::timeout;

/// Longest time for a connection.
const CONNECT_BOUND: Duration = Duration::from_secs(15);

/// What all devices look at.
#[derive(Default)]
pub(crate) struct Stage {
    /// Addresses of gateways.
    pub(crate) gateways: Mutex<Vec<String>>,
    /// Rises at every fault and every repair; part of the ids of messages.
    pub(crate) mark: AtomicU64,
    pub(crate) paused: AtomicBool,
    /// Whoever is connected to this gateway writes nothing.
    pub(crate) quiet: Mutex<Option<String>>,
    pub(crate) trouble: AtomicBool,
}

/// Whether a user takes part in the conversation of his devices; most members of groups come and go.
pub(crate) struct Seat {
    taken: AtomicBool,
    /// He never leaves.
    pub(crate) stays: bool,
}

impl Seat {
    pub(crate) fn taken(stays: bool) -> Self {
        Self {
            taken: AtomicBool::new(true),
            stays,
        }
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self, taken: bool) {
        self.taken.store(taken, Ordering::SeqCst);
    }
}

/// Where a device writes.
#[derive(Clone)]
pub(crate) enum Chat {
    /// To a user.
    Pair(String),
    /// To a group.
    Group(String),
}

/// Who a device is.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) chat: Chat,
    pub(crate) platform: i32,
    pub(crate) token: String,
}

impl Identity {
    /// The conversation that it writes in.
    pub(crate) fn conversation(&self) -> String {
        match &self.chat {
            Chat::Pair(peer) => ConversationId::single(&self.user, peer).into(),
            Chat::Group(group) => ConversationId::group(group).into(),
        }
    }

    /// Whether that is a group's.
    pub(crate) fn is_in_group(&self) -> bool {
        matches!(self.chat, Chat::Group(_))
    }

    /// A message to it.
    pub(crate) fn message(&self, id: String, text: &str) -> MsgData {
        let mut message = match &self.chat {
            Chat::Pair(peer) => text_message(&self.user, peer, text),
            Chat::Group(group) => MsgData {
                group_id: group.clone(),
                session_type: 3,
                ..text_message(&self.user, "", text)
            },
        };
        message.client_msg_id = id;
        message.sender_platform_id = self.platform;
        message
    }

    /// Its name in reports.
    pub(crate) fn who(&self) -> String {
        format!("{}/{}", self.user, self.platform)
    }

    /// Connects to a gateway.
    pub(crate) async fn connect(&self, url: &str) -> anyhow::Result<Client> {
        let handshake = match self.platform {
            5 => Handshake::js(&self.user, self.platform, &self.token),
            _ => Handshake::go(&self.user, self.platform, &self.token),
        };
        let connecting = async {
            match Conn::open(url, &handshake).await? {
                Ok(conn) => Client::start(conn, &handshake).await,
                Err(refused) => bail!("refused: {} {}", refused.status, refused.text()),
            }
        };
        timeout(CONNECT_BOUND, connecting)
            .await
            .context("no answer to the handshake")?
    }
}

/// A pull of a range.
pub(crate) fn pull_request(
    user: &str,
    conversation: &str,
    begin: i64,
    end: i64,
) -> PullMessageBySeqsReq {
    PullMessageBySeqsReq {
        user_id: user.to_owned(),
        seq_ranges: vec![SeqRange {
            conversation_id: conversation.to_owned(),
            begin,
            end,
            num: end - begin + 1,
        }],
        order: 0,
    }
}
