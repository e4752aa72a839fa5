//! The contract of [`Presence`](crate::Presence) as tests, generic over a factory.
//!
//! An engine runs all of them with [`conformance_tests!`](crate::conformance_tests), which makes one test of each case from one
//! table. Every case gets a factory of its own, whose namespace is fresh.

mod changes;
mod places;

use async_trait::async_trait;
use magpie_types::{Platform, UserId};

use crate::{GatewayId, Places, Platforms, SharedPresence};

pub use changes::*;
pub use places::*;

/// Makes an engine for one case.
#[async_trait]
pub trait Factory: Send + Sync {
    /// Opens presence in which nobody is online. `gateways` are those that are registered.
    async fn open(&self, gateways: &[GatewayId]) -> SharedPresence;
}

/// Makes a `#[tokio::test]` of each case. The expression makes a new [`Factory`](crate::conformance::Factory).
#[macro_export]
macro_rules! conformance_tests {
    (@cases $factory:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::$case(&$factory).await;
            }
        )*
    };
    ($factory:expr) => {
        $crate::conformance_tests! { @cases $factory;
            nobody_is_online_at_first,
            a_report_is_seen_by_every_lookup,
            the_last_report_of_a_gateway_counts,
            every_platform_comes_back,
            gateways_report_for_themselves,
            gateways_are_known_until_they_leave,
            a_lookup_answers_in_the_order_of_its_question,
            ids_may_hold_any_character,
            many_users_are_reported_and_looked_up_at_once,
            concurrent_reports_are_all_seen,
            the_last_of_many_reports_counts,
            renewals_keep_entries,
            leaving_ends_the_entries_of_one_gateway,
            a_gateway_may_come_back_after_leaving,
            leaving_without_entries_is_no_error,
            changes_are_told_once,
            changes_join_the_platforms_of_all_gateways,
            leaving_changes_platforms,
            the_last_change_is_the_present_state,
            every_receiver_is_told,
            a_receiver_that_lags_is_told_so,
            a_notice_reaches_every_receiver,
        }
    };
}

fn id(text: &str) -> UserId {
    UserId::new(text).expect("an id")
}

fn gateways() -> [GatewayId; 2] {
    ["g1".into(), "g2".into()]
}

fn set(platforms: &[Platform]) -> Platforms {
    platforms.iter().copied().collect()
}

/// Opens presence with two gateways that have begun their leases.
async fn open(factory: &dyn Factory) -> (SharedPresence, [GatewayId; 2]) {
    let gateways = gateways();
    let presence = factory.open(&gateways).await;
    for gateway in &gateways {
        let lost = presence.renew(gateway).await.expect("renew");
        assert_eq!(lost, []);
    }
    (presence, gateways)
}

async fn report(
    presence: &SharedPresence,
    gateway: &GatewayId,
    user: &UserId,
    platforms: &[Platform],
) {
    let report = [(user.clone(), set(platforms))];
    presence.report(gateway, &report).await.expect("report");
}

/// Where the users are, with gateways in order of id; nobody may be unknown.
async fn lookup(presence: &SharedPresence, users: &[UserId]) -> Vec<Places> {
    let mut found = presence.lookup(users).await.expect("lookup");
    assert_eq!(found.unknown, Vec::<GatewayId>::new());
    assert_eq!(found.users.len(), users.len());
    for places in &mut found.users {
        places.gateways.sort_by(|a, b| a.0.cmp(&b.0));
    }
    found.users
}

fn places(entries: &[(&GatewayId, &[Platform])]) -> Places {
    let entry = |(gateway, platforms): &(&GatewayId, &[Platform])| {
        (GatewayId::clone(gateway), set(platforms))
    };
    Places {
        gateways: entries.iter().map(entry).collect(),
    }
}
