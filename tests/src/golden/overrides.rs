//! Where this server is better than the recorded one, line by line.
//!
//! Each override names a place in a recording, the value that is right, and the item of the list of corrections that says so.
//! An override that equals the recording, or that no line used, is an error: the list never claims more than is true.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;

/// Name of the file beside the recordings, without its ending.
pub(crate) const FILE_STEM: &str = "overrides";

/// One improvement.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Case.
    pub case: String,
    /// Step; 0: the whole case, wherever `recorded` stands at `path`.
    #[serde(default)]
    pub step: i64,
    /// Connection; empty for REST and for the answer to a handshake.
    #[serde(default)]
    pub on: String,
    /// Which observation of the step on that connection, from 0.
    #[serde(default)]
    pub nth: usize,
    /// Path in the line. Empty: the whole line, added when `nth` is beyond the recorded ones, dropped when null is expected.
    pub path: String,
    /// With step 0: the recorded value that is replaced, at every path that `path` fits, where `*` is any text.
    #[serde(default)]
    pub recorded: Option<Value>,
    /// The right value, with ids and times as recorded; `{"$text":true}` is any helpful text, `{"$absent":true}` no member,
    /// `{"$time":t}` a time near the recorded t, `{"$id":i}` the id that stands for i, `{"$json":v}` a text that holds v,
    /// `{"$items":[0,2]}` these of the recorded items.
    pub expected: Value,
    /// Items of the list of corrections.
    pub reason: String,
}

/// The overrides of one case and which of them were used.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    entries: Vec<Override>,
    used: HashSet<usize>,
}

impl Override {
    /// Reads all overrides.
    ///
    /// # Errors
    /// The file is missing, an entry is malformed, gives no reason or repeats another's place.
    pub fn read_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let text = std::fs::read_to_string(folder.join(format!("{FILE_STEM}.jsonl")))?;
        let mut places = HashSet::new();
        let mut all = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let entry: Self =
                serde_json::from_str(line).with_context(|| format!("override {}", number + 1))?;
            if entry.reason.is_empty() {
                bail!("override {} has no reason", number + 1);
            }
            if (entry.step == 0) != entry.recorded.is_some() {
                bail!("override {} needs a step or what is recorded", number + 1);
            }
            if !places.insert((
                entry.case.clone(),
                entry.step,
                entry.on.clone(),
                entry.nth,
                entry.path.clone(),
                entry.recorded.as_ref().map(Value::to_string),
            )) {
                bail!("override {} repeats another", number + 1);
            }
            all.push(entry);
        }
        Ok(all)
    }

    /// Where it applies, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        let on = if self.on.is_empty() {
            "answer"
        } else {
            &self.on
        };
        format!(
            "{} s{} {on} #{} `{}`",
            self.case, self.step, self.nth, self.path
        )
    }
}

impl Overrides {
    /// The overrides of one case.
    #[must_use]
    pub fn of_case(all: &[Override], case: &str) -> Self {
        let entries = all
            .iter()
            .filter(|entry| entry.case == case)
            .cloned()
            .collect();
        Self {
            entries,
            used: HashSet::new(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Indexes of those for one line.
    #[must_use]
    pub(crate) fn of_line(&self, step: i64, on: &str, nth: usize) -> Vec<usize> {
        let fits = |entry: &Override| entry.step == step && entry.on == on && entry.nth == nth;
        (0..self.entries.len())
            .filter(|at| fits(&self.entries[*at]))
            .collect()
    }

    /// Those for whole lines of a step that weren't used yet.
    pub(crate) fn whole_lines(&self, step: i64) -> impl Iterator<Item = (usize, &Override)> {
        self.entries
            .iter()
            .enumerate()
            .filter(move |(_, entry)| {
                entry.step == step && entry.path.is_empty() && !entry.on.is_empty()
            })
            .filter(|(at, _)| !self.used.contains(at))
    }

    /// The entry at an index of [`of_line`](Self::of_line).
    pub(crate) fn entry(&self, at: usize) -> &Override {
        &self.entries[at]
    }

    /// Takes the one for a path out of a line's, and marks it as used.
    pub(crate) fn take(&mut self, of_line: &[usize], path: &str) -> Option<Override> {
        let at = of_line
            .iter()
            .copied()
            .find(|at| self.entries[*at].path == path)?;
        self.used.insert(at);
        Some(self.entries[at].clone())
    }

    /// Takes the one of the whole case for a recorded value.
    pub(crate) fn take_general(&mut self, path: &str, recorded: &Value) -> Option<Override> {
        let fits =
            |entry: &Override| entry.recorded.as_ref() == Some(recorded) && fits(&entry.path, path);
        let at = self.entries.iter().position(fits)?;
        self.used.insert(at);
        Some(self.entries[at].clone())
    }

    /// Marks one as used.
    pub(crate) fn mark(&mut self, at: usize) {
        self.used.insert(at);
    }

    /// Those that nothing used.
    #[must_use]
    pub fn unused(&self) -> Vec<&Override> {
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(at, _)| !self.used.contains(at))
            .map(|(_, entry)| entry)
            .collect()
    }
}

/// Whether a path is one that a pattern means, in which `*` is any text.
fn fits(pattern: &str, path: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == path;
    };
    let Some(left) = path.strip_prefix(start) else {
        return false;
    };
    let mut ends = left.char_indices().map(|(at, _)| at).chain([left.len()]);
    ends.any(|at| left.get(at..).is_some_and(|left| fits(rest, left)))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_is_any_text() {
        assert!(fits(
            "*.creatorUserID",
            "data.msgs.sg_g1.Msgs[0].#.group.creatorUserID"
        ));
        assert!(fits("a.*.c.*", "a.b.c.d"));
        assert!(fits("a*", "a"));
        assert!(!fits("*.b", "a.b.c"));
        assert!(!fits("a.b", "a.b.c"));
    }
}
