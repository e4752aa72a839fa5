//! What clients saw in a run, and what is wrong with it.
//!
//! Every connection's sends and frames, every pull and every read position of a run go in here; [`Evidence::faults`] names
//! each promise that they break: an acknowledged message that is missing, a doubled, reordered or renumbered one, a gap, two
//! views that differ, a frame sent twice on one connection, a push before the answer, a position that went back. It knows
//! nothing of the server, so the unit tests show that it finds each of these.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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
}

impl Connection {
    /// How many sends were not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        let is_answer = |frame: &&Frame| !matches!(frame, Frame::Push { .. });
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
        let mut faults = Vec::new();
        let orders = self.conversations(&mut faults);
        self.check_answers(&orders, &mut faults);
        let mut sent: BTreeSet<&str> = BTreeSet::new();
        let all = self.connections.iter().flat_map(|c| &c.sends);
        let resends: BTreeSet<&str> = all
            .filter(|send| !sent.insert(&send.client_msg_id))
            .map(|send| send.operation_id.as_str())
            .collect();
        for connection in &self.connections {
            check_connection(connection, &resends, &orders, &mut faults);
        }
        let mut last: HashMap<(&str, &str), i64> = HashMap::new();
        for (user, conversation, seq) in &self.cursors {
            if let Some(before) = last.insert((user, conversation), *seq)
                && before > *seq
            {
                faults.push(format!(
                    "{user} in {conversation}: the read position went from {before} back to {seq}"
                ));
            }
        }
        faults
    }

    /// Checks the pulls of each conversation and that they agree; answers its messages by client id.
    fn conversations(&self, faults: &mut Vec<String>) -> BTreeMap<&str, Order<'_>> {
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
            faults.push(format!(
                "{}: {} and {} see different messages from place {at} on: {:?} and {:?}",
                pull.conversation,
                first.who,
                pull.who,
                first.rows.get(at),
                pull.rows.get(at)
            ));
        }
        let mut orders = BTreeMap::new();
        for (conversation, pull) in first {
            let mut order = Order::new();
            let mut server_ids = BTreeSet::new();
            for (row, expected) in pull.rows.iter().zip(1..) {
                if row.seq != expected {
                    faults.push(format!(
                        "{conversation}: seq {} where {expected} belongs",
                        row.seq
                    ));
                    break;
                }
            }
            for row in &pull.rows {
                if let Some(other) = order.insert(row.client_msg_id.as_str(), row) {
                    faults.push(format!(
                        "{conversation}: {} is stored twice, as {} and {}",
                        row.client_msg_id, other.seq, row.seq
                    ));
                }
                if !server_ids.insert(&row.server_msg_id) {
                    faults.push(format!(
                        "{conversation}: two messages are {}",
                        row.server_msg_id
                    ));
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
    fn check_answers(&self, orders: &BTreeMap<&str, Order<'_>>, faults: &mut Vec<String>) {
        let answers = self.answers();
        for (id, answer) in &answers {
            if answer.server_ids.len() > 1 {
                faults.push(format!(
                    "{id} was acknowledged as several messages: {:?}",
                    answer.server_ids
                ));
            }
            let Some(server_id) = answer.server_ids.first() else {
                continue;
            };
            match orders
                .get(answer.conversation)
                .and_then(|order| order.get(id))
            {
                None => faults.push(format!("{id} was acknowledged and is not stored")),
                Some(row) if row.server_msg_id != **server_id => faults.push(format!(
                    "{id} was acknowledged as {server_id} and is stored as {}",
                    row.server_msg_id
                )),
                Some(_) => {}
            }
        }
        for (conversation, order) in orders {
            for id in order.keys().filter(|id| !answers.contains_key(**id)) {
                faults.push(format!("{conversation}: {id} is stored and nobody sent it"));
            }
        }
    }
}

#[derive(Default)]
struct Answers<'a> {
    conversation: &'a str,
    server_ids: BTreeSet<&'a str>,
}

/// On one connection: answers before pushes, every seq once and in order, every push as stored, sends stored in their order.
fn check_connection(
    connection: &Connection,
    resends: &BTreeSet<&str>,
    orders: &BTreeMap<&str, Order<'_>>,
    faults: &mut Vec<String>,
) {
    let who = &connection.who;
    let sends: HashMap<&str, &Send> = connection
        .sends
        .iter()
        .map(|send| (send.operation_id.as_str(), send))
        .collect();
    let mut answered: BTreeSet<&str> = BTreeSet::new();
    let mut acknowledged: BTreeSet<&str> = BTreeSet::new();
    let mut newest: HashMap<&str, i64> = HashMap::new();
    let mut own: BTreeSet<(&str, i64)> = BTreeSet::new();
    for frame in &connection.frames {
        match frame {
            Frame::Acknowledged { operation_id, .. } => {
                acknowledged.insert(operation_id);
                if !answered.insert(operation_id) {
                    faults.push(format!("{who}: {operation_id} was answered twice"));
                }
            }
            Frame::Refused { operation_id, .. } => {
                if !answered.insert(operation_id) {
                    faults.push(format!("{who}: {operation_id} was answered twice"));
                }
            }
            Frame::Push {
                operation_id,
                conversation,
                row,
            } => {
                let is_own = sends
                    .get(operation_id.as_str())
                    .is_some_and(|send| send.client_msg_id == row.client_msg_id);
                if is_own && !answered.contains(operation_id.as_str()) {
                    faults.push(format!(
                        "{who}: {} was pushed before its send was answered",
                        row.client_msg_id
                    ));
                }
                if row.seq == 0 {
                    continue;
                }
                if let Some(order) = orders.get(conversation.as_str())
                    && order.get(row.client_msg_id.as_str()) != Some(&row)
                {
                    faults.push(format!(
                        "{who}: pushed {row:?}, which is stored otherwise in {conversation}"
                    ));
                }
                let last = newest.entry(conversation).or_default();
                if row.seq > *last {
                    *last = row.seq;
                } else if !is_own
                    || !resends.contains(operation_id.as_str())
                    || !own.insert((operation_id, row.seq))
                {
                    // Only the answer to a resend may show its message once more, to the connection that asked.
                    faults.push(format!(
                        "{who}: seq {} of {conversation} was pushed after {last}",
                        row.seq
                    ));
                }
            }
        }
    }
    let mut newest: HashMap<&str, i64> = HashMap::new();
    // What a connection repeats after a refusal it may find stored where it was sent first.
    let mut first: BTreeSet<&str> = BTreeSet::new();
    for send in &connection.sends {
        let repeated = !first.insert(&send.client_msg_id);
        if repeated || !acknowledged.contains(send.operation_id.as_str()) {
            continue;
        }
        let Some(row) = orders
            .get(send.conversation.as_str())
            .and_then(|order| order.get(send.client_msg_id.as_str()))
        else {
            continue;
        };
        let last = newest.entry(&send.conversation).or_default();
        if row.seq < *last {
            faults.push(format!(
                "{who}: {} was sent after the message of seq {last} and is stored as {}",
                send.client_msg_id, row.seq
            ));
        }
        *last = row.seq.max(*last);
    }
}

#[cfg(test)]
mod tests;
