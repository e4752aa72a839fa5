//! Performs a case's steps and matches what arrives with what was recorded.
//!
//! After each action everything that the recording shows up to there must arrive before the next one; nothing is awaited by
//! the clock except as an upper bound. On one connection the order of the recording holds between pushes of one conversation,
//! between answers, and between a send's answer and its own push; pushes of different conversations may swap. What arrives
//! without a place in the recording is a difference. At the end the target flushes every connection with markers, so that a
//! frame that must not come would have come by then.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::bindings::Bindings;
use super::compare::Comparison;
use super::expected::{Pending, hangs_up_later, key, operation, plan};
use super::overrides::Overrides;
use super::parse::{Action, Case, Line, Step};
use crate::decode_message;

/// How long recorded events may take to arrive.
const ARRIVAL_BOUND: Duration = Duration::from_secs(15);
/// The same for events that the server's own clock causes: idle connections end after 30 s.
const CLOCK_BOUND: Duration = Duration::from_secs(45);
/// The same once something was missing: the run has failed, the rest is for the report.
const FAILED_BOUND: Duration = Duration::from_secs(2);

/// What a case is played against.
#[async_trait]
pub trait Target: Send {
    /// The secret that signs tokens.
    fn secret(&self) -> String;
    /// The time at which the case starts, Unix milliseconds.
    fn start_ms(&self) -> i64;
    /// Calls the REST interface; answers `status`, `response`, `response_headers`.
    async fn rest(&mut self, request: &Value) -> anyhow::Result<Value>;
    /// Opens a connection; answers `response` with `status`, `headers` and, without an upgrade, `body`.
    async fn open(&mut self, conn: &str, request: &Value, upgrade: bool) -> anyhow::Result<Value>;
    /// Sends an envelope with these bytes as its body.
    async fn send(&mut self, conn: &str, envelope: &Value, body: Vec<u8>) -> anyhow::Result<()>;
    /// Sends a frame.
    async fn send_frame(&mut self, conn: &str, opcode: &str, payload: &[u8]) -> anyhow::Result<()>;
    /// Ends a connection without a close frame.
    async fn hang_up(&mut self, conn: &str) -> anyhow::Result<()>;
    /// The next event of any connection, in the form of a recorded line; `None` when the bound is reached.
    async fn next(&mut self, bound: Duration) -> Option<(String, Value)>;
    /// Makes sure that everything on its way has arrived; later calls of [`next`](Self::next) give it out.
    async fn flush(&mut self) -> anyhow::Result<()>;
}

/// The outcome of a case.
#[derive(Debug)]
pub struct Report {
    /// What isn't as recorded or overridden, ready to print.
    pub differences: Vec<String>,
    /// How many overrides the case has.
    pub overrides: usize,
    /// How many lines were compared.
    pub lines: usize,
    /// The step that took longest, and how long.
    pub slowest: (i64, Duration),
}

struct Player<'a> {
    case: &'a Case,
    target: &'a mut dyn Target,
    bindings: Bindings,
    overrides: Overrides,
    pending: Vec<Pending>,
    closed: HashSet<String>,
    /// The step that opened each connection.
    opened: HashMap<String, i64>,
    report: Report,
    failed: bool,
}

/// Plays a case.
///
/// # Errors
/// The target itself breaks. A server that answers otherwise than recorded is no error but a difference.
pub async fn play(
    case: &Case,
    overrides: Overrides,
    target: &mut dyn Target,
) -> anyhow::Result<Report> {
    let bindings = Bindings::new(&target.secret(), target.start_ms());
    let report = Report {
        differences: Vec::new(),
        overrides: overrides.len(),
        lines: 0,
        slowest: (0, Duration::ZERO),
    };
    let mut player = Player {
        case,
        target,
        bindings,
        overrides,
        pending: Vec::new(),
        closed: HashSet::new(),
        opened: HashMap::new(),
        report,
        failed: false,
    };
    player.pending = plan(case, &mut player.overrides, &mut player.report.differences);
    for (at, step) in case.steps.iter().enumerate() {
        let started = tokio::time::Instant::now();
        player.step(step).await;
        let last_of_number = case
            .steps
            .get(at + 1)
            .is_none_or(|next| next.number != step.number);
        player.settle(step, last_of_number).await;
        if started.elapsed() > player.report.slowest.1 {
            player.report.slowest = (step.number, started.elapsed());
        }
    }
    player.target.flush().await?;
    while let Some((conn, line)) = player.target.next(Duration::ZERO).await {
        player.accept(&conn, &line);
    }
    for unused in player.overrides.unused() {
        player
            .report
            .differences
            .push(format!("unused override: {}", unused.place()));
    }
    Ok(player.report)
}

impl Player<'_> {
    /// Performs a step's action and compares its direct answer.
    async fn step(&mut self, step: &Step) {
        let answered = match &step.action {
            Action::Wait => Ok(None),
            Action::Rest(request) => {
                let request = self.bindings.request(request);
                self.target.rest(&request).await.map(Some)
            }
            Action::Open {
                conn,
                request,
                upgrade,
            } => {
                let mut request = self.bindings.request(request);
                if let Some(query) = request["query"].as_str().map(str::to_owned) {
                    request["query"] = Value::from(self.packed_query(&query));
                }
                self.closed.remove(conn);
                self.opened.insert(conn.clone(), step.number);
                self.target.open(conn, &request, *upgrade).await.map(Some)
            }
            Action::Send { conn, envelope } => {
                let body = STANDARD
                    .decode(envelope["data"].as_str().unwrap_or_default())
                    .unwrap_or_default();
                let body = self.bindings.request_bytes(body);
                self.target.send(conn, envelope, body).await.map(|()| None)
            }
            Action::SendFrame {
                conn,
                opcode,
                payload,
            } => self
                .target
                .send_frame(conn, opcode, payload)
                .await
                .map(|()| None),
            Action::HangUp { conn } => self.target.hang_up(conn).await.map(|()| None),
        };
        match (answered, &step.answer) {
            (Ok(Some(mut actual)), Some(line)) => {
                if let Some(name) = line.value["decoded"]["dataType"].as_str() {
                    actual["decoded"] = decoded(name, &actual["response"]["data"]);
                }
                let of_line = self.overrides.of_line(step.number, "", 0);
                self.compare(step.number, line, &of_line, &actual);
            }
            (Ok(_), _) => {}
            (Err(error), _) => {
                let recorded_closed = matches!(&step.action, Action::Send { conn, .. } | Action::SendFrame { conn, .. } if self.closed.contains(conn));
                if !recorded_closed {
                    self.report
                        .differences
                        .push(format!("s{}: {error:#}", step.number));
                }
            }
        }
    }

    /// A query that packs its parameters in base64; tokens inside change their length, so the padding is kept by blanks.
    fn packed_query(&mut self, query: &str) -> String {
        let Some(packed) = query.strip_prefix("v=") else {
            return query.to_owned();
        };
        let padded = packed.ends_with('=');
        let Ok(plain) = URL_SAFE_NO_PAD.decode(packed.trim_end_matches('=')) else {
            return query.to_owned();
        };
        let Ok(text) = String::from_utf8(plain) else {
            return query.to_owned();
        };
        let mut text = self.bindings.request_text(&text);
        if !padded {
            return format!("v={}", URL_SAFE_NO_PAD.encode(text));
        }
        while text.len().is_multiple_of(3) {
            text.push(' ');
        }
        format!("v={}", URL_SAFE.encode(text))
    }

    /// Waits until everything recorded up to a step has arrived.
    async fn settle(&mut self, step: &Step, whole: bool) {
        loop {
            let due = |pending: &Pending| {
                !pending.optional
                    && (pending.step < step.number
                        || (pending.step == step.number
                            && (whole || !hangs_up_later(step, pending))))
            };
            if !self.pending.iter().any(due) {
                break;
            }
            let by_clock = step.action == Action::Wait
                || self.pending.iter().any(|p| {
                    due(p)
                        && (p.line.value["opcode"] == "ping" || p.line.value["event"] == "closed")
                });
            let bound = match (self.failed, by_clock) {
                (true, _) => FAILED_BOUND,
                (false, true) => CLOCK_BOUND,
                (false, false) => ARRIVAL_BOUND,
            };
            let Some((conn, line)) = self.target.next(bound).await else {
                self.failed = true;
                let (missing, later) = std::mem::take(&mut self.pending).into_iter().partition(due);
                self.pending = later;
                self.missing(missing);
                break;
            };
            self.accept(&conn, &line);
        }
        while let Some((conn, line)) = self.target.next(Duration::ZERO).await {
            self.accept(&conn, &line);
        }
    }

    fn missing(&mut self, missing: Vec<Pending>) {
        for pending in missing {
            let text = format!(
                "s{} {}#{}: never arrived: {}",
                pending.step, pending.line.conn, pending.line.nth, pending.line.value
            );
            self.report.differences.push(text);
        }
    }

    /// Finds the place of an event and compares it.
    fn accept(&mut self, conn: &str, actual: &Value) {
        let key = key(actual);
        let Some(at) = self.pending.iter().position(|pending| {
            pending.line.conn == conn && self.bindings.key(&pending.key) == key
        }) else {
            if actual["opcode"] != "ping" && !self.is_late(conn, actual) {
                self.report
                    .differences
                    .push(format!("{conn}: not in the recording: {actual}"));
            }
            return self.note_close(conn, actual);
        };
        let pending = self.pending.remove(at);
        if let Some(earlier) = self.pending[..at]
            .iter()
            .filter(|earlier| earlier.line.conn == conn && !earlier.optional)
            .find(|earlier| earlier.comes_before(&pending))
        {
            let text = format!(
                "s{} {conn}: `{key}` came before `{}` (s{})",
                pending.step, earlier.key, earlier.step
            );
            self.report.differences.push(text);
        }
        if pending.added {
            let empty = HashSet::new();
            let comparison = Comparison::new(&mut self.bindings, &mut self.overrides, &[], &empty);
            let differences = comparison.run_expected(&pending.line.value, actual);
            self.take_differences(pending.step, &pending.line, &key, differences);
        } else {
            self.compare(pending.step, &pending.line, &pending.of_line, actual);
        }
        self.note_close(conn, actual);
    }

    /// Whether a push is of something that was done before its connection was opened: it may come still, or not.
    fn is_late(&self, conn: &str, actual: &Value) -> bool {
        let cause = self.case.step_of(&operation(actual));
        let opened = self.opened.get(conn);
        actual["env"]["reqIdentifier"] == 2001
            && cause
                .zip(opened)
                .is_some_and(|(cause, opened)| cause < *opened)
    }

    /// Once a connection has ended nothing more can arrive on it until it is opened again.
    fn note_close(&mut self, conn: &str, actual: &Value) {
        if actual["event"] == "closed" {
            self.closed.insert(conn.to_owned());
            let (missing, later) = std::mem::take(&mut self.pending)
                .into_iter()
                .partition(|pending| pending.line.conn == conn);
            self.pending = later;
            let missing: Vec<Pending> = missing;
            let missing = missing.into_iter().filter(|p| !p.optional).collect();
            self.missing(missing);
        }
    }

    fn compare(&mut self, step: i64, line: &Line, of_line: &[usize], actual: &Value) {
        let comparison = Comparison::new(
            &mut self.bindings,
            &mut self.overrides,
            of_line,
            &line.volatile,
        );
        let differences = comparison.run(&line.value, actual);
        let key = if line.conn.is_empty() {
            "answer".to_owned()
        } else {
            key(&line.value)
        };
        self.take_differences(step, line, &key, differences);
    }

    fn take_differences(
        &mut self,
        step: i64,
        line: &Line,
        key: &str,
        differences: Vec<super::Difference>,
    ) {
        self.report.lines += 1;
        let place = format!("s{step} {}#{} {key}", line.conn, line.nth);
        self.report.differences.extend(
            differences
                .iter()
                .map(|difference| format!("{place}: {difference}")),
        );
    }
}

/// The payload of an answer in the form in which recordings show it beside the answer.
fn decoded(name: &str, payload: &Value) -> Value {
    let bytes = STANDARD.decode(payload.as_str().unwrap_or_default());
    let data = bytes
        .ok()
        .and_then(|bytes| decode_message(name, &bytes).ok());
    json!({"dataType": name, "data": data})
}
