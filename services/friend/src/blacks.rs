//! Black lists.

use magpie_proto::openim::sdkws::{BlackAddedTips, BlackDeletedTips, BlackInfo, PublicUserInfo};
use magpie_service::{
    Context, lists,
    notification::{self, Notification},
    profiles::profiles,
};
use magpie_store::{Documents as _, documents::Black, key};
use magpie_types::{Error, Result, time::now_ms};

use crate::{BLACK_ADDED, BLACK_DELETED, Relations, records::from_to};

/// Unit of the times in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    Seconds,
    Milliseconds,
}

impl Relations {
    /// Blocks a user; blocking him again changes nothing.
    pub(crate) async fn block(
        &self,
        ctx: &Context,
        owner: &str,
        blocked: &str,
        ex: String,
    ) -> Result<()> {
        if owner == blocked {
            return Err(Error::args("nobody can block himself"));
        }
        if profiles(&self.deps, ctx, vec![owner.to_owned(), blocked.to_owned()])
            .await?
            .len()
            != 2
        {
            return Err(Error::not_found("user not found"));
        }
        self.deps
            .store
            .add(Black {
                owner_id: owner.to_owned(),
                blocked_id: blocked.to_owned(),
                create_time: now_ms(),
                add_source: 0,
                operator_id: ctx.user_id().to_owned(),
                ex,
                rev: 1,
            })
            .await?;
        let tips = BlackAddedTips {
            from_to_user_id: from_to(owner, blocked),
        };
        self.tell(
            ctx,
            Notification::to_user(BLACK_ADDED, owner, blocked, &tips)?,
        )
        .await;
        Ok(())
    }

    /// Unblocks a user; one who is not blocked is no error.
    pub(crate) async fn unblock(&self, ctx: &Context, owner: &str, blocked: &str) -> Result<()> {
        self.deps
            .store
            .remove::<Black>(vec![key![owner, blocked]])
            .await?;
        let tips = BlackDeletedTips {
            from_to_user_id: from_to(owner, blocked),
        };
        self.tell(
            ctx,
            Notification::to_user(BLACK_DELETED, owner, blocked, &tips)?,
        )
        .await;
        Ok(())
    }

    /// The owner's other devices learn of it now or, at the latest, at their next login, which reads the whole list.
    async fn tell(&self, ctx: &Context, change: Notification) {
        if let Err(e) = notification::send(&self.deps, ctx, change).await {
            tracing::warn!(
                error = e.report(),
                "a change of a black list could not be announced"
            );
        }
    }

    /// Whether `owner` has blocked `user`.
    pub(crate) async fn has_blocked(&self, owner: &str, user: &str) -> Result<bool> {
        Ok(self
            .deps
            .store
            .find::<Black>(key![owner, user])
            .await?
            .is_some())
    }

    /// The whole list: since when, then id.
    pub(crate) async fn blacks(&self, owner: &str) -> Result<Vec<Black>> {
        let mut blacks: Vec<Black> =
            lists::all(self.deps.store.as_ref(), "key", key![owner]).await?;
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
            .collect())
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
