//! What a caller tells the channel about one call, as typed extensions of the request. In one process they mean nothing.

use bytes::Bytes;

/// Calls with the same key go to the same instance while the instances stay the same (locality of caches; correctness must not
/// depend on it). When an instance comes or goes, only the keys that it takes or leaves move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteKey(pub Bytes);

/// Processing the call twice does no more than once, so it may be sent again when nobody knows whether it was processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotent;
