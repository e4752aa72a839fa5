//! `magpie up`: all services in this process, over the embedded engines.
//!
//! Order: configuration, data directory, ports (all bound before anything starts), engines, services, ready; at a signal
//! readiness fails, the services finish what they have, then the log is closed.

mod announce;
mod ports;
mod services;

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use magpie_discovery::InProcess;
use magpie_log::SharedLog;
use magpie_log_local::LocalLog;
use magpie_presence_memory::MemoryPresence;
use magpie_service::{
    Deps,
    health::Readiness,
    invalidation::{Invalidations, Observed},
    ops::{self, BuildInfo, Ops},
    run::{self, End, Signals},
    telemetry::{self, LogFilter, Metrics},
};
use magpie_store::{Store as _, documents::SCHEMAS};
use magpie_store_sqlite::SqliteStore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::ports::Ports;
use crate::{cli, config, config::Config, data::DataDir, output::Failure};

/// What was built.
const BUILD: BuildInfo = BuildInfo {
    name: "magpie",
    version: env!("CARGO_PKG_VERSION"),
    commit: match option_env!("MAGPIE_COMMIT") {
        Some(commit) => commit,
        None => "unknown",
    },
    engines: &["embedded"],
};

/// Runs until a signal.
pub(crate) fn run(args: &cli::Up) -> Result<ExitCode, Failure> {
    let config = config::load(&args.settings, Some(&args.listen))?.config;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("magpie")
        .enable_all()
        .build()
        .context("no runtime")?;
    let end = runtime.block_on(start(config, args));
    // What a forced end leaves behind is not waited for.
    runtime.shutdown_background();
    Ok(match end? {
        End::Drained => ExitCode::SUCCESS,
        End::Forced => ExitCode::FAILURE,
    })
}

async fn start(config: Config, args: &cli::Up) -> Result<End, Failure> {
    #[cfg(feature = "otlp")]
    let (traces, exporter) = crate::otlp::exporter(&config.telemetry)
        .map_err(|e| Failure::Usage(format!("{e:#}")))?
        .unzip();
    #[cfg(not(feature = "otlp"))]
    let traces = None;
    let log_filter = telemetry::init_logs(&config.telemetry, traces).context("no logs")?;
    let metrics = Metrics::install().context("no metrics")?;
    let mut signals = Signals::listen().context("no signals")?;

    let (data, secret) = DataDir::open(&config)?;
    let ports = Ports::bind(&config.listen).await?;
    let (deps, registry) = engines(&config, &data).await?;

    let readiness = Readiness::default();
    let bound = ports.bound;
    let seen = Watch {
        readiness: readiness.clone(),
        metrics,
        log_filter,
    };
    let failed = services::start(&deps, &registry, &config, secret, &readiness, ports.public);
    services::warm_up(&deps).await?;
    let operators = operators(&deps, seen, ports.ops);
    readiness.set(true);
    tracing::info!(version = BUILD.version, commit = BUILD.commit, data_dir = %data.path.display(), ws = %bound.ws, api = %bound.api, ops = %bound.ops, grpc = %bound.grpc, "ready");
    announce::ready(&config, &bound, args.json);

    let end = run::until_stopped(&deps, &readiness, &mut signals, &config.shutdown, async {}).await;
    deps.log
        .close()
        .await
        .context("the message log did not close cleanly")?;
    operators.abort();
    tracing::info!(?end, "stopped");
    #[cfg(feature = "otlp")]
    if let Some(exporter) = exporter {
        exporter.finish();
    }
    match failed.get() {
        Some(part) => Err(anyhow::anyhow!("{part}").into()),
        None => Ok(end),
    }
}

/// Opens the embedded engines.
async fn engines(config: &Config, data: &DataDir) -> anyhow::Result<(Deps, Arc<InProcess>)> {
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
    Ok((deps, registry))
}

/// What the operators' port shows.
struct Watch {
    readiness: Readiness,
    metrics: Metrics,
    log_filter: LogFilter,
}

/// Serves the operators' port until the very end, outside the tasks that shutdown waits for.
fn operators(
    deps: &Deps,
    watch: Watch,
    listener: tokio::net::TcpListener,
) -> tokio::task::JoinHandle<()> {
    let (metrics, shutdown) = (watch.metrics.clone(), deps.shutdown.clone());
    deps.tasks.spawn(async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(5));
        loop {
            tokio::select! {
                _ = tick.tick() => metrics.upkeep(),
                () = shutdown.cancelled() => return,
            }
        }
    });
    tokio::spawn(async move {
        let Watch {
            readiness,
            metrics,
            log_filter,
        } = watch;
        if let Err(e) = ops::serve(
            Ops {
                readiness,
                metrics,
                log_filter,
                build: BUILD,
            },
            listener,
        )
        .await
        {
            tracing::error!(error = %e, "the operators' port ended");
        }
    })
}
