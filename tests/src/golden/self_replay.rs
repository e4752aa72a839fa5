//! The comparison itself on trial: a recording played against itself has no difference, and every planted one is found.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Action, Case, Override, Overrides, Report, Step, Target, case_names, folder, play};
use crate::token::verify;

/// A server that answers exactly what the recording says, except that its ids are others.
struct Recording {
    steps: VecDeque<Step>,
    queue: VecDeque<(String, Value)>,
    start_ms: i64,
}

impl Recording {
    fn of(case: &Case) -> Self {
        let answers = case.steps.iter().filter_map(|step| step.answer.as_ref());
        let token = answers
            .filter_map(|line| line.value["response"]["data"]["token"].as_str())
            .next();
        let issued = token
            .and_then(|token| verify(token, "openIM123"))
            .map_or(0, |(claims, ..)| claims.iat + 5);
        Self {
            steps: case.steps.iter().cloned().collect(),
            queue: VecDeque::new(),
            start_ms: issued * 1000,
        }
    }

    fn take(&mut self) -> Value {
        self.take_waits();
        let Some(step) = self.steps.pop_front() else {
            return Value::Null;
        };
        self.queue.extend(
            step.events
                .into_iter()
                .map(|line| (line.conn, other_ids(&line.value))),
        );
        step.answer
            .map(|line| other_ids(&line.value))
            .unwrap_or_default()
    }

    fn take_waits(&mut self) {
        while self
            .steps
            .front()
            .is_some_and(|step| step.action == Action::Wait)
        {
            let step = self.steps.pop_front().unwrap();
            self.queue.extend(
                step.events
                    .into_iter()
                    .map(|line| (line.conn, other_ids(&line.value))),
            );
        }
    }
}

/// Reverses the digits of every 32-digit id, also in payloads that are shown in base64.
fn other_ids(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit()) => {
            json!(text.chars().rev().collect::<String>())
        }
        Value::String(text) => {
            let Ok(mut bytes) = STANDARD.decode(text) else {
                return value.clone();
            };
            for at in 1..bytes.len() {
                if let (Some(32), Some(id)) =
                    (bytes.get(at - 1).copied(), bytes.get_mut(at..at + 32))
                    && id.iter().all(u8::is_ascii_hexdigit)
                {
                    id.reverse();
                }
            }
            json!(STANDARD.encode(bytes))
        }
        Value::Array(items) => items.iter().map(other_ids).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), other_ids(value)))
            .collect(),
        other => other.clone(),
    }
}

#[async_trait]
impl Target for Recording {
    fn secret(&self) -> String {
        "openIM123".to_owned()
    }

    fn start_ms(&self) -> i64 {
        self.start_ms
    }

    async fn rest(&mut self, _: &Value) -> anyhow::Result<Value> {
        Ok(self.take())
    }

    async fn open(&mut self, _: &str, _: &Value, _: bool) -> anyhow::Result<Value> {
        Ok(self.take())
    }

    async fn send(&mut self, _: &str, _: &Value, _: Vec<u8>) -> anyhow::Result<()> {
        self.take();
        Ok(())
    }

    async fn send_frame(&mut self, _: &str, _: &str, _: &[u8]) -> anyhow::Result<()> {
        self.take();
        Ok(())
    }

    async fn hang_up(&mut self, _: &str) -> anyhow::Result<()> {
        self.take();
        Ok(())
    }

    async fn next(&mut self, bound: Duration) -> Option<(String, Value)> {
        if self.queue.is_empty() && !bound.is_zero() {
            self.take_waits();
        }
        self.queue.pop_front()
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.take_waits();
        Ok(())
    }
}

async fn replay(recorded: &Case, played: &Case, overrides: &[Override]) -> Report {
    let overrides = Overrides::of_case(overrides, &recorded.name);
    play(recorded, overrides, &mut Recording::of(played))
        .await
        .unwrap()
}

fn case(name: &str) -> Case {
    Case::read(&folder(), name).unwrap()
}

fn event<'a>(case: &'a mut Case, step: i64, conn: &str, nth: usize) -> &'a mut Value {
    let steps = case.steps.iter_mut().filter(|found| found.number == step);
    let mut events = steps
        .flat_map(|found| &mut found.events)
        .filter(|line| line.conn == conn);
    &mut events.nth(nth).unwrap().value
}

/// What the request of a step was answered.
fn answer_of(case: &mut Case, step: i64) -> &mut Value {
    let mut steps = case.steps.iter_mut();
    let step = steps.find(|found| found.number == step).unwrap();
    &mut step.answer.as_mut().unwrap().value
}

fn an_override(case: &str, step: i64, on: &str, path: &str, expected: Value) -> Override {
    Override {
        case: case.to_owned(),
        step,
        on: on.to_owned(),
        nth: 0,
        path: path.to_owned(),
        recorded: None,
        expected,
        reason: "1".to_owned(),
    }
}

#[tokio::test]
async fn every_recording_equals_itself_with_other_ids() {
    for name in case_names().unwrap() {
        let case = case(&name);
        let report = replay(&case, &case, &[]).await;
        assert!(
            report.differences.is_empty(),
            "{name}: {:#?}",
            report.differences
        );
        assert!(report.lines > 10, "{name} compares {} lines", report.lines);
    }
}

/// Paths of all scalars of a value.
fn scalars(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, value)| scalars(value, &format!("{at}/{name}"), found)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(n, value)| scalars(value, &format!("{at}/{n}"), found)),
        _ => found.push(at.to_owned()),
    }
}

fn change(value: &mut Value) {
    *value = match &*value {
        Value::String(text) => json!(format!("{text}?")),
        Value::Number(number) => json!(number.as_i64().unwrap_or_default() + 10_000_000_000_000),
        Value::Bool(flag) => json!(!flag),
        _ => json!("something"),
    };
}

#[tokio::test]
async fn every_changed_value_is_found() {
    for name in ["ws-gob", "auth-force-logout"] {
        let recorded = case(name);
        for (at, step) in recorded.steps.iter().enumerate() {
            for (nth, line) in step.answer.iter().chain(&step.events).enumerate() {
                let mut paths = Vec::new();
                scalars(&line.value, "", &mut paths);
                for path in paths.iter().filter(|path| !path.ends_with("x-http-id")) {
                    let mut played = recorded.clone();
                    let step = &mut played.steps[at];
                    let line = step
                        .answer
                        .iter_mut()
                        .chain(&mut step.events)
                        .nth(nth)
                        .unwrap();
                    change(line.value.pointer_mut(path).unwrap());
                    let report = replay(&recorded, &played, &[]).await;
                    assert!(
                        !report.differences.is_empty(),
                        "{name} s{} line {nth} {path}",
                        recorded.steps[at].number
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_missing_frame_is_found() {
    let recorded = case("ws-gzip-js");
    let mut played = recorded.clone();
    let step = played
        .steps
        .iter_mut()
        .find(|step| step.number == 8)
        .unwrap();
    step.events.pop();
    let report = replay(&recorded, &played, &[]).await;
    assert!(
        report.differences[0].contains("never arrived"),
        "{:?}",
        report.differences
    );
}

#[tokio::test]
async fn a_frame_too_many_is_found() {
    let recorded = case("ws-gzip-js");
    let mut played = recorded.clone();
    let step = played
        .steps
        .iter_mut()
        .find(|step| step.number == 8)
        .unwrap();
    let again = step.events[1].clone();
    step.events.push(again);
    let report = replay(&recorded, &played, &[]).await;
    assert!(
        report.differences[0].contains("not in the recording"),
        "{:?}",
        report.differences
    );
}

#[tokio::test]
async fn pushes_of_one_conversation_that_swap_are_found() {
    let recorded = case("ws-gob");
    let mut played = recorded.clone();
    let push =
        |case: &mut Case, step, line: Value| std::mem::replace(event(case, step, "u2@5", 0), line);
    let one = push(&mut played, 11, Value::Null);
    let other = push(&mut played, 12, one);
    push(&mut played, 11, other);
    let report = replay(&recorded, &played, &[]).await;
    assert!(
        report.differences[0].contains("came before"),
        "{:?}",
        report.differences
    );
}

#[tokio::test]
async fn an_order_override_moves_a_line() {
    let recorded = case("ws-gzip-js");
    let mut played = recorded.clone();
    played
        .steps
        .iter_mut()
        .find(|step| step.number == 8)
        .unwrap()
        .events
        .swap(0, 1);
    let push_first = Override {
        nth: 1,
        ..an_override("ws-gzip-js", 8, "u1@5", "order", json!(0))
    };
    let report = replay(&recorded, &played, std::slice::from_ref(&push_first)).await;
    assert!(report.differences.is_empty(), "{:?}", report.differences);
    let report = replay(&recorded, &recorded, &[push_first]).await;
    assert!(
        report.differences[0].contains("came before"),
        "{:?}",
        report.differences
    );
}

#[tokio::test]
async fn a_push_before_the_answer_to_its_own_send_is_found() {
    let recorded = case("ws-gzip-js");
    let mut played = recorded.clone();
    played
        .steps
        .iter_mut()
        .find(|step| step.number == 8)
        .unwrap()
        .events
        .swap(0, 1);
    let report = replay(&recorded, &played, &[]).await;
    assert!(
        report.differences[0].contains("came before"),
        "{:?}",
        report.differences
    );
}

#[tokio::test]
async fn an_id_that_changes_between_answer_and_push_is_found() {
    let recorded = case("ws-gzip-js");
    let mut played = recorded.clone();
    let id = json!("00000000000000000000000000000001");
    event(&mut played, 8, "u1@5", 1)["data"]["msgs"]["si_u1_u2"]["Msgs"][0]["serverMsgID"] = id;
    let report = replay(&recorded, &played, &[]).await;
    assert!(
        report.differences[0].contains("elsewhere"),
        "{:?}",
        report.differences
    );
}

#[tokio::test]
async fn an_override_is_compared_strictly() {
    let recorded = case("auth-user-token");
    let better = an_override("auth-user-token", 6, "", "response.errCode", json!(1001));
    let report = replay(&recorded, &recorded, std::slice::from_ref(&better)).await;
    assert_eq!(report.differences.len(), 1, "{:?}", report.differences);
    let mut played = recorded.clone();
    answer_of(&mut played, 6)["response"]["errCode"] = json!(1001);
    let report = replay(&recorded, &played, &[better]).await;
    assert!(report.differences.is_empty(), "{:?}", report.differences);
}

#[tokio::test]
async fn an_override_that_equals_the_recording_fails() {
    let recorded = case("auth-user-token");
    for expected in [json!(1004), json!({"$text": true})] {
        let path = if expected == 1004 {
            "response.errCode"
        } else {
            "response.errDlt"
        };
        let report = replay(
            &recorded,
            &recorded,
            &[an_override("auth-user-token", 6, "", path, expected)],
        )
        .await;
        assert!(
            report.differences[0].contains("equals the recording"),
            "{:?}",
            report.differences
        );
    }
}

#[tokio::test]
async fn an_override_that_is_not_used_fails() {
    let recorded = case("auth-user-token");
    let report = replay(
        &recorded,
        &recorded,
        &[an_override(
            "auth-user-token",
            6,
            "",
            "response.nothing.here",
            json!(1),
        )],
    )
    .await;
    assert!(
        report.differences[0].contains("unused override"),
        "{:?}",
        report.differences
    );
}

#[tokio::test]
async fn overrides_drop_and_add_whole_lines() {
    let recorded = case("auth-force-logout");
    let mut played = recorded.clone();
    let step = played
        .steps
        .iter_mut()
        .find(|step| step.number == 24)
        .unwrap();
    let kick = step.events.remove(0);
    played
        .steps
        .iter_mut()
        .find(|step| step.number == 23)
        .unwrap()
        .events
        .push(kick.clone());
    let moved = [
        an_override("auth-force-logout", 24, "u1@2", "", Value::Null),
        an_override("auth-force-logout", 23, "u1@2", "", kick.value),
    ];
    let report = replay(&recorded, &played, &moved).await;
    assert!(report.differences.is_empty(), "{:?}", report.differences);
}

#[tokio::test]
async fn an_override_chooses_items_of_a_list_and_these_are_compared() {
    let recorded = case("friend-apply");
    let mut played = recorded.clone();
    let answer = answer_of(&mut played, 58);
    let list = answer["response"]["data"]["conversations"]
        .as_array_mut()
        .unwrap();
    list.remove(0);
    let path = "response.data.conversations";
    let first = an_override("friend-apply", 58, "", path, json!({"$items": [1]}));
    let report = replay(&recorded, &played, std::slice::from_ref(&first)).await;
    assert!(report.differences.is_empty(), "{:?}", report.differences);
    let last = an_override("friend-apply", 58, "", path, json!({"$items": [0]}));
    let report = replay(&recorded, &played, &[last]).await;
    assert!(!report.differences.is_empty());
    let report = replay(&recorded, &recorded, &[first]).await;
    assert!(!report.differences.is_empty());
}

#[tokio::test]
async fn an_override_of_the_whole_case_replaces_what_is_recorded_wherever_it_stands() {
    let recorded = case("friend-apply");
    let mut played = recorded.clone();
    let answer = answer_of(&mut played, 58);
    for conversation in answer["response"]["data"]["conversations"]
        .as_array_mut()
        .unwrap()
    {
        conversation["latestMsgDestructTime"] = json!(0);
    }
    let everywhere = Override {
        recorded: Some(json!(-62_135_596_800_000_i64)),
        ..an_override("friend-apply", 0, "", "*.latestMsgDestructTime", json!(0))
    };
    let report = replay(&recorded, &played, std::slice::from_ref(&everywhere)).await;
    assert!(report.differences.is_empty(), "{:?}", report.differences);
    let report = replay(&recorded, &recorded, std::slice::from_ref(&everywhere)).await;
    assert_eq!(report.differences.len(), 2, "{:?}", report.differences);
}
