//! How a trace follows a message through the services.
//!
//! Inside a process the current span is the parent, across every `await` and every in-memory call. Where a message leaves its
//! caller, in the records of the logs, in a push and in calls between processes, the parent travels as the text of W3C trace context (`traceparent`).
//! The exporter is the binary's business: it installs a [`Propagator`] that knows the ids of spans. Without one no span is
//! made, records carry an empty text, and an empty text costs whoever reads it one comparison.
//!
//! Spans: `gateway.send`, `api.request` or `grpc.request` (how it came in), `rpc` (calls between services), `rpc.serve` (their
//! other end, in another process), `msg.append`, `transfer.store`, `push.deliver`, `gateway.deliver`. Fields: `operation.id`, `connection.id`, `conversation.id`,
//! `message.id`, `seq`, `content.type`, `error.code`, and counts. Never a token, never a body.

use std::sync::OnceLock;

use http::HeaderMap;
use tracing::Span;

use crate::Context;

/// The header and metadata key of W3C trace context.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// What the exporter knows of spans.
pub trait Propagator: Send + Sync + 'static {
    /// The span as the text of W3C trace context; empty for one that is not exported.
    fn traceparent(&self, span: &Span) -> String;

    /// Makes a new span the child of a remote one. A text that is none leaves it a root.
    fn follow(&self, span: &Span, parent: &str);
}

static PROPAGATOR: OnceLock<Box<dyn Propagator>> = OnceLock::new();

/// Switches tracing on for this process; the first one stays.
pub fn install(propagator: impl Propagator) {
    PROPAGATOR.get_or_init(|| Box::new(propagator));
}

/// The text that makes others' spans children of `span`; empty while tracing is off.
pub fn traceparent(span: &Span) -> String {
    match PROPAGATOR.get() {
        Some(propagator) if !span.is_disabled() => propagator.traceparent(span),
        _ => String::new(),
    }
}

/// The span of work that a record's or a push's `traceparent` asks for. Without a parent there is none: what was not traced
/// when it came in is not traced later either.
pub fn follow(parent: &str, make: impl FnOnce() -> Span) -> Span {
    match PROPAGATOR.get() {
        Some(propagator) if !parent.is_empty() => {
            let span = make();
            propagator.follow(&span, parent);
            span
        }
        _ => Span::none(),
    }
}

/// The span of a request from outside. It continues the caller's trace for administrators, which back ends are; users don't
/// decide what is sampled.
pub fn edge(context: Option<&Context>, headers: &HeaderMap, make: impl FnOnce() -> Span) -> Span {
    let Some(propagator) = PROPAGATOR.get() else {
        return Span::none();
    };
    let span = make();
    let parent = headers.get(TRACEPARENT).and_then(|v| v.to_str().ok());
    if let Some(parent) = parent
        && context.is_some_and(Context::is_admin)
    {
        propagator.follow(&span, parent);
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exporter_no_span_is_made() {
        let made = || panic!("a span was made");
        assert!(
            follow(
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                made
            )
            .is_none()
        );
        assert!(edge(None, &HeaderMap::new(), made).is_none());
        assert_eq!(traceparent(&Span::current()), "");
    }
}
