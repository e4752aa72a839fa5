//! Logs, traces and metrics of a process.
//!
//! Logs go to stderr as text or JSON; the filter can be changed on the ops port. Spans exist only for the trace exporter, which
//! the binary brings as a layer: without one they are switched off where they are made, so none is allocated. Metrics are
//! recorded through the `metrics` facade and rendered for Prometheus by [`Metrics::render`].

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, LevelFilter, filter_fn},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logs and traces.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How logs are written to stderr: `text` or `json`.
    pub log_format: LogFormat,
    /// What is logged: a level, or `target=level` separated by commas.
    pub log_filter: String,
    /// Address of an OTLP gRPC collector, e.g. `http://127.0.0.1:4317`. Empty: no tracing.
    pub otlp_endpoint: String,
    /// Share of traces that are kept, 0 to 1.
    pub otlp_ratio: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
            otlp_endpoint: String::new(),
            otlp_ratio: 1.0,
        }
    }
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("telemetry.log_filter: {0}")]
    Filter(String),
    /// Something else of this process has installed a logger or recorder already.
    #[error("telemetry is installed already: {0}")]
    Installed(String),
}

/// The layer of a trace exporter.
pub type TraceLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Changes what is logged while the process runs.
#[derive(Clone)]
pub struct LogFilter(reload::Handle<EnvFilter, Registry>);

impl LogFilter {
    /// The filter in force.
    pub fn current(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Sets another one.
    pub fn set(&self, filter: &str) -> Result<(), TelemetryError> {
        self.0
            .reload(parse(filter)?)
            .map_err(|e| TelemetryError::Installed(e.to_string()))
    }
}

/// Installs the logger of the process, and the exporter if there is one.
pub fn init_logs(config: &Config, traces: Option<TraceLayer>) -> Result<LogFilter, TelemetryError> {
    let (filter, handle) = reload::Layer::new(parse(&config.log_filter)?);
    let output: TraceLayer = match config.log_format {
        LogFormat::Text => Box::new(
            tracing_subscriber::fmt::layer()
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr),
        ),
        LogFormat::Json => Box::new(
            tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(std::io::stderr),
        ),
    };
    let events = filter_fn(|m| m.is_event()).with_max_level_hint(LevelFilter::TRACE);
    let mut layers: Vec<TraceLayer> = vec![Box::new(output.with_filter(filter.and(events)))];
    // Our own spans only: those of the libraries below describe transport, the exporter's included.
    let spans = filter_fn(|m| m.is_span() && m.target().starts_with("magpie"))
        .with_max_level_hint(LevelFilter::INFO);
    layers.extend(traces.map(|layer| -> TraceLayer { Box::new(layer.with_filter(spans)) }));
    Registry::default()
        .with(layers)
        .try_init()
        .map_err(|e| TelemetryError::Installed(e.to_string()))?;
    Ok(LogFilter(handle))
}

/// Whether this is a filter [`init_logs`] takes.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|e| TelemetryError::Filter(e.to_string()))
}

/// The recorded metrics of the process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Buckets of every histogram in seconds: from a commit in memory to a request that gave up.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Metrics {
    /// Installs the recorder of the process. Histograms whose name ends in `_seconds` have buckets, others are summaries.
    pub fn install() -> Result<Self, TelemetryError> {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
            .and_then(PrometheusBuilder::install_recorder)
            .map(Self)
            .map_err(|e| TelemetryError::Installed(e.to_string()))
    }

    /// The metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Moves recorded samples into their histograms; called regularly, so that memory stays bounded when nobody scrapes.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exporter_spans_are_off_where_they_are_made() {
        init_logs(&Config::default(), None).unwrap();
        assert!(tracing::event_enabled!(tracing::Level::INFO));
        assert!(tracing::info_span!("x", y = tracing::field::Empty).is_disabled());
    }
}
