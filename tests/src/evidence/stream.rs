//! One connection: answers before pushes, every seq once, in order and none left out, every push as stored, sends stored in their order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Connection, Fault, Frame, Kind, Order, Row, Send};

/// Sends of messages that had been sent before.
#[derive(Default)]
pub(super) struct Resends<'a> {
    /// Their trace ids.
    operations: BTreeSet<&'a str>,
    /// Messages of which a send was refused: whether it is stored nobody knows, and others may be sent before it is sent again.
    refused: BTreeSet<&'a str>,
}

impl<'a> Resends<'a> {
    pub(super) fn of(connections: &'a [Connection]) -> Self {
        let mut found = Self::default();
        let mut sent: BTreeSet<&str> = BTreeSet::new();
        for connection in connections {
            let mut refused: BTreeSet<&str> = BTreeSet::new();
            for frame in &connection.frames {
                if let Frame::Refused { operation_id, .. } = frame {
                    refused.insert(operation_id);
                }
            }
            for send in &connection.sends {
                if !sent.insert(&send.client_msg_id) {
                    found.operations.insert(&send.operation_id);
                }
                if refused.contains(send.operation_id.as_str()) {
                    found.refused.insert(&send.client_msg_id);
                }
            }
        }
        found
    }

    fn may_be_late(&self, send: &Send) -> bool {
        self.operations.contains(send.operation_id.as_str())
            && self.refused.contains(send.client_msg_id.as_str())
    }
}

/// What a device has got of one conversation.
#[derive(Default)]
struct Seen {
    /// On this connection by push.
    pushed: HashSet<i64>,
    pulled: HashSet<i64>,
    newest: i64,
    /// The newest push since nothing is broken.
    in_calm: Option<i64>,
}

impl Seen {
    /// The first seq between the last push in calm and this one that the device does not have otherwise.
    fn left_out(&self, seq: i64, connection: &Connection) -> Option<i64> {
        let from = self.in_calm?.max(connection.had) + 1;
        (from..seq).find(|seq| !self.pulled.contains(seq) && !self.pushed.contains(seq))
    }
}

pub(super) fn check(
    connection: &Connection,
    resends: &Resends<'_>,
    orders: &BTreeMap<&str, Order<'_>>,
    faults: &mut Vec<Fault>,
) {
    let who = &connection.who;
    let sends: HashMap<&str, &Send> = connection
        .sends
        .iter()
        .map(|send| (send.operation_id.as_str(), send))
        .collect();
    let mut answered: BTreeSet<&str> = BTreeSet::new();
    let mut acknowledged: BTreeSet<&str> = BTreeSet::new();
    let mut seen: HashMap<&str, Seen> = HashMap::new();
    let mut own: BTreeSet<(&str, i64)> = BTreeSet::new();
    let mut trouble = connection.trouble;
    for frame in &connection.frames {
        match frame {
            Frame::Trouble(now) => {
                trouble = *now;
                seen.values_mut().for_each(|seen| seen.in_calm = None);
            }
            Frame::Acknowledged { operation_id, .. } | Frame::Refused { operation_id, .. } => {
                if matches!(frame, Frame::Acknowledged { .. }) {
                    acknowledged.insert(operation_id);
                }
                if !answered.insert(operation_id) {
                    let text = format!("{who}: {operation_id} was answered twice");
                    faults.push(Fault::new(Kind::Doubled, text));
                }
            }
            Frame::Pulled { conversation, row } => {
                as_stored(who, "pulled", conversation, row, orders, faults);
                let seen = seen.entry(conversation).or_default();
                seen.pulled.insert(row.seq);
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
                    let text = format!(
                        "{who}: {} was pushed before its send was answered",
                        row.client_msg_id
                    );
                    faults.push(Fault::new(Kind::Reordered, text));
                }
                if row.seq == 0 {
                    continue;
                }
                as_stored(who, "pushed", conversation, row, orders, faults);
                let seen = seen.entry(conversation).or_default();
                let again = row.seq <= connection.pushed || seen.pushed.contains(&row.seq);
                let first = !again && row.seq > connection.had && !seen.pulled.contains(&row.seq);
                let last = seen.newest.max(connection.pushed);
                let late = row.seq <= last;
                seen.pushed.insert(row.seq);
                seen.newest = last.max(row.seq);
                if !late {
                    if !trouble {
                        if connection.stays
                            && let Some(missing) = seen.left_out(row.seq, connection)
                        {
                            let seq = row.seq;
                            let text = format!(
                                "{who}: seq {seq} of {conversation} was pushed, {missing} was not"
                            );
                            faults.push(Fault::new(Kind::Lost, text));
                        }
                        seen.in_calm = Some(row.seq);
                    }
                    continue;
                }
                // Only the answer to a resend may show its message once more, to the connection that asked.
                let answers_resend = is_own
                    && resends.operations.contains(operation_id.as_str())
                    && own.insert((operation_id, row.seq));
                let kind = match (first, again) {
                    _ if answers_resend => continue,
                    (true, _) => Kind::Reordered,
                    (_, true) if !trouble => Kind::Doubled,
                    // It had that before, in another way or in trouble.
                    _ => continue,
                };
                let text = format!(
                    "{who}: seq {} of {conversation} was pushed after {last}",
                    row.seq
                );
                faults.push(Fault::new(kind, text));
            }
        }
    }
    sends_in_order(connection, resends, &acknowledged, orders, faults);
}

fn as_stored(
    who: &str,
    how: &str,
    conversation: &str,
    row: &Row,
    orders: &BTreeMap<&str, Order<'_>>,
    faults: &mut Vec<Fault>,
) {
    if let Some(order) = orders.get(conversation)
        && order.get(row.client_msg_id.as_str()) != Some(&row)
    {
        let text = format!("{who}: {how} {row:?}, which is stored otherwise in {conversation}");
        faults.push(Fault::new(Kind::Reordered, text));
    }
}

/// What was acknowledged on this connection is stored in the order in which it was sent.
fn sends_in_order(
    connection: &Connection,
    resends: &Resends<'_>,
    acknowledged: &BTreeSet<&str>,
    orders: &BTreeMap<&str, Order<'_>>,
    faults: &mut Vec<Fault>,
) {
    let mut newest: HashMap<&str, i64> = HashMap::new();
    let first = connection.sends.iter().filter(|send| {
        acknowledged.contains(send.operation_id.as_str()) && !resends.may_be_late(send)
    });
    for send in first {
        let Some(row) = orders
            .get(send.conversation.as_str())
            .and_then(|order| order.get(send.client_msg_id.as_str()))
        else {
            continue;
        };
        let last = newest.entry(&send.conversation).or_default();
        if row.seq < *last {
            let text = format!(
                "{}: {} was sent after the message of seq {last} and is stored as {}",
                connection.who, send.client_msg_id, row.seq
            );
            faults.push(Fault::new(Kind::Reordered, text));
        }
        *last = row.seq.max(*last);
    }
}
