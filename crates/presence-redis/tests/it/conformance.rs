//! The contract of presence, on one server; `servers.rs` runs it on a cluster.

use std::sync::LazyLock;

use async_trait::async_trait;
use magpie_presence::{GatewayId, SharedPresence, conformance::Factory};
use magpie_testdeps::{Kind, Server};

use crate::world::{open, options};

static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(Kind::Redis));

struct Redis(String);

#[async_trait]
impl Factory for Redis {
    async fn open(&self, gateways: &[GatewayId]) -> SharedPresence {
        open(&options(&self.0), gateways).await
    }
}

mod server {
    use super::*;
    magpie_presence::conformance_tests!(Redis(SERVER.url()));
}
