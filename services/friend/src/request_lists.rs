//! Reading applications for friendship. Order everywhere: the newest first.

use magpie_proto::openim::sdkws::RequestPagination;
use magpie_service::lists;
use magpie_store::{Document as _, documents::FriendRequest, key, store::Page};
use magpie_types::Result;

use crate::{Relations, requests::OPEN};

/// Whose applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Those that a user has made.
    From,
    /// Those that he has received.
    To,
}

impl Relations {
    /// A page of a user's applications in one of these states (none: all), and how many there are.
    pub(crate) async fn requests(
        &self,
        user: &str,
        side: Side,
        states: &[i32],
        pagination: RequestPagination,
    ) -> Result<(usize, Vec<FriendRequest>)> {
        let index = match side {
            Side::From => "by_from",
            Side::To => "by_to",
        };
        let mut found: Vec<FriendRequest> =
            lists::all(self.deps.store.as_ref(), index, key![user]).await?;
        found.retain(|r| states.is_empty() || states.contains(&r.handle_result));
        found.reverse();
        let total = found.len();
        Ok((total, lists::page(found, pagination, self.config.max_page)))
    }

    /// How many open applications a user has received after `since`; 0 counts all.
    pub(crate) async fn open_requests(&self, user: &str, since: i64) -> Result<u64> {
        let (store, prefix) = (self.deps.store.as_ref(), key![user, OPEN]);
        if since <= 0 {
            return Ok(store
                .count(FriendRequest::SCHEMA, "by_open", prefix)
                .await?);
        }
        let page = Page::of("by_open", prefix, self.config.max_page)
            .between(since.saturating_add(1), i64::MAX);
        let found = store.page(FriendRequest::SCHEMA, page).await?;
        Ok(u64::try_from(found.len()).unwrap_or(u64::MAX))
    }

    /// The applications between two users: of the first to the second, then the other way.
    pub(crate) async fn requests_between(&self, a: &str, b: &str) -> Result<Vec<FriendRequest>> {
        let found = [self.request(a, b).await?, self.request(b, a).await?];
        Ok(found.into_iter().flatten().collect())
    }
}
