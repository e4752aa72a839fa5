//! The listener: HTTP/1.1 connections, their bounds and their end.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hyper::service::service_fn;
use magpie_service::{
    Deps,
    listen::{Limits, Listener},
};
use tokio::net::TcpListener;

use crate::{config::Config, request::Api};

/// Serves REST on `listener` until shutdown; requests under way are finished.
pub async fn serve(deps: Deps, config: Config, listener: TcpListener) -> io::Result<()> {
    let limits = Limits {
        connections: config.max_connections,
        silence: Duration::from_millis(config.header_timeout_ms),
        stall: Duration::from_millis(config.write_timeout_ms),
    };
    let listener = Listener::new(listener, limits, deps.shutdown.clone());
    let tasks = deps.tasks.clone();
    let api = Arc::new(Api::new(deps, config));
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(api.answer(request).await) }
    });
    listener.http1(&tasks, service).await;
    Ok(())
}
