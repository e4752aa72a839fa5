//! What clients saw in a run, and what is wrong with it.
//!
//! Every connection's sends and frames, every pull and every read position of a run go in here; [`Evidence::faults`] names
//! each promise that they break: an acknowledged message that is missing, a doubled, reordered or renumbered one, a gap, two
//! views that differ, a frame sent twice on one connection, one left out, a push before the answer, a position that went back; and of a group, whose
//! members come and go, something that somebody misses of his time or has of another. It knows nothing of the server, so the unit
//! tests show that it finds each of these.
//!
//! A long run is judged in pieces: [`Evidence::settled`] and [`Connection::had`] say what earlier pieces have shown. Between the
//! marks [`Frame::Trouble`] a push may come again or be left out, for then the device pulls; what comes for the first time keeps its
//! order there too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

mod groups;
mod held;
mod stream;

pub use groups::{Group, Holder, Line, Move, View};
pub use held::Held;

/// A request to send a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// Trace id of the request.
    pub operation_id: String,
    /// Conversation of the message.
    pub conversation: String,
    /// Id that the client gave it.
    pub client_msg_id: String,
}

/// What came on a connection, as far as it is about messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The acknowledgement of a send.
    Acknowledged {
        /// Trace id of the send.
        operation_id: String,
        /// Id that the server gave the message.
        server_msg_id: String,
    },
    /// The refusal of a send.
    Refused {
        /// Trace id of the send.
        operation_id: String,
        /// Error code.
        code: i32,
    },
    /// A pushed message.
    Push {
        /// Trace id of the request that caused it.
        operation_id: String,
        /// Conversation under which it came.
        conversation: String,
        /// The message.
        row: Row,
    },
    /// A message in the answer to a pull of this device.
    Pulled {
        /// Of which conversation.
        conversation: String,
        /// The message.
        row: Row,
    },
    /// From here on something in the cluster is broken, or nothing is.
    Trouble(bool),
}

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An acknowledged message is not stored, or somebody does not have it.
    Lost,
    /// A message has two places, or came twice.
    Doubled,
    /// Two views of the order differ, or a place was left out or given twice.
    Reordered,
    /// Somebody has what was written while he was no member.
    Leaked,
    /// A read position went back.
    Back,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub kind: Kind,
    /// In one line.
    pub text: String,
}

impl Fault {
    fn new(kind: Kind, text: String) -> Self {
        Self { kind, text }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A message at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Place in the conversation, 0 for one that is not stored.
    pub seq: i64,
    /// Id that the client gave it.
    pub client_msg_id: String,
    /// Id that the server gave it.
    pub server_msg_id: String,
}

/// One connection from its handshake to its end.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// Who it was, for the report.
    pub who: String,
    /// Its sends, in order.
    pub sends: Vec<Send>,
    /// What came, in order.
    pub frames: Vec<Frame>,
    /// Up to this seq the device had everything when this began.
    pub had: i64,
    /// The newest seq that was pushed on the same connection before this began.
    pub pushed: i64,
    /// Something in the cluster was broken when this began.
    pub trouble: bool,
    /// All of its conversation is for this user, so a push that leaves a seq out has lost one.
    pub stays: bool,
}

impl Connection {
    /// How many sends were not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        let is_answer =
            |frame: &&Frame| matches!(frame, Frame::Acknowledged { .. } | Frame::Refused { .. });
        let answers = self.frames.iter().filter(is_answer).count();
        self.sends.len().saturating_sub(answers)
    }

    /// The codes of its refused sends.
    #[must_use]
    pub fn refused(&self) -> Vec<i32> {
        let code = |frame: &Frame| match frame {
            Frame::Refused { code, .. } => Some(*code),
            _ => None,
        };
        self.frames.iter().filter_map(code).collect()
    }
}

/// Everything that one reader pulled of one conversation, in the order of the answers.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Who, for the report.
    pub who: String,
    /// Of which conversation.
    pub conversation: String,
    /// From seq 1 to the newest.
    pub rows: Vec<Row>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// All connections of the run; those of one user in the order in which he opened them.
    pub connections: Vec<Connection>,
    /// Whole conversations, pulled at the end by everybody.
    pub pulls: Vec<Pull>,
    /// Read positions in the order in which they were seen: user, conversation, seq.
    pub cursors: Vec<(String, String, i64)>,
    /// By conversation: up to which seq earlier evidence has said who sent what.
    pub settled: BTreeMap<String, i64>,
    /// The groups among the conversations.
    pub groups: Vec<Group>,
}

/// The stored conversation as all agree on it.
type Order<'a> = HashMap<&'a str, &'a Row>;

impl Evidence {
    /// How many messages were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.answers()
            .values()
            .filter(|answer| !answer.server_ids.is_empty())
            .count()
    }

    /// How many messages are stored, in all conversations.
    #[must_use]
    pub fn stored(&self) -> usize {
        let seen: BTreeMap<_, _> = self
            .pulls
            .iter()
            .map(|pull| (pull.conversation.as_str(), pull.rows.len()))
            .collect();
        seen.values().sum()
    }

    /// Messages without an acknowledgement that are stored nevertheless.
    #[must_use]
    pub fn stored_unacknowledged(&self) -> Vec<String> {
        let answers = self.answers();
        let stored: BTreeSet<&str> = self
            .pulls
            .iter()
            .flat_map(|pull| &pull.rows)
            .map(|row| row.client_msg_id.as_str())
            .collect();
        stored
            .into_iter()
            .filter(|id| {
                answers
                    .get(id)
                    .is_some_and(|answer| answer.server_ids.is_empty())
            })
            .map(str::to_owned)
            .collect()
    }

    /// Every broken promise, each in one line; empty when the run was right.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.judge().into_iter().map(|fault| fault.text).collect()
    }

    /// The same with the kind of each.
    #[must_use]
    pub fn judge(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let orders = self.conversations(&mut faults);
        self.check_answers(&orders, &mut faults);
        let resends = stream::Resends::of(&self.connections);
        for connection in &self.connections {
            stream::check(connection, &resends, &orders, &mut faults);
        }
        for group in &self.groups {
            let pull = self
                .pulls
                .iter()
                .find(|p| p.conversation == group.conversation);
            if let (Some(pull), Some(order)) = (pull, orders.get(group.conversation.as_str())) {
                group.check(&pull.rows, order, &mut faults);
            }
        }
        let mut last: HashMap<(&str, &str), i64> = HashMap::new();
        for (user, conversation, seq) in &self.cursors {
            if let Some(before) = last.insert((user, conversation), *seq)
                && before > *seq
            {
                let text = format!(
                    "{user} in {conversation}: the read position went from {before} back to {seq}"
                );
                faults.push(Fault::new(Kind::Back, text));
            }
        }
        faults
    }

    /// Checks the pulls of each conversation and that they agree; answers its messages by client id.
    fn conversations(&self, faults: &mut Vec<Fault>) -> BTreeMap<&str, Order<'_>> {
        let mut first: BTreeMap<&str, &Pull> = BTreeMap::new();
        for pull in &self.pulls {
            let first = *first.entry(&pull.conversation).or_insert(pull);
            if first.rows == pull.rows {
                continue;
            }
            let at = first
                .rows
                .iter()
                .zip(&pull.rows)
                .position(|(a, b)| a != b)
                .unwrap_or_else(|| first.rows.len().min(pull.rows.len()));
            let text = format!(
                "{}: {} and {} see different messages from place {at} on: {:?} and {:?}",
                pull.conversation,
                first.who,
                pull.who,
                first.rows.get(at),
                pull.rows.get(at)
            );
            faults.push(Fault::new(Kind::Reordered, text));
        }
        let mut orders = BTreeMap::new();
        for (conversation, pull) in first {
            let mut order = Order::new();
            let mut server_ids = BTreeSet::new();
            for (row, expected) in pull.rows.iter().zip(1..) {
                if row.seq != expected {
                    let text = format!("{conversation}: seq {} where {expected} belongs", row.seq);
                    faults.push(Fault::new(Kind::Reordered, text));
                    break;
                }
            }
            for row in &pull.rows {
                if let Some(other) = order.insert(row.client_msg_id.as_str(), row) {
                    let text = format!(
                        "{conversation}: {} is stored twice, as {} and {}",
                        row.client_msg_id, other.seq, row.seq
                    );
                    faults.push(Fault::new(Kind::Doubled, text));
                }
                if !server_ids.insert(&row.server_msg_id) {
                    let text = format!("{conversation}: two messages are {}", row.server_msg_id);
                    faults.push(Fault::new(Kind::Doubled, text));
                }
            }
            orders.insert(conversation, order);
        }
        orders
    }

    fn answers(&self) -> BTreeMap<&str, Answers<'_>> {
        let mut answers: BTreeMap<&str, Answers<'_>> = BTreeMap::new();
        for connection in &self.connections {
            let mut sends: HashMap<&str, &Send> = HashMap::new();
            for send in &connection.sends {
                sends.insert(&send.operation_id, send);
                let entry = answers.entry(&send.client_msg_id).or_default();
                entry.conversation = &send.conversation;
            }
            for frame in &connection.frames {
                if let Frame::Acknowledged {
                    operation_id,
                    server_msg_id,
                } = frame
                    && let Some(send) = sends.get(operation_id.as_str())
                {
                    let entry = answers.entry(&send.client_msg_id).or_default();
                    entry.server_ids.insert(server_msg_id);
                }
            }
        }
        answers
    }

    /// What was acknowledged is stored under the acknowledged id, and nothing is stored that nobody sent.
    fn check_answers(&self, orders: &BTreeMap<&str, Order<'_>>, faults: &mut Vec<Fault>) {
        let answers = self.answers();
        for (id, answer) in &answers {
            if answer.server_ids.len() > 1 {
                let text = format!(
                    "{id} was acknowledged as several messages: {:?}",
                    answer.server_ids
                );
                faults.push(Fault::new(Kind::Doubled, text));
            }
            let Some(server_id) = answer.server_ids.first() else {
                continue;
            };
            match orders
                .get(answer.conversation)
                .and_then(|order| order.get(id))
            {
                None => {
                    let text = format!("{id} was acknowledged and is not stored");
                    faults.push(Fault::new(Kind::Lost, text));
                }
                Some(row) if row.server_msg_id != **server_id => {
                    let text = format!(
                        "{id} was acknowledged as {server_id} and is stored as {}",
                        row.server_msg_id
                    );
                    faults.push(Fault::new(Kind::Doubled, text));
                }
                Some(_) => {}
            }
        }
        let lines: BTreeSet<&str> = self
            .groups
            .iter()
            .flat_map(|group| &group.lines)
            .map(|line| line.client_msg_id.as_str())
            .collect();
        for (conversation, order) in orders {
            let settled = self.settled.get(*conversation).copied().unwrap_or(0);
            let new = order.iter().filter(|(_, row)| row.seq > settled);
            for (id, _) in new {
                if !answers.contains_key(*id) && !lines.contains(id) {
                    let text = format!("{conversation}: {id} is stored and nobody sent it");
                    faults.push(Fault::new(Kind::Doubled, text));
                }
            }
        }
    }
}

#[derive(Default)]
struct Answers<'a> {
    conversation: &'a str,
    server_ids: BTreeSet<&'a str>,
}

#[cfg(test)]
mod tests;
