//! What devices tell about themselves: where offline pushes go, and the badge number they show.

use magpie_service::Deps;
use magpie_store::{
    Change, Documents as _, Outcome,
    documents::{AppBadge, PushToken},
    key,
    store::StoreError,
};
use magpie_types::{Result, time::now_ms};

use crate::Config;

/// Tries of one write loop.
const MAX_TRIES: usize = 100;

/// The devices of all users.
pub(crate) struct Devices {
    deps: Deps,
    pub(crate) config: Config,
}

impl Devices {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        Self { deps, config }
    }

    /// Stores the token of one user's platform, in place of an older one. It ends after `seconds`, or never if that is not
    /// positive.
    pub(crate) async fn set_push_token(
        &self,
        user_id: &str,
        platform_id: i32,
        token: &str,
        seconds: i64,
    ) -> Result<()> {
        let expire_time = if seconds > 0 {
            now_ms().saturating_add(seconds.saturating_mul(1000))
        } else {
            0
        };
        for _ in 0..MAX_TRIES {
            let found = self
                .deps
                .store
                .find::<PushToken>(key![user_id, platform_id])
                .await?;
            let wanted = PushToken {
                user_id: user_id.to_owned(),
                platform_id,
                token: token.to_owned(),
                expire_time,
                rev: found.as_ref().map_or(1, |f| f.rev + 1),
            };
            let written = match found {
                Some(found) => self.deps.store.replace(wanted, found.rev).await?,
                None => self.deps.store.add(wanted).await? == Outcome::Inserted,
            };
            if written {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("too many writers of one push token".to_owned()).into())
    }

    /// Stores the badge number a user's devices show.
    pub(crate) async fn set_badge(&self, user_id: &str, unread: i32) -> Result<()> {
        if self
            .deps
            .store
            .add(AppBadge {
                user_id: user_id.to_owned(),
                unread,
            })
            .await?
            == Outcome::Inserted
        {
            return Ok(());
        }
        let change = vec![Change::Set(AppBadge::unread, unread.into())];
        self.deps
            .store
            .change::<AppBadge>(key![user_id], change)
            .await?;
        Ok(())
    }
}
