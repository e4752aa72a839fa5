//! A client of the REST API as an application is one: a connection that stays open, and a user's token.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle};

/// See the module.
pub(super) struct Rest {
    host: String,
    token: String,
    sender: Sender,
    connection: JoinHandle<()>,
}

impl Rest {
    /// Connects to `http://host:port`.
    pub(super) async fn connect(api: &str, token: &str) -> anyhow::Result<Self> {
        let host = api.strip_prefix("http://").context("no http address")?;
        let (sender, connection) = open(host).await?;
        Ok(Self {
            host: host.to_owned(),
            token: token.to_owned(),
            sender,
            connection,
        })
    }

    /// Calls a route; the bytes of an answer without an error.
    pub(super) async fn raw(&mut self, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        if self.sender.ready().await.is_err() {
            // The server ends connections that it has not heard of for a while.
            (self.sender, self.connection) = open(&self.host).await?;
        }
        let request = Request::post(path)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/json")
            .header("operationID", "bench")
            .header("token", &self.token)
            .body(Full::new(body))?;
        let answer = self.sender.send_request(request).await?;
        let bytes = answer.into_body().collect().await?.to_bytes();
        if !bytes.starts_with(br#"{"errCode":0,"#) {
            let start: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
            bail!("{path}: {start}");
        }
        Ok(bytes)
    }

    /// Calls a route; the `data` of its answer.
    pub(super) async fn post(&mut self, path: &str, body: Value) -> anyhow::Result<Value> {
        let answer = self.raw(path, body.to_string().into()).await?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer["data"].take())
    }
}

type Sender = SendRequest<Full<Bytes>>;

async fn open(host: &str) -> anyhow::Result<(Sender, JoinHandle<()>)> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::task::spawn_local(async move {
        // A connection that fails makes the calls fail.
        drop(connection.await);
    });
    Ok((sender, connection))
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
