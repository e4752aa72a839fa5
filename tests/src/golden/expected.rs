//! What is to come on the connections of a case, and which order binds.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::overrides::Overrides;
use super::parse::{Action, Case, Line, Step};

/// An event that is still to come.
pub(super) struct Pending {
    pub(super) step: i64,
    pub(super) line: Line,
    pub(super) key: String,
    /// The conversation of a push.
    conversation: Option<String>,
    operation: String,
    /// Whether it may not swap with anything.
    strict: bool,
    pub(super) of_line: Vec<usize>,
    /// A line that only the overrides know.
    pub(super) added: bool,
}

/// Turns all recorded events, as the overrides change them, into what is to come. Overrides that equal the recording are
/// reported.
pub(super) fn plan(
    case: &Case,
    overrides: &mut Overrides,
    differences: &mut Vec<String>,
) -> Vec<Pending> {
    let mut all = Vec::new();
    for step in &case.steps {
        let mut whole: Vec<(usize, String, usize, Value)> = overrides
            .whole_lines(step.number)
            .map(|(at, entry)| (at, entry.on.clone(), entry.nth, entry.expected.clone()))
            .collect();
        let mut events: Vec<Pending> = Vec::new();
        for line in &step.events {
            let replaced = whole
                .iter()
                .position(|(_, on, nth, _)| *on == line.conn && *nth == line.nth);
            let mut line = line.clone();
            let mut added = false;
            if let Some((at, .., value)) = replaced.map(|found| whole.remove(found)) {
                overrides.mark(at);
                if value == line.value {
                    differences.push(format!(
                        "{} equals the recording",
                        overrides.entry(at).place()
                    ));
                }
                if value.is_null() {
                    continue;
                }
                line.value = value;
                added = true;
            }
            events.push(pending(step.number, line, added, overrides, differences));
        }
        let last_part = case.steps.iter().rfind(|other| other.number == step.number);
        if last_part.is_some_and(|last| std::ptr::eq(last, step)) {
            for (at, conn, nth, value) in whole.into_iter().filter(|(.., value)| !value.is_null()) {
                overrides.mark(at);
                let line = Line {
                    conn,
                    nth,
                    value,
                    volatile: HashSet::new(),
                    order: i64::MAX,
                };
                events.push(pending(step.number, line, true, overrides, differences));
            }
        }
        events.sort_by_key(|event| (event.line.order, !event.strict));
        all.extend(events);
    }
    all
}

fn pending(
    step: i64,
    mut line: Line,
    added: bool,
    overrides: &mut Overrides,
    differences: &mut Vec<String>,
) -> Pending {
    let of_line = overrides.of_line(step, &line.conn, line.nth);
    let moved = overrides
        .take(&of_line, "order")
        .and_then(|entry| entry.expected.as_i64());
    if let Some(order) = moved {
        if order == line.order {
            differences.push(format!(
                "s{step} {}: the order override equals the recording",
                line.conn
            ));
        }
        line.order = order;
    }
    let key = key(&line.value);
    let conversation = conversation(&line.value);
    let operation = operation(&line.value);
    Pending {
        step,
        line,
        key,
        conversation,
        operation,
        strict: moved.is_some(),
        of_line,
        added,
    }
}

impl Pending {
    /// Whether the recording's order between two events of one connection binds.
    pub(super) fn comes_before(&self, later: &Self) -> bool {
        if self.strict || later.strict {
            return true;
        }
        match (&self.conversation, &later.conversation) {
            (Some(one), Some(other)) => one == other,
            (None, None) => true,
            _ => {
                self.operation == later.operation
                    || self.operation.is_empty()
                    || later.operation.is_empty()
            }
        }
    }
}

/// Whether an event belongs to the part of a step in which the client hangs up, which is still to come.
pub(super) fn hangs_up_later(step: &Step, pending: &Pending) -> bool {
    matches!(step.action, Action::Open { .. })
        && pending.line.value["event"] == "closed"
        && !step
            .events
            .iter()
            .any(|event| event.value["event"] == "closed")
}

/// What identifies an event on its connection, whatever its details.
pub(super) fn key(line: &Value) -> String {
    let env = &line["env"];
    if env.is_null() {
        return format!(
            "{} {}",
            line["event"].as_str().unwrap_or_default(),
            line["opcode"].as_str().unwrap_or_default()
        );
    }
    let about = conversation(line)
        .or_else(|| subscribed(line))
        .unwrap_or_default();
    format!(
        "{} {} {} {about}",
        env["reqIdentifier"], env["msgIncr"], env["operationID"]
    )
}

fn conversation(line: &Value) -> Option<String> {
    let data = &line["data"];
    let maps = [&data["msgs"], &data["notificationMsgs"]];
    let push = json!(2001) == line["env"]["reqIdentifier"];
    let mut names = maps
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|map| map.keys());
    push.then(|| names.next().cloned()).flatten()
}

/// The user whom a presence push is about.
fn subscribed(line: &Value) -> Option<String> {
    let push = line["env"]["reqIdentifier"] == 2005 && line["env"]["msgIncr"] == "";
    let user = push.then(|| &line["data"]["subscribers"][0]["userID"])?;
    Some(user.as_str()?.to_owned())
}

fn operation(line: &Value) -> String {
    line["env"]["operationID"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
