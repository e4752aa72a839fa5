//! A WebSocket connection that hides nothing: the handshake's answer, every frame with its opcode, and the way it ended.
//!
//! Frames are written and read here rather than by a library, because tests send what a library refuses to send and look at
//! control frames that a library swallows. Like every client, a connection answers pings and close frames; both can be
//! switched off. All received events get a number from one clock per process, so that arrival can be compared between
//! connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::{Handshake, Refusal};

/// How long a handshake may take.
const HANDSHAKE_BOUND: Duration = Duration::from_secs(20);
/// Longest head of a handshake's answer.
const HEAD_LIMIT: usize = 16 << 10;
/// Largest frame that a test accepts.
const FRAME_LIMIT: u64 = 64 << 20;

static ARRIVALS: AtomicU64 = AtomicU64::new(0);

/// What a frame is (RFC 6455 §5.2); any 4-bit number can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opcode(pub u8);

impl Opcode {
    /// More of a fragmented message.
    pub const CONTINUATION: Self = Self(0);
    /// Text.
    pub const TEXT: Self = Self(1);
    /// Binary.
    pub const BINARY: Self = Self(2);
    /// Close.
    pub const CLOSE: Self = Self(8);
    /// Ping.
    pub const PING: Self = Self(9);
    /// Pong.
    pub const PONG: Self = Self(10);
}

/// Something that happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A frame, unmasked.
    Frame {
        /// Whether it is the last of its message.
        last: bool,
        /// What it is.
        opcode: Opcode,
        /// Its bytes.
        payload: Bytes,
    },
    /// The end of the stream.
    Closed {
        /// Whether the peer reset the connection instead of ending it.
        reset: bool,
    },
}

/// An [`Event`] with its place among all events of this process.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Rises with every event of every connection.
    pub order: u64,
    /// What happened.
    pub event: Event,
}

/// An open connection. Dropping it closes the socket.
#[derive(Debug)]
pub struct Conn {
    writer: Arc<Mutex<OwnedWriteHalf>>,
    events: mpsc::UnboundedReceiver<Arrival>,
    answers: Arc<AtomicBool>,
    reader: tokio::task::JoinHandle<()>,
    headers: Vec<(String, String)>,
}

impl Conn {
    /// Opens a connection; a refusal over HTTP is no error.
    ///
    /// # Errors
    /// No connection, no answer in time, or an answer that isn't HTTP.
    pub async fn open(
        ws_url: &str,
        handshake: &Handshake,
    ) -> anyhow::Result<Result<Self, Refusal>> {
        timeout(HANDSHAKE_BOUND, Self::handshake(ws_url, handshake))
            .await
            .context("no handshake answer in time")?
    }

    async fn handshake(
        ws_url: &str,
        handshake: &Handshake,
    ) -> anyhow::Result<Result<Self, Refusal>> {
        let host = ws_url.trim_start_matches("ws://").trim_end_matches('/');
        let mut stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        stream.write_all(handshake.request(host).as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(
                stream
                    .read_u8()
                    .await
                    .context("the server hung up during the handshake")?,
            );
            if head.len() > HEAD_LIMIT {
                bail!("the head of the answer has no end");
            }
        }
        let head = String::from_utf8(head)?;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .context("no status line")?
            .parse()?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        if status != 101 {
            let length = headers
                .iter()
                .find(|(name, _)| name == "content-length")
                .map(|(_, value)| value.parse::<u64>());
            let mut body = Vec::new();
            match length {
                Some(length) => stream.take(length?).read_to_end(&mut body).await?,
                None => stream.read_to_end(&mut body).await?,
            };
            return Ok(Err(Refusal {
                status,
                headers,
                body: body.into(),
            }));
        }
        let (read, write) = stream.into_split();
        let writer = Arc::new(Mutex::new(write));
        let answers = Arc::new(AtomicBool::new(true));
        let (sender, events) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read_events(
            read,
            Arc::clone(&writer),
            Arc::clone(&answers),
            sender,
        ));
        Ok(Ok(Self {
            writer,
            events,
            answers,
            reader,
            headers,
        }))
    }

    /// Headers of the upgrade, names in lower case.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Whether pings and close frames are answered; they are unless switched off.
    pub fn answer_control_frames(&self, on: bool) {
        self.answers.store(on, Ordering::Relaxed);
    }

    /// The next event, `None` when nothing happens within the bound or the end was already seen.
    pub async fn next(&mut self, bound: Duration) -> Option<Arrival> {
        timeout(bound, self.events.recv()).await.ok().flatten()
    }

    /// An event that is already here.
    pub fn ready(&mut self) -> Option<Arrival> {
        self.events.try_recv().ok()
    }

    /// Sends one whole message of any kind.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn send(&self, opcode: Opcode, payload: &[u8]) -> anyhow::Result<()> {
        self.send_bytes(&encode_frame(true, opcode, payload)).await
    }

    /// Sends bytes that need not be a frame.
    ///
    /// # Errors
    /// The socket is closed.
    pub async fn send_bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.writer.lock().await.write_all(bytes).await?)
    }

    /// Ends the sending side without a close frame, as an application that dies does.
    ///
    /// # Errors
    /// The socket is closed already.
    pub async fn hang_up(&self) -> anyhow::Result<()> {
        Ok(self.writer.lock().await.shutdown().await?)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// One masked frame as a client writes it. `last` and the opcode are taken as given, so that fragments and nonsense are possible.
#[must_use]
pub(crate) fn encode_frame(last: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![(u8::from(last) << 7) | (opcode.0 & 0x0f)];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap_or_default()),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let mask: [u8; 4] = rand::random();
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

async fn read_events(
    mut read: OwnedReadHalf,
    writer: Arc<Mutex<OwnedWriteHalf>>,
    answers: Arc<AtomicBool>,
    events: mpsc::UnboundedSender<Arrival>,
) {
    loop {
        let event = match read_frame(&mut read).await {
            Ok(frame) => frame,
            Err(error) => Event::Closed {
                reset: error.kind() == std::io::ErrorKind::ConnectionReset,
            },
        };
        if let Event::Frame {
            opcode, payload, ..
        } = &event
            && answers.load(Ordering::Relaxed)
        {
            let answer = match *opcode {
                Opcode::PING => Some(Opcode::PONG),
                Opcode::CLOSE => Some(Opcode::CLOSE),
                _ => None,
            };
            if let Some(opcode) = answer {
                // A peer that is gone shows itself as the end of the stream.
                writer
                    .lock()
                    .await
                    .write_all(&encode_frame(true, opcode, payload))
                    .await
                    .ok();
            }
        }
        let ended = matches!(event, Event::Closed { .. });
        let order = ARRIVALS.fetch_add(1, Ordering::Relaxed);
        if events.send(Arrival { order, event }).is_err() || ended {
            return;
        }
    }
}

async fn read_frame(read: &mut OwnedReadHalf) -> std::io::Result<Event> {
    let first = read.read_u8().await?;
    let second = read.read_u8().await?;
    let length = match second & 0x7f {
        126 => u64::from(read.read_u16().await?),
        127 => read.read_u64().await?,
        short => u64::from(short),
    };
    if second & 0x80 != 0 || length > FRAME_LIMIT {
        return Err(std::io::Error::other(
            "a masked or gigantic frame from the server",
        ));
    }
    let mut payload = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
    read.read_exact(&mut payload).await?;
    Ok(Event::Frame {
        last: first & 0x80 != 0,
        opcode: Opcode(first & 0x0f),
        payload: payload.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    /// A WebSocket server of another make, which sends every message back.
    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut socket = tungstenite::accept(stream).unwrap();
            while let Ok(message) = socket.read() {
                if message.is_text() || message.is_binary() {
                    socket.send(message).unwrap();
                }
            }
        });
        url
    }

    async fn connect() -> Conn {
        Conn::open(&echo(), &Handshake::js("u1", 5, "token"))
            .await
            .unwrap()
            .unwrap()
    }

    async fn frame(conn: &mut Conn) -> (Opcode, Bytes) {
        let Some(Arrival {
            event:
                Event::Frame {
                    opcode,
                    payload,
                    last: true,
                },
            ..
        }) = conn.next(BOUND).await
        else {
            panic!("no frame");
        };
        (opcode, payload)
    }

    #[tokio::test]
    async fn messages_of_every_length_class_come_back_whole() {
        let mut conn = connect().await;
        for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let payload: Vec<u8> = (0..length)
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect();
            conn.send(Opcode::BINARY, &payload).await.unwrap();
            assert_eq!(
                frame(&mut conn).await,
                (Opcode::BINARY, payload.into()),
                "{length} bytes"
            );
        }
    }

    #[tokio::test]
    async fn control_frames_are_shown() {
        let mut conn = connect().await;
        conn.send(Opcode::PING, b"abc").await.unwrap();
        assert_eq!(
            frame(&mut conn).await,
            (Opcode::PONG, Bytes::from_static(b"abc"))
        );
        conn.send(Opcode::CLOSE, &1000_u16.to_be_bytes())
            .await
            .unwrap();
        assert_eq!(frame(&mut conn).await.0, Opcode::CLOSE);
        assert!(matches!(
            conn.next(BOUND).await.unwrap().event,
            Event::Closed { .. }
        ));
    }
}
