//! One call: room, deadline, and the attempts.
//!
//! What certainly was not processed is sent to the next instance until all were tried (to the same one, once, if its
//! connection ended just then). What may have been is sent again only
//! if the caller marked it [`Idempotent`], a few times, and while repeats stay a small share of all calls. The request is read
//! into memory first, which costs nothing: every call between services is unary.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use magpie_discovery::{Idempotent, RouteKey};
use tonic::{Code, Status, body::Body};

use crate::{
    balance::pick,
    endpoint::{Endpoint, Failure},
    service::Service,
};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const GRACE: Duration = Duration::from_secs(1);

/// Who is called.
pub(crate) enum Target {
    /// Any instance.
    Any(Arc<Service>),
    /// This one and no other.
    One(Arc<Service>, Arc<Endpoint>),
}

impl Target {
    fn service(&self) -> &Service {
        match self {
            Self::Any(service) | Self::One(service, _) => service,
        }
    }

    fn pick(&self, key: Option<&RouteKey>, tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        match self {
            Self::Any(service) => pick(&service.members(), key, tried),
            Self::One(_, endpoint) => tried.is_empty().then(|| Arc::clone(endpoint)),
        }
    }
}

pub(crate) async fn call(
    target: Target,
    mut request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let service = target.service();
    let _room = service.admit()?;
    service.earn();
    let limit = service.limits.timeout;
    let timeout = asked(request.headers()).map_or(limit, |asked| asked.min(limit));
    request.headers_mut().insert(GRPC_TIMEOUT, told(timeout));
    tokio::time::timeout(timeout, attempts(&target, request))
        .await
        .unwrap_or_else(|_| {
            Err(Status::deadline_exceeded(format!(
                "{} did not answer within {timeout:?}",
                service.name()
            )))
        })
}

async fn attempts(target: &Target, request: Request<Body>) -> Result<Response<Body>, Status> {
    let service = target.service();
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, service.limits.max_request)
        .collect()
        .await;
    let body = body
        .map_err(|e| Status::resource_exhausted(format!("the request can't be read: {e}")))?
        .to_bytes();
    let key = parts.extensions.get::<RouteKey>();
    let idempotent = parts.extensions.get::<Idempotent>().is_some();
    let mut tried = Vec::new();
    let mut last: Option<Result<Response<Body>, Status>> = None;
    let mut unsent = false;
    loop {
        let Some(endpoint) = target.pick(key, &tried) else {
            let none = || {
                Err(Status::unavailable(format!(
                    "no instance of {} is known",
                    service.name()
                )))
            };
            return last.unwrap_or_else(none);
        };
        let mut request = Request::from_parts(parts.clone(), whole(body.clone()));
        (service.hook)(&mut request)?;
        let result = endpoint.send(request).await;
        let result = match result {
            Err(Failure::Unsent(_)) if !unsent => {
                unsent = true;
                continue;
            }
            Err(failure @ (Failure::Gone(_) | Failure::Refused(_) | Failure::Unsent(_))) => {
                tried.push(endpoint);
                last = Some(Err(failure.into()));
                continue;
            }
            Ok(response) => Ok(response),
            Err(failure) => Err(failure.into()),
        };
        tried.push(endpoint);
        let again = idempotent
            && unavailable(&result)
            && tried.len() < service.limits.max_attempts
            && service.spend();
        if !again {
            return result;
        }
        metrics::counter!("magpie_rpc_retries_total", "service" => service.name().to_owned())
            .increment(1);
        last = Some(result);
    }
}

fn whole(body: Bytes) -> Body {
    Body::new(Full::new(body))
}

/// Whether another instance may do better: the connection broke, or this one takes no calls now.
fn unavailable(result: &Result<Response<Body>, Status>) -> bool {
    match result {
        Ok(response) => Status::from_header_map(response.headers())
            .is_some_and(|s| s.code() == Code::Unavailable),
        Err(status) => status.code() == Code::Unavailable,
    }
}

/// The deadline that the caller set, as gRPC writes it: digits and a unit.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > 8 {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// What the one who is called is told: a little later, because tonic's server ends a call with "unavailable" and the caller's
/// own "deadline exceeded", which cancels the call at the other end too, must come first. At most eight digits.
fn told(timeout: Duration) -> HeaderValue {
    let ms = timeout.saturating_add(GRACE).as_millis().min(99_999_999);
    HeaderValue::try_from(format!("{ms}m")).unwrap_or(HeaderValue::from_static("30S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_and_written_as_grpc_does() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, text.parse().unwrap());
            asked(&headers)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(
            read("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for bad in ["", "5", "m", "-1m", "123456789m", "1x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(told(Duration::from_secs(30)), "31000m");
        assert_eq!(told(Duration::MAX), "99999999m");
    }
}
