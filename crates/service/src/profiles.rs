//! Profiles of other users, asked from the user service.

use std::collections::HashMap;

use magpie_discovery::name;
use magpie_proto::{
    openim::{
        sdkws::UserInfo,
        user::{GetDesignateUsersReq, user_client::UserClient},
    },
    status::from_status,
};
use magpie_types::Result;

use crate::{Context, Deps};

/// Users per call.
const CHUNK: usize = 1000;

/// The profiles of those of these users who exist, by id.
pub async fn profiles(
    deps: &Deps,
    ctx: &Context,
    mut user_ids: Vec<String>,
) -> Result<HashMap<String, UserInfo>> {
    user_ids.sort_unstable();
    user_ids.dedup();
    let mut found = HashMap::with_capacity(user_ids.len());
    let mut client = UserClient::new(deps.channel(name::USER));
    for ids in user_ids.chunks(CHUNK) {
        let request = ctx.as_internal().request(GetDesignateUsersReq {
            user_i_ds: ids.to_vec(),
        });
        let users = client
            .get_designate_users(request)
            .await
            .map_err(from_status)?
            .into_inner()
            .users_info;
        found.extend(users.into_iter().map(|user| (user.user_id.clone(), user)));
    }
    Ok(found)
}
