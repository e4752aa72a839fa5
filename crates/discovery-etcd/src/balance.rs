//! Which instance gets a call.
//!
//! With a key: the one that weighs most for it (rendezvous hashing), so that the same key stays where it is and only those of an
//! instance that comes or goes move. Without: the less busy one of two taken at random. Instances that are put aside are used
//! only when no other is left.

use std::sync::Arc;

use magpie_discovery::RouteKey;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::endpoint::Endpoint;

/// Picks among the instances that were not tried yet; `None` when there is none.
pub(crate) fn pick(
    members: &[Arc<Endpoint>],
    key: Option<&RouteKey>,
    tried: &[Arc<Endpoint>],
) -> Option<Arc<Endpoint>> {
    let untried = |e: &&Arc<Endpoint>| !tried.iter().any(|t| Arc::ptr_eq(t, e));
    let mut candidates: Vec<&Arc<Endpoint>> = members
        .iter()
        .filter(untried)
        .filter(|e| !e.is_ejected())
        .collect();
    if candidates.is_empty() {
        candidates = members.iter().filter(untried).collect();
    }
    let found = match key {
        Some(key) => candidates.into_iter().max_by_key(|e| weight(e.id(), key)),
        None => less_busy(&candidates),
    };
    found.cloned()
}

/// Equal in every process and release: a cluster agrees on it while it is updated.
fn weight(instance: &str, key: &RouteKey) -> u64 {
    xxh3_64_with_seed(&key.0, xxh3_64(instance.as_bytes()))
}

fn less_busy<'a>(candidates: &[&'a Arc<Endpoint>]) -> Option<&'a Arc<Endpoint>> {
    if let [] | [_] = candidates {
        return candidates.first().copied();
    }
    let one = rand::random_range(0..candidates.len());
    let other = (one + rand::random_range(1..candidates.len())) % candidates.len();
    let (one, other) = (candidates[one], candidates[other]);
    Some(if other.outstanding() < one.outstanding() {
        other
    } else {
        one
    })
}
