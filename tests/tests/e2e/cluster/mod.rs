//! What only a cluster has: several gateways, instances that come and go, engines that fail. One process per instance.

mod gateways;
mod kills;
mod outages;
mod repartition;
mod rolling;
mod starts;

use magpie_tests::evidence::Evidence;
use magpie_tests::load::{Device, Habit, Way, settle};
use magpie_tests::{Server, needs_cluster};

/// Whether a test can't run now.
fn skipped(test: &str) -> bool {
    needs_cluster(test, "it needs several processes")
}

/// Two users who write to each other from a device each, in each encoding, so many times.
async fn couples(server: &Server, count: usize) -> Vec<Device> {
    let mut devices = Vec::new();
    for n in 0..count {
        let (a, b) = (format!("ann{n}"), format!("bob{n}"));
        server.register(&[&a, &b]).await;
        for (user, peer, platform) in [(&a, &b, 5), (&b, &a, 2)] {
            let token = server.user_token(user, platform).await;
            devices.push(Device::new(user, platform, token, peer, Habit::Resend));
        }
    }
    devices
}

/// Checks what devices saw on their way: no send failed twice, no push was missed, and every message is where it belongs.
async fn check_ways(server: &Server, mut devices: Vec<Device>, ways: Vec<Way>) {
    let mut evidence = Evidence::default();
    let (mut repeated, mut faults) = (0, Vec::new());
    for way in ways {
        let twice = way.sent.iter().filter(|(_, times)| **times > 2);
        faults.extend(twice.map(|(id, times)| format!("{id} was sent {times} times")));
        repeated += way.sent.values().filter(|times| **times > 1).count();
        faults.extend(way.missed);
        evidence.connections.extend(way.connections);
    }
    let connections = evidence.connections.len();
    settle(&server.ws_urls(), &mut devices, &mut evidence).await;
    println!(
        "{} acknowledged, {} stored, {repeated} sent again, {connections} connections",
        evidence.acknowledged(),
        evidence.stored()
    );
    faults.extend(evidence.faults());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(evidence.stored(), evidence.acknowledged());
    assert!(!server.log().contains("panicked"), "a process panicked");
}
