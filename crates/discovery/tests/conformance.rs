//! The contract of the registry, run in one process.

use std::sync::Arc;

use async_trait::async_trait;
use magpie_discovery::{
    InProcess, SharedRegistry,
    conformance::{Cluster, SERVICE},
};
use tonic::service::Routes;

struct Process(Arc<InProcess>);

#[async_trait]
impl Cluster for Process {
    async fn registry(&self) -> SharedRegistry {
        Arc::<InProcess>::clone(&self.0)
    }

    async fn start(&self, _instance: &str, routes: Routes) {
        self.0.serve(SERVICE, routes);
    }

    async fn stop(&self, _instance: &str) {
        unreachable!("a service ends with its process");
    }

    async fn kill(&self, _instance: &str) {
        unreachable!("a service ends with its process");
    }
}

magpie_discovery::conformance_tests!(Process(InProcess::new()));
