//! Reads a recording: JSON lines in the order of the exchange, grouped into steps.
//!
//! A step is one action and everything that was observed because of it. Members that the recorder derived from others (decoded
//! content beside the raw one, the base64 of a body that is also there decoded, lengths) are removed here, so that a line holds
//! each fact once.

use std::collections::HashSet;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// In place of volatile paths: the case was recorded once, and what differs from run to run is told by names alone.
pub(super) const BY_NAME: &str = "?";
/// Members that place a line in the recording and say nothing about the exchange.
const BOOKKEEPING: [&str; 10] = [
    "case", "step", "setup", "kind", "conn", "order", "t_ms", "ms", "volatile", "as",
];

/// A recorded case.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name, also that of its file.
    pub name: String,
    /// Steps in order.
    pub steps: Vec<Step>,
}

/// One action and what was observed because of it.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its number in the recording.
    pub number: i64,
    /// What the client did.
    pub action: Action,
    /// The direct answer to the action: of REST and of a handshake.
    pub answer: Option<Line>,
    /// Events on connections, in order of arrival.
    pub events: Vec<Line>,
}

/// What a client did.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Only waited.
    Wait,
    /// Called the REST interface: method, path, headers, body.
    Rest(Value),
    /// Opened a connection: path, query, headers.
    Open {
        /// Name of the connection.
        conn: String,
        /// The request.
        request: Value,
        /// Whether it asked for an upgrade.
        upgrade: bool,
    },
    /// Sent an envelope.
    Send {
        /// On this connection.
        conn: String,
        /// The envelope, body in base64.
        envelope: Value,
    },
    /// Sent a frame made by hand.
    SendFrame {
        /// On this connection.
        conn: String,
        /// Name of the opcode.
        opcode: String,
        /// The bytes.
        payload: Vec<u8>,
    },
    /// Went away without a close frame.
    HangUp {
        /// The connection.
        conn: String,
    },
}

/// One recorded observation.
#[derive(Debug, Clone)]
pub struct Line {
    /// Connection; empty for REST.
    pub conn: String,
    /// Which of the observations of this step on this connection, from 0.
    pub nth: usize,
    /// What was observed, without bookkeeping.
    pub value: Value,
    /// Paths whose values differ from run to run.
    pub volatile: HashSet<String>,
    /// Place among the events of the step.
    pub order: i64,
}

impl Case {
    /// Reads `<folder>/<name>.jsonl`.
    ///
    /// # Errors
    /// The file is missing or isn't a recording.
    pub fn read(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut steps: Vec<Step> = Vec::new();
        let once = !text.contains(r#""volatile": ["#);
        for (number, line) in text.lines().enumerate() {
            let mut raw: Value = serde_json::from_str(line)
                .with_context(|| format!("{name} line {}", number + 1))?;
            if once {
                raw["volatile"] = Value::from(vec![BY_NAME]);
            }
            add(&mut steps, raw).with_context(|| format!("{name} line {}", number + 1))?;
        }
        Ok(Self {
            name: name.to_owned(),
            steps,
        })
    }
}

impl Case {
    /// The step whose request had this operation id.
    pub(super) fn step_of(&self, operation: &str) -> Option<i64> {
        let of_step = |step: &&Step| match &step.action {
            Action::Rest(request) => request["headers"]["operationID"] == operation,
            Action::Send { envelope, .. } => envelope["operationID"] == operation,
            _ => false,
        };
        self.steps.iter().find(of_step).map(|step| step.number)
    }
}

fn add(steps: &mut Vec<Step>, raw: Value) -> anyhow::Result<()> {
    let number = raw["step"].as_i64().context("no step")?;
    if steps.last().is_none_or(|step| step.number != number) {
        steps.push(Step {
            number,
            action: Action::Wait,
            answer: None,
            events: Vec::new(),
        });
    }
    let step = steps.last_mut().context("a step was just added")?;
    let conn = raw["conn"].as_str().unwrap_or_default().to_owned();
    match raw["kind"].as_str().context("no kind")? {
        "note" => {
            let note = raw["note"].as_str().unwrap_or_default();
            if let Some(conn) = note.strip_suffix(" disconnects") {
                step.action = Action::HangUp {
                    conn: conn.to_owned(),
                };
            }
        }
        "decoded" => {
            let answer = step.answer.as_mut().context("no answer to decode")?;
            let decoded = line(raw, 0);
            let inside = |path: &String| format!("decoded.{path}");
            answer.volatile.extend(decoded.volatile.iter().map(inside));
            answer.value["decoded"] = decoded.value;
        }
        "rest" => {
            step.action = Action::Rest(raw["request"].clone());
            step.answer = Some(line(raw, 0));
        }
        "ws_open" => {
            let upgrade = raw["response"]["status"] != 400;
            step.action = Action::Open {
                conn,
                request: raw["request"].clone(),
                upgrade,
            };
            step.answer = Some(line(raw, 0));
        }
        "ws_send" => {
            step.action = Action::Send {
                conn,
                envelope: raw["env"].clone(),
            }
        }
        "ws_sendraw" => {
            let opcode = raw["opcode"].as_str().context("no opcode")?.to_owned();
            let text = raw["payload"].as_str().context("no payload")?;
            let payload = match text.strip_prefix("hex:") {
                Some(digits) => hex::decode(digits)?,
                None => text.as_bytes().to_vec(),
            };
            let length = raw["len"].as_u64().context("no length")?;
            step.action = Action::SendFrame {
                conn,
                opcode,
                payload: complete(payload, usize::try_from(length)?)?,
            };
        }
        "ws" => {
            let nth = step
                .events
                .iter()
                .filter(|event| event.conn == conn)
                .count();
            split_own_close(steps, &raw)?;
            let step = steps.last_mut().context("there is a step")?;
            let nth = if matches!(step.action, Action::HangUp { .. }) {
                0
            } else {
                nth
            };
            step.events.push(line(raw, nth));
        }
        kind => bail!("unknown kind {kind}"),
    }
    Ok(())
}

/// The recorder closed some connections itself, in the step that opened them; its event count starts again then. Such a close
/// becomes a step of its own with the same number.
fn split_own_close(steps: &mut Vec<Step>, raw: &Value) -> anyhow::Result<()> {
    let step = steps.last().context("an event before any action")?;
    let own =
        raw["event"] == "closed" && raw["order"] == 0 && matches!(step.action, Action::Open { .. });
    if own {
        let conn = raw["conn"].as_str().unwrap_or_default().to_owned();
        steps.push(Step {
            number: step.number,
            action: Action::HangUp { conn },
            answer: None,
            events: Vec::new(),
        });
    }
    Ok(())
}

/// Recordings show a text that holds JSON a second time, decoded, and name what differs in both. What differs is a member of the
/// decoded form, where it is known; the text as a whole then isn't anything.
fn inside_texts(volatile: HashSet<String>) -> HashSet<String> {
    let decoded = |path: &String| {
        let (message, inside) = path.split_once(".content_json.")?;
        let inside = inside.replace("detail_json.", "detail.#.");
        (inside != "detail").then(|| format!("{message}.content.#.{inside}"))
    };
    let inside: HashSet<String> = volatile.iter().filter_map(decoded).collect();
    let known = |path: &str| inside.iter().any(|i| i.starts_with(&format!("{path}.#.")));
    volatile
        .into_iter()
        .filter(|path| !path.contains(".content_json.") && !known(path))
        .chain(inside.iter().cloned())
        .collect()
}

fn line(mut raw: Value, nth: usize) -> Line {
    let conn = raw["conn"].as_str().unwrap_or_default().to_owned();
    let order = raw["order"].as_i64().unwrap_or_default();
    let mut volatile: HashSet<String> = raw["volatile"]
        .as_array()
        .map(|paths| {
            paths
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default();
    volatile = inside_texts(volatile);
    if let Some(members) = raw.as_object_mut() {
        members.retain(|name, _| !BOOKKEEPING.contains(&name.as_str()) && name != "request");
        if members
            .get("how")
            .is_some_and(|how| how == "ConnectionResetError")
        {
            members.insert("how".to_owned(), Value::from("eof"));
        }
    }
    if let Some(inflated) = inflate(&raw["response"]) {
        raw["response"] = inflated;
        volatile.remove("response");
        volatile.insert("response.data.token".to_owned());
    }
    if raw["data"].is_object()
        && let Some(envelope) = raw["env"].as_object_mut()
    {
        envelope.remove("data");
    }
    if let Some(json) = raw["text"]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
    {
        raw["text"] = json;
    }
    for headers in ["/response_headers", "/response/headers"] {
        if let Some(headers) = raw.pointer_mut(headers).and_then(Value::as_object_mut) {
            headers.remove("content-length");
        }
    }
    drop_derived(&mut raw);
    Line {
        conn,
        nth,
        value: strip_nulls(raw),
        volatile,
        order,
    }
}

/// Large payloads are recorded by their beginning and length: JSON whose last member repeats four characters to the end.
fn complete(mut payload: Vec<u8>, length: usize) -> anyhow::Result<Vec<u8>> {
    if payload.len() > length || (payload.len() < length && payload.len() < 200) {
        bail!("the payload has another length than recorded");
    }
    if payload.len() < length {
        while payload.len() < length - 2 {
            payload.push(payload[payload.len() - 4]);
        }
        payload.extend(b"\"}");
    }
    Ok(payload)
}

/// A body that was recorded compressed.
fn inflate(response: &Value) -> Option<Value> {
    let packed = STANDARD
        .decode(response.as_str()?.strip_prefix("base64:")?)
        .ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

fn drop_derived(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !name.ends_with("_json"));
            members.values_mut().for_each(drop_derived);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_derived),
        _ => {}
    }
}

/// Indexing with `raw["…"] =` leaves nulls for absent members; the top level has none of its own.
fn strip_nulls(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}
