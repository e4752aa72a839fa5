//! Markers: how a target proves that nothing else was on its way.
//!
//! After the last step an online-only message goes through every conversation of the case, a request through every open
//! connection, and a new user comes online whom every presence subscriber watches. Each takes the way that frames of the case
//! took; once all have arrived, so has everything before them.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use anyhow::bail;
use magpie_proto::openim::sdkws::{GetMaxSeqReq, MsgData, SubUserOnlineStatus};
use prost::Message as _;
use serde_json::{Map, Value};

use super::live::LiveTarget;
use crate::text_message;

/// How long a marker may take.
const MARKER_BOUND: Duration = Duration::from_secs(15);
/// A user that no recording has, and how all ids of markers begin.
const MARKER_USER: &str = "marker";

impl LiveTarget {
    /// Sends an online-only message through every conversation of the case and a request through every connection, and says
    /// which events prove that they went through.
    pub(super) async fn send_markers(&mut self) -> anyhow::Result<HashSet<(String, String)>> {
        let mut awaited = HashSet::new();
        let open: Vec<(String, String, bool)> = self
            .conns
            .iter()
            .filter(|(_, live)| live.open)
            .map(|(name, live)| {
                (
                    name.clone(),
                    live.user.clone(),
                    live.background && live.platform == 1,
                )
            })
            .collect();
        for (number, (one, other)) in self.pairs.clone().into_iter().enumerate() {
            let Some((conn, from, _)) = open
                .iter()
                .find(|(_, user, _)| *user == one || *user == other)
            else {
                continue;
            };
            let to = if *from == one { &other } else { &one };
            let marker = format!("marker-{number}");
            let online_only = [
                "history",
                "persistent",
                "unreadCount",
                "offlinePush",
                "conversationUpdate",
                "senderConversationUpdate",
            ];
            let message = MsgData {
                client_msg_id: marker.clone(),
                options: online_only.map(|option| (option.to_owned(), false)).into(),
                ..text_message(from, to, "marker")
            };
            self.request(conn, 1003, &marker, message.encode_to_vec().into())
                .await?;
            let receivers = open
                .iter()
                .filter(|(_, user, hidden)| (*user == one || *user == other) && !hidden);
            awaited.extend(receivers.map(|(name, ..)| (name.clone(), marker.clone())));
            awaited.insert((conn.clone(), format!("answer-{marker}")));
        }
        for (conn, user, _) in &open {
            let body = GetMaxSeqReq {
                user_id: user.clone(),
            };
            self.request(conn, 1001, "marker-last", body.encode_to_vec().into())
                .await?;
            awaited.insert((conn.clone(), "answer-marker-last".to_owned()));
        }
        Ok(awaited)
    }

    /// Lets a user come online whom every subscriber watches.
    pub(super) async fn send_presence_marker(
        &mut self,
    ) -> anyhow::Result<(HashSet<(String, String)>, Option<crate::Client>)> {
        let subscribers: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, live)| live.open && live.subscriber)
            .map(|(name, _)| name.clone())
            .collect();
        let mut awaited = HashSet::new();
        if subscribers.is_empty() {
            return Ok((awaited, None));
        }
        self.server.register(&[MARKER_USER]).await;
        for conn in subscribers {
            let body = SubUserOnlineStatus {
                subscribe_user_id: vec![MARKER_USER.to_owned()],
                ..SubUserOnlineStatus::default()
            };
            self.request(&conn, 2005, "marker-subscribe", body.encode_to_vec().into())
                .await?;
            awaited.insert((conn.clone(), "answer-marker-subscribe".to_owned()));
            awaited.insert((conn, MARKER_USER.to_owned()));
        }
        self.await_markers(
            awaited
                .iter()
                .filter(|(_, marker)| marker != MARKER_USER)
                .cloned()
                .collect(),
        )
        .await?;
        awaited.retain(|(_, marker)| marker == MARKER_USER);
        Ok((awaited, Some(self.server.connect(MARKER_USER, 5).await)))
    }

    /// Takes events until all markers were seen; other events stay for the player.
    pub(super) async fn await_markers(
        &mut self,
        mut awaited: HashSet<(String, String)>,
    ) -> anyhow::Result<()> {
        let mut others = VecDeque::new();
        while !awaited.is_empty() {
            let Some((conn, line)) = self.arrive(MARKER_BOUND).await else {
                bail!("markers never arrived: {awaited:?}")
            };
            match marker_of(&line) {
                Some(marker) => {
                    // A pair may not be able to write to each other.
                    if let (Some(refused), true) =
                        (marker.strip_prefix("answer-"), line["env"]["errCode"] != 0)
                    {
                        awaited.retain(|(_, other)| other != refused);
                    }
                    awaited.remove(&(conn, marker));
                }
                None => {
                    if line["event"] == "closed" {
                        awaited.retain(|(name, _)| *name != conn);
                    }
                    others.push_back((conn, line));
                }
            }
        }
        others.append(&mut self.queue);
        self.queue = others;
        Ok(())
    }
}

/// Which marker an event carries: the message's client id, the request's number, or the user who came online.
fn marker_of(line: &Value) -> Option<String> {
    let incr = line["env"]["msgIncr"].as_str().unwrap_or_default();
    if incr.starts_with(MARKER_USER) {
        return Some(format!("answer-{incr}"));
    }
    if line["env"]["reqIdentifier"] == 2005
        && line["data"]["subscribers"][0]["userID"] == MARKER_USER
    {
        return Some(MARKER_USER.to_owned());
    }
    let lists = line["data"]["msgs"]
        .as_object()
        .into_iter()
        .flat_map(Map::values);
    let id = lists
        .filter_map(|list| list["Msgs"][0]["clientMsgID"].as_str())
        .next()?;
    id.starts_with(MARKER_USER).then(|| id.to_owned())
}
