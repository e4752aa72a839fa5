//! A REST client that shows answers as they are: status, headers, bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const ANSWER_BOUND: Duration = Duration::from_secs(30);

/// A client of the REST interface, with or without a token. One TCP connection per call, to each address in turn.
#[derive(Debug, Clone)]
pub struct Rest {
    authorities: Vec<String>,
    turn: Arc<AtomicUsize>,
    token: Option<String>,
}

/// What the server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// HTTP headers.
    pub headers: HeaderMap,
    /// Body as received.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON, or null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// `errCode` of the body, -1 when there is none.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.json()["errCode"].as_i64().unwrap_or(-1)
    }
}

impl Rest {
    /// A client of one or more `http://host:port`, without a token.
    #[must_use]
    pub fn new(bases: &[&str]) -> Self {
        let plain = |base: &&str| {
            base.trim_start_matches("http://")
                .trim_end_matches('/')
                .to_owned()
        };
        Self {
            authorities: bases.iter().map(plain).collect(),
            turn: Arc::default(),
            token: None,
        }
    }

    /// The same server with a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The token of this client.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Posts JSON with an `operationID` and the token.
    ///
    /// # Panics
    /// There is no HTTP answer.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let operation_id = format!("test-{:016x}", rand::random::<u64>());
        let mut headers = vec![
            ("operationID", operation_id.as_str()),
            ("Content-Type", "application/json"),
        ];
        headers.extend(self.token.as_deref().map(|token| ("token", token)));
        self.call("POST", path, &headers, Bytes::from(body.to_string()))
            .await
            .expect("an answer")
    }

    /// Posts JSON and takes the `data` of a successful answer.
    ///
    /// # Panics
    /// The answer is an error.
    pub async fn data(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(
            answer.code(),
            0,
            "{path} {body}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        answer.json()["data"].take()
    }

    /// Sends exactly these headers and bytes.
    ///
    /// # Errors
    /// There is no HTTP answer in time.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        timeout(ANSWER_BOUND, self.exchange(method, path, headers, body))
            .await
            .context("no answer in time")?
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let authority = self.authorities.get(turn % self.authorities.len().max(1));
        let authority = authority.context("no server has a REST interface")?;
        let stream = TcpStream::connect(authority).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let serving = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body))?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        serving.abort();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}
