//! Answers: the envelope `{errCode, errMsg, errDlt, data}`, its HTTP status, and the headers every answer has
//! (rest-api.md 1.4, 1.5).

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Collected, Full};
use magpie_types::{Code, Error};
use serde::Serialize;
use tonic::Status;

/// What a route gives: the JSON of `data`, or none where the result has no fields.
pub(crate) type Answer = Result<Option<Vec<u8>>, Failure>;

/// Why a route gives nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request was understood and refused.
    Error(Error),
    /// A hand-made route could not make sense of the body.
    Unbound(Error),
    /// The body is too large.
    TooLarge,
    /// The route, or the RPC behind it, is not built.
    NotBuilt(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if status.code() == tonic::Code::Unimplemented {
            return Self::NotBuilt(status.message().to_owned());
        }
        Self::Error(magpie_proto::status::from_status(status))
    }
}

/// The JSON of a value as `data`; none for a message without fields.
pub(crate) fn data<T: Serialize>(value: &T) -> Answer {
    if size_of::<T>() == 0 {
        return Ok(None);
    }
    magpie_proto::json::to_vec(value)
        .map(Some)
        .map_err(|e| Failure::Error(Error::internal(e)))
}

/// The response of an answered request.
pub(crate) fn respond(answer: Answer) -> Response<Full<Bytes>> {
    match answer {
        Ok(data) => response(StatusCode::OK, envelope("", 0, "", data.as_deref())),
        Err(Failure::Error(error)) => refuse(status_of(&error), &error),
        Err(Failure::Unbound(error)) => refuse(StatusCode::BAD_REQUEST, &error),
        Err(Failure::TooLarge) => refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            &Error::args("the request body is too large"),
        ),
        Err(Failure::NotBuilt(detail)) => refuse(
            StatusCode::NOT_IMPLEMENTED,
            &Error::new(Code::UNKNOWN, detail),
        ),
    }
}

/// The answer of a path that does not exist.
pub(crate) fn not_found() -> Response<Full<Bytes>> {
    let mut response = response(StatusCode::NOT_FOUND, b"404 page not found".to_vec());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A document as it stands, without the envelope.
pub(crate) fn json(document: Bytes) -> Response<Full<Bytes>> {
    response(StatusCode::OK, document)
}

/// The answer of a pre-flight.
pub(crate) fn options() -> Response<Full<Bytes>> {
    response(StatusCode::OK, br#""Options Request!""#.to_vec())
}

fn status_of(error: &Error) -> StatusCode {
    if error.code() == Code::RATE_LIMITED {
        StatusCode::TOO_MANY_REQUESTS
    } else {
        StatusCode::OK
    }
}

fn refuse(status: StatusCode, error: &Error) -> Response<Full<Bytes>> {
    if error.code() == Code::INTERNAL {
        tracing::warn!(error = error.report(), "request failed");
    }
    response(
        status,
        envelope(error.message(), error.code().number(), error.detail(), None),
    )
}

fn envelope(message: &str, code: i32, detail: &str, data: Option<&[u8]>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Head<'a> {
        #[serde(rename = "errCode")]
        code: i32,
        #[serde(rename = "errMsg")]
        message: &'a str,
        #[serde(rename = "errDlt")]
        detail: &'a str,
    }
    // Numbers and text always have a JSON form.
    let mut body = magpie_proto::json::to_vec(&Head {
        code,
        message,
        detail,
    })
    .unwrap_or_default();
    if let Some(data) = data {
        body.pop();
        body.extend_from_slice(br#","data":"#);
        body.extend_from_slice(data);
        body.push(b'}');
    }
    body
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    *response.headers_mut() = headers();
    let id = HeaderValue::try_from(uuid::Uuid::new_v4().to_string());
    response.headers_mut().extend(id.map(|id| (HTTP_ID, id)));
    response
}

/// Names an answer, so that a client's report can be found again (corrections.md 2).
const HTTP_ID: HeaderName = HeaderName::from_static("x-http-id");

/// Whether the client takes gzip (rest-api.md 1.1).
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let names = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    names.split(',').any(|name| name.trim() == "gzip")
}

/// The same answer, compressed.
pub(crate) async fn compress(response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await.map(Collected::to_bytes);
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let body = match writer.write_all(&body).and_then(|()| writer.finish()) {
        Ok(packed) => {
            let gzip = HeaderValue::from_static("gzip");
            parts.headers.insert(header::CONTENT_ENCODING, gzip);
            let vary = HeaderValue::from_static("Accept-Encoding");
            parts.headers.insert(header::VARY, vary);
            packed.into()
        }
        Err(_) => body,
    };
    Response::from_parts(parts, Full::new(body))
}

fn headers() -> HeaderMap {
    const EXPOSED: &str = "Content-Length, Access-Control-Allow-Origin, Access-Control-Allow-Headers,Cache-Control,\
                           Content-Language,Content-Type,Expires,Last-Modified,Pragma,FooBar";
    HeaderMap::from_iter([
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        ),
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("*"),
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("*"),
        ),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        ),
        (
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("172800"),
        ),
        (
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("false"),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Nothing {}

    #[test]
    fn data_is_left_out_where_the_result_has_no_fields() {
        assert_eq!(data(&Nothing {}).unwrap(), None);
        assert_eq!(
            envelope("", 0, "", None),
            br#"{"errCode":0,"errMsg":"","errDlt":""}"#
        );
        assert_eq!(
            envelope("", 0, "", Some(b"[1]")),
            br#"{"errCode":0,"errMsg":"","errDlt":"","data":[1]}"#
        );
    }

    #[test]
    fn what_is_not_built_is_no_success() {
        let answer = respond(Err(Status::unimplemented("later").into()));
        assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
    }

    #[test]
    fn a_refusal_has_its_code_and_http_status_200() {
        let status = magpie_proto::status::to_status(&Error::no_permission("no"));
        assert_eq!(respond(Err(status.into())).status(), StatusCode::OK);
        assert_eq!(
            respond(Err(Error::from(Code::RATE_LIMITED).into())).status(),
            StatusCode::TOO_MANY_REQUESTS
        );
    }
}
