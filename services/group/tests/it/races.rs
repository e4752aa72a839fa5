//! Several who change one group at once.

use std::collections::BTreeSet;

use futures::future::join_all;
use magpie_discovery::name;
use magpie_group::Config;
use magpie_proto::openim::conversation::{
    GetAllConversationsReq, GetIncrementalConversationReq, conversation_client::ConversationClient,
};
use magpie_store::versions::{self, List};
use magpie_testkit::{admin, code, user};

use crate::{
    roles::{mute, role, set, transfer},
    world::{G, World, joining, kinds, named, verification},
};

/// How often a race is run.
const RACES: usize = 3;

/// u1 owns the group, u2 and u3 administer it, u4 and u5 are members.
async fn with_administrators() -> World {
    let mut world = World::new().await;
    world.group(G, &["u2", "u3", "u4", "u5"]).await;
    let administrators = vec![role("u2", 60), role("u3", 60)];
    assert_eq!(set(&world, "u1", administrators).await, 0);
    world.until_now().await;
    world
}

/// What holds after any changes: one owner, a count that is right, lists of groups that agree with the members, and one
/// notification for each change, in the order of the versions. Answers how many of each kind the chat tells.
async fn consistent(world: &mut World, changes: usize) -> impl Fn(i32) -> usize + use<> {
    let told = world.until_now().await;
    let group = world.document().await;
    assert!(group.pending.is_empty());
    let members = world.member_ids().await;
    assert_eq!(members.len(), group.member_count as usize, "{members:?}");
    let mut owners = Vec::new();
    for id in ["u1", "u2", "u3", "u4", "u5"] {
        let row = world.row(id).await.unwrap();
        let is_member = row.left_time == 0;
        assert_eq!(members.iter().any(|m| m == id), is_member, "{id}");
        if is_member && row.role_level == 100 {
            owners.push(row.user_id.clone());
        }
        let bounds = world.bounds(id).await.unwrap();
        assert_eq!(bounds.member_version, row.member_version, "{id}");
        assert_eq!(bounds.max_seq > 0, !is_member, "{id}");
    }
    assert_eq!(owners, [group.owner_id], "one owner");
    let mut versions: Vec<i64> = Vec::new();
    let in_stream = told.iter().filter(|n| n.conversation == "n_g1");
    versions.extend(in_stream.filter_map(|n| n.tips["groupMemberVersion"].as_i64()));
    let store = world.deps.store.as_ref();
    let last = versions::current(store, G, List::Members)
        .await
        .unwrap()
        .number;
    let count = i64::try_from(changes).unwrap();
    assert_eq!(versions, (last - count + 1..=last).collect::<Vec<_>>());
    let kinds = kinds(&told);
    move |kind| kinds.get(&("sg_g1".to_owned(), kind)).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_administrators_who_mute_and_remove_at_once() {
    for _ in 0..RACES {
        let mut world = with_administrators().await;
        let (second, third) = (user("u2"), user("u3"));
        let codes = tokio::join!(
            mute(&world, "u2", "u4", 60),
            mute(&world, "u3", "u4", 600),
            world.kick(&second, &["u4"]),
            world.kick(&third, &["u4", "u5"]),
        );
        let codes: [i32; 4] = codes.into();
        let muted = codes[..2].iter().filter(|code| **code == 0).count();
        assert!(
            codes[..2].iter().all(|code| [0, 1004].contains(code)),
            "{codes:?}"
        );
        // Whoever is second finds u4 gone; all of those named go or none.
        assert!(
            [(0, 1101), (1101, 0)].contains(&(codes[2], codes[3])),
            "{codes:?}"
        );
        let told = consistent(&mut world, muted + 1).await;
        assert_eq!((told(1512), told(1508)), (muted, 1), "{codes:?}");
        assert!(!world.is_member("u4").await);
        assert_eq!(world.is_member("u5").await, codes[3] != 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_transfers_at_once_one_counts() {
    for _ in 0..RACES {
        let mut world = with_administrators().await;
        let codes = tokio::join!(
            transfer(&world, "u1", "u1", "u2"),
            transfer(&world, "u1", "u1", "u4"),
        );
        assert!([(0, 1002), (1002, 0)].contains(&codes), "{codes:?}");
        let told = consistent(&mut world, 1).await;
        assert_eq!(told(1507), 1);
        let owner = if codes.0 == 0 { "u2" } else { "u4" };
        assert_eq!(world.document().await.owner_id, owner);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_to_be_owner_and_is_removed_or_leaves_at_once_is_one_of_both() {
    for _ in 0..RACES {
        let mut world = with_administrators().await;
        let (boss, heir) = (admin(), user("u4"));
        let (given, removed, left) = tokio::join!(
            transfer(&world, "u1", "u1", "u4"),
            world.kick(&boss, &["u4"]),
            world.quit(&heir, "u4"),
        );
        let gone = [removed, left].iter().filter(|code| **code == 0).count();
        assert!(
            given == 0 && gone == 0 || given != 0 && gone == 1,
            "{given} {removed} {left}"
        );
        let told = consistent(&mut world, 1).await;
        assert_eq!(told(1507) + told(1508) + told(1504), 1);
        let owner = if given == 0 { "u4" } else { "u1" };
        assert_eq!(world.document().await.owner_id, owner);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_and_a_removal_at_once_leave_what_the_later_one_says() {
    for _ in 0..RACES {
        let mut world = with_administrators().await;
        assert_eq!(world.kick(&user("u2"), &["u5"]).await, 0);
        world.until_now().await;
        let (second, third) = (user("u2"), user("u3"));
        let (invited, removed) =
            tokio::join!(world.invite(&second, &["u5"]), world.kick(&third, &["u5"]));
        assert!(
            invited == 0 && [0, 1101].contains(&removed),
            "{invited} {removed}"
        );
        let gone = removed == 0;
        let told = consistent(&mut world, 1 + usize::from(gone)).await;
        assert_eq!((told(1509), told(1508)), (1, usize::from(gone)));
        assert_eq!(world.is_member("u5").await, !gone);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_who_goes_while_messages_are_in_flight_get_one_piece_of_the_log() {
    let config = Config {
        history_for_new_members: false,
        ..Config::default()
    };
    let mut world = World::with(config).await;
    world.group(G, &["u2"]).await;
    world.until_now().await;
    let texts: Vec<String> = (0..40).map(|n| format!("text {n}")).collect();
    let (owner, leaver) = (user("u1"), user("u2"));
    let mut sends: Vec<_> = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let who = if n % 3 == 0 { "u2" } else { "u1" };
        sends.push(world.say(who, text));
    }
    let (answers, left, came) = tokio::join!(
        join_all(sends),
        world.quit(&leaver, "u2"),
        world.invite(&owner, &["u3"]),
    );
    assert_eq!((left, came), (0, 0));
    assert!(
        answers.iter().all(|code| [0, 1203].contains(code)),
        "{answers:?}"
    );
    world.until_now().await;
    let all = world.sees("u1").await.unwrap();
    let accepted = answers.iter().filter(|code| **code == 0).count();
    assert_eq!(
        all.len(),
        accepted + 3,
        "texts, and what tells of the founding, the leaving and the coming"
    );
    let place = |kind: i32| all.iter().find(|(_, k)| *k == kind).unwrap().0;
    let (left, came) = (place(1504), place(1509));
    let seqs = |seen: Vec<(i64, i32)>| seen.into_iter().map(|(seq, _)| seq).collect::<Vec<_>>();
    assert_eq!(
        seqs(world.sees("u2").await.unwrap()),
        (1..=left).collect::<Vec<_>>()
    );
    assert_eq!(world.record("u2").await.unwrap().max_seq, left);
    let newcomer = seqs(world.sees("u3").await.unwrap());
    let first = *newcomer.first().unwrap();
    assert!((2..=came).contains(&first), "{first} {came}");
    let last = i64::try_from(all.len()).unwrap();
    assert_eq!(newcomer, (first..=last).collect::<Vec<_>>());
    let between: BTreeSet<i64> = all.iter().map(|(_, kind)| i64::from(*kind)).collect();
    assert_eq!(between, [101, 1501, 1504, 1509].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_many_at_once_has_its_own_version() {
    let mut world = World::new().await;
    world.group(G, &["u2"]).await;
    world.until_now().await;
    let names: Vec<String> = (0..10).map(|n| format!("name {n}")).collect();
    let setters = ["u1", "imAdmin"].map(|who| if who == "u1" { user(who) } else { admin() });
    let sets = names.iter().zip(setters.iter().cycle());
    let answers = join_all(sets.map(|(name, by)| world.set(by, named(name)))).await;
    assert_eq!(answers, [0; 10]);
    let told = world.until_now().await;
    let mut told_versions: Vec<i64> = told
        .iter()
        .filter(|n| n.conversation == "n_g1")
        .map(|n| n.tips["groupMemberVersion"].as_i64().unwrap())
        .collect();
    let in_order = told_versions.clone();
    told_versions.sort_unstable();
    assert_eq!(in_order, told_versions, "told in the order of the changes");
    assert_eq!(told_versions, (2..=11).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_removals_finds_nobody() {
    let mut world = World::new().await;
    world.group(G, &["u2", "u3"]).await;
    world.until_now().await;
    let (owner, boss) = (user("u1"), admin());
    let both = tokio::join!(world.kick(&owner, &["u2"]), world.kick(&boss, &["u2"]));
    assert!([(0, 1101), (1101, 0)].contains(&both), "{both:?}");
    let told = world.until_now().await;
    assert_eq!(kinds(&told)[&("sg_g1".to_owned(), 1508)], 1);
    assert_eq!(world.document().await.member_count, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_and_a_dismissal_at_once_leave_no_member() {
    for _ in 0..5 {
        let world = World::new().await;
        world.group(G, &["u2"]).await;
        assert_eq!(world.set(&user("u1"), verification(2)).await, 0);
        let owner = user("u1");
        let mut client = world.client();
        let (joined, dismissed) = tokio::join!(
            client.join_group(user("u3").request(joining("u3"))),
            world.dismiss(&owner)
        );
        assert_eq!(dismissed, 0);
        let joined = code(joined);
        assert!([0, 1204].contains(&joined), "{joined}");
        assert!(!world.is_member("u3").await);
        let store = world.deps.store.as_ref();
        let version = versions::current(store, "u3", List::JoinedGroups)
            .await
            .unwrap();
        // In and out again, or never in.
        assert_eq!(version.number, if joined == 0 { 2 } else { 1 });
    }
}

/// What a device of u5 has of the group's conversation.
#[derive(Default)]
struct Device {
    version_id: String,
    version: u64,
    max_seq: i64,
}

impl Device {
    async fn synchronise(&mut self, world: &World) {
        let mut client = ConversationClient::new(world.deps.channel(name::CONVERSATION));
        let request = GetIncrementalConversationReq {
            user_id: "u5".to_owned(),
            version_id: self.version_id.clone(),
            version: self.version,
        };
        let answer = client.get_incremental_conversation(user("u5").request(request));
        let changes = answer.await.unwrap().into_inner();
        let mut records = [changes.insert, changes.update].concat();
        if changes.full {
            let request = GetAllConversationsReq {
                owner_user_id: "u5".to_owned(),
            };
            let answer = client.get_all_conversations(user("u5").request(request));
            records = answer.await.unwrap().into_inner().conversations;
        }
        if let Some(record) = records.iter().find(|r| r.conversation_id == "sg_g1") {
            self.max_seq = record.max_seq;
        }
        (self.version_id, self.version) = (changes.version_id, changes.version);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_while_his_device_synchronises_sees_no_end_in_it() {
    for _ in 0..RACES {
        let world = with_administrators().await;
        assert_eq!(world.kick(&user("u2"), &["u5"]).await, 0);
        let mut device = Device::default();
        device.synchronise(&world).await;
        assert!(device.max_seq > 0);
        let owner = user("u1");
        let mut invitation = std::pin::pin!(world.invite(&owner, &["u5"]));
        let invited = loop {
            tokio::select! {
                invited = &mut invitation => break invited,
                () = device.synchronise(&world) => {}
            }
        };
        assert_eq!(invited, 0);
        // He has been told by now.
        device.synchronise(&world).await;
        assert_eq!(device.max_seq, 0);
    }
}
