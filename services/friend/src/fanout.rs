//! A changed name or portrait on its way to everybody who has the user as friend: a version entry and 1209 each.
//!
//! There may be thousands, so a job walks them in pages and stores how far it is. Another change starts the walk anew: the job
//! of the older one then fails to store its place and ends.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use magpie_proto::openim::sdkws::UserInfoUpdatedTips;
use magpie_service::{
    Context,
    notification::{self, Notification},
    pending,
};
use magpie_store::{
    Documents as _,
    documents::{Friend, ProfileFanout},
    key,
    store::Page,
    versions::{self, List, State},
};
use magpie_types::{Result, msg::content_type};

use crate::Relations;

const WALK: u8 = 1;

impl Relations {
    /// Starts the walk; it goes on when this returns.
    pub(crate) async fn profile_changed(self: &Arc<Self>, ctx: &Context, user: &str) -> Result<()> {
        let operator = match ctx.user_id() {
            "" => user,
            caller => caller,
        };
        let written = pending::change(self.deps.store.as_ref(), key![user], |found| {
            let fanout = found.unwrap_or_else(|| ProfileFanout {
                user_id: user.to_owned(),
                operator_id: String::new(),
                after: String::new(),
                pending: Bytes::new(),
                rev: 0,
            });
            let fanout = ProfileFanout {
                operator_id: operator.to_owned(),
                after: String::new(),
                ..fanout
            };
            Ok(Some((fanout, WALK)))
        })
        .await?;
        if let Some(fanout) = written {
            let (service, ctx) = (Arc::clone(self), ctx.clone());
            self.deps.tasks.spawn(async move {
                if let Err(e) = service.walk(&ctx, fanout).await {
                    tracing::warn!(error = e.report(), "friends can't be told of a profile yet");
                }
            });
        }
        Ok(())
    }

    /// Tells everybody from the stored place on. At a shutdown it stops after a page, and the worker goes on.
    pub(crate) async fn walk(&self, ctx: &Context, mut fanout: ProfileFanout) -> Result<()> {
        let store = self.deps.store.as_ref();
        let limit = self.config.fanout_page.max(1);
        loop {
            let mut page = Page::of("by_friend", key![fanout.user_id.as_str()], limit);
            page.after = (!fanout.after.is_empty()).then(|| key![fanout.after.as_str()]);
            let friends: Vec<Friend> = store.list(page).await?;
            let (last, read) = (friends.last().map(|f| f.owner_id.clone()), friends.len());
            let owners = friends.into_iter().filter(Friend::is_present);
            let told: Vec<_> = owners
                .map(|friend| self.tell_owner(ctx, &fanout, friend.owner_id))
                .collect();
            stream::iter(told)
                .buffer_unordered(self.config.concurrency.max(1))
                .try_collect::<()>()
                .await?;
            let (Some(last), true) = (last, read >= limit) else {
                return pending::finish(store, fanout).await;
            };
            fanout.after = last;
            match pending::claim(store, fanout).await? {
                Some(stored) if !self.deps.shutdown.is_cancelled() => fanout = stored,
                _ => return Ok(()),
            }
        }
    }

    async fn tell_owner(&self, ctx: &Context, fanout: &ProfileFanout, owner: String) -> Result<()> {
        let user = fanout.user_id.as_str();
        let changes = [(user, State::Update)];
        versions::record(self.deps.store.as_ref(), &owner, List::Friends, &changes).await?;
        let kind = content_type::FRIEND_INFO_UPDATED;
        let tips = UserInfoUpdatedTips {
            user_id: user.to_owned(),
        };
        let id = pending::message_id(&fanout.pending, &owner, kind);
        let change = Notification::to_user(kind, &fanout.operator_id, &owner, &tips)?;
        notification::send(&self.deps, ctx, change.client_msg_id(id)).await
    }
}
