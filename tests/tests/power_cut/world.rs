//! The services that a message passes, in this process, over a message log in memory and an SQLite database whose unsynced
//! bytes a power cut takes.
//!
//! A [`World`] lives until [`World::cut_power`]. Its services run on a runtime of their own, which ends with it: sockets close
//! and nothing is finished. What the disks kept is the [`Disks`] of the next one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use magpie_discovery::{InProcess, name};
use magpie_gateway::Gateway;
use magpie_log::{BatchLimits, Topic};
use magpie_log_local::{LocalLog, lossy::LossyFiles};
use magpie_presence_memory::MemoryPresence;
use magpie_proto::magpie::log::Stored;
use magpie_proto::openim::auth::{GetUserTokenReq, auth_client::AuthClient};
use magpie_proto::openim::sdkws::UserInfo;
use magpie_proto::openim::user::{UserRegisterReq, user_client::UserClient};
use magpie_service::invalidation::{Invalidations, Observed};
use magpie_service::{Context, Deps};
use magpie_store::{Store as _, documents::SCHEMAS};
use magpie_store_sqlite::SqliteStore;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tonic::service::Routes;

use crate::vfs;

/// Seen of the stored log by a consumer: conversation and seq, in order.
pub(crate) type Seen = Arc<Mutex<Vec<(String, i64)>>>;

/// What survives a power cut.
pub(crate) struct Disks {
    log: LossyFiles,
    store: tempfile::TempDir,
}

impl Disks {
    pub(crate) fn new() -> Self {
        Self {
            log: LossyFiles::new(),
            store: tempfile::tempdir().unwrap(),
        }
    }
}

pub(crate) struct World {
    pub(crate) deps: Deps,
    pub(crate) ws_url: String,
    registry: Arc<InProcess>,
    disks: Disks,
    runtime: Runtime,
}

impl World {
    /// Starts over what the disks hold.
    pub(crate) async fn start(disks: Disks) -> Self {
        vfs::install();
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (files, folder) = (disks.log.clone(), disks.store.path().to_owned());
        let starting = runtime.spawn(async move {
            let options = magpie_store_sqlite::Options {
                // Short, so that cuts also meet checkpoints.
                wal_soft_limit: 256 << 10,
                ..Default::default()
            };
            let store = SqliteStore::open(folder.join("store.sqlite"), options).unwrap();
            store.prepare(SCHEMAS).await.unwrap();
            let options = magpie_log_local::Options {
                // Short, so that cuts also meet new segments and half-done cycles of offsets.
                segment_bytes: 200_000,
                deferred_interval: Duration::from_millis(40),
                ..Default::default()
            };
            let log = LocalLog::open_with(Arc::new(files), options).unwrap();
            let registry = InProcess::new();
            let invalidations = Arc::new(Invalidations::default());
            let deps = Deps {
                store: Observed::new(store, Arc::clone(&invalidations)),
                log,
                presence: MemoryPresence::new(),
                registry: Arc::<InProcess>::clone(&registry),
                tasks: Default::default(),
                shutdown: Default::default(),
                invalidations,
                admins: Arc::from(["imAdmin".to_owned()]),
            };
            let secret = Arc::new("tests-only-secret-0123456789abcdef".to_owned().into());
            registry.serve(
                name::AUTH,
                magpie_auth::routes(&deps, Default::default(), secret),
            );
            registry.serve(name::USER, magpie_user::routes(&deps, Default::default()));
            registry.serve(name::MSG, magpie_msg::routes(&deps, Default::default()));
            registry.serve(name::PUSH, magpie_push::routes(&deps));
            magpie_transfer::start(&deps, Default::default());
            magpie_push::start(&deps, Default::default());
            let gateway = Gateway::new(&deps, Default::default(), name::GATEWAY.into());
            registry.serve(name::GATEWAY, gateway.routes());
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let ws_url = format!("ws://{}", listener.local_addr().unwrap());
            deps.tasks.spawn(gateway.serve(listener));
            (deps, registry, ws_url)
        });
        let (deps, registry, ws_url) = starting.await.unwrap();
        Self {
            deps,
            ws_url,
            registry,
            disks,
            runtime,
        }
    }

    /// Registers users.
    pub(crate) async fn register(&self, users: &[&str]) {
        let users = users.iter().map(|id| UserInfo {
            user_id: (*id).to_owned(),
            nickname: (*id).to_owned(),
            ..UserInfo::default()
        });
        let request = UserRegisterReq {
            users: users.collect(),
        };
        UserClient::new(self.deps.channel(name::USER))
            .user_register(Context::internal("test").request(request))
            .await
            .unwrap();
    }

    /// A token of a user.
    pub(crate) async fn token(&self, user: &str, platform_id: i32) -> String {
        let request = GetUserTokenReq {
            platform_id,
            user_id: user.to_owned(),
        };
        AuthClient::new(self.deps.channel(name::AUTH))
            .get_user_token(Context::internal("test").request(request))
            .await
            .unwrap()
            .into_inner()
            .token
    }

    /// Lets a consumer group read the stored log as push and webhooks do: effect first, then the commit.
    pub(crate) fn consume(&self, group: &'static str, seen: &Seen) {
        let (log, seen) = (Arc::clone(&self.deps.log), Arc::clone(seen));
        self.runtime.spawn(async move {
            let limits = BatchLimits::default();
            let mut consumer = log.subscribe(Topic::Stored, group, limits).await.unwrap();
            while let Ok(batch) = consumer.next().await {
                for record in &batch.records {
                    let stored = Stored::decode(record.value.clone()).unwrap();
                    if stored.seq > 0 && !stored.resend {
                        seen.lock()
                            .unwrap()
                            .push((stored.conversation_id, stored.seq));
                    }
                }
                if consumer.commit(&batch.last_positions()).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Records that a group has not committed.
    pub(crate) async fn backlog(&self, topic: Topic, group: &str) -> u64 {
        self.deps.log.backlog(topic, group).await.unwrap().records
    }

    /// The power fails now. Of what was not synced, those parts survive of which `keep` says so.
    pub(crate) fn cut_power(self, mut keep: impl FnMut() -> bool) -> Disks {
        let store = tempfile::tempdir().unwrap();
        // The log first: what the store does between the two, it does from records that the log has synced.
        self.disks.log.crash_torn(&mut keep);
        vfs::cut_power(self.disks.store.path(), store.path(), keep);
        let log = self.disks.log.clone();
        self.runtime.shutdown_background();
        // Services and registry hold each other; a process that dies lets go of both, and of the sockets.
        for service in [name::GATEWAY, name::MSG, name::AUTH, name::USER, name::PUSH] {
            self.registry.serve(service, Routes::default());
        }
        drop(self.deps);
        Disks { log, store }
    }
}
