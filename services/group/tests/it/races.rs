//! Several who change one group at once.

use futures::future::join_all;
use magpie_store::versions::{self, List};
use magpie_testkit::{admin, code, user};

use crate::world::{G, World, joining, kinds, named, verification};

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
