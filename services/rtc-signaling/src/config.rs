//! Configuration of the call service.

use serde::{Deserialize, Serialize};

/// Nothing can be configured yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {}
