//! What tests of services are written with: the embedded engines in a folder of their own, callers, and waiting for a state.
//!
//! A service test gives [`Engines`] to the real service and calls it through its generated client. Consumers of the log can be
//! given a [`ScriptedLog`] instead, which hands out exactly the batches that the test wants. Used by tests only.

mod fuse;
pub mod rows;
mod scripted;

use std::{sync::Arc, time::Duration};

use magpie_discovery::{InProcess, SharedRegistry, name};
use magpie_log_local::LocalLog;
use magpie_presence_memory::MemoryPresence;
use magpie_proto::openim::{
    sdkws::UserInfo,
    user::{UserRegisterReq, user_client::UserClient},
};
use magpie_service::{
    Caller, Context, Deps,
    invalidation::{Invalidations, Observed},
};
use magpie_store::{Store as _, documents::SCHEMAS};
use magpie_store_sqlite::SqliteStore;
use magpie_types::UserId;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Response, Status};

pub use fuse::{Fuse, age_intents};
pub use scripted::ScriptedLog;

/// How long a state may take to come. Generous: debug build, busy machine.
const BOUND: Duration = Duration::from_secs(20);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Fresh engines; dropping them stops what was started with their `deps`.
pub struct Engines {
    /// For the services under test. `imAdmin` is the administrator.
    pub deps: Deps,
    /// Where services are put.
    pub registry: Arc<InProcess>,
    _dir: TempDir,
}

impl Engines {
    /// Engines, and services that call each other in memory.
    ///
    /// # Panics
    /// The engines can't be opened.
    pub async fn new() -> Self {
        Self::with_registry(|registry| registry).await
    }

    /// Engines, and another way to the services than `registry`.
    ///
    /// # Panics
    /// The engines can't be opened.
    pub async fn with_registry(way: impl FnOnce(Arc<InProcess>) -> SharedRegistry) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let store = SqliteStore::open(
            dir.path().join("store"),
            magpie_store_sqlite::Options::default(),
        );
        let store = store.expect("the store opens");
        store.prepare(SCHEMAS).await.expect("the schemas are good");
        let log = LocalLog::open(
            &dir.path().join("log"),
            magpie_log_local::Options::default(),
        );
        let registry = InProcess::new();
        let invalidations = Arc::new(Invalidations::default());
        let deps = Deps {
            store: Observed::new(store, Arc::clone(&invalidations)),
            log: log.expect("the log opens"),
            presence: MemoryPresence::new(),
            registry: way(Arc::clone(&registry)),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            invalidations,
            admins: ["imAdmin".to_owned()].into(),
        };
        Self {
            deps,
            registry,
            _dir: dir,
        }
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        self.deps.shutdown.cancel();
    }
}

/// An administrator's call.
///
/// # Panics
/// Never.
#[must_use]
pub fn admin() -> Context {
    Context {
        caller: Caller::Admin(UserId::new("imAdmin").expect("an id")),
        ..Context::internal("test")
    }
}

/// A user's call.
///
/// # Panics
/// `id` is none.
#[must_use]
pub fn user(id: &str) -> Context {
    Context {
        caller: Caller::User(UserId::new(id).expect("an id")),
        ..Context::internal("test")
    }
}

/// Registers users at the user service, `n-` and the id as nickname.
///
/// # Panics
/// The service refuses.
pub async fn register(deps: &Deps, ids: &[&str]) {
    let users = ids
        .iter()
        .map(|id| UserInfo {
            user_id: (*id).to_owned(),
            nickname: format!("n-{id}"),
            ..UserInfo::default()
        })
        .collect();
    UserClient::new(deps.channel(name::USER))
        .user_register(admin().request(UserRegisterReq { users }))
        .await
        .expect("users are registered");
}

/// 0, or the code of the refusal.
#[must_use]
pub fn code<T>(answer: Result<Response<T>, Status>) -> i32 {
    answer.map_or_else(
        |status| magpie_proto::status::from_status(status).code().number(),
        |_| 0,
    )
}

/// Looks until there is something to see.
///
/// # Panics
/// Nothing is there in time.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        sleep(PAUSE).await;
    }
}
