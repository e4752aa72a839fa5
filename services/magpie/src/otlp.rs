//! The trace exporter: spans of all services to an OpenTelemetry collector.

use anyhow::Context as _;
use magpie_service::telemetry::{Config, TraceLayer};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};

/// Sends what is left when the process ends.
pub(crate) struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Flushes.
    pub(crate) fn finish(&self) {
        if let Err(e) = self.0.shutdown() {
            tracing::warn!(error = %e, "the last traces were not sent");
        }
    }
}

/// The layer and its exporter, if a collector is configured.
pub(crate) fn exporter(config: &Config) -> anyhow::Result<Option<(TraceLayer, Exporter)>> {
    if config.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&config.otlp_endpoint)
        .build()
        .context("telemetry.otlp_endpoint")?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            config.otlp_ratio,
        ))))
        .with_resource(Resource::builder().with_service_name("magpie").build())
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("magpie"));
    Ok(Some((Box::new(layer), Exporter(provider))))
}
