//! What all connections of the gateway share: the tables, the ways to other services, and joining and leaving.
//!
//! A user's joins and leaves are serialised, and each reports the platforms that are connected *then*; so after any churn the
//! last report is true, and nothing counts up and down (clients.md 12). A report that fails is made good by presence itself.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use magpie_discovery::{Channel, name};
use magpie_presence::{GatewayId, TRUST};
use magpie_proto::openim::auth::auth_client::AuthClient;
use magpie_proto::openim::auth::{InvalidateTokenReq, KickTokensReq};
use magpie_proto::openim::msg::msg_client::MsgClient;
use magpie_proto::openim::msggateway::MultiTerminalLoginCheckReq;
use magpie_proto::openim::msggateway::msg_gateway_client::MsgGatewayClient;
use magpie_proto::openim::push::push_msg_service_client::PushMsgServiceClient;
use magpie_proto::status::from_status;
use magpie_service::{Caller, Context, Deps, members::Members};
use magpie_types::{Code, Error, Platform, Result, UserId, ids};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, SemaphorePermit};

use crate::config::Config;
use crate::conn::Conn;
use crate::deliver::Delivered;
use crate::metrics;
use crate::policy::{self, Login, Tokens};
use crate::registry::Registry;
use crate::server::{DRAIN_GROUP, DRAIN_PAUSE};
use crate::subscriptions::Subscriptions;

/// Locks for joins and leaves; users share them by hash.
const USER_LOCKS: usize = 1024;
/// Largest answer of another service, in bytes.
const MAX_ANSWER: usize = 32 << 20;
/// Longest wait for another gateway that is told of a login. One that stands still for longer has its connections closed when it
/// goes on, because it missed deliveries.
const MAX_TELL: Duration = Duration::from_secs(2);
/// Longest wait for a report: presence that can't be written says so after [`TRUST`].
const MAX_REPORT: Duration = TRUST.saturating_add(Duration::from_secs(3));

/// See the module.
pub(crate) struct Hub {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
    /// What beats of timers count from.
    pub(crate) started: tokio::time::Instant,
    /// As the registry of services knows this gateway.
    pub(crate) id: GatewayId,
    pub(crate) registry: Registry,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) delivered: Delivered,
    /// Of large groups.
    pub(crate) members: Members,
    /// Connections, those in their handshake included.
    open: AtomicUsize,
    /// Random part of connection ids, so that those of two processes differ.
    incarnation: String,
    next_number: AtomicU64,
    users: Box<[Turns]>,
    hasher: RandomState,
    /// Turns of pulls.
    pulls: Semaphore,
    channels: Channels,
}

/// Users who share a lock.
#[derive(Default)]
struct Turns {
    turn: AsyncMutex<()>,
    /// How often one of them was kicked.
    kicks: AtomicU64,
}

struct Channels {
    auth: Channel,
    msg: Channel,
    push: Channel,
}

/// A place among the connections of the process; given back when dropped.
pub(crate) struct Slot(Arc<Hub>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        metrics::connections(-1.0);
    }
}

impl Hub {
    pub(crate) fn new(deps: &Deps, config: Config, id: GatewayId) -> Arc<Self> {
        let channels = Channels {
            auth: deps.channel(name::AUTH),
            msg: deps.channel(name::MSG),
            push: deps.channel(name::PUSH),
        };
        Arc::new(Self {
            deps: deps.clone(),
            pulls: Semaphore::new(config.max_pulls.max(1)),
            delivered: Delivered::new(config.delivered_entries),
            members: Members::new(deps, usize::MAX, config.member_entries),
            config,
            started: tokio::time::Instant::now(),
            id,
            registry: Registry::default(),
            subscriptions: Subscriptions::default(),
            open: AtomicUsize::new(0),
            incarnation: hex::encode(ids::random_bytes::<8>()),
            next_number: AtomicU64::new(1),
            users: (0..USER_LOCKS).map(|_| Turns::default()).collect(),
            hasher: RandomState::new(),
            channels,
        })
    }

    /// Takes a place for a new connection, if one is free.
    pub(crate) fn slot(self: &Arc<Self>) -> Option<Slot> {
        let taken = self.open.fetch_add(1, Ordering::AcqRel);
        metrics::connections(1.0);
        let slot = Slot(Arc::clone(self));
        (taken < self.config.max_connections).then_some(slot)
    }

    /// Connections, those in their handshake included.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// The id of a connection, unique among all gateways.
    pub(crate) fn connection_id(&self, number: u64) -> String {
        format!("{}{number:016x}", self.incarnation)
    }

    /// The number of the connection with this id, if it is one of this process.
    pub(crate) fn connection_number(&self, id: &str) -> Option<u64> {
        u64::from_str_radix(id.strip_prefix(&self.incarnation)?, 16).ok()
    }

    /// The identity under which a connection's requests go on.
    pub(crate) fn context(&self, conn: &Conn, operation_id: &str) -> Context {
        let caller = match UserId::new(&*conn.user) {
            Ok(user) if self.deps.admins.iter().any(|a| **a == *conn.user) => Caller::Admin(user),
            Ok(user) => Caller::User(user),
            Err(_) => unreachable!("the user of a connection was checked at its handshake"),
        };
        Context {
            caller,
            operation_id: operation_id.to_owned(),
            connection_id: self.connection_id(conn.number),
            platform_id: conn.platform.number(),
        }
    }

    pub(crate) fn auth(&self) -> AuthClient<Channel> {
        AuthClient::new(self.channels.auth.clone())
    }

    pub(crate) fn msg(&self) -> MsgClient<Channel> {
        MsgClient::new(self.channels.msg.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(crate) fn push(&self) -> PushMsgServiceClient<Channel> {
        PushMsgServiceClient::new(self.channels.push.clone())
    }

    /// A pull's turn, held until its answer is encoded: answers may be large.
    pub(crate) async fn pull_turn(&self) -> Result<SemaphorePermit<'_>> {
        match tokio::time::timeout(self.config.request_timeout(), self.pulls.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Error::new(Code::INTERNAL, "busy: too many pulls")),
        }
    }

    /// A call to another service, with its time limit, which begins now. It is boxed at once: a call is ten kilobytes, and a
    /// future that holds it would copy them each time that it is moved.
    pub(crate) fn bounded<T, C>(&self, call: C) -> impl Future<Output = Result<T>> + use<T, C>
    where
        C: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let timed = tokio::time::timeout(self.config.request_timeout(), Box::pin(call));
        async {
            match timed.await {
                Ok(Ok(answer)) => Ok(answer.into_inner()),
                Ok(Err(status)) => Err(from_status(status)),
                Err(elapsed) => {
                    Err(Error::new(Code::INTERNAL, "the request took too long")
                        .with_source(elapsed))
                }
            }
        }
    }

    /// Makes a connection known: from now on it gets every push, its user is online on its platform, and the connections that
    /// it replaces are ended.
    pub(crate) async fn join(&self, conn: &Arc<Conn>, operation_id: &str) {
        let new = Login {
            platform: conn.platform,
            token: &conn.token,
        };
        {
            let _turn = self.turn(&conn.user).await;
            self.registry.insert(conn);
            let other = |c: &Conn| c.number != conn.number;
            self.enforce_here(&conn.user, new, other, operation_id)
                .await;
            self.end_surplus(conn);
            self.report(&conn.user).await;
        }
        self.enforce_elsewhere(&conn.user, new, operation_id).await;
        conn.set_joined();
        if self.deps.shutdown.is_cancelled() {
            conn.drain();
        }
    }

    /// Ends the oldest connections of a user on a platform while there are more than the limit. They are not kicked: their
    /// login is good, and it is the same client, most likely.
    fn end_surplus(&self, new: &Conn) {
        let mut same = self.registry.of(&new.user);
        same.retain(|c| c.platform == new.platform);
        same.sort_unstable_by_key(|c| c.number);
        let surplus = same
            .len()
            .saturating_sub(self.config.max_connections_per_user);
        for conn in &same[..surplus] {
            self.registry.remove(conn);
            conn.end(None, "too many");
        }
    }

    /// Forgets a connection that has ended.
    pub(crate) async fn leave(&self, conn: &Conn) {
        let _turn = self.turn(&conn.user).await;
        self.registry.remove(conn);
        self.subscriptions.remove_all(conn);
        if !self.deps.shutdown.is_cancelled() {
            self.report(&conn.user).await;
        }
    }

    /// Ends the connections of a user that `which` names. Returns how many.
    pub(crate) async fn kick(&self, user: &str, which: impl Fn(&Conn) -> bool) -> usize {
        self.turns(user).kicks.fetch_add(1, Ordering::AcqRel);
        let _turn = self.turn(user).await;
        let kicked: Vec<_> = self
            .registry
            .of(user)
            .into_iter()
            .filter(|c| which(c))
            .collect();
        self.end(&kicked);
        self.report(user).await;
        kicked.len()
    }

    /// Applies the multi-terminal policy for a login on another gateway. Logins that are under way here stay: of two at the same
    /// time on two gateways each would end the other.
    pub(crate) async fn enforce_remote(&self, user: &str, new: Login<'_>, operation_id: &str) {
        let _turn = self.turn(user).await;
        self.enforce_here(user, new, Conn::has_joined, operation_id)
            .await;
        self.report(user).await;
    }

    /// Has all other gateways apply the policy, all at once: one that does not answer delays the handshake only so long. Without
    /// the user's turn: two gateways that tell each other of logins at the same time would wait for each other.
    async fn enforce_elsewhere(&self, user: &str, new: Login<'_>, operation_id: &str) {
        let instances = self.deps.registry.instances(name::GATEWAY).into_iter();
        let others = instances.filter(|(id, _)| **id != *self.id);
        let calls = others.map(|(id, channel)| async move {
            let request = MultiTerminalLoginCheckReq {
                user_id: user.to_owned(),
                platform_id: new.platform.number(),
                token: new.token.to_owned(),
            };
            let request = Context::internal(operation_id).request(request);
            let mut gateway = MsgGatewayClient::new(channel);
            let call = gateway.multi_terminal_login_check(request);
            let error = match tokio::time::timeout(MAX_TELL, call).await {
                Ok(Ok(_)) => return,
                Ok(Err(status)) => from_status(status).report(),
                Err(elapsed) => elapsed.to_string(),
            };
            tracing::warn!(error, gateway.id = id, "a gateway was not told of a login");
        });
        futures::future::join_all(calls).await;
    }

    async fn enforce_here(
        &self,
        user: &str,
        new: Login<'_>,
        other: impl Fn(&Conn) -> bool,
        operation_id: &str,
    ) {
        let mut others = self.registry.of(user);
        others.retain(|c| other(c));
        let logins: Vec<_> = others
            .iter()
            .map(|c| Login {
                platform: c.platform,
                token: &c.token,
            })
            .collect();
        let decision = policy::decide(self.config.multi_login_policy, new, &logins);
        let kicked: Vec<_> = decision
            .kick
            .iter()
            .map(|i| Arc::clone(&others[*i]))
            .collect();
        self.end(&kicked);
        let context = Context::internal(operation_id);
        let mut auth = self.auth();
        let marked = match decision.tokens {
            Tokens::OfKicked if !kicked.is_empty() => {
                let tokens = kicked.iter().map(|c| String::from(&*c.token)).collect();
                self.bounded(auth.kick_tokens(context.request(KickTokensReq { tokens })))
                    .await
                    .map(drop)
            }
            Tokens::OfPlatform => {
                let request = InvalidateTokenReq {
                    preserved_token: new.token.to_owned(),
                    user_id: user.to_owned(),
                    platform_id: new.platform.number(),
                };
                self.bounded(auth.invalidate_token(context.request(request)))
                    .await
                    .map(drop)
            }
            Tokens::Keep | Tokens::OfKicked => Ok(()),
        };
        if let Err(e) = marked {
            tracing::warn!(
                error = e.report(),
                "tokens of ended connections were not marked"
            );
        }
    }

    pub(crate) fn end(&self, kicked: &[Arc<Conn>]) {
        for conn in kicked {
            self.registry.remove(conn);
            conn.kick();
        }
        metrics::kicks(kicked.len());
    }

    /// Keeps this gateway's presence alive until the process stops. Who was overlooked meanwhile is disconnected, and
    /// synchronises.
    pub(crate) async fn keep_presence(self: Arc<Self>) {
        let mut times = tokio::time::interval(self.config.presence_renewal());
        times.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = times.tick() => {}
                () = self.deps.shutdown.cancelled() => return,
            }
            match self.deps.presence.renew(&self.id).await {
                Ok(lost) => {
                    for group in lost.chunks(DRAIN_GROUP) {
                        for user in group {
                            self.registry.each(user.as_str(), |conn| conn.drain());
                        }
                        tokio::time::sleep(DRAIN_PAUSE).await;
                    }
                }
                Err(e) => tracing::warn!(error = %e, "presence was not renewed"),
            }
        }
    }

    async fn turn(&self, user: &str) -> tokio::sync::MutexGuard<'_, ()> {
        self.turns(user).turn.lock().await
    }

    fn turns(&self, user: &str) -> &Turns {
        let hash =
            usize::try_from(self.hasher.hash_one(user) % USER_LOCKS as u64).unwrap_or_default();
        &self.users[hash]
    }

    /// A number that changes when the user is kicked: a token that was good before may be bad then.
    pub(crate) fn kicks(&self, user: &str) -> u64 {
        self.turns(user).kicks.load(Ordering::Acquire)
    }

    /// Says which platforms of the user are connected here now. Afterwards nobody takes the user for offline: push finds the
    /// entry, or asks this gateway.
    async fn report(&self, user: &str) {
        let Ok(id) = UserId::new(user) else { return };
        let report = [(id, self.registry.platforms(user))];
        let written = self.deps.presence.report(&self.id, &report);
        let problem = match tokio::time::timeout(MAX_REPORT, written).await {
            Ok(Ok(())) => return,
            Ok(Err(e)) => e.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(error = problem, "presence was not reported");
    }
}

/// The platform with this number, or 1001.
pub(crate) fn platform(number: i32) -> Result<Platform> {
    Platform::from_number(number).ok_or_else(|| Error::args("platformID is unknown"))
}
