//! Whether the process takes work: one flag for `/readyz` and for the gRPC health service.

use std::sync::Arc;

use tokio::sync::watch;

/// A shared flag, false at the start.
#[derive(Clone)]
pub struct Readiness(Arc<watch::Sender<bool>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }
}

impl Readiness {
    /// Says whether work is taken from now on.
    pub fn set(&self, ready: bool) {
        self.0.send_replace(ready);
    }

    /// Whether work is taken.
    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Present and later values.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}
