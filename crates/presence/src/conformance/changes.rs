//! Announcements. Those of one user come in order; nothing is said about the order among users.

use std::time::Duration;

use futures::future::join_all;
use magpie_types::{Platform, UserId};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

use super::{Factory, GatewayId, SharedPresence, id, lookup, open, report, set};
use crate::{Change, Notice, Platforms};

const WAIT: Duration = Duration::from_secs(30);
/// Ends what a case looks at.
const END: Platform = Platform::Linux;

async fn next(changes: &mut Receiver<Change>) -> (UserId, Platforms) {
    loop {
        let next = timeout(WAIT, changes.recv()).await;
        match next.expect("a change in time").expect("a change") {
            Change::User { user, platforms } => return (user, platforms),
            // An engine may begin with it: it can't know what was before.
            Change::Missed => {}
        }
    }
}

/// The changes of `user` before the one that has [`END`].
async fn told(changes: &mut Receiver<Change>, user: &UserId) -> Vec<Platforms> {
    let mut told = Vec::new();
    loop {
        let (who, platforms) = next(changes).await;
        assert_eq!(who, *user);
        if platforms.iter().any(|p| p == END) {
            return told;
        }
        told.push(platforms);
    }
}

pub async fn changes_are_told_once(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let mut changes = presence.changes();
    let a = id("a");
    let steps: [&[Platform]; 7] = [
        &[Platform::Ios],
        &[Platform::Ios],
        &[Platform::Ios, Platform::Web],
        &[Platform::Web],
        &[],
        &[],
        &[END],
    ];
    for platforms in steps {
        report(&presence, &g1, &a, platforms).await;
    }
    let expected: [&[Platform]; 4] = [
        &[Platform::Ios],
        &[Platform::Ios, Platform::Web],
        &[Platform::Web],
        &[],
    ];
    assert_eq!(told(&mut changes, &a).await, expected.map(set));
}

pub async fn changes_join_the_platforms_of_all_gateways(factory: &dyn Factory) {
    let (presence, [g1, g2]) = open(factory).await;
    let mut changes = presence.changes();
    let a = id("a");
    report(&presence, &g1, &a, &[Platform::Ios]).await;
    report(&presence, &g2, &a, &[Platform::Ios]).await;
    report(&presence, &g2, &a, &[Platform::Web]).await;
    report(&presence, &g1, &a, &[]).await;
    report(&presence, &g1, &a, &[END]).await;
    let expected: [&[Platform]; 3] = [
        &[Platform::Ios],
        &[Platform::Ios, Platform::Web],
        &[Platform::Web],
    ];
    assert_eq!(told(&mut changes, &a).await, expected.map(set));
}

pub async fn leaving_changes_platforms(factory: &dyn Factory) {
    let (presence, [g1, g2]) = open(factory).await;
    let (a, b) = (id("a"), id("b"));
    let mut changes = presence.changes();
    report(&presence, &g1, &a, &[Platform::Ios]).await;
    report(&presence, &g1, &b, &[Platform::Ios]).await;
    report(&presence, &g2, &b, &[Platform::Web]).await;
    for _ in 0..3 {
        next(&mut changes).await;
    }
    presence.leave(&g1).await.expect("leave");
    let mut told = [next(&mut changes).await, next(&mut changes).await];
    told.sort_by(|x, y| x.0.cmp(&y.0));
    assert_eq!(told, [(a, set(&[])), (b, set(&[Platform::Web]))]);
}

/// Two gateways change the same user at the same time.
pub async fn the_last_change_is_the_present_state(factory: &dyn Factory) {
    async fn churn(
        presence: &SharedPresence,
        gateway: &GatewayId,
        user: &UserId,
        platform: Platform,
    ) {
        for _ in 0..50 {
            report(presence, gateway, user, &[platform]).await;
            report(presence, gateway, user, &[]).await;
        }
        report(presence, gateway, user, &[platform]).await;
    }
    let (presence, [g1, g2]) = open(factory).await;
    let mut changes = presence.changes();
    let a = id("a");
    let platforms = [Platform::Ios, Platform::Web];
    join_all([
        churn(&presence, &g1, &a, platforms[0]),
        churn(&presence, &g2, &a, platforms[1]),
    ])
    .await;
    let found = lookup(&presence, std::slice::from_ref(&a)).await;
    assert_eq!(found[0].platforms(), set(&platforms));
    report(&presence, &g1, &a, &[END]).await;
    let told = told(&mut changes, &a).await;
    assert_eq!(told.last(), Some(&set(&platforms)));
    let repeated = told.windows(2).any(|pair| pair[0] == pair[1]);
    assert!(!repeated, "{told:?}");
}

pub async fn every_receiver_is_told(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let mut receivers = [presence.changes(), presence.changes()];
    let a = id("a");
    report(&presence, &g1, &a, &[Platform::Ios]).await;
    report(&presence, &g1, &a, &[END]).await;
    for changes in &mut receivers {
        assert_eq!(told(changes, &a).await, [set(&[Platform::Ios])]);
    }
}

pub async fn a_receiver_that_lags_is_told_so(factory: &dyn Factory) {
    let (presence, [g1, _]) = open(factory).await;
    let mut changes = presence.changes();
    for round in 0..20 {
        let platforms: &[Platform] = if round % 2 == 0 {
            &[Platform::Ios]
        } else {
            &[]
        };
        let user = |n| (id(&format!("u{n}")), set(platforms));
        let users: Vec<_> = (0..1000).map(user).collect();
        presence.report(&g1, &users).await.expect("report");
    }
    let lagged = async {
        loop {
            match changes.recv().await {
                Err(RecvError::Lagged(_)) => return,
                // Not read on purpose: announcements come in while this waits.
                Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(RecvError::Closed) => panic!("closed"),
            }
        }
    };
    timeout(WAIT, lagged).await.expect("it is told in time");
}

pub async fn a_notice_reaches_every_receiver(factory: &dyn Factory) {
    let (presence, _) = open(factory).await;
    let mut receivers = [presence.notices(), presence.notices()];
    for words in ["first", "second, with \"quotes\" and \u{e9}"] {
        presence.announce(words.to_owned()).await.expect("announce");
        for receiver in &mut receivers {
            let said = loop {
                let next = timeout(WAIT, receiver.recv()).await;
                match next.expect("a notice in time").expect("a notice") {
                    Notice::Said(said) => break said,
                    Notice::Missed => {}
                }
            };
            assert_eq!(said, words);
        }
    }
}
