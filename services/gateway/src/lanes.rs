//! Sends of one connection: one under way per conversation, and what must not overtake its answer.
//!
//! A lane exists for each conversation (named by its stem, the key of the log) with a send under way. Further sends of the
//! lane wait in it, so that the log gets them in the client's order; sends of other lanes run beside. The push of the
//! connection's own message can be faster than the answer to its send: it, and everything after it in the conversation, is
//! held in the lane until the answer is written (clients.md 11).

use std::collections::VecDeque;

use bytes::Bytes;

/// The lanes of one connection; empty and without allocation while nothing is sent.
pub(crate) struct Lanes<T> {
    lanes: Vec<Lane<T>>,
    sends: usize,
}

struct Lane<T> {
    stem: Box<str>,
    /// Of the send under way: its message is recognised by it.
    operation_id: Box<str>,
    waiting: VecDeque<(Box<str>, T)>,
    held: Vec<Bytes>,
}

/// What follows a finished send.
pub(crate) struct Finished<T> {
    /// Frames that waited for the answer, in order.
    pub(crate) held: Vec<Bytes>,
    /// The next send of the lane, now under way.
    pub(crate) next: Option<T>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            lanes: Vec::new(),
            sends: 0,
        }
    }
}

impl<T> Lanes<T> {
    /// Sends under way or waiting.
    pub(crate) fn sends(&self) -> usize {
        self.sends
    }

    /// Adds a send. It comes back when it may start now; otherwise it waits for its lane.
    pub(crate) fn begin(&mut self, stem: &str, operation_id: &str, send: T) -> Option<T> {
        self.sends += 1;
        if let Some(lane) = self.lane(stem) {
            lane.waiting.push_back((operation_id.into(), send));
            return None;
        }
        self.lanes.push(Lane {
            stem: stem.into(),
            operation_id: operation_id.into(),
            waiting: VecDeque::new(),
            held: Vec::new(),
        });
        Some(send)
    }

    /// The send under way was answered. Frames come back to be written right after the answer.
    pub(crate) fn finish(&mut self, stem: &str) -> Finished<T> {
        let Some(at) = self.lanes.iter().position(|l| &*l.stem == stem) else {
            return Finished {
                held: Vec::new(),
                next: None,
            };
        };
        self.sends -= 1;
        let lane = &mut self.lanes[at];
        let held = std::mem::take(&mut lane.held);
        let next = lane.waiting.pop_front().map(|(operation_id, send)| {
            lane.operation_id = operation_id;
            send
        });
        if next.is_none() {
            self.lanes.swap_remove(at);
            if self.lanes.is_empty() {
                self.lanes = Vec::new();
            }
        }
        Finished { held, next }
    }

    /// Takes a frame that must wait for the answer; gives back one that need not. `own` says that this connection's send
    /// with `operation_id` caused it.
    pub(crate) fn hold(
        &mut self,
        stem: &str,
        operation_id: &str,
        own: bool,
        frame: Bytes,
    ) -> Option<Bytes> {
        let Some(lane) = self.lane(stem) else {
            return Some(frame);
        };
        if lane.held.is_empty() && !(own && &*lane.operation_id == operation_id) {
            return Some(frame);
        }
        lane.held.push(frame);
        None
    }

    /// Forgets everything; what is under way ends by itself.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn lane(&mut self, stem: &str) -> Option<&mut Lane<T>> {
        self.lanes.iter_mut().find(|l| &*l.stem == stem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn one_send_per_conversation_is_under_way_and_others_run_beside_it() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.begin("a_b", "o1", 1), Some(1));
        assert_eq!(lanes.begin("a_b", "o2", 2), None);
        assert_eq!(lanes.begin("a_c", "o3", 3), Some(3));
        assert_eq!(lanes.sends(), 3);
        assert_eq!(lanes.finish("a_b").next, Some(2));
        assert_eq!(lanes.finish("a_b").next, None);
        assert_eq!(lanes.finish("a_c").next, None);
        assert_eq!(lanes.sends(), 0);
        assert_eq!(lanes.lanes.capacity(), 0);
    }

    #[test]
    fn the_own_message_and_all_after_it_wait_for_the_answer() {
        let mut lanes = Lanes::default();
        lanes.begin("a_b", "o1", ());
        assert_eq!(
            lanes.hold("a_b", "x", false, frame("before")),
            Some(frame("before"))
        );
        assert_eq!(lanes.hold("a_b", "o1", true, frame("own")), None);
        assert_eq!(lanes.hold("a_b", "x", false, frame("after")), None);
        assert_eq!(
            lanes.hold("a_c", "x", false, frame("elsewhere")),
            Some(frame("elsewhere"))
        );
        assert_eq!(lanes.finish("a_b").held, [frame("own"), frame("after")]);
        assert_eq!(
            lanes.hold("a_b", "o1", true, frame("late")),
            Some(frame("late"))
        );
    }

    #[test]
    fn a_push_of_an_earlier_send_does_not_wait_for_the_next_one() {
        let mut lanes = Lanes::default();
        lanes.begin("a_b", "o1", 1);
        lanes.begin("a_b", "o2", 2);
        lanes.finish("a_b");
        assert_eq!(
            lanes.hold("a_b", "o1", true, frame("first")),
            Some(frame("first"))
        );
        assert_eq!(lanes.hold("a_b", "o2", true, frame("second")), None);
    }
}
