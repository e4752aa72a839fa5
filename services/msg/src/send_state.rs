//! What became of an operation's sends (rest-api.md, `/msg/check_msg_is_send_success`): noted under its operation id for a day.

use magpie_proto::openim::msg::{GetSendMsgStatusReq, GetSendMsgStatusResp, SetSendMsgStatusReq};
use magpie_service::Context;
use magpie_store::{Document as _, Documents as _, Follow, documents::SendState, key};
use magpie_types::{Error, Result, msg::status, time::now_ms};

use crate::Service;

/// Longest id that is kept, bytes.
const MAX_OPERATION_ID: usize = 256;

impl Service {
    pub(crate) async fn set_send_state(
        &self,
        ctx: &Context,
        req: SetSendMsgStatusReq,
    ) -> Result<()> {
        ctx.require_admin()?;
        if !(status::SENDING..=status::FAILED).contains(&req.status) {
            return Err(Error::args("status is 1, 2 or 3"));
        }
        if ctx.operation_id.len() > MAX_OPERATION_ID {
            return Err(Error::args(format!(
                "an operationID above {MAX_OPERATION_ID} bytes is not kept"
            )));
        }
        let note = Follow::Newer {
            schema: SendState::SCHEMA,
            row: SendState {
                operation_id: ctx.operation_id.clone(),
                status: req.status,
                noted_at: now_ms(),
            }
            .into_row(),
            version: SendState::noted_at,
            fields: &[SendState::status],
        };
        Ok(self.deps.store.apply(vec![note]).await?)
    }

    /// 0 for an operation that is not known.
    pub(crate) async fn send_state(
        &self,
        ctx: &Context,
        _req: GetSendMsgStatusReq,
    ) -> Result<GetSendMsgStatusResp> {
        let id = ctx.operation_id.as_str();
        let found: Option<SendState> = self.deps.store.find(key![id]).await?;
        Ok(GetSendMsgStatusResp {
            status: found.map_or(0, |found| found.status),
        })
    }
}
