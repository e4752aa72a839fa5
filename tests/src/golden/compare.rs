//! Whether a line of this run means what the recorded line means.
//!
//! Every member is compared, in both directions. Under a volatile path a value must be present with the same type; ids and
//! tokens are bound there, times must lie where the recording has them. A list with volatile members that are neither is in
//! random order and compared as a set, and so are lists that are gathered from several gateways. An override replaces the
//! recorded value at its path and is compared strictly. Times of a message are those of that message alone, even if another one
//! was recorded in the same millisecond. Of a text that differs from run to run and holds JSON, and of cases that were recorded
//! once, what differs is told by its name.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::bindings::{Bindings, is_token};
use super::overrides::Overrides;
use super::parse::BY_NAME;

/// Markers of an error text that shows the inside of the server.
const INTERNALS: [&str; 6] = ["->", ".go:", ".rs:", "panic", "thread '", "<trace>"];
/// Names under which a volatile text is an id.
const ID_NAMES: [&str; 9] = [
    "serverMsgID",
    "clientMsgID",
    "connID",
    "versionID",
    "token",
    "x-http-id",
    "friendVersionID",
    "groupMemberVersionID",
    "uuid",
];

/// Larger numbers that differ from run to run are points in time.
const LARGE: i64 = 1_000_000_000;

/// Lists that are gathered from all gateways, in whatever order these answer.
const GATHERED: [&str; 2] = ["detailPlatformStatus", "singlePlatformToken"];

/// A place where the run isn't as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Path in the line.
    pub path: String,
    /// What was expected there.
    pub expected: Value,
    /// What there is.
    pub actual: Value,
    /// Why that is a difference, when it isn't plain.
    pub why: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}`: expected {}, got {}",
            self.path, self.expected, self.actual
        )?;
        if self.why.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.why)
        }
    }
}

/// The comparison of one line.
#[derive(Debug)]
pub(crate) struct Comparison<'a> {
    /// What stands for what.
    pub(crate) bindings: &'a mut Bindings,
    /// The case's overrides.
    pub(crate) overrides: &'a mut Overrides,
    /// Indexes of those for this line.
    pub(crate) of_line: &'a [usize],
    /// The line's volatile paths.
    pub(crate) volatile: &'a HashSet<String>,
    /// What was found so far.
    differences: Vec<Difference>,
    /// The recorded id of the message whose members are compared.
    message: Option<String>,
    /// Whether names tell what is volatile.
    by_name: bool,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(
        bindings: &'a mut Bindings,
        overrides: &'a mut Overrides,
        of_line: &'a [usize],
        volatile: &'a HashSet<String>,
    ) -> Self {
        Self {
            bindings,
            overrides,
            of_line,
            volatile,
            differences: Vec::new(),
            message: None,
            by_name: volatile.contains(BY_NAME) || volatile.contains("*"),
        }
    }

    /// Compares two lines whole.
    pub(crate) fn run(mut self, recorded: &Value, actual: &Value) -> Vec<Difference> {
        self.value("", Some(recorded), Some(actual));
        self.differences
    }

    /// Compares a line with one that an override gives whole.
    pub(crate) fn run_expected(mut self, expected: &Value, actual: &Value) -> Vec<Difference> {
        self.expected("", expected, Some(actual));
        self.differences
    }

    fn differ(&mut self, path: &str, expected: Option<&Value>, actual: Option<&Value>, why: &str) {
        self.differences.push(Difference {
            path: path.to_owned(),
            expected: expected.cloned().unwrap_or_else(|| Value::from("(absent)")),
            actual: actual.cloned().unwrap_or_else(|| Value::from("(absent)")),
            why: why.to_owned(),
        });
    }

    fn value(&mut self, path: &str, recorded: Option<&Value>, actual: Option<&Value>) {
        if !path.is_empty()
            && let Some(better) = self.overrides.take(self.of_line, path)
        {
            return self.better(path, recorded, &better.expected, actual);
        }
        if let Some(then) = recorded
            && let Some(better) = self.overrides.take_general(path, then)
        {
            return self.expected(path, &better.expected, actual);
        }
        let (Some(then), Some(now)) = (recorded, actual) else {
            if recorded.is_some() || actual.is_some() {
                self.differ(path, recorded, actual, "");
            }
            return;
        };
        if self.is_volatile(path, then, now) {
            return self.volatile_value(path, then, now);
        }
        match (then, now) {
            (Value::Object(then), Value::Object(now)) => self.object(path, then, now),
            (Value::Array(then), Value::Array(now)) => self.array(path, then, now),
            (Value::String(text), Value::String(found)) if self.bindings.same_text(text, found) => {
            }
            (Value::String(text), Value::String(found)) => self.text(path, text, found),
            (Value::Number(number), Value::Number(found))
                if self.bindings.same_number(number, found) => {}
            _ if then == now => {}
            _ => self.differ(path, recorded, actual, ""),
        }
    }

    fn is_volatile(&self, path: &str, then: &Value, now: &Value) -> bool {
        let name = leaf(path);
        let by_name = || match then {
            Value::Number(number) => {
                let large = number.as_i64().is_some_and(|number| number > LARGE);
                large && (name.ends_with("Time") || name == "expireTimeSeconds")
            }
            Value::String(_) => ID_NAMES.contains(&name),
            _ => false,
        };
        self.volatile.contains(path) || (self.by_name && then != now && by_name())
    }

    fn object(&mut self, path: &str, then: &Map<String, Value>, now: &Map<String, Value>) {
        let headers = path == "response_headers" || path == "response.headers";
        let mut names: BTreeSet<&str> = then.keys().map(String::as_str).collect();
        let bound: BTreeMap<&str, String> = names
            .iter()
            .map(|name| (*name, self.bindings.conversation(name)))
            .collect();
        if !headers {
            let others = now
                .keys()
                .filter(|name| !bound.values().any(|bound| bound == *name));
            names.extend(others.map(String::as_str));
        }
        let around = self.message.take();
        let id = then.get("serverMsgID").and_then(Value::as_str);
        let paths = self
            .of_line
            .iter()
            .map(|at| self.overrides.entry(*at).path.as_str());
        let added: Vec<String> = paths
            .filter_map(|better| member_under(path, better))
            .collect();
        names.extend(added.iter().map(String::as_str));
        for name in names {
            let path = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            };
            let bound = bound.get(name).map_or(name, String::as_str);
            let (then, now) = (then.get(name), now.get(bound));
            if headers
                && let (Some(Value::String(then)), Some(Value::String(now))) = (then, now)
                && then.eq_ignore_ascii_case(now)
            {
                continue;
            }
            self.message = id.map(str::to_owned);
            self.value(&path, then, now);
        }
        self.message = around;
    }

    fn array(&mut self, path: &str, then: &[Value], now: &[Value]) {
        if then.len() != now.len() {
            return self.differ(
                path,
                Some(&Value::from(then)),
                Some(&Value::from(now)),
                "another length",
            );
        }
        let first = format!("{path}[0]");
        if self.volatile.contains(&first) && same_texts(then, now) {
            return;
        }
        if then.len() > 1 && self.is_unordered(path) {
            return self.set(path, then, now);
        }
        for (at, (then, now)) in then.iter().zip(now).enumerate() {
            self.value(&format!("{path}[{at}]"), Some(then), Some(now));
        }
    }

    fn is_unordered(&self, path: &str) -> bool {
        if path.ends_with(".Msgs") {
            return false;
        }
        if GATHERED.iter().any(|name| path.ends_with(name)) {
            return true;
        }
        let items = format!("{path}[");
        self.volatile
            .iter()
            .filter(|volatile| volatile.starts_with(&items))
            .any(|volatile| {
                let name = volatile
                    .rsplit('.')
                    .next()
                    .unwrap_or_default()
                    .split('[')
                    .next()
                    .unwrap_or_default();
                !ID_NAMES.contains(&name) && !name.ends_with("Time") && volatile.contains("].")
            })
    }

    /// Finds a partner for each recorded item among those that are left.
    fn set(&mut self, path: &str, then: &[Value], now: &[Value]) {
        let mut left: Vec<&Value> = now.iter().collect();
        for (at, item) in then.iter().enumerate() {
            let place = format!("{path}[{at}]");
            let fits = left.iter().position(|candidate| {
                let mut bindings = self.bindings.clone();
                let mut overrides = self.overrides.clone();
                let ids = |path: &&String| {
                    path.ends_with("Time") || ID_NAMES.iter().any(|name| path.contains(name))
                };
                let volatile = self.volatile.iter().filter(ids).cloned().collect();
                let mut trial =
                    Comparison::new(&mut bindings, &mut overrides, self.of_line, &volatile);
                trial.by_name = self.by_name;
                trial.value(&place, Some(item), Some(candidate));
                trial.differences.is_empty()
            });
            match fits {
                Some(found) => {
                    let candidate = left.remove(found);
                    self.value(&place, Some(item), Some(candidate));
                }
                None => self.differ(
                    &place,
                    Some(item),
                    Some(&Value::from(now)),
                    "no item of the set",
                ),
            }
        }
    }

    /// Texts that differ may still be the same notification, written with its members in another order.
    fn text(&mut self, path: &str, then: &str, now: &str) {
        let name = path.rsplit('.').next().unwrap_or_default();
        let structured =
            name == "detail" || (name == "content" && then.starts_with(r#"{"detail":"#));
        let parsed = (
            serde_json::from_str::<Value>(then),
            serde_json::from_str::<Value>(now),
        );
        if let (true, (Ok(then), Ok(now))) = (structured, parsed) {
            return self.value(&format!("{path}.#"), Some(&then), Some(&now));
        }
        self.differ(path, Some(&Value::from(then)), Some(&Value::from(now)), "");
    }

    fn volatile_value(&mut self, path: &str, then: &Value, now: &Value) {
        let name = leaf(path);
        if let (Value::String(then), Value::String(now)) = (then, now)
            && let (Some(then), Some(now)) = (inside(then), inside(now))
        {
            let around = std::mem::replace(&mut self.by_name, true);
            self.value(&format!("{path}.#"), Some(&then), Some(&now));
            self.by_name = around;
            return;
        }
        let bound = match (then, now) {
            (Value::String(then), Value::String(now)) if name == "x-http-id" => {
                if then.len() == now.len() {
                    Ok(())
                } else {
                    Err("another shape".to_owned())
                }
            }
            (Value::String(then), Value::String(now)) => self.bindings.bind_text(name, then, now),
            (Value::Number(then), Value::Number(now)) => match (then.as_i64(), now.as_i64()) {
                (Some(then), Some(now)) if then > LARGE => {
                    let name = match &self.message {
                        Some(message) => format!("{name} of {message}"),
                        None => name.to_owned(),
                    };
                    self.bindings.bind_time(&name, then, now)
                }
                _ => Ok(()),
            },
            _ if std::mem::discriminant(then) == std::mem::discriminant(now) => Ok(()),
            _ => Err("another type".to_owned()),
        };
        if let Err(why) = bound {
            self.differ(path, Some(then), Some(now), &why);
        }
    }

    fn better(
        &mut self,
        path: &str,
        recorded: Option<&Value>,
        expected: &Value,
        actual: Option<&Value>,
    ) {
        if Some(expected) == recorded
            || (expected.get("$text").is_some() && recorded.is_some() && recorded == actual)
        {
            return self.differ(
                path,
                Some(expected),
                actual,
                "the override equals the recording",
            );
        }
        if let (Some(chosen), Some(Value::Array(then)), Some(Value::Array(now))) =
            (expected["$items"].as_array(), recorded, actual)
        {
            return self.chosen(path, chosen, then, now);
        }
        self.expected(path, expected, actual);
    }

    /// Compares with those items of a recorded list, and in the order, that an override chooses.
    fn chosen(&mut self, path: &str, chosen: &[Value], then: &[Value], now: &[Value]) {
        let items = chosen.iter().filter_map(Value::as_u64);
        let mut left = now.iter();
        for at in items {
            let then = usize::try_from(at).ok().and_then(|at| then.get(at));
            self.value(&format!("{path}[{at}]"), then, left.next());
        }
        for more in left {
            self.differ(path, None, Some(more), "one more than recorded");
        }
    }

    /// Compares with a value of an override.
    fn expected(&mut self, path: &str, expected: &Value, actual: Option<&Value>) {
        if expected.get("$absent").is_some() {
            if actual.is_some() {
                self.differ(path, None, actual, "");
            }
            return;
        }
        if let Some(inside) = expected.get("$json") {
            let parsed = actual.and_then(Value::as_str);
            let parsed = parsed.and_then(|text| serde_json::from_str::<Value>(text).ok());
            return self.expected(&format!("{path}.#"), inside, parsed.as_ref());
        }
        if let Some(then) = expected.get("$time").or_else(|| expected.get("$id")) {
            return self.volatile_value(path, then, actual.unwrap_or(&Value::Null));
        }
        if expected.get("$text").is_some() {
            let helpful = |text: &str| {
                !text.is_empty() && !INTERNALS.iter().any(|marker| text.contains(marker))
            };
            if !actual.and_then(Value::as_str).is_some_and(helpful) {
                self.differ(path, Some(expected), actual, "not a helpful text");
            }
            return;
        }
        match (expected, actual) {
            (Value::Object(then), Some(Value::Object(now))) => {
                let id = then
                    .get("serverMsgID")
                    .map(|id| id.get("$id").unwrap_or(id));
                let id = id.and_then(Value::as_str).map(str::to_owned);
                let around = std::mem::replace(&mut self.message, id.clone());
                for name in then
                    .keys()
                    .chain(now.keys().filter(|name| !then.contains_key(*name)))
                {
                    match then.get(name) {
                        Some(then) => {
                            self.message.clone_from(&id);
                            self.expected(&format!("{path}.{name}"), then, now.get(name));
                        }
                        None => self.differ(&format!("{path}.{name}"), None, now.get(name), ""),
                    }
                }
                self.message = around;
            }
            (Value::Array(then), Some(Value::Array(now))) if then.len() == now.len() => {
                for (at, (then, now)) in then.iter().zip(now).enumerate() {
                    self.expected(&format!("{path}[{at}]"), then, Some(now));
                }
            }
            (Value::String(then), Some(Value::String(now)))
                if is_token(then) || self.bindings.same_text(then, now) => {}
            (Value::Number(then), Some(Value::Number(now)))
                if self.bindings.same_number(then, now) => {}
            _ if Some(expected) == actual => {}
            _ => self.differ(path, Some(expected), actual, "an override"),
        }
    }
}

/// Whether two lists hold the same texts, in whatever order.
fn same_texts(then: &[Value], now: &[Value]) -> bool {
    let sorted = |list: &[Value]| {
        let texts: Option<Vec<String>> = list
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect();
        texts.map(|mut texts| {
            texts.sort_unstable();
            texts
        })
    };
    sorted(then).is_some_and(|then| Some(then) == sorted(now))
}

/// The name of the member at a path.
fn leaf(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

/// The JSON object in a text, which may be in base64 around it.
fn inside(text: &str) -> Option<Value> {
    let plain = STANDARD.decode(text).ok();
    let bytes = plain.as_deref().unwrap_or(text.as_bytes());
    serde_json::from_slice(bytes).ok().filter(Value::is_object)
}

/// The member directly under `path` that an override is about; not `order`, which is the line's place and no member of it.
fn member_under(path: &str, better: &str) -> Option<String> {
    let rest = better.strip_prefix(path)?;
    let name = if path.is_empty() {
        rest
    } else {
        rest.strip_prefix('.')?
    };
    let plain = !name.is_empty() && !name.contains(['.', '[']);
    (plain && better != "order").then(|| name.to_owned())
}
