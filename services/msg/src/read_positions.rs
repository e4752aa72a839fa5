//! Read positions and receipts (messages-and-sync.md 10).
//!
//! A position only grows, is clamped to the newest seq, and only a move is announced: 2200 to the partner of a single chat,
//! else to the reader's own devices.
//!
//! It is announced before it is stored: whatever fails leaves the position where it was, so that the client's repeat does both. Stored
//! first it would be no move any more, and never announced. A receipt that comes twice changes nothing: clients only raise by it.

use magpie_proto::openim::{
    msg::{MarkConversationAsReadReq, MarkMsgsAsReadReq, SetConversationHasReadSeqReq},
    sdkws::MarkAsReadTips,
};
use magpie_service::{
    Context,
    notification::{self, Notification},
    rpc::filled,
};
use magpie_store::{Document as _, Follow, documents::UserSeq};
use magpie_types::{ConversationId, Error, Result, msg::content_type};

use crate::{Service, access::View};

/// Most seqs a receipt lists.
const MAX_RECEIPT_SEQS: i64 = 1000;

impl Service {
    pub(crate) async fn mark_msgs_as_read(
        &self,
        ctx: &Context,
        req: MarkMsgsAsReadReq,
    ) -> Result<()> {
        filled("userID", &req.user_id)?;
        ctx.require_self(&req.user_id)?;
        let seqs = listed(req.seqs)?;
        let highest = seqs.iter().copied().max();
        let highest = highest.ok_or_else(|| Error::args("seqs is empty"))?;
        let (conversation, view) = self
            .view_up_to(ctx, &req.user_id, &req.conversation_id, highest)
            .await?;
        if highest > view.head.max_seq {
            return Err(Error::args("seqs names a message that does not exist"));
        }
        if highest <= view.seqs.read_seq {
            return Ok(());
        }
        self.announce(ctx, &req.user_id, &conversation, seqs, highest)
            .await?;
        self.raise_read_seq(&req.user_id, &conversation, highest)
            .await
    }

    pub(crate) async fn mark_conversation_as_read(
        &self,
        ctx: &Context,
        req: MarkConversationAsReadReq,
    ) -> Result<()> {
        ctx.require_self(&req.user_id)?;
        if req.has_read_seq < 1 {
            return Err(Error::args("hasReadSeq is below 1"));
        }
        let extra = listed(req.seqs)?;
        let (conversation, view) = self
            .view_up_to(ctx, &req.user_id, &req.conversation_id, req.has_read_seq)
            .await?;
        let to = req.has_read_seq.min(view.head.max_seq);
        if to <= view.seqs.read_seq {
            return Ok(());
        }
        let mut seqs = newly_read(&view, to);
        seqs.extend(extra.into_iter().filter(|s| *s <= view.head.max_seq));
        seqs.sort_unstable();
        seqs.dedup();
        self.announce(ctx, &req.user_id, &conversation, seqs, to)
            .await?;
        self.raise_read_seq(&req.user_id, &conversation, to).await
    }

    pub(crate) async fn set_has_read_seq(
        &self,
        ctx: &Context,
        req: SetConversationHasReadSeqReq,
    ) -> Result<()> {
        ctx.require_self(&req.user_id)?;
        if req.has_read_seq < 1 {
            return Err(Error::args("hasReadSeq is below 1"));
        }
        let (conversation, view) = self
            .view_up_to(ctx, &req.user_id, &req.conversation_id, req.has_read_seq)
            .await?;
        if req.has_read_seq > view.head.max_seq {
            return Err(Error::args("hasReadSeq is above the newest message"));
        }
        if req.has_read_seq <= view.seqs.read_seq {
            return Ok(());
        }
        let tips = tips(&req.user_id, &conversation, Vec::new(), req.has_read_seq);
        let to_self = Notification::to_user(
            content_type::HAS_READ_RECEIPT,
            &req.user_id,
            &req.user_id,
            &tips,
        )?;
        notification::send(&self.deps, ctx, empty_as_list(to_self)).await?;
        self.raise_read_seq(&req.user_id, &conversation, req.has_read_seq)
            .await
    }

    async fn raise_read_seq(
        &self,
        user: &str,
        conversation: &ConversationId,
        seq: i64,
    ) -> Result<()> {
        let mut row = crate::access::empty_user_seq(user, conversation.as_str());
        row.read_seq = seq;
        row.marked_seq = seq;
        Ok(self.deps.store.apply(vec![raise(row)]).await?)
    }

    async fn announce(
        &self,
        ctx: &Context,
        user: &str,
        conversation: &ConversationId,
        seqs: Vec<i64>,
        has_read_seq: i64,
    ) -> Result<()> {
        let peer = self.peer(user, conversation).await?;
        let tips = tips(
            user,
            conversation,
            if peer.is_some() { seqs } else { Vec::new() },
            has_read_seq,
        );
        let notification = match peer {
            Some(peer) => {
                Notification::to_user(content_type::HAS_READ_RECEIPT, user, &peer, &tips)?
                    .reliable()
            }
            None => Notification::to_user(content_type::HAS_READ_RECEIPT, user, user, &tips)?,
        };
        notification::send(&self.deps, ctx, empty_as_list(notification)).await
    }

    /// The other user of a single chat; `None` for every other conversation and for a chat with oneself.
    pub(crate) async fn peer(
        &self,
        user: &str,
        conversation: &ConversationId,
    ) -> Result<Option<String>> {
        if !conversation.as_str().starts_with("si_") {
            return Ok(None);
        }
        let p = self
            .cache
            .participants(&self.deps, conversation.stem())
            .await?;
        Ok(p.map(|p| {
            if p.first == user {
                p.second.clone()
            } else {
                p.first.clone()
            }
        })
        .filter(|peer| peer != user))
    }
}

/// `seqs` of a 2200 is `[]` when empty: TypeScript clients read it as a list unchecked (gateway.md 13.3).
fn empty_as_list(mut notification: Notification) -> Notification {
    notification.tips = notification
        .tips
        .replacen(r#""seqs":null"#, r#""seqs":[]"#, 1);
    notification
}

fn tips(
    user: &str,
    conversation: &ConversationId,
    seqs: Vec<i64>,
    has_read_seq: i64,
) -> MarkAsReadTips {
    MarkAsReadTips {
        mark_as_read_user_id: user.to_owned(),
        conversation_id: conversation.to_string(),
        seqs,
        has_read_seq,
    }
}

fn listed(seqs: Vec<i64>) -> Result<Vec<i64>> {
    if seqs.iter().any(|s| *s < 1) {
        return Err(Error::args("seqs has a number below 1"));
    }
    if i64::try_from(seqs.len()).unwrap_or(i64::MAX) > MAX_RECEIPT_SEQS {
        return Err(Error::args(format!("at most {MAX_RECEIPT_SEQS} seqs")));
    }
    Ok(seqs)
}

fn newly_read(view: &View, to: i64) -> Vec<i64> {
    let from = (view.seqs.read_seq + 1)
        .max(view.window().low)
        .max(to - MAX_RECEIPT_SEQS + 1);
    (from..=to).collect()
}

/// Raises read, marked and minimum position of a user.
pub(crate) fn raise(row: UserSeq) -> Follow {
    Follow::Max {
        schema: UserSeq::SCHEMA,
        row: magpie_store::Document::into_row(row),
        fields: USER_SEQ_RAISED,
    }
}

const USER_SEQ_RAISED: &[usize] = &[UserSeq::read_seq, UserSeq::min_seq, UserSeq::marked_seq];
