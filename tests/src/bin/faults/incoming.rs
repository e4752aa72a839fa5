//! What comes to a device: answers to its sends, pushes, and what it asked for.

use std::time::Duration;

use magpie_envelope::Response;
use magpie_proto::openim::msg::{GetConversationsHasReadAndMaxSeqResp, SendMsgResp};
use magpie_proto::openim::sdkws::{MsgData, PullMessageBySeqsResp, PushMessages};
use magpie_tests::evidence::Frame;
use magpie_tests::load::row;
use magpie_types::Code;
use prost::Message as _;
use tokio::time::Instant;

use crate::device::{Device, Line, REFUSED_PAUSE};
use crate::line::line;
use crate::log::{Log, mark_of};

impl Device {
    pub(crate) fn answered(&self, response: Response) -> anyhow::Result<()> {
        let mut guard = self.log();
        let log = &mut *guard;
        let Response {
            operation_id,
            err_code,
            data,
            ..
        } = response;
        let at = log
            .outbox
            .iter()
            .position(|m| m.operation_id.as_deref() == Some(&*operation_id));
        if err_code != 0 {
            // Who has left is refused; he gives it up when he knows that he has.
            let is_outsider = err_code == Code::NOT_IN_GROUP.number();
            log.refused += u64::from(!is_outsider);
            if is_outsider && !self.seat.is_taken() {
                at.and_then(|at| log.outbox.remove(at));
            } else if let Some(message) = at.and_then(|at| log.outbox.get_mut(at)) {
                message.operation_id = None;
                message.not_before = Instant::now() + REFUSED_PAUSE;
            }
            log.frame(Frame::Refused {
                operation_id,
                code: err_code,
            });
            return Ok(());
        }
        let server_msg_id = SendMsgResp::decode(data.unwrap_or_default())?.server_msg_id;
        log.frame(Frame::Acknowledged {
            operation_id,
            server_msg_id,
        });
        if let Some(message) = at.and_then(|at| log.outbox.remove(at)) {
            log.acknowledged += 1;
            let id = message.message.client_msg_id;
            log.acknowledged_mark = log.acknowledged_mark.max(mark_of(&id));
            log.acknowledged_ids.push(id.clone());
            log.last_acknowledged = Some(id);
            let waited = message.first_sent.map_or(Duration::ZERO, |at| at.elapsed());
            log.slowest = log.slowest.max(waited);
        }
        Ok(())
    }

    pub(crate) fn pushed(&self, response: Response) -> anyhow::Result<()> {
        let pushed = PushMessages::decode(response.data.unwrap_or_default())?;
        let mut log = self.log();
        for (conversation, messages) in pushed.msgs {
            for message in &messages.msgs {
                let row = row(message);
                if conversation == self.conversation && row.seq > 0 {
                    self.note_line(&mut log, message);
                    if !log.have(row.seq) {
                        log.repeats += 1;
                    }
                    if message.send_id != self.identity.user {
                        log.pushed_mark = log.pushed_mark.max(mark_of(&row.client_msg_id));
                    }
                }
                log.frame(Frame::Push {
                    operation_id: response.operation_id.clone(),
                    conversation: conversation.clone(),
                    row,
                });
            }
        }
        Ok(())
    }

    /// Takes an answer about what there is, or a pull's.
    pub(crate) fn learnt(&self, line: &mut Line, response: Response) -> anyhow::Result<()> {
        let data = response.data.unwrap_or_default();
        let mut log = self.log();
        if response.req_identifier == 1006 {
            let seqs = GetConversationsHasReadAndMaxSeqResp::decode(data)?.seqs;
            if let Some(seqs) = seqs.get(&self.conversation) {
                let who = self.identity.who();
                log.read(&who, &self.conversation, seqs.has_read_seq, seqs.max_seq);
                line.newest = line.newest.max(seqs.max_seq);
            }
            return Ok(());
        }
        let pulled = PullMessageBySeqsResp::decode(data)?.msgs;
        let own = pulled
            .into_iter()
            .filter(|(conversation, _)| *conversation == self.conversation);
        let mut first = None;
        for message in own.flat_map(|(_, pulled)| pulled.msgs) {
            let row = row(&message);
            first = first.or(Some(row.seq));
            // A place without its message: whoever asks again gets it.
            if row.client_msg_id.is_empty() {
                continue;
            }
            self.note_line(&mut log, &message);
            log.have(row.seq);
            log.frame(Frame::Pulled {
                conversation: self.conversation.clone(),
                row,
            });
        }
        if let Some((begin, end)) = line.range.take()
            && self.identity.is_in_group()
        {
            // What it is not shown it need not ask for again; whether that is right others judge.
            let to = first.map_or(end, |first| first - 1);
            if to >= begin {
                log.skip_to(to);
            }
        }
        Ok(())
    }

    fn note_line(&self, log: &mut Log, message: &MsgData) {
        let told = line(message).filter(|line| line.users.contains(&self.identity.user));
        if self.identity.is_in_group()
            && let Some(told) = told
        {
            log.own(&told);
        }
    }
}
