//! The ports of a process, bound before anything else starts.

use std::net::SocketAddr;

use anyhow::Context as _;
use magpie_discovery::name;
use tokio::net::TcpListener;

use super::{EngineSet, Plan};
use crate::config::Listen;

/// Listeners that are bound but not served yet.
pub(super) struct Ports {
    pub(super) public: Public,
    pub(super) ops: TcpListener,
    /// One for each service of the process, for the others of the cluster.
    pub(super) internal: Vec<TcpListener>,
    /// What they are bound to.
    pub(super) bound: Bound,
}

/// Those that clients and back ends use, as far as their services run here.
pub(super) struct Public {
    pub(super) ws: Option<TcpListener>,
    pub(super) api: Option<TcpListener>,
    pub(super) grpc: Option<TcpListener>,
}

/// Where a process can be reached.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) ws: Option<SocketAddr>,
    pub(super) api: Option<SocketAddr>,
    pub(super) grpc: Option<SocketAddr>,
    pub(super) ops: SocketAddr,
}

impl Ports {
    pub(super) async fn bind(listen: &Listen, plan: &Plan) -> anyhow::Result<Self> {
        let (gateway, api) = (plan.has(name::GATEWAY), plan.has(name::API));
        let public = Public {
            ws: bind_if(gateway, "ws", listen.ws).await?,
            api: bind_if(api, "api", listen.api).await?,
            grpc: bind_if(api, "grpc", listen.grpc).await?,
        };
        let ops = bind("ops", listen.ops).await?;
        let mut internal = Vec::new();
        if plan.engines == EngineSet::Cluster {
            for i in 0..u16::try_from(plan.services.len())? {
                let mut address = listen.internal;
                if address.port() != 0 {
                    address.set_port(
                        address
                            .port()
                            .checked_add(i)
                            .context("listen.internal: the port is too high")?,
                    );
                }
                internal.push(bind("internal", address).await?);
            }
        }
        let at = |listener: &Option<TcpListener>| {
            listener.as_ref().map(TcpListener::local_addr).transpose()
        };
        let bound = Bound {
            ws: at(&public.ws)?,
            api: at(&public.api)?,
            grpc: at(&public.grpc)?,
            ops: ops.local_addr()?,
        };
        Ok(Self {
            public,
            ops,
            internal,
            bound,
        })
    }
}

async fn bind_if(
    wanted: bool,
    name: &str,
    address: SocketAddr,
) -> anyhow::Result<Option<TcpListener>> {
    Ok(if wanted {
        Some(bind(name, address).await?)
    } else {
        None
    })
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen.{name}: can't listen on {address}"))
}
