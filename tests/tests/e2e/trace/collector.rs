//! An OpenTelemetry collector that keeps what it gets.

use std::{collections::BTreeMap, time::Duration};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// Generous: debug build, busy machine.
const BOUND: Duration = Duration::from_secs(60);

/// A running collector; it ends with the test's runtime.
pub(crate) struct Collector {
    /// For `telemetry.otlp_endpoint`.
    pub(crate) endpoint: String,
    spans: watch::Sender<Vec<Span>>,
}

struct Keep(watch::Sender<Vec<Span>>);

#[tonic::async_trait]
impl TraceService for Keep {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let batches = request.into_inner().resource_spans;
        let spans = batches
            .into_iter()
            .flat_map(|r| r.scope_spans)
            .flat_map(|s| s.spans);
        self.0.send_modify(|all| all.extend(spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans = watch::Sender::new(Vec::new());
        let service = TraceServiceServer::new(Keep(spans.clone()));
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { endpoint, spans }
    }

    /// All spans so far, once they are as they should be.
    pub(crate) async fn spans_when(&self, complete: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let mut spans = self.spans.subscribe();
        let seen = timeout(BOUND, spans.wait_for(|all| complete(all))).await;
        match seen {
            Ok(all) => all.unwrap().clone(),
            Err(_) => panic!("incomplete: {:#?}", names(&self.spans.borrow())),
        }
    }
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|s| s.name.as_str()).collect()
}

/// The attributes of a span as text.
pub(crate) fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|v| v.value.as_ref())
    {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    };
    span.attributes
        .iter()
        .map(|a| (a.key.as_str(), text(a)))
        .collect()
}
