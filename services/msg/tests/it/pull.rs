//! 1002, 1005 and 1007 inside a user's window, and positions above the head.

use std::time::{Duration, Instant};

use magpie_proto::openim::{
    msg::*,
    sdkws::{PullMessageBySeqsReq, SeqRange},
};
use magpie_store::{Documents as _, documents::UserSeq};
use magpie_testkit::{code, register, user};
use prost::Message as _;

use crate::world::{CHAT, World, lines, pull_range, sent};

/// Restricts what u1 sees of the chat.
async fn window(world: &World, min_seq: i64, max_seq: i64) {
    let row = UserSeq {
        user_id: "u1".to_owned(),
        conversation_id: CHAT.to_owned(),
        read_seq: 0,
        min_seq,
        max_seq,
        member_version: 0,
        marked_seq: 0,
    };
    // The sender has one already, from his read position.
    let key = magpie_store::key!["u1", CHAT];
    world
        .engines
        .deps
        .store
        .remove::<UserSeq>(vec![key])
        .await
        .unwrap();
    world.engines.deps.store.add(row).await.unwrap();
}

async fn by_list(world: &World, seqs: &[i64], order: i32) -> (Vec<(i64, i32, String)>, bool, i64) {
    let asked = ConversationSeqs {
        conversation_id: CHAT.to_owned(),
        seqs: seqs.to_vec(),
    };
    let request = GetSeqMessageReq {
        user_id: "u1".to_owned(),
        conversations: vec![asked],
        order,
    };
    let mut client = world.client();
    let answer = client.get_seq_message(user("u1").request(request));
    let pulled = answer
        .await
        .unwrap()
        .into_inner()
        .msgs
        .remove(CHAT)
        .unwrap();
    (lines(&pulled.msgs), pulled.is_end, pulled.end_seq)
}

async fn last(world: &World) -> Option<i64> {
    let request = GetLastMessageReq {
        user_id: "u1".to_owned(),
        conversation_i_ds: vec![CHAT.to_owned()],
    };
    let mut client = world.client();
    let answer = client.get_last_message(user("u1").request(request));
    let msgs = answer.await.unwrap().into_inner().msgs;
    msgs.get(CHAT).map(|m| m.seq)
}

#[tokio::test]
async fn a_range_is_clipped_to_the_window_and_keeps_its_highest_seqs() {
    let world = World::new().await;
    let texts = ["1", "2", "3", "4", "5"];
    world.chat("u2", "u1", &texts).await;
    let range = async |range| {
        let pulled = world.range("u1", CHAT, range).await.unwrap();
        pulled
            .get(CHAT)
            .map(|p| (p.msgs.iter().map(|m| m.seq).collect::<Vec<_>>(), p.is_end))
    };
    assert_eq!(range((2, 3, 9)).await, Some((vec![2, 3], false)));
    assert_eq!(range((1, 9, 2)).await, Some((vec![4, 5], true)));
    assert_eq!(range((0, 1, 9)).await, Some((vec![1], false)));
    assert_eq!(range((1, 5, 0)).await, None);
    assert_eq!(range((6, 9, 9)).await, None);
    assert_eq!(
        range((i64::MIN, i64::MAX, i64::MAX)).await.unwrap().0,
        [1, 2, 3, 4, 5]
    );

    window(&world, 2, 4).await;
    assert_eq!(range((1, 5, 9)).await, Some((vec![2, 3, 4], true)));
    assert_eq!(range((5, 5, 9)).await, None);
    let descending = pull_range("u1", CHAT, (2, 3, 9), 1);
    let mut client = world.client();
    let answer = client.pull_message_by_seqs(user("u1").request(descending));
    assert!(answer.await.unwrap().into_inner().msgs[CHAT].is_end);
    assert_eq!(world.seqs("u1").await.max_seq, 4);
    assert_eq!(world.seqs("u2").await.max_seq, 5);
}

#[tokio::test]
async fn a_list_is_answered_in_its_order_and_tells_where_the_window_ends() {
    let world = World::new().await;
    world.chat("u2", "u1", &["1", "2", "3", "4"]).await;
    assert_eq!(
        by_list(&world, &[3, 1], 0).await,
        (sent(&[(3, "3"), (1, "1")]), false, 0)
    );
    window(&world, 2, 3).await;
    let inside = sent(&[(2, "2"), (3, "3")]);
    assert_eq!(
        by_list(&world, &[1, 2, 3], 1).await,
        (inside.clone(), true, 2)
    );
    assert_eq!(by_list(&world, &[2, 3, 4], 0).await, (inside, true, 3));
    // An entry with the default value would have no bytes, and clients that read it unchecked would not find it.
    assert_eq!(by_list(&world, &[0, -1], 0).await, (vec![], true, 0));
}

#[tokio::test]
async fn the_last_message_is_the_newest_visible_one() {
    let world = World::new().await;
    assert_eq!(last(&world).await, None);
    let texts: Vec<String> = (0..25).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    world.chat("u2", "u1", &texts).await;
    assert_eq!(last(&world).await, Some(25));
    // More than one step of the search is hidden.
    let hide = DeleteMsgsReq {
        conversation_id: CHAT.to_owned(),
        seqs: (3..=25).collect(),
        user_id: "u1".to_owned(),
        delete_sync_opt: None,
    };
    let mut client = world.client();
    client.delete_msgs(user("u1").request(hide)).await.unwrap();
    assert_eq!(last(&world).await, Some(2));
    window(&world, 3, 0).await;
    assert_eq!(last(&world).await, None);
}

/// A client names a message as soon as it is acknowledged, and transfer may not have stored it yet.
#[tokio::test]
async fn a_request_waits_for_a_seq_above_the_head_but_not_for_long() {
    let world = World::new().await;
    world.chat("u1", "u2", &["1"]).await;
    let revoke = |seq| RevokeMsgReq {
        conversation_id: CHAT.to_owned(),
        seq,
        user_id: "u1".to_owned(),
    };
    let mut client = world.client();
    let (revoked, sent) = tokio::join!(
        client.revoke_msg(user("u1").request(revoke(2))),
        world.send("u1", "u2", "2")
    );
    assert_eq!((code(revoked), sent), (0, 0));
    let started = Instant::now();
    assert_eq!(
        code(client.revoke_msg(user("u1").request(revoke(9))).await),
        1004
    );
    assert!(started.elapsed() >= Duration::from_millis(900));
}

/// The newest of a range go into the answer, the first of a list; what was left out can be asked for again.
#[tokio::test]
async fn an_answer_ends_at_its_budget_of_bytes() {
    const BUDGET: usize = 4 << 20;
    let world = World::new().await;
    let large = "x".repeat(40 << 10);
    world.chat("u2", "u1", &vec![large.as_str(); 120]).await;
    let mut client = world.client();
    for order in [0, 1] {
        let request = pull_range("u1", CHAT, (1, 120, 1000), order);
        let answer = client.pull_message_by_seqs(user("u1").request(request));
        let answer = answer.await.unwrap().into_inner();
        assert!(answer.encoded_len() <= BUDGET);
        let pulled = &answer.msgs[CHAT];
        let (first, last) = (pulled.msgs[0].seq, pulled.msgs.last().unwrap().seq);
        assert_eq!((pulled.msgs.len() as i64, last), (120 - first + 1, 120));
        assert!(
            pulled.msgs.len() >= 100,
            "what SDKs ask for is answered whole"
        );
        // Ascending, the end of the conversation is in it; descending, the beginning is not.
        assert_eq!(pulled.is_end, order == 0);
        let rest = world.range("u1", CHAT, (1, first - 1, 1000)).await.unwrap();
        assert_eq!(rest[CHAT].msgs.len() as i64, first - 1);
    }
    let seqs: Vec<i64> = (1..=120).collect();
    let (listed, is_end, end_seq) = by_list(&world, &seqs, 0).await;
    assert!((100..120).contains(&listed.len()), "{}", listed.len());
    assert_eq!((listed[0].0, is_end, end_seq), (1, false, 0));
}

#[tokio::test]
async fn what_is_named_again_is_answered_once_and_the_number_of_names_is_bounded() {
    let world = World::new().await;
    world.chat("u2", "u1", &["1", "2", "3"]).await;
    let range = |begin| SeqRange {
        conversation_id: CHAT.to_owned(),
        begin,
        end: 3,
        num: 9,
    };
    let mut client = world.client();
    let mut request = pull_range("u1", CHAT, (1, 3, 9), 0);
    request.seq_ranges = [vec![range(1); 999], vec![range(2)]].concat();
    let answer = client.pull_message_by_seqs(user("u1").request(request.clone()));
    let answer = answer.await.unwrap().into_inner();
    assert_eq!(
        lines(&answer.msgs[CHAT].msgs),
        sent(&[(2, "2"), (3, "3")]),
        "the last one named"
    );
    request.seq_ranges.push(range(1));
    let refused = client.pull_message_by_seqs(user("u1").request(request));
    assert_eq!(code(refused.await), 1001);

    assert_eq!(
        by_list(&world, &[2, 1, 2, 2, 1], 0).await.0,
        sent(&[(2, "2"), (1, "1")])
    );
    let asked = ConversationSeqs {
        conversation_id: CHAT.to_owned(),
        seqs: (1..=501).collect(),
    };
    let request = GetSeqMessageReq {
        user_id: "u1".to_owned(),
        conversations: vec![asked; 2],
        order: 0,
    };
    let refused = client.get_seq_message(user("u1").request(request));
    assert_eq!(code(refused.await), 1001);
    let request = GetLastMessageReq {
        user_id: "u1".to_owned(),
        conversation_i_ds: vec![CHAT.to_owned(); 1001],
    };
    let refused = client.get_last_message(user("u1").request(request));
    assert_eq!(code(refused.await), 1001);
}

/// Chats of u1 with this many others, whose names are their texts; every seventh is longer than one step of reading, and every fourth u1
/// has marked as read up to its first message.
async fn chats(world: &World, others: usize) -> Vec<(String, usize)> {
    let peers: Vec<String> = (0..others).map(|i| format!("p{i:02}")).collect();
    let names: Vec<&str> = peers.iter().map(String::as_str).collect();
    register(&world.engines.deps, &names).await;
    let mut chats = Vec::new();
    for (i, peer) in peers.iter().enumerate() {
        let count = if i % 7 == 3 { 70 } else { 1 + i % 3 };
        world.chat(peer, "u1", &vec![peer.as_str(); count]).await;
        let chat = format!("si_{peer}_u1");
        if i.is_multiple_of(4) {
            let request = MarkMsgsAsReadReq {
                user_id: "u1".to_owned(),
                conversation_id: chat.clone(),
                seqs: vec![1],
            };
            let marked = world
                .client()
                .mark_msgs_as_read(user("u1").request(request))
                .await;
            marked.unwrap();
        }
        chats.push((chat, count));
    }
    chats
}

/// One request for many conversations: more than are read together, long ones between short ones, one of strangers, one of nobody.
#[tokio::test]
async fn conversations_of_one_request_are_answered_as_if_each_were_asked_alone() {
    let world = World::new().await;
    let chats = chats(&world, 60).await;
    world.chat("u2", "u3", &["of strangers"]).await;
    let num = |i: usize| if i.is_multiple_of(2) { 1 } else { 65 };
    let mut names = vec!["si_u2_u3".to_owned(), "si_u1_nobody".to_owned()];
    names.extend(chats.iter().map(|(chat, _)| chat.clone()));
    let ranges = names.iter().enumerate().map(|(i, name)| SeqRange {
        conversation_id: name.clone(),
        begin: 1,
        end: 100,
        num: num(i),
    });
    let mut client = world.client();
    let request = PullMessageBySeqsReq {
        user_id: "u1".to_owned(),
        seq_ranges: ranges.collect(),
        order: 0,
    };
    let answer = client.pull_message_by_seqs(user("u1").request(request));
    let by_range = answer.await.unwrap().into_inner().msgs;
    let lists = names.iter().map(|name| ConversationSeqs {
        conversation_id: name.clone(),
        seqs: vec![2, 1],
    });
    let request = GetSeqMessageReq {
        user_id: "u1".to_owned(),
        conversations: lists.collect(),
        order: 0,
    };
    let answer = client.get_seq_message(user("u1").request(request.clone()));
    let by_list = answer.await.unwrap().into_inner().msgs;
    let all = GetLastMessageReq {
        user_id: "u1".to_owned(),
        conversation_i_ds: names.clone(),
    };
    let answer = client.get_last_message(user("u1").request(all.clone()));
    let last = answer.await.unwrap().into_inner().msgs;
    assert_eq!((by_range.len(), last.len()), (chats.len(), chats.len()));
    assert_eq!(by_list.len(), names.len());
    assert!(by_list["si_u2_u3"].msgs.is_empty());
    for (i, (chat, count)) in chats.iter().enumerate() {
        let num = num(i);
        let alone = world.range("u1", chat, (1, 100, num)).await.unwrap();
        assert_eq!(by_range[chat], alone[chat], "{chat}");
        assert_eq!(alone[chat].msgs.len(), (*count).min(num as usize));
        let one = GetSeqMessageReq {
            conversations: vec![request.conversations[i + 2].clone()],
            ..request.clone()
        };
        let alone = client.get_seq_message(user("u1").request(one)).await;
        assert_eq!(by_list[chat], alone.unwrap().into_inner().msgs[chat]);
        let first = by_list[chat].msgs.iter().find(|m| m.seq == 1).unwrap();
        assert_eq!(first.is_read, i.is_multiple_of(4), "{chat}");
        assert_eq!(
            lines(std::slice::from_ref(first)),
            sent(&[(1, &format!("p{i:02}"))])
        );
        let one = GetLastMessageReq {
            conversation_i_ds: vec![chat.clone()],
            ..all.clone()
        };
        let alone = client.get_last_message(user("u1").request(one)).await;
        assert_eq!(last[chat], alone.unwrap().into_inner().msgs[chat]);
        assert_eq!(last[chat].seq, *count as i64);
    }
}

/// Of several conversations the first are answered whole, one is cut, and what lies behind the budget is not there.
#[tokio::test]
async fn the_budget_of_bytes_is_spent_in_the_order_of_the_request() {
    let world = World::new().await;
    let peers: Vec<String> = (0..10).map(|i| format!("p{i}")).collect();
    let names: Vec<&str> = peers.iter().map(String::as_str).collect();
    register(&world.engines.deps, &names).await;
    let large = "x".repeat(40 << 10);
    let mut ranges = Vec::new();
    for peer in peers.iter().rev() {
        world.chat(peer, "u1", &[large.as_str(); 12]).await;
        ranges.push(SeqRange {
            conversation_id: format!("si_{peer}_u1"),
            begin: 1,
            end: 12,
            num: 12,
        });
    }
    let request = PullMessageBySeqsReq {
        user_id: "u1".to_owned(),
        seq_ranges: ranges.clone(),
        order: 0,
    };
    let mut client = world.client();
    let answer = client.pull_message_by_seqs(user("u1").request(request));
    let msgs = answer.await.unwrap().into_inner().msgs;
    let counts = ranges.iter().map(|range| {
        msgs.get(&range.conversation_id)
            .map(|pulled| pulled.msgs.len())
    });
    let counts: Vec<Option<usize>> = counts.collect();
    let whole = counts
        .iter()
        .take_while(|count| **count == Some(12))
        .count();
    assert!((7..10).contains(&whole), "{counts:?}");
    assert!(counts[whole].is_none_or(|cut| cut < 12), "{counts:?}");
    assert!(
        counts[whole + 1..].iter().all(Option::is_none),
        "{counts:?}"
    );
}
