//! The replayer: plays a recorded exchange against a server and compares every line.
//!
//! `parse` reads a recording into steps. `play` performs each step's action on a [`Target`] and matches what arrives with what
//! was recorded, per connection and per conversation. `compare` decides whether two lines mean the same, with ids, tokens and
//! times translated by `bindings` in both directions. `overrides` holds what this server does better on purpose. `live` is the
//! target that talks to a real server. The recordings and the form of an override are described in `tests/golden/README.md`.

mod bindings;
mod compare;
mod expected;
mod frames;
mod live;
mod markers;
mod overrides;
mod parse;
mod play;
#[cfg(test)]
mod self_replay;

use std::path::{Path, PathBuf};

pub use compare::Difference;
pub use live::LiveTarget;
pub use overrides::{Override, Overrides};
pub use parse::{Action, Case, Line, Step};
pub use play::{Report, Target, play};

/// The folder of the recordings.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Names of all recorded cases, sorted.
///
/// # Errors
/// The folder can't be read.
pub fn case_names() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
            && name != overrides::FILE_STEM
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
