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
    /// The kind of its message, and whether that is numbered.
    content: Value,
    numbered: bool,
    operation: String,
    /// Whether it may not swap with anything.
    strict: bool,
    pub(super) of_line: Vec<usize>,
    /// A line that only the overrides know.
    pub(super) added: bool,
    /// A push of something that was done before its connection was opened: it may come still, or not.
    pub(super) optional: bool,
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
        // When a server pings is its own business, except where a client waits to see it.
        let own_pings = step.action != Action::Wait;
        let events_of_step = step.events.iter();
        for line in events_of_step.filter(|line| !own_pings || line.value["opcode"] != "ping") {
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
            let mut event = pending(step.number, line, added, overrides, differences);
            event.optional = is_late(case, step, &event);
            events.push(event);
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
    let message = pushed(&line.value).cloned().unwrap_or_default();
    let content = message["contentType"].clone();
    let numbered = message["seq"].is_number();
    Pending {
        step,
        line,
        key,
        conversation,
        content,
        numbered,
        operation,
        strict: moved.is_some(),
        of_line,
        added,
        optional: false,
    }
}

/// Whether a push came to the connection that the step opens because of an earlier step.
fn is_late(case: &Case, step: &Step, event: &Pending) -> bool {
    let opens = matches!(&step.action, Action::Open { conn, .. } if *conn == event.line.conn);
    opens
        && case
            .step_of(&event.operation)
            .is_some_and(|cause| cause < step.number)
}

impl Pending {
    /// Whether the recording's order between two events of one connection binds. In one stream, notifications of two kinds that
    /// aren't numbered may swap.
    pub(super) fn comes_before(&self, later: &Self) -> bool {
        if self.strict || later.strict {
            return true;
        }
        match (&self.conversation, &later.conversation) {
            (Some(one), Some(other)) => {
                one == other && (self.numbered || later.numbered || self.content == later.content)
            }
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
    let content = pushed(line).map(|message| &message["contentType"]);
    format!(
        "{} {} {} {} {about}",
        env["reqIdentifier"],
        env["msgIncr"],
        env["operationID"],
        content.unwrap_or(&Value::Null)
    )
}

/// The first message of a push.
fn pushed(line: &Value) -> Option<&Value> {
    let maps = [&line["data"]["msgs"], &line["data"]["notificationMsgs"]];
    let mut lists = maps
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|map| map.values());
    let push = json!(2001) == line["env"]["reqIdentifier"];
    push.then(|| lists.next())
        .flatten()
        .map(|list| &list["Msgs"][0])
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

pub(super) fn operation(line: &Value) -> String {
    line["env"]["operationID"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
