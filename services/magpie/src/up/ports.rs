//! The four ports, bound before anything else starts.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::config::Listen;

/// Listeners that are bound but not served yet.
pub(super) struct Ports {
    pub(super) public: Public,
    pub(super) ops: TcpListener,
    /// What they are bound to.
    pub(super) bound: Listen,
}

/// Those that clients and back ends use.
pub(super) struct Public {
    pub(super) ws: TcpListener,
    pub(super) api: TcpListener,
    pub(super) grpc: TcpListener,
}

impl Ports {
    pub(super) async fn bind(listen: &Listen) -> anyhow::Result<Self> {
        let public = Public {
            ws: bind("ws", listen.ws).await?,
            api: bind("api", listen.api).await?,
            grpc: bind("grpc", listen.grpc).await?,
        };
        let ops = bind("ops", listen.ops).await?;
        let bound = Listen {
            ws: public.ws.local_addr()?,
            api: public.api.local_addr()?,
            ops: ops.local_addr()?,
            grpc: public.grpc.local_addr()?,
        };
        Ok(Self { public, ops, bound })
    }
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen.{name}: can't listen on {address}"))
}
