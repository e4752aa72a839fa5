//! The contract of presence, run by the engine of one process.

use async_trait::async_trait;
use magpie_presence::{GatewayId, SharedPresence, conformance::Factory};
use magpie_presence_memory::MemoryPresence;

struct Memory;

#[async_trait]
impl Factory for Memory {
    async fn open(&self, _gateways: &[GatewayId]) -> SharedPresence {
        MemoryPresence::new()
    }
}

magpie_presence::conformance_tests!(Memory);
