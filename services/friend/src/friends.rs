//! Reading friend lists.

use magpie_proto::openim::{
    relation::FriendInfoOnly,
    sdkws::{FriendInfo, RequestPagination, UserInfo},
};
use magpie_service::{
    Context,
    lists::{self, FullIds, Incremental},
    profiles::profiles,
};
use magpie_store::{
    Documents as _,
    documents::Friend,
    key,
    versions::{self, List},
};
use magpie_types::Result;

use crate::Relations;

impl Relations {
    /// All friends of a user: pinned first, then since when, then id.
    pub(crate) async fn friends(&self, owner: &str) -> Result<Vec<Friend>> {
        let mut friends: Vec<Friend> =
            lists::all(self.deps.store.as_ref(), "key", key![owner]).await?;
        friends.retain(Friend::is_present);
        friends.sort_by(|a, b| {
            (!a.is_pinned, a.create_time, &a.friend_id).cmp(&(
                !b.is_pinned,
                b.create_time,
                &b.friend_id,
            ))
        });
        Ok(friends)
    }

    /// A page of them, and how many there are.
    pub(crate) async fn page(
        &self,
        owner: &str,
        pagination: RequestPagination,
    ) -> Result<(usize, Vec<Friend>)> {
        let (store, max) = (self.deps.store.as_ref(), self.config.max_page);
        let all = self.friends(owner);
        self.walks.page(store, owner, pagination, max, all).await
    }

    /// Ids of all friends.
    pub(crate) async fn friend_ids(&self, owner: &str) -> Result<Vec<String>> {
        Ok(self
            .friends(owner)
            .await?
            .into_iter()
            .map(|f| f.friend_id)
            .collect())
    }

    /// Those of these users who are friends, in the order asked for.
    pub(crate) async fn friends_among(
        &self,
        owner: &str,
        user_ids: &[String],
    ) -> Result<Vec<Friend>> {
        let keys = user_ids.iter().map(|id| key![owner, id.as_str()]).collect();
        Ok(self
            .deps
            .store
            .find_many(keys)
            .await?
            .into_iter()
            .flatten()
            .filter(Friend::is_present)
            .collect())
    }

    /// Whether `user` is in the list of `owner`.
    pub(crate) async fn has_friend(&self, owner: &str, user: &str) -> Result<bool> {
        let found = self.friend_record(owner, user).await?;
        Ok(found.is_some_and(|f| f.is_present()))
    }

    /// All ids with the version they have at least.
    pub(crate) async fn full_ids(&self, owner: &str, hash: u64) -> Result<FullIds> {
        let version = versions::current(self.deps.store.as_ref(), owner, List::Friends).await?;
        FullIds::new(version, self.friend_ids(owner).await?, hash)
    }

    /// What changed since a version.
    pub(crate) async fn incremental(
        &self,
        owner: &str,
        known: (&str, u64),
    ) -> Result<Incremental<Friend>> {
        lists::incremental(
            self.deps.store.as_ref(),
            (owner, List::Friends),
            known,
            |id| key![owner, id],
            Friend::is_present,
        )
        .await
    }

    /// Friends as clients see them: with the public part of their profiles, times in seconds.
    pub(crate) async fn shown(
        &self,
        ctx: &Context,
        friends: Vec<Friend>,
    ) -> Result<Vec<FriendInfo>> {
        if friends.is_empty() {
            return Ok(Vec::new());
        }
        let mut users = profiles(
            &self.deps,
            ctx,
            friends.iter().map(|f| f.friend_id.clone()).collect(),
        )
        .await?;
        let shown = friends.into_iter().map(|friend| {
            let user = users.remove(&friend.friend_id).unwrap_or_default();
            FriendInfo {
                owner_user_id: friend.owner_id,
                remark: friend.remark,
                create_time: friend.create_time / 1000,
                friend_user: Some(UserInfo {
                    user_id: friend.friend_id,
                    nickname: user.nickname,
                    face_url: user.face_url,
                    ex: user.ex,
                    ..UserInfo::default()
                }),
                add_source: friend.add_source,
                operator_user_id: friend.operator_id,
                ex: friend.ex,
                is_pinned: friend.is_pinned,
            }
        });
        Ok(shown.collect())
    }
}

/// A friend without profile, time in milliseconds.
pub(crate) fn only(friend: Friend) -> FriendInfoOnly {
    FriendInfoOnly {
        owner_user_id: friend.owner_id,
        friend_user_id: friend.friend_id,
        remark: friend.remark,
        create_time: friend.create_time,
        add_source: friend.add_source,
        operator_user_id: friend.operator_id,
        ex: friend.ex,
        is_pinned: friend.is_pinned,
    }
}
