//! `magpie.msg.Memberships`: changes of a group's membership on their way into the log, asked by the group service.

use std::sync::Arc;

use magpie_proto::magpie::msg::{AnnounceReq, AnnounceResp, memberships_server::Memberships};
use magpie_service::rpc::{Answer, answer, open};
use magpie_types::Error;
use tonic::Request;

use crate::Service;

/// The service behind its generated trait.
pub(crate) struct Announcer(pub(crate) Arc<Service>);

#[tonic::async_trait]
impl Memberships for Announcer {
    async fn announce(&self, request: Request<AnnounceReq>) -> Answer<AnnounceResp> {
        answer(async {
            let (ctx, req) = open(request)?;
            let (Some(msg), Some(membership)) = (req.notification, req.membership) else {
                return Err(Error::args("notification and membership are needed"));
            };
            self.0.announce_membership(&ctx, msg, membership).await?;
            Ok(AnnounceResp {})
        })
        .await
    }
}
