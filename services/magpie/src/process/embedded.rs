//! The embedded engines: one data directory, services that call each other in memory.

use std::sync::Arc;

use anyhow::Context as _;
use magpie_discovery::InProcess;
use magpie_log::SharedLog;
use magpie_log_local::LocalLog;
use magpie_presence_memory::MemoryPresence;
use magpie_service::{
    Deps,
    invalidation::{Invalidations, Observed},
};
use magpie_store::{Store as _, documents::SCHEMAS};
use magpie_store_sqlite::SqliteStore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use super::{
    World,
    data::{self, DataDir},
};
use crate::{config::Config, output::Failure};

/// What is found right before anything is bound; the data directory is made after that.
pub(super) struct Place;

/// The services of this process, and the directory that they hold.
pub(super) struct Host {
    registry: Arc<InProcess>,
    _data: DataDir,
}

impl Place {
    pub(super) fn take(config: &Config) -> Result<Self, Failure> {
        data::named_secret(config)?;
        Ok(Self)
    }

    /// Takes the data directory and opens the engines.
    pub(super) async fn open(self, config: &Config) -> Result<World, Failure> {
        let (data, secret) = DataDir::open(config)?;
        data::warn_of_weak(config, &secret);
        let store = SqliteStore::open(data.path.join("store.sqlite"), (&config.store).into())
            .context("the store can't be opened")?;
        store
            .prepare(SCHEMAS)
            .await
            .context("the store can't be prepared")?;
        let log: SharedLog = LocalLog::open(&data.path.join("log"), (&config.log).into())
            .context("the message log can't be opened")?;
        let registry = InProcess::new();
        let invalidations = Arc::new(Invalidations::default());
        let deps = Deps {
            store: Observed::new(store, Arc::clone(&invalidations)),
            log,
            presence: MemoryPresence::new(),
            registry: Arc::<InProcess>::clone(&registry),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            invalidations,
            admins: config.shared.admin_user_ids.clone().into(),
        };
        let host = super::Host::Embedded(Host {
            registry,
            _data: data,
        });
        Ok(World { deps, secret, host })
    }
}

impl Host {
    pub(super) fn add(&mut self, service: &'static str, routes: Routes) {
        self.registry.serve(service, routes);
    }
}
