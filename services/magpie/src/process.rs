//! A running process: some or all services, over one of the two sets of engines.
//!
//! Order: what can be wrong in the configuration, ports (all bound before anything starts), engines, services, registration,
//! ready, and only then clients of the gateway; at a signal readiness fails, the process leaves the registry, the services finish
//! what they have, then the log is closed.
//!
//! - `services`: which services there are and what each is given. `embedded` and `cluster`: the engines, and how services of this
//!   process are found. `ports`, `announce`, `data`: listeners, the line that says "ready", the data directory.
#![cfg_attr(
    not(all(feature = "embedded", feature = "cluster")),
    allow(
        unused_variables,
        dead_code,
        reason = "each set of engines uses what the other does not"
    )
)]

mod announce;
#[cfg(feature = "cluster")]
pub(crate) mod cluster;
pub(crate) mod data;
#[cfg(feature = "embedded")]
mod embedded;
mod ports;
pub(crate) mod services;

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context as _;
use magpie_discovery::name;
use magpie_service::{
    Deps,
    config::Secret,
    health::Readiness,
    ops::{self, BuildInfo, Ops},
    run::{self, End, Signals},
    telemetry::{self, LogFilter, Metrics},
};
use tokio::net::TcpListener;
use tonic::service::Routes;

use self::ports::Ports;
use crate::{config::Config, output::Failure};

/// What was built.
const BUILD: BuildInfo = BuildInfo {
    name: "magpie",
    version: env!("CARGO_PKG_VERSION"),
    commit: match option_env!("MAGPIE_COMMIT") {
        Some(commit) => commit,
        None => "unknown",
    },
    engines: &[
        #[cfg(feature = "embedded")]
        "embedded",
        #[cfg(feature = "cluster")]
        "cluster",
    ],
};

/// The two sets of engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineSet {
    /// SQLite, a local log, memory; everything in this process.
    Embedded,
    /// etcd, Kafka, MongoDB, Redis.
    Cluster,
}

/// What a process is started for.
pub(crate) struct Plan {
    pub(crate) engines: EngineSet,
    /// Names of services.
    pub(crate) services: Vec<&'static str>,
    /// One line of JSON when ready, instead of text.
    pub(crate) json: bool,
}

impl Plan {
    /// Whether a service runs in this process.
    fn has(&self, service: &str) -> bool {
        self.services.contains(&service)
    }
}

/// Runs until a signal.
pub(crate) fn run(config: Config, plan: &Plan) -> Result<ExitCode, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("magpie")
        .enable_all()
        .build()
        .context("no runtime")?;
    let end = runtime.block_on(start(config, plan));
    // What a forced end leaves behind is not waited for.
    runtime.shutdown_background();
    Ok(match end? {
        End::Drained => ExitCode::SUCCESS,
        End::Forced => ExitCode::FAILURE,
    })
}

async fn start(config: Config, plan: &Plan) -> Result<End, Failure> {
    #[cfg(feature = "otlp")]
    let (traces, exporter) = crate::otlp::exporter(&config.telemetry)
        .map_err(|e| Failure::Usage(format!("{e:#}")))?
        .unzip();
    #[cfg(not(feature = "otlp"))]
    let traces = None;
    let place = Place::take(&config, plan)?;
    let log_filter = telemetry::init_logs(&config.telemetry, traces).context("no logs")?;
    let metrics = Metrics::install().context("no metrics")?;
    let mut signals = Signals::listen().context("no signals")?;

    let ports = Ports::bind(&config.listen, plan).await?;
    let opened = tokio::select! {
        opened = place.open(&config, plan, ports.internal) => opened?,
        () = signals.next() => return Ok(End::Drained),
    };
    let World {
        deps,
        secret,
        mut host,
    } = opened;

    let readiness = Readiness::default();
    let bound = ports.bound;
    let seen = Watch {
        readiness: readiness.clone(),
        metrics,
        log_filter,
    };
    let operators = operators(&deps, seen, ports.ops);
    let failed = services::start(
        &deps,
        &mut host,
        &config,
        plan,
        secret,
        &readiness,
        ports.public,
    );
    host.serve(&deps, &failed, &config);
    let ready = tokio::select! {
        joined = host.join(&deps, plan) => joined.map(|()| true)?,
        () = run::stop_wanted(&deps, &mut signals) => false,
    };
    if ready {
        readiness.set(true);
        let at = |address: Option<SocketAddr>| address.map(tracing::field::display);
        tracing::info!(version = BUILD.version, commit = BUILD.commit, services = plan.services.join(","), ws = at(bound.ws), api = at(bound.api), grpc = at(bound.grpc), ops = %bound.ops, "ready");
        announce::ready(&config, plan, &bound);
        run::stop_wanted(&deps, &mut signals).await;
    }
    let leave = host.leave();
    let end = run::drain(&deps, &readiness, &mut signals, &config.shutdown, leave).await;
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

/// What a set of engines needs of the configuration and the machine, found right before anything is bound.
enum Place {
    #[cfg(feature = "embedded")]
    Embedded(embedded::Place),
    #[cfg(feature = "cluster")]
    Cluster(Box<cluster::Place>),
}

/// What services are given, and the way to be found.
struct World {
    deps: Deps,
    secret: Secret,
    host: Host,
}

impl Place {
    fn take(config: &Config, plan: &Plan) -> Result<Self, Failure> {
        match plan.engines {
            #[cfg(feature = "embedded")]
            EngineSet::Embedded => embedded::Place::take(config).map(Self::Embedded),
            #[cfg(feature = "cluster")]
            EngineSet::Cluster => {
                cluster::Place::take(config).map(|place| Self::Cluster(Box::new(place)))
            }
            #[cfg(not(all(feature = "embedded", feature = "cluster")))]
            missing => Err(Failure::Usage(format!(
                "this build has no {missing:?} engines; build it with that cargo feature"
            ))),
        }
    }

    async fn open(
        self,
        config: &Config,
        plan: &Plan,
        internal: Vec<TcpListener>,
    ) -> Result<World, Failure> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(place) => {
                drop(internal);
                place.open(config).await
            }
            #[cfg(feature = "cluster")]
            Self::Cluster(place) => Ok(place.open(config, plan, internal).await?),
        }
    }
}

/// How others find the services of this process.
enum Host {
    #[cfg(feature = "embedded")]
    Embedded(embedded::Host),
    #[cfg(feature = "cluster")]
    Cluster(cluster::Host),
}

impl Host {
    /// Under which id a service of this process is known.
    fn instance(&self, service: &'static str) -> String {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => service.to_owned(),
            #[cfg(feature = "cluster")]
            Self::Cluster(host) => host.instance().to_owned(),
        }
    }

    /// Takes a service's routes.
    fn add(&mut self, service: &'static str, routes: Routes) {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(host) => host.add(service, routes),
            #[cfg(feature = "cluster")]
            Self::Cluster(host) => host.add(service, routes),
        }
    }

    /// Serves the ports for other processes, if there are any.
    fn serve(&mut self, deps: &Deps, failed: &services::Failed, config: &Config) {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => {}
            #[cfg(feature = "cluster")]
            Self::Cluster(host) => host.serve(deps, failed, config),
        }
    }

    /// Returns when others can find the services of this process, and the users that must exist do.
    async fn join(&mut self, deps: &Deps, plan: &Plan) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => {}
            #[cfg(feature = "cluster")]
            Self::Cluster(host) => host.join().await?,
        }
        if plan.has(name::USER) {
            services::warm_up(deps).await?;
        }
        Ok(())
    }

    /// Tells others that this process goes.
    async fn leave(&mut self) {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(_) => {}
            #[cfg(feature = "cluster")]
            Self::Cluster(host) => host.leave().await,
        }
    }
}

/// What the operators' port shows.
struct Watch {
    readiness: Readiness,
    metrics: Metrics,
    log_filter: LogFilter,
}

/// Serves the operators' port until the very end, outside the tasks that shutdown waits for.
fn operators(deps: &Deps, watch: Watch, listener: TcpListener) -> tokio::task::JoinHandle<()> {
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
