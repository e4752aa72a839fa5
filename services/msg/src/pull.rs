//! Reading messages: by ranges (1002), by lists (1005), the newest visible one (1007) (messages-and-sync.md 8.3 to 8.6).
//!
//! Every answer has a budget of bytes. A range beyond it keeps its newest messages, a list its first ones, and the conversations
//! after that come empty or not at all: seqs without an answer are gaps to a client, which it asks for again when it shows them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::RangeInclusive,
};

use magpie_proto::openim::{
    msg::{
        GetLastMessageReq, GetLastMessageResp, GetMsgByConversationIDsReq,
        GetMsgByConversationIDsResp, GetSeqMessageReq, GetSeqMessageResp,
    },
    sdkws::{PullMessageBySeqsReq, PullMessageBySeqsResp, PullMsgs, SeqRange},
};
use magpie_service::Context;
use magpie_types::{ConversationId, Error, Result, msg::status};

use crate::{
    Service,
    access::{View, Window},
    load::Budget,
};

const DESCENDING: i32 = 1;
/// How many messages back a search for a visible last message reads per step.
const LAST_STEP: i64 = 20;

/// The last range of each conversation, in the order of the request: the answer has room for one.
fn last_of_each(mut ranges: Vec<SeqRange>) -> Vec<SeqRange> {
    let mut seen = HashSet::new();
    ranges.reverse();
    ranges.retain(|range| seen.insert(range.conversation_id.clone()));
    ranges.reverse();
    ranges
}

/// Those that the user may look into.
fn open<'a, 'v>(
    conversations: &'a [ConversationId],
    views: &'v [Option<View>],
) -> impl Iterator<Item = &'a ConversationId> + use<'a, 'v> {
    let each = conversations.iter().zip(views);
    each.filter(|(_, view)| view.is_some()).map(|(c, _)| c)
}

fn put(
    conversation: &ConversationId,
    pulled: PullMsgs,
    msgs: &mut BTreeMap<String, PullMsgs>,
    notifications: &mut BTreeMap<String, PullMsgs>,
) {
    let map = if conversation.is_notification_stream() {
        notifications
    } else {
        msgs
    };
    map.insert(conversation.to_string(), pulled);
}

impl Service {
    /// One message of each conversation, that with the seq named for it; for administrators.
    pub(crate) async fn by_seqs(
        &self,
        ctx: &Context,
        req: GetMsgByConversationIDsReq,
    ) -> Result<GetMsgByConversationIDsResp> {
        ctx.require_admin()?;
        self.check_pulled(req.conversation_i_ds.len())?;
        // No message has a number below 1.
        let seq = |id: &String| req.max_seqs.get(id).copied().filter(|seq| *seq > 0);
        let ids = req.conversation_i_ds.iter();
        let asked = ids.filter_map(|id| Some((ConversationId::trusted(id.as_str()), seq(id)?)));
        let asked: Vec<_> = asked.collect();
        let readers = self.readers("", asked.iter().map(|(c, _)| c)).await?;
        let seqs = asked.iter().map(|(_, seq)| *seq..=*seq);
        let wanted: Vec<_> = readers.into_iter().zip(seqs).collect();
        let mut budget = Budget::new(self.config.max_pull_bytes);
        let mut resp = GetMsgByConversationIDsResp::default();
        let found = self.newest_of_each(&wanted, &mut budget).await?;
        for ((conversation, _), (msgs, _)) in asked.iter().zip(found) {
            let named = msgs.into_iter().map(|msg| (conversation.to_string(), msg));
            resp.msg_datas.extend(named);
        }
        Ok(resp)
    }

    pub(crate) async fn pull_ranges(
        &self,
        ctx: &Context,
        req: PullMessageBySeqsReq,
    ) -> Result<PullMessageBySeqsResp> {
        ctx.require_self(&req.user_id)?;
        self.check_pulled(req.seq_ranges.len())?;
        let ranges = last_of_each(req.seq_ranges);
        let was_asked = !ranges.is_empty();
        let parse =
            |range: SeqRange| Some((ConversationId::parse(&range.conversation_id).ok()?, range));
        let (conversations, ranges): (Vec<_>, Vec<_>) =
            ranges.into_iter().filter_map(parse).unzip();
        let views = self.views(ctx, &req.user_id, &conversations).await?;
        if was_asked && views.iter().all(Option::is_none) {
            return Err(Error::no_permission(
                "the user takes part in none of these conversations",
            ));
        }
        let each = conversations.iter().zip(ranges).zip(views);
        let asked = each.filter_map(|((conversation, range), view)| {
            let window = view?.window();
            let seqs = self.pulled(conversation, &range, window)?;
            Some((conversation, range, window, seqs))
        });
        let asked: Vec<_> = asked.collect();
        let of = asked.iter().map(|(conversation, ..)| *conversation);
        let readers = self.readers(&req.user_id, of).await?;
        let seqs = asked.iter().map(|(.., seqs)| seqs.clone());
        let wanted: Vec<_> = readers.into_iter().zip(seqs).collect();
        let mut budget = Budget::new(self.config.max_pull_bytes);
        let mut resp = PullMessageBySeqsResp::default();
        let found = self.newest_of_each(&wanted, &mut budget).await?;
        for ((conversation, range, window, _), (msgs, whole)) in asked.iter().zip(found) {
            let is_end = if req.order == DESCENDING {
                whole && range.begin <= window.low
            } else {
                window.high <= range.end
            };
            put(
                conversation,
                PullMsgs {
                    msgs,
                    is_end,
                    end_seq: 0,
                },
                &mut resp.msgs,
                &mut resp.notification_msgs,
            );
        }
        Ok(resp)
    }

    /// What a range asks for of what the user may see; `None` if that is nothing.
    fn pulled(
        &self,
        conversation: &ConversationId,
        range: &SeqRange,
        window: Window,
    ) -> Option<RangeInclusive<i64>> {
        let high = range.end.min(window.high);
        let most = if conversation.is_notification_stream() {
            i64::MAX
        } else {
            range.num.max(0)
        };
        let most = most.min(self.max_pull());
        let low = range.begin.max(window.low);
        let low = low.max(high.saturating_sub(most).saturating_add(1));
        (low <= high).then_some(low..=high)
    }

    pub(crate) async fn pull_seqs(
        &self,
        ctx: &Context,
        req: GetSeqMessageReq,
    ) -> Result<GetSeqMessageResp> {
        ctx.require_self(&req.user_id)?;
        self.check_pulled(req.conversations.len())?;
        let named: usize = req.conversations.iter().map(|c| c.seqs.len()).sum();
        if named > self.config.max_pull {
            return Err(Error::args(format!(
                "at most {} seqs in one request",
                self.config.max_pull
            )));
        }
        let ids = req.conversations.iter().map(|c| c.conversation_id.as_str());
        let conversations: Vec<_> = ids.map(ConversationId::trusted).collect();
        let views = self.views(ctx, &req.user_id, &conversations).await?;
        let readers = self
            .readers(&req.user_id, open(&conversations, &views))
            .await?;
        let mut readers = readers.into_iter();
        let mut resp = GetSeqMessageResp::default();
        let mut budget = Budget::new(self.config.max_pull_bytes);
        let each = conversations.iter().zip(views);
        for (asked, (conversation, view)) in req.conversations.into_iter().zip(each) {
            // Every conversation asked for has an entry: TypeScript clients read it unchecked. They don't see one whose value is
            // the default, which has no bytes; so what asks for nothing that could be there is told that this is the end.
            let mut pulled = PullMsgs {
                is_end: true,
                ..PullMsgs::default()
            };
            if let Some((view, reader)) = view.and_then(|view| Some((view, readers.next()?))) {
                let Window { low, high } = view.window();
                pulled.is_end = !asked.seqs.iter().any(|seq| (low..=high).contains(seq));
                let (below, above) = asked
                    .seqs
                    .iter()
                    .filter(|s| **s > 0)
                    .fold((false, false), |(b, a), s| (b || *s < low, a || *s > high));
                if req.order == DESCENDING && below {
                    (pulled.is_end, pulled.end_seq) = (true, low);
                } else if req.order != DESCENDING && above {
                    (pulled.is_end, pulled.end_seq) = (true, high);
                }
                let mut seen = HashSet::new();
                let seqs: Vec<i64> = asked
                    .seqs
                    .into_iter()
                    .filter(|s| (low..=high).contains(s) && seen.insert(*s))
                    .collect();
                if !seqs.is_empty() && !budget.is_spent() {
                    pulled.msgs = reader.listed(&seqs, &mut budget).await?;
                }
                if pulled.msgs.len() < seqs.len() {
                    (pulled.is_end, pulled.end_seq) = (false, 0);
                }
            }
            put(
                conversation,
                pulled,
                &mut resp.msgs,
                &mut resp.notification_msgs,
            );
        }
        Ok(resp)
    }

    pub(crate) async fn last_messages(
        &self,
        ctx: &Context,
        req: GetLastMessageReq,
    ) -> Result<GetLastMessageResp> {
        ctx.require_self(&req.user_id)?;
        self.check_pulled(req.conversation_i_ds.len())?;
        let mut resp = GetLastMessageResp::default();
        let mut budget = Budget::new(self.config.max_pull_bytes);
        let ids: BTreeSet<String> = req.conversation_i_ds.into_iter().collect();
        let conversations: Vec<_> = ids.into_iter().map(ConversationId::trusted).collect();
        let views = self.views(ctx, &req.user_id, &conversations).await?;
        let readers = self
            .readers(&req.user_id, open(&conversations, &views))
            .await?;
        let mut steps = conversations.len() + self.config.max_pull;
        let seen = open(&conversations, &views).zip(views.iter().flatten());
        for ((conversation, view), reader) in seen.zip(&readers) {
            if budget.is_spent() {
                break;
            }
            let Window { low, mut high } = view.window();
            let mut width = 1;
            while high >= low && steps > 0 {
                steps -= 1;
                let step = (high - width + 1).max(low);
                let msgs = reader.load(step..=high).await?;
                if let Some(last) = msgs.into_iter().rev().find(|m| m.status < status::DELETED) {
                    if budget.take(&last) {
                        resp.msgs.insert(conversation.to_string(), last);
                    }
                    break;
                }
                high = step - 1;
                width = LAST_STEP;
            }
        }
        Ok(resp)
    }

    fn max_pull(&self) -> i64 {
        i64::try_from(self.config.max_pull).unwrap_or(i64::MAX)
    }

    /// Conversations of a request that reads messages of each.
    fn check_pulled(&self, conversations: usize) -> Result<()> {
        if conversations > self.config.max_pull_conversations {
            return Err(Error::args(format!(
                "at most {} conversations in one pull",
                self.config.max_pull_conversations
            )));
        }
        Ok(())
    }

    pub(crate) fn check_count(&self, conversations: usize) -> Result<()> {
        if conversations > self.config.max_conversations {
            return Err(Error::args(format!(
                "at most {} conversations",
                self.config.max_conversations
            )));
        }
        Ok(())
    }
}
