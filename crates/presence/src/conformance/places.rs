//! Reports and lookups.

use std::sync::Arc;

use futures::future::join_all;
use magpie_types::{Platform, UserId};

use super::{Factory, id, lookup, open, places, report, set};
use crate::Places;

pub async fn nobody_is_online_at_first(factory: &dyn Factory) {
    let (presence, _) = open(factory).await;
    assert_eq!(lookup(&presence, &[]).await, []);
    let found = lookup(&presence, &[id("a"), id("b")]).await;
    assert_eq!(found, [Places::default(), Places::default()]);
}

pub async fn a_report_is_seen_by_every_lookup(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let user = id("a");
    report(&presence, &g1, &user, &[Platform::Ios, Platform::Web]).await;
    let expected = places(&[(&g1, &[Platform::Ios, Platform::Web])]);
    assert_eq!(lookup(&presence, &[user]).await, [expected]);
}

pub async fn the_last_report_of_a_gateway_counts(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let user = id("a");
    for platforms in [&[Platform::Ios, Platform::Web][..], &[Platform::Web], &[]] {
        report(&presence, &g1, &user, platforms).await;
        let expected = match platforms {
            [] => Places::default(),
            some => places(&[(&g1, some)]),
        };
        let found = lookup(&presence, std::slice::from_ref(&user)).await;
        assert_eq!(found, [expected]);
    }
}

pub async fn every_platform_comes_back(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    for platform in Platform::ALL {
        let user = id(&format!("u{}", platform.number()));
        report(&presence, &g1, &user, &[platform]).await;
        let found = lookup(&presence, &[user]).await;
        assert_eq!(found, [places(&[(&g1, &[platform])])]);
    }
}

pub async fn gateways_are_known_until_they_leave(factory: &dyn Factory) {
    let (presence, [g1, g2]) = open(factory).await;
    let known = async || {
        let mut known = presence.gateways().await.expect("gateways");
        known.sort();
        known
    };
    report(&presence, &g1, &id("a"), &[Platform::Ios]).await;
    assert_eq!(known().await, [Arc::clone(&g1), Arc::clone(&g2)]);
    presence.leave(&g1).await.expect("leave");
    assert_eq!(known().await, [g2]);
}

pub async fn gateways_report_for_themselves(factory: &dyn Factory) {
    let (presence, [g1, g2]) = open(factory).await;
    let user = id("a");
    report(&presence, &g1, &user, &[Platform::Ios]).await;
    report(&presence, &g2, &user, &[Platform::Web]).await;
    let both = places(&[(&g1, &[Platform::Ios]), (&g2, &[Platform::Web])]);
    let found = lookup(&presence, std::slice::from_ref(&user)).await;
    assert_eq!(found[0].platforms(), set(&[Platform::Ios, Platform::Web]));
    assert_eq!(found, [both]);
    report(&presence, &g1, &user, &[]).await;
    let rest = places(&[(&g2, &[Platform::Web])]);
    assert_eq!(lookup(&presence, &[user]).await, [rest]);
}

pub async fn a_lookup_answers_in_the_order_of_its_question(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let users: Vec<UserId> = (0..20).map(|n| id(&format!("u{n}"))).collect();
    for user in users.iter().step_by(2) {
        report(&presence, &g1, user, &[Platform::Ios]).await;
    }
    let online = places(&[(&g1, &[Platform::Ios])]);
    let mut question: Vec<UserId> = users.iter().rev().cloned().collect();
    question.extend(users.iter().cloned());
    let found = lookup(&presence, &question).await;
    for (user, found) in question.iter().zip(found) {
        let even = users
            .iter()
            .position(|u| u == user)
            .is_some_and(|n| n.is_multiple_of(2));
        let expected = if even {
            online.clone()
        } else {
            Places::default()
        };
        assert_eq!(found, expected, "{user}");
    }
}

pub async fn ids_may_hold_any_character(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let ids = [
        "{a}", "{b", "b}", "{}", "a b", "a%20b", "\"'`\\", "*", "?", "[a]", "喜鹊", "🐦",
        "a\u{301}", "-1", "0", "nil", ".", "$x",
    ];
    let longest = "鹊".repeat(42);
    let users: Vec<UserId> = ids
        .iter()
        .chain([&&*longest])
        .map(|text| id(text))
        .collect();
    for (n, user) in users.iter().enumerate() {
        let platform = [Platform::Ios, Platform::Web][n % 2];
        report(&presence, &g1, user, &[platform]).await;
    }
    let found = lookup(&presence, &users).await;
    for (n, (user, found)) in users.iter().zip(found).enumerate() {
        let platform = [Platform::Ios, Platform::Web][n % 2];
        assert_eq!(found, places(&[(&g1, &[platform])]), "{user}");
    }
}

pub async fn many_users_are_reported_and_looked_up_at_once(factory: &dyn Factory) {
    let (presence, [g1, g2]) = open(factory).await;
    let users: Vec<UserId> = (0..5000).map(|n| id(&format!("u{n}"))).collect();
    let ios: Vec<_> = users
        .iter()
        .map(|u| (u.clone(), set(&[Platform::Ios])))
        .collect();
    presence.report(&g1, &ios).await.expect("report");
    presence.report(&g2, &ios[..2500]).await.expect("report");
    for (n, found) in lookup(&presence, &users).await.into_iter().enumerate() {
        let expected = match n {
            ..2500 => places(&[(&g1, &[Platform::Ios]), (&g2, &[Platform::Ios])]),
            _ => places(&[(&g1, &[Platform::Ios])]),
        };
        assert_eq!(found, expected, "{n}");
    }
}

pub async fn concurrent_reports_are_all_seen(factory: &dyn Factory) {
    let (presence, gateways) = open(factory).await;
    let one = |n: usize| {
        let (presence, gateway) = (&presence, &gateways[n % 2]);
        async move {
            let user = id(&format!("u{n}"));
            report(presence, gateway, &user, &[Platform::Web]).await;
            let found = lookup(presence, &[user]).await;
            assert_eq!(found, [places(&[(gateway, &[Platform::Web])])], "{n}");
        }
    };
    join_all((0..500).map(one)).await;
}

/// Reports of one user come one after the other, those of a hundred users all at once.
pub async fn the_last_of_many_reports_counts(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let one = |n: usize| {
        let (presence, g1) = (&presence, &g1);
        async move {
            let user = id(&format!("u{n}"));
            for _ in 0..5 {
                report(presence, g1, &user, &[Platform::Web]).await;
                report(presence, g1, &user, &[]).await;
            }
            let last: &[Platform] = if n.is_multiple_of(2) {
                &[Platform::Ios]
            } else {
                &[]
            };
            report(presence, g1, &user, last).await;
        }
    };
    join_all((0..100).map(one)).await;
    let users: Vec<UserId> = (0..100).map(|n| id(&format!("u{n}"))).collect();
    for (n, found) in lookup(&presence, &users).await.into_iter().enumerate() {
        assert_eq!(found.platforms().is_empty(), n % 2 == 1, "{n}");
    }
}

pub async fn renewals_keep_entries(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let users: Vec<UserId> = (0..300).map(|n| id(&format!("u{n}"))).collect();
    let ios: Vec<_> = users
        .iter()
        .map(|u| (u.clone(), set(&[Platform::Ios])))
        .collect();
    presence.report(&g1, &ios).await.expect("report");
    for _ in 0..100 {
        assert_eq!(presence.renew(&g1).await.expect("renew"), []);
    }
    let expected = places(&[(&g1, &[Platform::Ios])]);
    for found in lookup(&presence, &users).await {
        assert_eq!(found, expected);
    }
}

pub async fn leaving_ends_the_entries_of_one_gateway(factory: &dyn Factory) {
    let (presence, [g1, g2]) = open(factory).await;
    let (a, b) = (id("a"), id("b"));
    report(&presence, &g1, &a, &[Platform::Ios]).await;
    report(&presence, &g1, &b, &[Platform::Ios]).await;
    report(&presence, &g2, &b, &[Platform::Web]).await;
    presence.leave(&g1).await.expect("leave");
    let found = presence.lookup(&[a, b]).await.expect("lookup");
    // It is registered still, so the engine may want it asked.
    assert!(found.unknown.iter().all(|g| *g == g1));
    let rest = places(&[(&g2, &[Platform::Web])]);
    assert_eq!(found.users, [Places::default(), rest]);
}

pub async fn a_gateway_may_come_back_after_leaving(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let (a, b) = (id("a"), id("b"));
    report(&presence, &g1, &a, &[Platform::Ios]).await;
    presence.leave(&g1).await.expect("leave");
    presence.renew(&g1).await.expect("renew");
    report(&presence, &g1, &b, &[Platform::Web]).await;
    let expected = places(&[(&g1, &[Platform::Web])]);
    assert_eq!(
        lookup(&presence, &[a, b]).await,
        [Places::default(), expected]
    );
}

pub async fn leaving_without_entries_is_no_error(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    presence.leave(&g1).await.expect("leave");
    presence.leave(&"never seen".into()).await.expect("leave");
}
