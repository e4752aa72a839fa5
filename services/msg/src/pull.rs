//! Reading messages: by ranges (1002), by lists (1005), the newest visible one (1007) (messages-and-sync.md 8.3 to 8.6).

use std::collections::{BTreeMap, HashMap, HashSet};

use magpie_proto::openim::{
    msg::{GetLastMessageReq, GetLastMessageResp, GetSeqMessageReq, GetSeqMessageResp},
    sdkws::{MsgData, PullMessageBySeqsReq, PullMessageBySeqsResp, PullMsgs},
};
use magpie_service::Context;
use magpie_store::{
    Documents as _, Page,
    documents::{Hidden, Message, UserSeq},
    key,
};
use magpie_types::{
    ConversationId, Error, Result,
    msg::{content_type, status},
};
use prost::Message as _;

use crate::{Service, access::Window};

const DESCENDING: i32 = 1;
/// How many messages back a search for a visible last message reads per step.
const LAST_STEP: i64 = 20;

/// Message states in the store.
pub(crate) mod state {
    /// Revoked: shown as a 2101.
    pub(crate) const REVOKED: i32 = 1;
    /// Deleted for everybody: only seq and status are shown.
    pub(crate) const DELETED: i32 = 4;
}

fn placeholder(seq: i64) -> MsgData {
    MsgData {
        seq,
        status: status::DELETED,
        ..MsgData::default()
    }
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
    pub(crate) async fn pull_ranges(
        &self,
        ctx: &Context,
        req: PullMessageBySeqsReq,
    ) -> Result<PullMessageBySeqsResp> {
        ctx.require_self(&req.user_id)?;
        self.check_count(req.seq_ranges.len())?;
        let mut resp = PullMessageBySeqsResp::default();
        let (mut asked, mut refused) = (0, 0);
        for range in req.seq_ranges {
            asked += 1;
            let Ok(conversation) = ConversationId::parse(&range.conversation_id) else {
                refused += 1;
                continue;
            };
            let Some(view) = self.view(ctx, &req.user_id, &conversation).await? else {
                refused += 1;
                continue;
            };
            let window = view.window();
            let mut low = range.begin.max(window.low);
            let high = range.end.min(window.high);
            if high < low {
                continue;
            }
            let most = if conversation.is_notification_stream() {
                i64::MAX
            } else {
                range.num.max(0)
            };
            low = low.max(
                high.saturating_sub(most.min(self.max_pull()))
                    .saturating_add(1),
            );
            if high < low {
                continue;
            }
            let msgs = self.load(&req.user_id, &conversation, low..=high).await?;
            let is_end = if req.order == DESCENDING {
                range.begin <= window.low
            } else {
                window.high <= range.end
            };
            put(
                &conversation,
                PullMsgs {
                    msgs,
                    is_end,
                    end_seq: 0,
                },
                &mut resp.msgs,
                &mut resp.notification_msgs,
            );
        }
        if asked > 0 && refused == asked {
            return Err(Error::no_permission(
                "the user takes part in none of these conversations",
            ));
        }
        Ok(resp)
    }

    pub(crate) async fn pull_seqs(
        &self,
        ctx: &Context,
        req: GetSeqMessageReq,
    ) -> Result<GetSeqMessageResp> {
        ctx.require_self(&req.user_id)?;
        self.check_count(req.conversations.len())?;
        let mut resp = GetSeqMessageResp::default();
        for asked in req.conversations {
            // Every conversation asked for has an entry: TypeScript clients read it unchecked.
            let conversation = ConversationId::trusted(asked.conversation_id);
            if asked.seqs.len() > self.config.max_pull {
                return Err(Error::args(format!(
                    "at most {} seqs per conversation",
                    self.config.max_pull
                )));
            }
            let mut pulled = PullMsgs::default();
            if let Some(view) = self.view(ctx, &req.user_id, &conversation).await? {
                let Window { low, high } = view.window();
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
                let seqs: Vec<i64> = asked
                    .seqs
                    .into_iter()
                    .filter(|s| (low..=high).contains(s))
                    .collect();
                if let (Some(min), Some(max)) = (seqs.iter().min(), seqs.iter().max()) {
                    let mut found: HashMap<i64, MsgData> = HashMap::new();
                    if max - min < self.max_pull() {
                        let loaded = self.load(&req.user_id, &conversation, *min..=*max).await?;
                        found.extend(loaded.into_iter().map(|m| (m.seq, m)));
                    } else {
                        for seq in &seqs {
                            let loaded =
                                self.load(&req.user_id, &conversation, *seq..=*seq).await?;
                            found.extend(loaded.into_iter().map(|m| (m.seq, m)));
                        }
                    }
                    pulled.msgs = seqs
                        .iter()
                        .map(|s| found.get(s).cloned().unwrap_or_else(|| placeholder(*s)))
                        .collect();
                }
            }
            put(
                &conversation,
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
        self.check_count(req.conversation_i_ds.len())?;
        let mut resp = GetLastMessageResp::default();
        for id in req.conversation_i_ds {
            let conversation = ConversationId::trusted(id);
            let Some(view) = self.view(ctx, &req.user_id, &conversation).await? else {
                continue;
            };
            let Window { low, mut high } = view.window();
            while high >= low {
                let step = (high - LAST_STEP + 1).max(low);
                let msgs = self.load(&req.user_id, &conversation, step..=high).await?;
                if let Some(last) = msgs.into_iter().rev().find(|m| m.status < status::DELETED) {
                    resp.msgs.insert(conversation.to_string(), last);
                    break;
                }
                high = step - 1;
            }
        }
        Ok(resp)
    }

    /// The messages of a range as the user sees them: one per seq, ascending, placeholders for what is missing.
    pub(crate) async fn load(
        &self,
        user: &str,
        conversation: &ConversationId,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Vec<MsgData>> {
        let (low, high) = (*range.start(), *range.end());
        let limit = usize::try_from(high - low + 1).unwrap_or(0);
        let page = Page::of("by_seq", key![conversation.as_str()], limit).between(low, high);
        let stored: Vec<Message> = self.deps.store.list(page).await?;
        let page = Page::of("key", key![user, conversation.as_str()], limit).between(low, high);
        let hidden: Vec<Hidden> = self.deps.store.list(page).await?;
        let hidden: HashSet<i64> = hidden.into_iter().map(|h| h.seq).collect();
        let read_by_peer = self.peer_read_seq(user, conversation).await?;
        let mut by_seq: HashMap<i64, Message> = stored.into_iter().map(|m| (m.seq, m)).collect();
        range
            .map(|seq| match by_seq.remove(&seq) {
                Some(message) => {
                    let read_up_to = if message.sender_id == user {
                        read_by_peer.peer
                    } else {
                        read_by_peer.own
                    };
                    show(message, hidden.contains(&seq), read_up_to)
                }
                None => Ok(placeholder(seq)),
            })
            .collect()
    }

    async fn peer_read_seq(&self, user: &str, conversation: &ConversationId) -> Result<ReadSeqs> {
        if !conversation.as_str().starts_with("si_") {
            return Ok(ReadSeqs::default());
        }
        let Some(p) = self
            .cache
            .participants(&self.deps, conversation.stem())
            .await?
        else {
            return Ok(ReadSeqs::default());
        };
        let peer = if p.first == user { &p.second } else { &p.first };
        let id = conversation.as_str();
        let both: Vec<Option<UserSeq>> = self
            .deps
            .store
            .find_many(vec![key![peer.as_str(), id], key![user, id]])
            .await?;
        let mut read = both.into_iter().map(|s| s.map_or(0, |s| s.marked_seq));
        Ok(ReadSeqs {
            peer: read.next().unwrap_or(0),
            own: read.next().unwrap_or(0),
        })
    }

    fn max_pull(&self) -> i64 {
        i64::try_from(self.config.max_pull).unwrap_or(i64::MAX)
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

#[derive(Default)]
struct ReadSeqs {
    peer: i64,
    own: i64,
}

/// A stored message as a reader gets it.
fn show(message: Message, hidden: bool, read_up_to: i64) -> Result<MsgData> {
    if message.state == state::DELETED {
        return Ok(placeholder(message.seq));
    }
    let mut msg = MsgData::decode(message.body).map_err(Error::internal)?;
    msg.is_read = message.seq <= read_up_to
        && msg.session_type == 1
        && msg.content_type != content_type::HAS_READ_RECEIPT;
    if hidden {
        msg.content = bytes::Bytes::new();
        msg.status = status::DELETED;
    } else if message.state == state::REVOKED {
        msg.content_type = content_type::MSG_REVOKE;
        msg.content = message.revocation;
    }
    Ok(msg)
}
