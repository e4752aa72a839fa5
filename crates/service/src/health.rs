//! Whether the process takes work: one flag for `/readyz` and for the gRPC health service.

use std::sync::Arc;

use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

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

    /// Keeps the gRPC health service told, under all these names, as long as it is polled.
    pub(crate) async fn report(&self, reporter: HealthReporter, names: &[String]) {
        let mut ready = self.watch();
        loop {
            let status = if *ready.borrow_and_update() {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            for name in names {
                reporter.set_service_status(name, status).await;
            }
            // `self` holds the sender.
            if ready.changed().await.is_err() {
                return;
            }
        }
    }
}
