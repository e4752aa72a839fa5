//! The registry of one process: every service is called in memory.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use futures::future::BoxFuture;
use tokio::sync::watch;
use tonic::{Status, service::Routes};
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::{Channel, Registry, call_span};

type Services = HashMap<&'static str, Routes>;

/// The registry of one process.
pub struct InProcess(watch::Sender<Services>);

impl InProcess {
    /// An empty registry.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::default()))
    }

    /// Makes a service callable.
    pub fn serve(&self, service: &'static str, routes: Routes) {
        self.0.send_modify(|services| {
            services.insert(service, routes.prepare());
        });
    }
}

impl Registry for InProcess {
    fn channel(&self, service: &'static str) -> Channel {
        let services = self.0.subscribe();
        let found: OnceLock<Routes> = OnceLock::new();
        Channel::new(move |request| {
            let routes = match found.get() {
                Some(routes) => routes.clone(),
                None => match services.borrow().get(service) {
                    Some(routes) => found.get_or_init(|| routes.clone()).clone(),
                    None => {
                        let status = Status::unavailable(format!(
                            "the service {service} is not running in this process"
                        ));
                        return Box::pin(async { Err(status) });
                    }
                },
            };
            let span = call_span(service, &request);
            let call = async move { routes.oneshot(request).await.map_err(|e| match e {}) };
            if span.is_disabled() {
                Box::pin(call)
            } else {
                Box::pin(call.instrument(span))
            }
        })
    }

    fn instances(&self, service: &'static str) -> Vec<(String, Channel)> {
        vec![(service.to_owned(), self.channel(service))]
    }

    fn wait_for(&self, service: &'static str) -> BoxFuture<'_, ()> {
        let mut services = self.0.subscribe();
        Box::pin(async move {
            // The sender is borrowed from `self`, so the wait can't fail.
            let _there = services.wait_for(|s| s.contains_key(service)).await;
        })
    }
}
