//! The overview of conversations, with the real message and user services.

use magpie_discovery::{Channel, name};
use magpie_proto::openim::{
    conversation::{conversation_client::ConversationClient, *},
    msg::{GetConversationMaxSeqReq, SendMsgReq, msg_client::MsgClient},
    protobuf::BoolValue,
    sdkws::{MsgData, RequestPagination},
};
use magpie_testkit::{Engines, admin, code, register, until, user};

use super::{set, with_u2};

async fn start() -> (Engines, ConversationClient<Channel>) {
    let engines = Engines::new().await;
    let (deps, registry) = (&engines.deps, &engines.registry);
    registry.serve(name::USER, magpie_user::routes(deps, Default::default()));
    registry.serve(name::MSG, magpie_msg::routes(deps, Default::default()));
    registry.serve(
        name::CONVERSATION,
        magpie_conversation::routes(deps, Default::default()),
    );
    magpie_transfer::start(deps, Default::default());
    register(deps, &["u1", "u2", "u3"]).await;
    let client = ConversationClient::new(deps.channel(name::CONVERSATION));
    (engines, client)
}

/// Sends a text and waits until it is stored.
async fn send(engines: &Engines, from: &str, to: &str, (chat, seq): (&str, i64)) {
    let mut client = MsgClient::new(engines.deps.channel(name::MSG));
    let msg = MsgData {
        send_id: from.to_owned(),
        recv_id: to.to_owned(),
        session_type: 1,
        msg_from: 100,
        content_type: 101,
        content: format!("from {from}").into_bytes().into(),
        ..MsgData::default()
    };
    let req = SendMsgReq {
        msg_data: Some(msg),
    };
    client.send_msg(user(from).request(req)).await.unwrap();
    until("the message is stored", async || {
        let req = GetConversationMaxSeqReq {
            conversation_id: chat.to_owned(),
        };
        let answer = client.get_conversation_max_seq(admin().request(req)).await;
        (answer.unwrap().into_inner().max_seq >= seq).then_some(())
    })
    .await;
}

fn asking(owner: &str, ids: &[&str]) -> GetSortedConversationListReq {
    GetSortedConversationListReq {
        user_id: owner.to_owned(),
        conversation_i_ds: ids.iter().map(|&id| id.to_owned()).collect(),
        pagination: Some(RequestPagination {
            page_number: 1,
            show_number: 10,
        }),
    }
}

#[tokio::test]
async fn pinned_first_then_the_newest_message() {
    let (engines, client) = start().await;
    let ask = async |req: GetSortedConversationListReq| {
        let answer = client
            .clone()
            .get_sorted_conversation_list(user("u1").request(req))
            .await;
        answer.unwrap().into_inner()
    };
    send(&engines, "u2", "u1", ("si_u1_u2", 1)).await;
    send(&engines, "u2", "u1", ("si_u1_u2", 2)).await;
    send(&engines, "u1", "u3", ("si_u1_u3", 1)).await;
    let list = ask(asking("u1", &[])).await;
    assert_eq!((list.conversation_total, list.unread_total), (2, 2));
    let ids = |list: &GetSortedConversationListResp| {
        let ids = list.conversation_elems.iter();
        ids.map(|e| e.conversation_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&list), ["si_u1_u3", "si_u1_u2"]);
    let chat = &list.conversation_elems[1];
    let last = chat.msg_info.clone().unwrap();
    assert_eq!(chat.unread_count, 2);
    assert_eq!((&*last.sender_name, &*last.content), ("n-u2", "from u2"));
    let pin = ConversationReq {
        is_pinned: Some(BoolValue { value: true }),
        ..with_u2()
    };
    set(&client, &user("u1"), &["u1"], pin).await;
    let list = ask(asking("u1", &[])).await;
    assert_eq!(ids(&list), ["si_u1_u2", "si_u1_u3"]);
    let list = ask(asking("u1", &["si_u1_u3", "si_u2_u3"])).await;
    assert_eq!(
        (ids(&list), list.unread_total),
        (vec!["si_u1_u3".to_owned()], 0)
    );
    let young = DeleteConversationsReq {
        owner_user_id: "u1".to_owned(),
        need_delete_time: 1,
        conversation_i_ds: Vec::new(),
    };
    client
        .clone()
        .delete_conversations(user("u1").request(young))
        .await
        .unwrap();
    assert_eq!(ask(asking("u1", &[])).await.conversation_total, 2);
}

#[tokio::test]
async fn refuses_others_and_nothing() {
    let (_engines, client) = start().await;
    let without = GetSortedConversationListReq {
        pagination: None,
        ..asking("u1", &[])
    };
    for (req, expected) in [
        (asking("u1", &[]), 1004),
        (asking("u2", &[]), 1002),
        (asking("", &[]), 1001),
        (without, 1001),
    ] {
        let answer = client
            .clone()
            .get_sorted_conversation_list(user("u1").request(req))
            .await;
        assert_eq!(code(answer), expected);
    }
}
