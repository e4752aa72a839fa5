//! A rolling update: every instance of every service is stopped and started, one at a time, while users write.

use magpie_tests::Cluster;
use magpie_tests::load::{Gateways, roam};

/// Acknowledgements between two restarts.
const BETWEEN: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_instance_restarts_under_load_and_no_send_and_no_push_is_lost() {
    if super::skipped("cluster::rolling") {
        return;
    }
    let mut cluster = Cluster::start(3).await;
    let devices = super::couples(&cluster, 3).await;
    let gateways = Gateways::default();
    gateways.set(cluster.ws_urls());
    let tour = roam(&gateways, devices);
    tour.goes_on(100).await;
    for at in 0..cluster.size() {
        let service = cluster.service(at);
        if service == "gateway" {
            // Its clients are sent to those that stay.
            gateways.set(cluster.ws_urls_without(at));
        }
        let ended = cluster.terminate_one(at).await.expect("it drains");
        assert!(ended.success(), "{service}: {ended}");
        tour.goes_on(BETWEEN).await;
        cluster.restart_one(at).await.expect("it starts");
        gateways.set(cluster.ws_urls());
        tour.goes_on(BETWEEN).await;
    }
    let (devices, ways) = tour.end().await;
    for way in &ways {
        assert!(
            way.closes.iter().all(|code| *code == 1001),
            "{:?}",
            way.closes
        );
    }
    let moved = ways.iter().filter(|way| way.connections.len() > 1).count();
    assert_eq!(moved, ways.len(), "every device has moved");
    super::check_ways(&cluster, devices, ways).await;
}
