//! The listener: HTTP/1.1 connections, their bounds and their end.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use magpie_service::Deps;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{config::Config, request::Api};

/// Longest head of a request, bytes.
const MAX_HEAD: usize = 64 << 10;

/// Pause after a failed accept: it is out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves REST on `listener` until shutdown; requests under way are finished.
pub async fn serve(deps: Deps, config: Config, listener: TcpListener) -> io::Result<()> {
    let connections = Arc::new(Semaphore::new(config.max_connections));
    let header_timeout = Duration::from_millis(config.header_timeout_ms);
    let api = Arc::new(Api::new(deps.clone(), config));
    let accept = async {
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((socket, _)) => {
                    let work = connection(
                        Arc::clone(&api),
                        deps.clone(),
                        socket,
                        header_timeout,
                        permit,
                    );
                    deps.tasks.spawn(work);
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = deps.shutdown.cancelled() => {}
    }
    Ok(())
}

async fn connection(
    api: Arc<Api>,
    deps: Deps,
    socket: TcpStream,
    header_timeout: Duration,
    _permit: OwnedSemaphorePermit,
) {
    let service = service_fn(|request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(api.answer(request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(socket), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = deps.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
