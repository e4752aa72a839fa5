//! Whether a line of this run means what the recorded line means.
//!
//! Every member is compared, in both directions. Under a volatile path a value must be present with the same type; ids and
//! tokens are bound there, times must lie where the recording has them. A list with volatile members that are neither is in
//! random order and compared as a set, and so are lists that are gathered from several gateways. An override replaces the
//! recorded value at its path and is compared strictly.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::bindings::{Bindings, is_token};
use super::overrides::Overrides;

/// Markers of an error text that shows the inside of the server.
const INTERNALS: [&str; 6] = ["->", ".go:", ".rs:", "panic", "thread '", "<trace>"];
/// Names under which a volatile text is an id.
const ID_NAMES: [&str; 7] = [
    "serverMsgID",
    "clientMsgID",
    "connID",
    "versionID",
    "token",
    "x-http-id",
    "friendVersionID",
];

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
    pub(crate) differences: Vec<Difference>,
}

impl Comparison<'_> {
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
        if self.volatile.contains(path) {
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

    fn object(&mut self, path: &str, then: &Map<String, Value>, now: &Map<String, Value>) {
        let headers = path == "response_headers" || path == "response.headers";
        let mut names: BTreeSet<&str> = then.keys().map(String::as_str).collect();
        if !headers {
            names.extend(now.keys().map(String::as_str));
        }
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
            let (then, now) = (then.get(name), now.get(name));
            if headers
                && let (Some(Value::String(then)), Some(Value::String(now))) = (then, now)
                && then.eq_ignore_ascii_case(now)
            {
                continue;
            }
            self.value(&path, then, now);
        }
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
        if then.len() > 1 && self.is_unordered(path) {
            return self.set(path, then, now);
        }
        for (at, (then, now)) in then.iter().zip(now).enumerate() {
            self.value(&format!("{path}[{at}]"), Some(then), Some(now));
        }
    }

    fn is_unordered(&self, path: &str) -> bool {
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
                let mut trial = Comparison {
                    bindings: &mut bindings,
                    overrides: &mut overrides,
                    of_line: self.of_line,
                    volatile: &volatile,
                    differences: Vec::new(),
                };
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
        let name = path.rsplit('.').next().unwrap_or_default();
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
                (Some(then), Some(now)) if then > 1_000_000_000 => {
                    // When a message was made is not when what it tells was made, even if both were recorded in one ms.
                    let of_message = path.contains(".Msgs[") && !path.contains(".#.");
                    let name = match name {
                        "createTime" if of_message => "createTime of a message",
                        name => name,
                    };
                    self.bindings.bind_time(name, then, now)
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
        if let (Some(at), Some(Value::Array(then)), Some(Value::Array(now))) =
            (expected["$drop"].as_u64(), recorded, actual)
        {
            return self.without(path, at, then, now);
        }
        self.expected(path, expected, actual);
    }

    /// Compares with a recorded list from which an override drops an item.
    fn without(&mut self, path: &str, dropped: u64, then: &[Value], now: &[Value]) {
        let mut left = now.iter();
        for (at, then) in (0_u64..).zip(then).filter(|(at, _)| *at != dropped) {
            self.value(&format!("{path}[{at}]"), Some(then), left.next());
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
        if let Some(then) = expected.get("$time") {
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
                for name in then
                    .keys()
                    .chain(now.keys().filter(|name| !then.contains_key(*name)))
                {
                    match then.get(name) {
                        Some(then) => self.expected(&format!("{path}.{name}"), then, now.get(name)),
                        None => self.differ(&format!("{path}.{name}"), None, now.get(name), ""),
                    }
                }
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
