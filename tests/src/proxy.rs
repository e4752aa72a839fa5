//! A TCP proxy in front of a dependency, which can cut, delay and half-open what goes through it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes that one step carries.
const CHUNK: usize = 64 << 10;

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Connections are closed, new ones too.
    Cut,
    /// Everything comes later by this, and each piece anew.
    Delay(Duration),
    /// The server's side is closed. The client's side stays open for ever, and what it says goes nowhere: the peer has vanished
    /// without a word. The same with new ones.
    HalfOpen,
}

/// See the module.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    target: watch::Sender<Option<u16>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens; connections are refused until it has a target.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mode, target) = (watch::Sender::new(Mode::Pass), watch::Sender::new(None));
        let (modes, targets) = (mode.subscribe(), target.subscribe());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = *targets.borrow();
                if let Some(port) = target {
                    tokio::spawn(serve(client, port, modes.clone()));
                }
            }
        });
        Ok(Self {
            address,
            mode,
            target,
            accepting,
        })
    }

    /// Leads to this port of the machine.
    pub fn lead_to(&self, port: u16) {
        self.target.send_replace(Some(port));
    }

    /// Changes what happens to all connections.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut client: TcpStream, port: u16, mut modes: watch::Receiver<Mode>) {
    let now = *modes.borrow_and_update();
    match now {
        Mode::Cut => return,
        Mode::HalfOpen => return swallow(&mut client).await,
        Mode::Pass | Mode::Delay(_) => {}
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let mode = modes.clone();
    let broken = async {
        let broken = |mode: &Mode| matches!(mode, Mode::Cut | Mode::HalfOpen);
        modes
            .wait_for(broken)
            .await
            .is_ok_and(|mode| *mode == Mode::HalfOpen)
    };
    let half_open = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = carry(from_client, to_server, &mode) => false,
            () = carry(from_server, to_client, &mode) => false,
            half_open = broken => half_open,
        }
    };
    drop(server);
    if half_open {
        swallow(&mut client).await;
    }
}

/// Carries one direction until its end.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mode: &watch::Receiver<Mode>) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(n @ 1..) = from.read(&mut chunk).await {
        let now = *mode.borrow();
        if let Mode::Delay(time) = now {
            tokio::time::sleep(time).await;
        }
        if to.write_all(&chunk[..n]).await.is_err() {
            return;
        }
    }
}

/// Reads until the client gives up, and answers nothing.
async fn swallow(client: &mut TcpStream) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(1..) = client.read(&mut chunk).await {}
}
