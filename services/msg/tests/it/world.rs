//! The msg, user and transfer services, and what transfer hands to push.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use magpie_discovery::{Channel, name};
use magpie_log::{BatchLimits, Consumer, Topic};
use magpie_proto::{
    magpie::log::Stored,
    openim::{
        msg::{msg_client::MsgClient, *},
        sdkws::{MsgData, NotificationElem, PullMessageBySeqsReq, PullMsgs, SeqRange},
    },
};
use magpie_service::Context;
use magpie_store::{Documents as _, documents::Head, key};
use magpie_testkit::{Engines, admin, code, register, until, user};
use prost::Message as _;
use tokio::time::timeout;

pub(crate) const CHAT: &str = "si_u1_u2";
/// Content type of what `quiet` sends.
const MARK: i32 = 110;
/// How long a record may take.
const BOUND: Duration = Duration::from_secs(20);

/// A notification as push gets it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) conversation: String,
    pub(crate) sender: String,
    pub(crate) receivers: Vec<String>,
    pub(crate) seq: i64,
    /// JSON of the tips.
    pub(crate) detail: String,
}

pub(crate) struct World {
    pub(crate) engines: Engines,
    stored: Box<dyn Consumer>,
    pending: VecDeque<Stored>,
}

impl World {
    /// With the users u1, u2 and u3.
    pub(crate) async fn new() -> Self {
        let engines = Engines::new().await;
        let (deps, registry) = (&engines.deps, &engines.registry);
        registry.serve(name::USER, magpie_user::routes(deps, Default::default()));
        registry.serve(name::MSG, magpie_msg::routes(deps, Default::default()));
        magpie_transfer::start(deps, Default::default());
        register(deps, &["u1", "u2", "u3"]).await;
        let stored = deps
            .log
            .subscribe(Topic::Stored, "test", BatchLimits::default())
            .await
            .unwrap();
        Self {
            engines,
            stored,
            pending: VecDeque::new(),
        }
    }

    pub(crate) fn client(&self) -> MsgClient<Channel> {
        MsgClient::new(self.engines.deps.channel(name::MSG))
    }

    /// Sends a text; answers the refusal's code.
    pub(crate) async fn send(&self, from: &str, to: &str, text: &str) -> i32 {
        let request = SendMsgReq {
            msg_data: Some(message(from, to, text)),
        };
        code(self.client().send_msg(user(from).request(request)).await)
    }

    /// Sends texts from one user to another, and waits until all are stored.
    pub(crate) async fn chat(&self, from: &str, to: &str, texts: &[&str]) {
        let (low, high) = if from <= to { (from, to) } else { (to, from) };
        let chat = format!("si_{low}_{high}");
        let before = self.max_seq(&chat).await;
        for text in texts {
            assert_eq!(self.send(from, to, text).await, 0);
        }
        let all = before + i64::try_from(texts.len()).unwrap();
        let stored = async || (self.max_seq(&chat).await >= all).then_some(());
        until("messages are stored", stored).await;
    }

    pub(crate) async fn max_seq(&self, conversation: &str) -> i64 {
        let request = GetConversationMaxSeqReq {
            conversation_id: conversation.to_owned(),
        };
        let mut client = self.client();
        let answer = client.get_conversation_max_seq(admin().request(request));
        answer.await.unwrap().into_inner().max_seq
    }

    /// The next record with this content type that transfer hands to push; those before it are dropped.
    pub(crate) async fn notice(&mut self, content_type: i32) -> Notice {
        loop {
            let stored = self.record().await;
            if stored.content_type != content_type {
                continue;
            }
            let msg = MsgData::decode(stored.msg).unwrap();
            let elem: NotificationElem = magpie_proto::json::from_slice(&msg.content).unwrap();
            return Notice {
                conversation: stored.conversation_id,
                sender: stored.sender_id,
                receivers: stored.receiver_ids,
                seq: stored.seq,
                detail: elem.detail,
            };
        }
    }

    /// The content types of all records since the last look. To know that none follows, it sends unstored messages into the
    /// chat of u1 and u2 and to u2 himself, and waits for them: a conversation's records are in order.
    pub(crate) async fn quiet(&mut self) -> Vec<i32> {
        for (from, to) in [("u1", "u2"), ("u2", "u2")] {
            let mut mark = message(from, to, "mark");
            mark.content_type = MARK;
            mark.options.insert("history".to_owned(), false);
            let request = SendMsgReq {
                msg_data: Some(mark),
            };
            let mut client = self.client();
            client.send_msg(user(from).request(request)).await.unwrap();
        }
        let (mut seen, mut marks) = (Vec::new(), 0);
        while marks < 2 {
            match self.record().await.content_type {
                MARK => marks += 1,
                content_type => seen.push(content_type),
            }
        }
        seen
    }

    async fn record(&mut self) -> Stored {
        loop {
            if let Some(stored) = self.pending.pop_front() {
                return stored;
            }
            let batch = timeout(BOUND, self.stored.next()).await;
            let records = batch.expect("a record in time").unwrap().records;
            self.pending.extend(
                records
                    .into_iter()
                    .map(|r| Stored::decode(r.value).unwrap()),
            );
        }
    }

    /// 1002 for one range, ascending, as `who` for himself.
    pub(crate) async fn range(
        &self,
        who: &str,
        conversation: &str,
        range: (i64, i64, i64),
    ) -> Result<BTreeMap<String, PullMsgs>, i32> {
        let request = pull_range(who, conversation, range, 0);
        let mut client = self.client();
        let answer = client.pull_message_by_seqs(user(who).request(request));
        match answer.await {
            Ok(pulled) => {
                let pulled = pulled.into_inner();
                Ok(pulled
                    .msgs
                    .into_iter()
                    .chain(pulled.notification_msgs)
                    .collect())
            }
            Err(status) => Err(magpie_proto::status::from_status(status).code().number()),
        }
    }

    /// What a user sees of the chat of u1 and u2: seq, status and text of each message.
    pub(crate) async fn seen(&self, who: &str) -> Vec<(i64, i32, String)> {
        let pulled = self.range(who, CHAT, (1, 100, 100)).await.unwrap();
        pulled.get(CHAT).map(|p| lines(&p.msgs)).unwrap_or_default()
    }

    /// When the newest message was sent, ms.
    pub(crate) async fn newest_time(&self, conversation: &str) -> i64 {
        let store = &self.engines.deps.store;
        let head: Option<Head> = store.find(key![conversation]).await.unwrap();
        head.map_or(0, |head| head.max_seq_time)
    }

    pub(crate) async fn seqs(&self, who: &str) -> Seqs {
        let request = GetConversationsHasReadAndMaxSeqReq {
            user_id: who.to_owned(),
            conversation_i_ds: vec![CHAT.to_owned()],
            return_pinned: false,
        };
        let mut client = self.client();
        let answer = client.get_conversations_has_read_and_max_seq(user(who).request(request));
        let seqs = answer.await.unwrap().into_inner().seqs;
        seqs.get(CHAT).cloned().unwrap_or_default()
    }
}

/// A text message of a user.
pub(crate) fn message(from: &str, to: &str, text: &str) -> MsgData {
    MsgData {
        send_id: from.to_owned(),
        recv_id: to.to_owned(),
        session_type: 1,
        msg_from: 100,
        content_type: 101,
        content: text.as_bytes().to_vec().into(),
        ..MsgData::default()
    }
}

pub(crate) fn pull_range(
    who: &str,
    conversation: &str,
    (begin, end, num): (i64, i64, i64),
    order: i32,
) -> PullMessageBySeqsReq {
    let range = SeqRange {
        conversation_id: conversation.to_owned(),
        begin,
        end,
        num,
    };
    PullMessageBySeqsReq {
        user_id: who.to_owned(),
        seq_ranges: vec![range],
        order,
    }
}

pub(crate) fn lines(msgs: &[MsgData]) -> Vec<(i64, i32, String)> {
    msgs.iter()
        .map(|m| {
            let text = String::from_utf8(m.content.to_vec()).unwrap();
            (m.seq, m.status, text)
        })
        .collect()
}

/// As lines: sent (2) messages.
pub(crate) fn sent(msgs: &[(i64, &str)]) -> Vec<(i64, i32, String)> {
    msgs.iter()
        .map(|(seq, text)| (*seq, 2, (*text).to_owned()))
        .collect()
}

/// The caller that a test names: an administrator or a user.
pub(crate) fn caller(who: &str) -> Context {
    if who == "imAdmin" { admin() } else { user(who) }
}
