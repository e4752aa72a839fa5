//! What an owner has with given users, in one answer: their profile, his friend record, his black-list entry.

use std::collections::HashMap;

use magpie_proto::openim::{
    relation::GetSpecifiedFriendsInfoInfo,
    sdkws::{BlackInfo, FriendInfo},
};
use magpie_service::{Context, profiles::profiles};
use magpie_types::Result;

use crate::Relations;

impl Relations {
    /// In the order asked for; unknown users are left out. Times are in milliseconds here.
    pub(crate) async fn specified(
        &self,
        ctx: &Context,
        owner: &str,
        user_ids: Vec<String>,
    ) -> Result<Vec<GetSpecifiedFriendsInfoInfo>> {
        let mut users = profiles(&self.deps, ctx, user_ids.clone()).await?;
        let friends = self.friends_among(owner, &user_ids).await?;
        let mut friends: HashMap<_, _> = friends
            .into_iter()
            .map(|friend| {
                let info = FriendInfo {
                    owner_user_id: friend.owner_id,
                    remark: friend.remark,
                    create_time: friend.create_time,
                    friend_user: None,
                    add_source: friend.add_source,
                    operator_user_id: friend.operator_id,
                    ex: friend.ex,
                    is_pinned: friend.is_pinned,
                };
                (friend.friend_id, info)
            })
            .collect();
        let blacks = self.blacks_among(owner, &user_ids).await?;
        let mut blacks: HashMap<_, _> = blacks
            .into_iter()
            .map(|black| {
                let info = BlackInfo {
                    owner_user_id: black.owner_id,
                    create_time: black.create_time,
                    black_user_info: None,
                    add_source: black.add_source,
                    operator_user_id: black.operator_id,
                    ex: black.ex,
                };
                (black.blocked_id, info)
            })
            .collect();
        let infos = user_ids.into_iter().filter_map(|id| {
            Some(GetSpecifiedFriendsInfoInfo {
                user_info: Some(users.remove(&id)?),
                friend_info: friends.remove(&id),
                black_info: blacks.remove(&id),
            })
        });
        Ok(infos.collect())
    }
}
