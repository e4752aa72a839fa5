//! A change: how it is asked for, and what it leaves behind when it has happened.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use magpie_tests::{Client, Opcode, Rest};
use serde_json::{Value, json};

/// What devices were told without its being stored: by user, how often each content type came.
#[derive(Debug, Default)]
pub(super) struct Ears(Arc<Mutex<BTreeMap<(String, i32), usize>>>);

impl Ears {
    /// Listens on a device from now on.
    pub(super) fn listen(&self, mut device: Client) {
        let heard = Arc::clone(&self.0);
        tokio::spawn(async move {
            // Whoever says nothing for long is disconnected.
            let mut pings = tokio::time::interval(PING);
            loop {
                tokio::select! {
                    push = device.push() => {
                        let kind = push.expect("it stays connected").message.content_type;
                        let at = (device.user.clone(), kind);
                        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        *heard.entry(at).or_insert(0) += 1;
                    }
                    _ = pings.tick() => {
                        let ping = device.conn().send(Opcode::PING, b"");
                        ping.await.expect("it stays connected");
                    }
                }
            }
        });
    }

    fn has(&self, user: &str, kind: i32) -> bool {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.contains_key(&(user.to_owned(), kind))
    }
}

/// Distance of the pings of a device.
const PING: Duration = Duration::from_secs(5);
/// How often a fact is there that can't be asked for: neither not at all nor once.
const UNKNOWN: usize = 99;

type Holds = Box<dyn Fn(&Value) -> bool + Send + Sync>;

/// A question that shows whether the change has happened.
struct Fact {
    what: &'static str,
    path: &'static str,
    body: Value,
    holds: Holds,
}

/// See the module.
pub(super) struct Change {
    pub(super) name: String,
    pub(super) caller: Rest,
    pub(super) path: &'static str,
    pub(super) body: Value,
    facts: Vec<Fact>,
    /// A line in a chat: the chat, who sees it, the content type.
    line: Option<(String, String, i32)>,
    /// Who is told on his devices.
    told: Option<(String, i32)>,
}

impl Change {
    /// Without any facts yet.
    pub(super) fn new(name: String, caller: Rest, path: &'static str, body: Value) -> Self {
        Self {
            name,
            caller,
            path,
            body,
            facts: Vec::new(),
            line: None,
            told: None,
        }
    }

    pub(super) fn fact(
        mut self,
        what: &'static str,
        path: &'static str,
        body: Value,
        holds: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.facts.push(Fact {
            what,
            path,
            body,
            holds: Box::new(holds),
        });
        self
    }

    /// The list of changes since now will name it.
    pub(super) async fn listed(
        self,
        admin: &Rest,
        path: &'static str,
        of: (&str, &str),
        name: &str,
    ) -> Self {
        let (field, owner) = of;
        let now = json!({field: owner, "versionID": "", "version": 0});
        let now = admin.data(path, &now).await;
        let since = json!({field: owner, "versionID": now["versionID"], "version": now["version"]});
        let name = format!("\"{name}\"");
        self.fact("version list", path, since, move |changes| {
            let lists = [&changes["insert"], &changes["update"], &changes["delete"]];
            let named = lists.iter().any(|list| list.to_string().contains(&name));
            changes["full"] != true && named
        })
    }

    pub(super) fn line(mut self, chat: &str, reader: &str, kind: i32) -> Self {
        self.line = Some((chat.to_owned(), reader.to_owned(), kind));
        self
    }

    pub(super) fn told(mut self, user: &str, kind: i32) -> Self {
        self.told = Some((user.to_owned(), kind));
        self
    }

    /// Each fact with how often it is there.
    pub(super) async fn facts(&self, admin: &Rest, ears: &Ears) -> Vec<(String, usize)> {
        let mut facts = Vec::new();
        for fact in &self.facts {
            let answer = admin.post(fact.path, &fact.body).await;
            let there = match answer.code() {
                0 => usize::from((fact.holds)(&answer.json()["data"])),
                _ => UNKNOWN,
            };
            facts.push((format!("{} {}", fact.path, fact.what), there));
        }
        if let Some((chat, reader, kind)) = &self.line {
            let range = json!({"conversationID": chat, "begin": 1, "end": 100, "num": 100});
            let body = json!({"userID": reader, "seqRanges": [range], "order": 0});
            let pulled = admin.post("/msg/pull_msg_by_seq", &body).await.json();
            let lines = pulled["data"]["msgs"][chat]["Msgs"].as_array().cloned();
            let lines = lines.unwrap_or_default();
            let there = lines.iter().filter(|msg| msg["contentType"] == *kind);
            facts.push((format!("line {kind}"), there.count()));
        }
        if let Some((user, kind)) = &self.told {
            facts.push((format!("told {kind}"), usize::from(ears.has(user, *kind))));
        }
        facts
    }
}
