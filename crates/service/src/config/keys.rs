//! The known keys, what a text means for one of them, and how values are shown.

use std::collections::BTreeMap;

use figment::value::{Dict, Empty, Num, Value};

use super::ConfigError;

/// Every key with its default. An empty table in the defaults takes any key.
pub(super) struct Keys(BTreeMap<String, Value>);

impl Keys {
    pub(super) fn of(defaults: &Value) -> Self {
        Self(leaves(defaults).into_iter().collect())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn check(
        &self,
        key: &str,
        origin: impl FnOnce() -> String,
    ) -> Result<(), ConfigError> {
        let open = |table: &String| matches!(self.0.get(table), Some(Value::Dict(..)));
        let parents = key
            .match_indices('.')
            .filter_map(|(at, _)| key.get(..at))
            .map(str::to_owned);
        if self.0.contains_key(key) || parents.into_iter().any(|p| open(&p)) {
            return Ok(());
        }
        Err(ConfigError::Unknown {
            key: key.to_owned(),
            origin: origin(),
            closest: closest(key, self.names()),
        })
    }

    /// What a text from a variable or a flag means: lists are separated by commas, the rest goes by the default's type.
    pub(super) fn parse(&self, key: &str, text: &str) -> Value {
        let any = || {
            text.parse()
                .unwrap_or_else(|e: std::convert::Infallible| match e {})
        };
        match self.0.get(key) {
            Some(Value::String(..)) => Value::from(text),
            Some(Value::Array(..)) => Value::from(
                text.split(',')
                    .map(str::trim)
                    .filter(|t| !t.is_empty())
                    .map(Value::from)
                    .collect::<Vec<_>>(),
            ),
            Some(Value::Num(_, Num::F32(_) | Num::F64(_))) => text
                .parse::<f64>()
                .map_or_else(|_| Value::from(text), Value::from),
            Some(Value::Num(..)) => text
                .parse::<i64>()
                .map(Value::from)
                .or_else(|_| text.parse::<u64>().map(Value::from))
                .unwrap_or_else(|_| Value::from(text)),
            Some(Value::Bool(..)) => text
                .parse::<bool>()
                .map_or_else(|_| Value::from(text), Value::from),
            _ => any(),
        }
    }
}

/// The dotted keys of a tree with their values; empty tables are leaves.
pub(super) fn leaves(value: &Value) -> Vec<(String, Value)> {
    fn walk(prefix: &str, dict: &Dict, found: &mut Vec<(String, Value)>) {
        for (name, value) in dict {
            let key = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            match value {
                Value::Dict(_, inner) if !inner.is_empty() => walk(&key, inner, found),
                _ => found.push((key, value.clone())),
            }
        }
    }
    let mut found = Vec::new();
    if let Some(dict) = value.as_dict() {
        walk("", dict, &mut found);
    }
    found
}

/// A value as TOML writes it; nothing for an unset one.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, c) => format!("{:?}", c.to_string()),
        Value::Bool(_, b) => b.to_string(),
        Value::Num(_, num) => num
            .to_i128()
            .map(|n| n.to_string())
            .or_else(|| num.to_u128().map(|n| n.to_string()))
            .unwrap_or_else(|| num.to_f64().map(|n| format!("{n:?}")).unwrap_or_default()),
        Value::Empty(_, Empty::None | Empty::Unit) => String::new(),
        Value::Array(_, items) => format!(
            "[{}]",
            items.iter().map(show).collect::<Vec<_>>().join(", ")
        ),
        Value::Dict(_, dict) => {
            format!(
                "{{{}}}",
                dict.iter()
                    .map(|(k, v)| format!("{k} = {}", show(v)))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
    }
}

/// The candidate with the fewest edits, if it is near enough to be what was meant.
pub(super) fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = name.chars().count() / 3 + 1;
    candidates
        .map(|c| (edits(name, c), c))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, c)| c.to_owned())
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
