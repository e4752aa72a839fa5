//! What a device has done and seen.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use magpie_proto::openim::sdkws::MsgData;
use magpie_tests::evidence::{Connection, Fault, Frame, Held, Kind, Line};
use tokio::time::Instant;

/// A message that is not acknowledged.
pub(crate) struct Unacknowledged {
    pub(crate) message: MsgData,
    /// The trace id under which it is under way.
    pub(crate) operation_id: Option<String>,
    pub(crate) not_before: Instant,
    pub(crate) first_sent: Option<Instant>,
}

/// What a device has done and seen, for others to look at.
#[derive(Default)]
pub(crate) struct Log {
    /// The pieces since they were last taken; the last one goes on.
    pub(crate) pieces: Vec<Connection>,
    pub(crate) cursors: Vec<(String, String, i64)>,
    /// Answers that can't be right.
    pub(crate) faults: Vec<Fault>,
    pub(crate) outbox: VecDeque<Unacknowledged>,
    /// Everything up to this seq has come, or is not for this user.
    pub(crate) complete: i64,
    /// What has come beyond it.
    pub(crate) beyond: BTreeSet<i64>,
    /// All that has ever come.
    pub(crate) held: Held,
    /// In a group: the newest line about this user, its seq and whether it says that he came.
    own_line: Option<(i64, bool)>,
    /// Ids of own messages that were acknowledged, since they were last taken, and the last of all.
    pub(crate) acknowledged_ids: Vec<String>,
    pub(crate) last_acknowledged: Option<String>,
    /// The newest mark of an own message, of one that was acknowledged, and of one of another that was pushed.
    pub(crate) composed_mark: u64,
    pub(crate) acknowledged_mark: u64,
    pub(crate) pushed_mark: u64,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) connects: u64,
    pub(crate) repeats: u64,
    pub(crate) slowest: Duration,
    pub(crate) counter: u64,
}

impl Log {
    /// Messages that are not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.outbox.len()
    }

    /// Takes the evidence so far; the connection goes on in a new piece.
    pub(crate) fn take(&mut self) -> (Vec<Connection>, Vec<(String, String, i64)>) {
        let pieces = std::mem::take(&mut self.pieces);
        if let Some(last) = pieces.last() {
            let pushed = last.frames.iter().filter_map(|frame| match frame {
                Frame::Push { row, .. } => Some(row.seq),
                _ => None,
            });
            let trouble = last.frames.iter().rev().find_map(|frame| match frame {
                Frame::Trouble(trouble) => Some(*trouble),
                _ => None,
            });
            self.pieces.push(Connection {
                who: last.who.clone(),
                trouble: trouble.unwrap_or(last.trouble),
                stays: last.stays,
                had: self.complete,
                pushed: pushed.max().unwrap_or(0).max(last.pushed),
                ..Connection::default()
            });
        }
        (pieces, std::mem::take(&mut self.cursors))
    }

    /// Longest time that a message has waited for its acknowledgement, those that still wait included.
    pub(crate) fn take_slowest(&mut self) -> Duration {
        let waiting = self
            .outbox
            .iter()
            .filter_map(|m| Some(m.first_sent?.elapsed()));
        let slowest = waiting.max().unwrap_or_default().max(self.slowest);
        self.slowest = Duration::ZERO;
        slowest
    }

    /// Notes a read position that somebody was told, beside the newest seq of the same answer.
    pub(crate) fn read(&mut self, who: &str, conversation: &str, read: i64, newest: i64) {
        self.cursors
            .push((who.to_owned(), conversation.to_owned(), read));
        if read > newest {
            let text = format!("{who} has read {read} of {newest} in {conversation}");
            self.faults.push(Fault {
                kind: Kind::Back,
                text,
            });
        }
    }

    pub(crate) fn frame(&mut self, frame: Frame) {
        if let Some(piece) = self.pieces.last_mut() {
            piece.frames.push(frame);
        }
    }

    /// Notes that a message is here. False: it was here before.
    pub(crate) fn have(&mut self, seq: i64) -> bool {
        self.held.insert(seq);
        if seq <= self.complete || !self.beyond.insert(seq) {
            return false;
        }
        self.close_up();
        true
    }

    /// Nothing that has not come up to this seq is for this user: it is from a time in which he was no member.
    pub(crate) fn skip_to(&mut self, seq: i64) {
        if seq > self.complete {
            self.complete = seq;
            self.beyond = self.beyond.split_off(&(seq + 1));
            self.close_up();
        }
    }

    fn close_up(&mut self) {
        while self.beyond.remove(&(self.complete + 1)) {
            self.complete += 1;
        }
    }

    /// Notes a line about this user.
    pub(crate) fn own(&mut self, line: &Line) {
        if self.own_line.is_none_or(|(seq, _)| seq < line.seq) {
            self.own_line = Some((line.seq, line.joins));
        }
    }

    /// Whether it knows that its user is a member.
    pub(crate) fn is_in(&self) -> bool {
        self.own_line.is_none_or(|(_, joins)| joins)
    }

    /// Whether it knows that its user has left, and has all from before.
    pub(crate) fn is_out(&self) -> bool {
        self.own_line
            .is_some_and(|(seq, joins)| !joins && seq <= self.complete)
    }
}

/// The mark in a message's id.
pub(crate) fn mark_of(id: &str) -> u64 {
    let mark = id
        .split('-')
        .find_map(|part| part.strip_prefix('m')?.parse().ok());
    mark.unwrap_or(0)
}
