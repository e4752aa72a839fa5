use std::cell::{Cell, RefCell};

use super::*;

/// Takes `room` bytes, then blocks.
#[derive(Default)]
struct Socket {
    room: Cell<usize>,
    got: RefCell<Vec<u8>>,
}

impl Socket {
    fn with_room(room: usize) -> Self {
        Self {
            room: Cell::new(room),
            ..Self::default()
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.got.borrow().clone()).unwrap()
    }
}

impl TryWrite for Socket {
    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.room.get() == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let all: Vec<u8> = frames.iter().flat_map(|f| f.iter().copied()).collect();
        let n = all.len().min(self.room.get());
        self.room.set(self.room.get() - n);
        self.got.borrow_mut().extend(&all[..n]);
        Ok(n)
    }
}

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn open() -> Outgoing<()> {
    let mut out = Outgoing::default();
    out.phase = Phase::Open;
    out
}

#[test]
fn frames_keep_their_order_when_the_socket_is_full() {
    let socket = Socket::with_room(4);
    let mut out = open();
    for frame in ["abc", "def", "ghi"] {
        out.send(b(frame), &socket, 100);
    }
    assert!(out.status().waiting_since.is_some());
    socket.room.set(3);
    out.flush(&socket);
    socket.room.set(100);
    out.flush(&socket);
    assert_eq!(socket.text(), "abcdefghi");
    assert!(out.status().waiting_since.is_none());
    assert_eq!((out.bytes, out.queue.capacity()), (0, 0));
}

#[test]
fn pushes_wait_for_the_answer_of_the_handshake() {
    let socket = Socket::with_room(100);
    let mut out = Outgoing::<()>::default();
    out.send(b("push"), &socket, 100);
    assert_eq!(socket.text(), "");
    out.open(b("hello "), &socket, Instant::now());
    assert_eq!(socket.text(), "hello push");
}

#[test]
fn a_client_with_too_many_waiting_bytes_is_given_up() {
    let socket = Socket::with_room(0);
    let mut out = open();
    out.send(b("12345"), &socket, 8);
    assert!(!out.status().ended);
    out.send(b("6789"), &socket, 8);
    assert!(out.status().ended);
    assert_eq!((out.reason(), out.bytes), (Some("slow"), 0));
}

#[test]
fn held_pushes_count_against_the_bound() {
    let socket = Socket::with_room(100);
    let mut out = open();
    out.begin("s", "o", ());
    let push = Push {
        stem: "s",
        operation_id: "o",
        own: true,
    };
    out.push(&push, b("12345"), &socket, 8);
    assert!(!out.status().ended);
    out.push(&push, b("6789"), &socket, 8);
    assert!(out.status().ended);
}

#[test]
fn the_answer_goes_before_the_push_that_it_caused() {
    let socket = Socket::with_room(100);
    let mut out = open();
    assert_eq!(out.begin("s", "o", ()), Some(()));
    out.push(
        &Push {
            stem: "s",
            operation_id: "o",
            own: true,
        },
        b("push "),
        &socket,
        100,
    );
    out.push(
        &Push {
            stem: "s",
            operation_id: "x",
            own: false,
        },
        b("later "),
        &socket,
        100,
    );
    out.push(
        &Push {
            stem: "t",
            operation_id: "x",
            own: false,
        },
        b("other "),
        &socket,
        100,
    );
    out.finish("s", b("answer "), &socket, 100);
    assert_eq!(socket.text(), "other answer push later ");
    assert_eq!(out.bytes, 0);
}

#[test]
fn the_last_frame_is_written_before_the_end_and_nothing_after_it() {
    let socket = Socket::with_room(2);
    let mut out = open();
    out.send(b("abc"), &socket, 100);
    out.end(Some(b("bye")), "kicked", &socket);
    out.send(b("more"), &socket, 100);
    assert!(out.status().ending && !out.status().ended);
    socket.room.set(100);
    out.flush(&socket);
    assert_eq!(socket.text(), "abcbye");
    assert!(out.status().ended);
}
