//! Black lists.

use std::sync::Arc;

use bytes::Bytes;
use magpie_proto::openim::sdkws::{BlackAddedTips, BlackDeletedTips, BlackInfo, PublicUserInfo};
use magpie_service::{
    Context,
    lists::{self, Incremental},
    notification::{self, Notification},
    pending,
    profiles::profiles,
};
use magpie_store::{
    Documents as _,
    documents::Black,
    key,
    versions::{self, List, State},
};
use magpie_types::{Error, Result, msg::content_type, time::now_ms};

use crate::{Relations, records::from_to};

/// Mark of an intent: the entry came or went.
const CHANGED: u8 = 1;

/// Unit of the times in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    Seconds,
    Milliseconds,
}

impl Relations {
    /// Blocks a user; blocking him again changes nothing.
    pub(crate) async fn block(
        self: &Arc<Self>,
        ctx: &Context,
        (owner, blocked): (&str, &str),
        ex: &str,
    ) -> Result<()> {
        if owner == blocked {
            return Err(Error::args("nobody can block himself"));
        }
        self.require_users(ctx, [owner, blocked]).await?;
        let now = now_ms();
        let written = pending::change(self.deps.store.as_ref(), key![owner, blocked], |found| {
            let new = Black {
                owner_id: owner.to_owned(),
                blocked_id: blocked.to_owned(),
                create_time: now,
                add_source: 0,
                operator_id: ctx.user_id().to_owned(),
                ex: ex.to_owned(),
                rev: 0,
                pending: Bytes::new(),
                deleted_at: 0,
            };
            let is_blocked = found.is_some_and(|black: Black| black.is_present());
            Ok((!is_blocked).then_some((new, CHANGED)))
        })
        .await?;
        self.follow_black(ctx, written).await;
        Ok(())
    }

    /// Unblocks a user; one who is not blocked is no error.
    pub(crate) async fn unblock(
        self: &Arc<Self>,
        ctx: &Context,
        owner: &str,
        blocked: &str,
    ) -> Result<()> {
        let now = now_ms();
        let written = pending::change(self.deps.store.as_ref(), key![owner, blocked], |found| {
            let black = found.filter(Black::is_present).map(|black| Black {
                deleted_at: now,
                ..black
            });
            Ok(black.map(|black| (black, CHANGED)))
        })
        .await?;
        self.follow_black(ctx, written).await;
        Ok(())
    }

    async fn follow_black(self: &Arc<Self>, ctx: &Context, written: Option<Black>) {
        let (service, ctx) = (Arc::clone(self), ctx.clone());
        pending::follow_up(&self.deps, 1, written, move |black| {
            let (service, ctx) = (Arc::clone(&service), ctx.clone());
            async move { service.roll_black(&ctx, black).await }
        })
        .await;
    }

    /// Does what follows a change of an entry: the version, and 1207 or 1208 for what it is now. Only the owner is told
    /// (messages-and-sync.md 12.5): the other could read that he is blocked.
    pub(crate) async fn roll_black(&self, ctx: &Context, black: Black) -> Result<()> {
        let store = self.deps.store.as_ref();
        let (owner, blocked) = (&*black.owner_id, &*black.blocked_id);
        let state = if black.is_present() {
            State::Insert
        } else {
            State::Delete
        };
        versions::record(store, owner, List::Blacks, &[(blocked, state)]).await?;
        let from_to_user_id = from_to(owner, blocked);
        let change = if black.is_present() {
            let tips = BlackAddedTips { from_to_user_id };
            Notification::to_user(content_type::BLACK_ADDED, owner, owner, &tips)?
        } else {
            let tips = BlackDeletedTips { from_to_user_id };
            Notification::to_user(content_type::BLACK_DELETED, owner, owner, &tips)?
        };
        let id = pending::message_id(&black.pending, owner, change.content_type);
        notification::send(&self.deps, ctx, change.client_msg_id(id)).await?;
        pending::finish(store, black).await
    }

    /// Whether `owner` has blocked `user`.
    pub(crate) async fn has_blocked(&self, owner: &str, user: &str) -> Result<bool> {
        Ok(self
            .deps
            .store
            .find::<Black>(key![owner, user])
            .await?
            .is_some_and(|b| b.is_present()))
    }

    /// The whole list: since when, then id.
    pub(crate) async fn blacks(&self, owner: &str) -> Result<Vec<Black>> {
        let mut blacks: Vec<Black> =
            lists::all(self.deps.store.as_ref(), "key", key![owner]).await?;
        blacks.retain(Black::is_present);
        blacks.sort_by(|a, b| (a.create_time, &a.blocked_id).cmp(&(b.create_time, &b.blocked_id)));
        Ok(blacks)
    }

    /// The entries of these users, in the order asked for.
    pub(crate) async fn blacks_among(
        &self,
        owner: &str,
        user_ids: &[String],
    ) -> Result<Vec<Black>> {
        let keys = user_ids.iter().map(|id| key![owner, id.as_str()]).collect();
        Ok(self
            .deps
            .store
            .find_many(keys)
            .await?
            .into_iter()
            .flatten()
            .filter(Black::is_present)
            .collect())
    }

    /// What changed since a version.
    pub(crate) async fn incremental_blacks(
        &self,
        owner: &str,
        known: (&str, u64),
    ) -> Result<Incremental<Black>> {
        let list = (owner, List::Blacks);
        let store = self.deps.store.as_ref();
        lists::incremental(store, list, known, |id| key![owner, id], Black::is_present).await
    }

    /// Entries as clients see them.
    pub(crate) async fn blacks_shown(
        &self,
        ctx: &Context,
        blacks: Vec<Black>,
        times: Times,
    ) -> Result<Vec<BlackInfo>> {
        if blacks.is_empty() {
            return Ok(Vec::new());
        }
        let mut users = profiles(
            &self.deps,
            ctx,
            blacks.iter().map(|b| b.blocked_id.clone()).collect(),
        )
        .await?;
        let shown = blacks.into_iter().map(|black| {
            let user = users.remove(&black.blocked_id).unwrap_or_default();
            let divisor = if times == Times::Seconds { 1000 } else { 1 };
            BlackInfo {
                owner_user_id: black.owner_id,
                create_time: black.create_time / divisor,
                black_user_info: Some(PublicUserInfo {
                    user_id: black.blocked_id,
                    nickname: user.nickname,
                    face_url: user.face_url,
                    ex: user.ex,
                }),
                add_source: black.add_source,
                operator_user_id: black.operator_id,
                ex: black.ex,
            }
        });
        Ok(shown.collect())
    }
}
