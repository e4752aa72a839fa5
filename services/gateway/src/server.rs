//! Accepting connections, and sending everybody elsewhere when the process stops.

use std::sync::Arc;
use std::time::Duration;

use magpie_presence::GatewayId;
use magpie_proto::magpie::gateway::delivery_server::DeliveryServer;
use magpie_proto::openim::msggateway::msg_gateway_server::MsgGatewayServer;
use magpie_service::{Deps, listen::AcceptErrors};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tonic::service::Routes;

use crate::config::Config;
use crate::deliver::DeliveryService;
use crate::grpc::GatewayService;
use crate::hub::Hub;
use crate::{handshake, missed, subscriptions};

/// Clients told to reconnect at once; a pause follows each group, so that they don't come back all together.
pub(crate) const DRAIN_GROUP: usize = 500;
/// Pause between groups, and between looks at who is left.
pub(crate) const DRAIN_PAUSE: Duration = Duration::from_millis(20);
/// Largest delivery, in bytes.
const MAX_DELIVERY: usize = 32 << 20;

/// A gateway: connections on one side, deliveries on the other.
pub struct Gateway {
    hub: Arc<Hub>,
}

impl Gateway {
    /// Prepares a gateway and starts its background work. `id` is the instance id under which the registry of services
    /// knows it: push finds the gateway of a presence entry by it.
    #[must_use]
    pub fn new(deps: &Deps, config: Config, id: GatewayId) -> Self {
        let hub = Hub::new(deps, config, id);
        deps.tasks.spawn(subscriptions::follow(
            Arc::clone(&hub),
            deps.presence.changes(),
        ));
        deps.tasks.spawn(Arc::clone(&hub).keep_presence());
        Self { hub }
    }

    /// Its gRPC services: `magpie.gateway.Delivery` and `openim.msggateway.msgGateway`.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let delivery = DeliveryServer::new(DeliveryService(Arc::clone(&self.hub)))
            .max_decoding_message_size(MAX_DELIVERY);
        Routes::new(delivery)
            .add_service(MsgGatewayServer::new(GatewayService(Arc::clone(&self.hub))))
    }

    /// Serves clients until the process stops, then sends them elsewhere: what they have asked for is answered first.
    pub async fn serve(self, listener: TcpListener) {
        let hub = self.hub;
        let Some(missed) = missed::begin(&hub).await else {
            return;
        };
        let follow = missed::follow(Arc::clone(&hub), missed);
        hub.deps.tasks.spawn(follow);
        let shutdown = hub.deps.shutdown.clone();
        let handshakes = Arc::new(Semaphore::new(hub.config.max_handshakes));
        let mut errors = AcceptErrors::default();
        loop {
            let next = async {
                let permit = Arc::clone(&handshakes).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = shutdown.cancelled() => break,
            };
            match (permit, accepted) {
                (Ok(permit), Ok((stream, _peer))) => {
                    if let Err(e) = stream.set_nodelay(true) {
                        tracing::debug!(error = %e, "the client is gone already");
                    }
                    hub.deps
                        .tasks
                        .spawn(handshake::run(Arc::clone(&hub), stream, permit));
                }
                (_, Err(e)) => errors.pause(&e).await,
                (Err(_closed), _) => break,
            }
        }
        drop(listener);
        drain(&hub).await;
    }
}

/// Tells everybody to reconnect and waits until they are gone, or until it takes too long.
async fn drain(hub: &Hub) {
    let deadline = Instant::now() + hub.config.drain_timeout();
    for group in hub.registry.all().chunks(DRAIN_GROUP) {
        group.iter().for_each(|conn| conn.drain());
        sleep(DRAIN_PAUSE).await;
    }
    while hub.open() > 0 && Instant::now() < deadline {
        sleep(DRAIN_PAUSE).await;
    }
    for conn in hub.registry.all() {
        conn.abort("drain timeout");
    }
    if let Err(e) = hub.deps.presence.leave(&hub.id).await {
        tracing::warn!(error = %e, "presence was not left");
    }
    missed::forget(hub).await;
}
