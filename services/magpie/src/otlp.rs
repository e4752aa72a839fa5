//! The trace exporter: spans of all services to an OpenTelemetry collector, and the text by which they find their parents.

use anyhow::Context as _;
use magpie_service::{
    telemetry::{Config, TraceLayer},
    trace::{self, Propagator},
};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// W3C trace context of spans; its text stands alone, `tracestate` is not carried.
struct W3c(TraceContextPropagator);

/// The one text that is carried.
#[derive(Default)]
struct Traceparent(String);

impl Injector for Traceparent {
    fn set(&mut self, key: &str, value: String) {
        if key == "traceparent" {
            self.0 = value;
        }
    }
}

impl Extractor for Traceparent {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

impl Propagator for W3c {
    fn traceparent(&self, span: &Span) -> String {
        let mut text = Traceparent::default();
        self.0.inject_context(&span.context(), &mut text);
        text.0
    }

    fn follow(&self, span: &Span, parent: &str) {
        let text = Traceparent(parent.to_owned());
        let remote = self.0.extract_with_context(&Context::new(), &text);
        if let Err(e) = span.set_parent(remote) {
            tracing::debug!(error = %e, "a span does not follow its parent");
        }
    }
}

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
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("magpie"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false);
    trace::install(W3c(TraceContextPropagator::new()));
    Ok(Some((Box::new(layer), Exporter(provider))))
}
