//! The call that sends a message, made the same by everybody who makes it.

use bytes::Bytes;
use magpie_discovery::{Idempotent, RouteKey};
use magpie_proto::openim::{msg::SendMsgReq, sdkws::MsgData};
use magpie_types::{ConversationId, Error, Result, SessionType, ids};
use prost::Message as _;
use tonic::Request;

use crate::{Context, rpc::at_most};

/// Bytes before the message in a frame of gRPC: compressed or not, length.
const GRPC_HEAD: usize = 5;

/// `SendMsg` with this message, under this context: it goes to the instance of msg that has the conversation in its caches, and may be
/// repeated, because it has a clientMsgID from here on.
pub fn request(context: &Context, mut msg: MsgData) -> Request<SendMsgReq> {
    if msg.client_msg_id.is_empty() {
        msg.client_msg_id = ids::random_client_msg_id();
    }
    let key = Bytes::copy_from_slice(stem(&msg).as_bytes());
    let mut request = context.request(SendMsgReq {
        msg_data: Some(msg),
    });
    request.extensions_mut().insert(RouteKey(key));
    request.extensions_mut().insert(Idempotent);
    request
}

/// Most users that a message mentions; SDKs send at most 10.
const MAX_MENTIONS: usize = 1000;
/// Most options of a message; a dozen have a meaning.
const MAX_OPTIONS: usize = 100;

/// 1001 for lists that take much more memory than they took on the wire.
pub fn check_lists(msg: &MsgData) -> Result<()> {
    at_most("atUserIDList", &msg.at_user_id_list, MAX_MENTIONS)?;
    if msg.options.len() > MAX_OPTIONS {
        return Err(Error::args(format!(
            "options has more than {MAX_OPTIONS} elements"
        )));
    }
    Ok(())
}

/// Where a `SendMsg` goes that is on its way as bytes, in gRPC's frame; `None` if they are something else.
pub(crate) fn route(frame: &Bytes) -> Option<RouteKey> {
    let request = SendMsgReq::decode(frame.get(GRPC_HEAD..).map(|m| frame.slice_ref(m))?).ok()?;
    let stem = stem(&request.msg_data?);
    Some(RouteKey(Bytes::copy_from_slice(stem.as_bytes())))
}

/// The stem of the conversation that the message says it belongs to. What is wrong with it is for the msg service to say.
pub fn stem(msg: &MsgData) -> Box<str> {
    match SessionType::from_number(msg.session_type) {
        Some(SessionType::Group) => msg.group_id.as_str().into(),
        Some(SessionType::Single | SessionType::Notification) => {
            ConversationId::single(&msg.send_id, &msg.recv_id)
                .stem()
                .into()
        }
        None => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msg(session_type: i32) -> MsgData {
        MsgData {
            send_id: "b".to_owned(),
            recv_id: "a_c".to_owned(),
            group_id: "g".to_owned(),
            session_type,
            ..MsgData::default()
        }
    }

    #[test]
    fn a_send_has_the_stem_of_its_conversation() {
        assert_eq!(&*stem(&msg(1)), "a_c_b");
        assert_eq!(&*stem(&msg(3)), "g");
        assert_eq!(&*stem(&msg(4)), "a_c_b");
        assert_eq!(&*stem(&msg(9)), "");
    }

    #[test]
    fn bytes_of_a_send_go_where_the_send_goes() {
        let request = SendMsgReq {
            msg_data: Some(msg(1)),
        };
        let mut frame = vec![0; GRPC_HEAD];
        frame.extend(request.encode_to_vec());
        let route = route(&Bytes::from(frame)).expect("a key");
        assert_eq!(&*route.0, b"a_c_b");
        assert!(super::route(&Bytes::from_static(b"\0\0")).is_none());
    }

    #[test]
    fn what_may_be_repeated_has_an_id() {
        let request = request(&Context::internal("o"), msg(1));
        assert!(request.extensions().get::<Idempotent>().is_some());
        let sent = request.into_inner().msg_data.expect("the message");
        assert!(!sent.client_msg_id.is_empty());
    }
}
