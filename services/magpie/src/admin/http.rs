//! One HTTP request to a plain `http://host:port`.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Largest answer that is read, bytes.
const MAX_ANSWER: usize = 16 << 20;

/// A server.
pub(super) struct Client {
    address: String,
}

impl Client {
    /// Takes `http://host[:port]`.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url
            .trim_end_matches('/')
            .parse()
            .with_context(|| format!("{url} is no address"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(host)) => Ok(Self {
                address: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            }),
            _ => bail!("{url} is not of the form http://host:port"),
        }
    }

    /// Status and body of the answer.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let unreachable = || {
            format!(
                "no server at {}; is `magpie up` running there?",
                self.address
            )
        };
        let stream = TcpStream::connect(&self.address)
            .await
            .with_context(unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.address);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = sender
            .send_request(request.body(Full::new(Bytes::from(body)))?)
            .await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(anyhow::Error::from_boxed)?
            .to_bytes();
        connection.abort();
        Ok((status, body))
    }
}
