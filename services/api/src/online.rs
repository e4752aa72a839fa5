//! Who is connected, and with which token: asked from every gateway, answered as arrays (rest-api.md 4.2).

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use magpie_proto::openim::msggateway::{
    GetUsersOnlineStatusReq, SingleDetail, SinglePlatformToken,
    get_users_online_status_resp::SuccessResult, msg_gateway_client::MsgGatewayClient,
};
use magpie_service::{Context, gateways, rpc::at_most};
use magpie_types::Result;
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;

use crate::{
    answer::{Answer, data},
    call::{Call, MAX_MESSAGE},
    routes::Shape,
};

/// How long one gateway may take; a user who is connected to a slower one counts as offline.
const GATEWAY_TIMEOUT: Duration = Duration::from_secs(5);

/// Users of one call; a gateway takes as many.
const MAX_USERS: usize = 10_000;

/// What both routes take, and what each gives.
pub(crate) const TAKES: Shape = Shape::Own(|| schema_for!(Body));
pub(crate) const GIVES: Shape =
    Shape::List("openim.msggateway.GetUsersOnlineStatusResp.SuccessResult");
pub(crate) const GIVES_TOKENS: Shape = Shape::List("openim.msggateway.SingleDetail");

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
struct Body {
    #[serde(rename = "userIDs")]
    user_ids: Option<Vec<String>>,
}

/// `/user/get_users_online_status`: one entry per user asked for, in order.
pub(crate) async fn status(call: Call) -> Answer {
    let body: Body = call.bind()?;
    let context = call.context()?;
    context.require_admin()?;
    let users = body.user_ids.unwrap_or_default();
    let found = connections(&call, context, &users).await?;
    let entry = |user_id: String| match found.get(&user_id) {
        Some(user) => user.clone(),
        None => SuccessResult {
            user_id,
            ..SuccessResult::default()
        },
    };
    let entries: Vec<_> = users.into_iter().map(entry).collect();
    data(&Some(entries).filter(|e| !e.is_empty()))
}

/// `/user/get_users_online_token_detail`: only the users who are online; nothing for who is no administrator.
pub(crate) async fn tokens(call: Call) -> Answer {
    let body: Body = call.bind()?;
    let context = call.context()?;
    let users = if context.is_admin() {
        body.user_ids.unwrap_or_default()
    } else {
        Vec::new()
    };
    let mut found = connections(&call, context, &users).await?;
    let online: Vec<SingleDetail> = users
        .into_iter()
        .filter_map(|id| found.remove(&id))
        .map(detail)
        .collect();
    data(&Some(online).filter(|o| !o.is_empty()))
}

fn detail(user: SuccessResult) -> SingleDetail {
    let mut platforms: Vec<SinglePlatformToken> = Vec::new();
    for connection in user.detail_platform_status {
        let known = platforms
            .iter_mut()
            .find(|p| p.platform_id == connection.platform_id);
        match known {
            Some(platform) => {
                platform.total += 1;
                platform.token.push(connection.token);
            }
            None => platforms.push(SinglePlatformToken {
                platform_id: connection.platform_id,
                total: 1,
                token: vec![connection.token],
            }),
        }
    }
    SingleDetail {
        user_id: user.user_id,
        status: 1,
        single_platform_token: platforms,
    }
}

/// Connections of those users who are online, over all gateways.
async fn connections(
    call: &Call,
    context: &Context,
    users: &[String],
) -> Result<HashMap<String, SuccessResult>> {
    let mut found: HashMap<String, SuccessResult> = HashMap::new();
    at_most("userIDs", users, MAX_USERS)?;
    let users: HashSet<&String> = users.iter().collect();
    if users.is_empty() {
        return Ok(found);
    }
    let users: Vec<String> = users.into_iter().cloned().collect();
    let answers = gateways::ask(
        &call.deps,
        GATEWAY_TIMEOUT,
        |_| true,
        |channel| {
            let request = context.as_internal().request(GetUsersOnlineStatusReq {
                user_i_ds: users.clone(),
            });
            async move {
                MsgGatewayClient::new(channel)
                    .max_decoding_message_size(MAX_MESSAGE)
                    .get_users_online_status(request)
                    .await
            }
        },
    );
    for user in answers
        .await
        .into_iter()
        .flat_map(|answer| answer.success_result)
    {
        if user.detail_platform_status.is_empty() {
            continue;
        }
        let known = found
            .entry(user.user_id.clone())
            .or_insert_with(|| SuccessResult {
                user_id: user.user_id,
                status: 1,
                detail_platform_status: Vec::new(),
            });
        known
            .detail_platform_status
            .extend(user.detail_platform_status);
    }
    Ok(found)
}
