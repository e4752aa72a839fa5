//! Mentions and announcements: whose records say so, and who is told.

use magpie_discovery::name;
use magpie_proto::openim::{
    group::SetGroupInfoExReq,
    msg::{SendMsgReq, msg_client::MsgClient},
    sdkws::MsgData,
};
use magpie_store::{Documents as _, Page, documents::Mention};
use magpie_testkit::{code, until, user};

use crate::world::{G, World, kinds, text};

async fn at(world: &World, who: &str, users: &[&str]) {
    let msg = MsgData {
        send_id: who.to_owned(),
        group_id: G.to_owned(),
        session_type: 3,
        content_type: 106,
        content: b"{}".to_vec().into(),
        at_user_id_list: crate::world::owned(users),
        ..MsgData::default()
    };
    let request = SendMsgReq {
        msg_data: Some(msg),
    };
    let mut client = MsgClient::new(world.deps.channel(name::MSG));
    assert_eq!(code(client.send_msg(user(who).request(request)).await), 0);
}

/// What the records say of the four users, once all of these do.
async fn types(world: &World, expected: [i32; 4]) {
    let seen = async || {
        let mut types = [0; 4];
        for (at, who) in ["u1", "u2", "u3", "u4"].iter().enumerate() {
            types[at] = world.record(who).await.map_or(0, |r| r.group_at_type);
        }
        (types == expected).then_some(())
    };
    until(&format!("{expected:?}"), seen).await;
    let done = async || {
        let page = Page::of("key", Vec::new(), 10);
        let all: Vec<Mention> = world.deps.store.list(page).await.unwrap();
        all.iter().all(|m| m.pending.is_empty()).then_some(())
    };
    until("all mentions are worked off", done).await;
}

#[tokio::test]
async fn a_mention_reaches_those_it_means() {
    let mut world = World::new().await;
    world.group(G, &["u2", "u3"]).await;
    world.until_now().await;
    // Neither the sender himself nor who is no member.
    at(&world, "u2", &["u2", "u3", "u4"]).await;
    types(&world, [0, 0, 1, 0]).await;
    let told = kinds(&world.until_now().await);
    assert_eq!(told.get(&("n_u3_u3".to_owned(), 1300)), Some(&1));
    assert_eq!(told.keys().filter(|(_, kind)| *kind == 1300).count(), 1);
    assert_eq!(world.invite(&user("u1"), &["u4"]).await, 0);
    at(&world, "u1", &["AtAllTag", "u3"]).await;
    types(&world, [0, 2, 3, 2]).await;
    let announcement = SetGroupInfoExReq {
        notification: Some(text("hear")),
        ..SetGroupInfoExReq::default()
    };
    assert_eq!(world.set(&user("u1"), announcement).await, 0);
    types(&world, [0, 4, 4, 4]).await;
}
