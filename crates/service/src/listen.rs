//! Connections of back ends and operators: how many there are, how long one may be silent, and how it ends with the process.
//!
//! A [`Listener`] accepts as many as its limit says; further ones wait in the kernel's backlog. A [`Socket`] ends when its first
//! bytes do not come in time, when its peer takes nothing of what is written for too long, and when the process stops: at once if it
//! has sent nothing, else after a short grace, in which a request may arrive whole, and never while a request of it is answered.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, future::BoxFuture, stream};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep},
};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::Connected;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long what was begun may take to arrive when the process stops.
pub const GRACE: Duration = Duration::from_secs(2);

/// Longest head of an HTTP/1.1 request, bytes.
const MAX_HEAD: usize = 64 << 10;

/// What every HTTP/2 connection begins with, bytes.
const PREFACE: usize = 24;

/// What to do when a socket can't be accepted, usually because no file descriptor is free: wait, and say so now and then.
#[derive(Default)]
pub struct AcceptErrors {
    said: Option<Instant>,
}

impl AcceptErrors {
    const PAUSE: Duration = Duration::from_millis(50);
    const SILENCE: Duration = Duration::from_secs(1);

    /// Waits a moment.
    pub async fn pause(&mut self, error: &io::Error) {
        if self.said.is_none_or(|at| at.elapsed() >= Self::SILENCE) {
            self.said = Some(Instant::now());
            tracing::warn!(%error, "connections can't be accepted; raise the limit of open files if that goes on");
        }
        sleep(Self::PAUSE).await;
    }
}

/// Limits of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// How long a new one may be silent.
    pub silence: Duration,
    /// How long one may take nothing of what is written to it.
    pub stall: Duration,
}

/// See the module.
pub struct Listener {
    tcp: TcpListener,
    places: Arc<Semaphore>,
    silence: Duration,
    stall: Duration,
    stopping: CancellationToken,
    errors: AcceptErrors,
}

impl Listener {
    /// Connections of `tcp`, which end with `stopping`.
    #[must_use]
    pub fn new(tcp: TcpListener, limits: Limits, stopping: CancellationToken) -> Self {
        Self {
            tcp,
            places: Arc::new(Semaphore::new(limits.connections)),
            silence: limits.silence,
            stall: limits.stall,
            stopping,
            errors: AcceptErrors::default(),
        }
    }

    /// The next connection, of which so many bytes must come in time.
    async fn accept(&mut self, opening: usize) -> Socket {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                // It is never closed.
                return std::future::pending().await;
            };
            match self.tcp.accept().await {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::trace!(%error, "the client is gone already");
                    }
                    let mut stream = TimeoutWriter::new(stream);
                    stream.set_timeout(Some(self.stall));
                    return Socket::new(stream, place, opening, self.silence, &self.stopping);
                }
                Err(error) => self.errors.pause(&error).await,
            }
        }
    }

    /// All connections, for HTTP/2.
    pub fn http2(self) -> impl Stream<Item = io::Result<Socket>> + Send {
        stream::unfold(self, |mut listener| async move {
            let socket = listener.accept(PREFACE).await;
            Some((Ok(socket), listener))
        })
    }

    /// Serves HTTP/1.1 until the process stops. `tasks` has a task for each connection then, until it has ended.
    pub async fn http1<S, B>(mut self, tasks: &TaskTracker, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Future: Send, Error: Into<BoxError>>,
        S: Clone + Send + Sync + 'static,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let stopping = self.stopping.clone();
        while let Some(socket) = stopping.run_until_cancelled(self.accept(1)).await {
            tasks.spawn(http1(
                socket,
                service.clone(),
                self.silence,
                stopping.clone(),
            ));
        }
    }
}

async fn http1<S, B>(socket: Socket, service: S, silence: Duration, stopping: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + 'static,
{
    let calls = socket.connect_info();
    let counted = service_fn(|request| {
        let running = calls.begin();
        let answer = service.call(request);
        async move {
            let answer = answer.await;
            drop(running);
            answer
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(silence)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(socket), counted)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// The requests of one connection.
#[derive(Clone)]
pub struct Calls(Arc<Shared>);

struct Shared {
    /// Whether the first bytes have come.
    opened: AtomicBool,
    running: watch::Sender<usize>,
}

/// A request that is being answered, until dropped.
pub struct Running(Calls);

impl Calls {
    fn new() -> Self {
        Self(Arc::new(Shared {
            opened: AtomicBool::new(false),
            running: watch::Sender::new(0),
        }))
    }

    /// Notes a request that is being answered.
    #[must_use]
    pub fn begin(&self) -> Running {
        self.0.running.send_modify(|running| *running += 1);
        Running(self.clone())
    }

    fn has_opened(&self) -> bool {
        self.0.opened.load(Ordering::Relaxed)
    }

    async fn idle(&self) {
        let mut running = self.0.running.subscribe();
        // The sender is in `self`.
        running.wait_for(|running| *running == 0).await.ok();
    }

    /// Returns when the connection has to end.
    async fn end(self, silence: Duration, stopping: CancellationToken) {
        let stopped = stopping.run_until_cancelled(sleep(silence)).await.is_none();
        if !self.has_opened() {
            return;
        }
        if !stopped {
            stopping.cancelled().await;
        }
        loop {
            self.idle().await;
            sleep(GRACE).await;
            if *self.0.running.borrow() == 0 {
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.send_modify(|running| *running -= 1);
    }
}

/// A connection with its place among those of the listener.
pub struct Socket {
    stream: Pin<Box<TimeoutWriter<TcpStream>>>,
    calls: Calls,
    /// First bytes that are still missing.
    missing: usize,
    end: Option<BoxFuture<'static, ()>>,
    _place: OwnedSemaphorePermit,
}

impl Socket {
    fn new(
        stream: TimeoutWriter<TcpStream>,
        place: OwnedSemaphorePermit,
        opening: usize,
        silence: Duration,
        stopping: &CancellationToken,
    ) -> Self {
        let calls = Calls::new();
        let end = calls.clone().end(silence, stopping.clone());
        Self {
            stream: Box::pin(stream),
            calls,
            missing: opening,
            end: Some(Box::pin(end)),
            _place: place,
        }
    }

    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        if self
            .end
            .as_mut()
            .is_some_and(|end| end.as_mut().poll(cx).is_ready())
        {
            self.end = None;
        }
        self.end.is_none()
    }
}

impl Connected for Socket {
    type ConnectInfo = Calls;

    fn connect_info(&self) -> Calls {
        self.calls.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_ended(cx) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = self.stream.as_mut().poll_read(cx, buf);
        if self.missing > 0 {
            self.missing = self.missing.saturating_sub(buf.filled().len() - before);
            if self.missing == 0 {
                self.calls.0.opened.store(true, Ordering::Relaxed);
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.has_ended(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.stream.as_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.has_ended(cx) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.stream.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
