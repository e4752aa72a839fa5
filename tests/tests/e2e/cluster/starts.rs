//! The start of a process: what can't work is refused at once, an engine that is away is waited for, and the wait can be ended.

use magpie_tests::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weak_secret_ends_the_start_with_code_2_and_one_line() {
    if super::skipped("cluster::starts") {
        return;
    }
    for service in ["gateway", "api", "msg", "transfer"] {
        for (variable, value, key, why) in [
            ("MAGPIE_CLUSTER_SECRET", "", "cluster.secret", "is not set"),
            (
                "MAGPIE_CLUSTER_SECRET",
                "0f1e2d3c4b5a",
                "cluster.secret",
                "shorter than 32",
            ),
            (
                "MAGPIE_CLUSTER_SECRET",
                "openIM123",
                "cluster.secret",
                "well-known",
            ),
            ("MAGPIE_SECRET", "", "shared.secret", "is not set"),
            (
                "MAGPIE_SECRET",
                "0f1e2d3c4b5a",
                "shared.secret",
                "shorter than 16",
            ),
            ("MAGPIE_SECRET", "openIM123", "shared.secret", "well-known"),
        ] {
            let refused = Cluster::refused(service, &[(variable, value)]).await;
            let (code, text) = refused.expect("it ends by itself");
            assert_eq!(code, 2, "{service} {variable}={value}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
            for part in ["magpie: ", key, why] {
                assert!(text.contains(part), "{part:?} is missing: {text}");
            }
            assert!(
                value.is_empty() || !text.contains(value),
                "it shows the secret"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_of_an_engine_that_can_not_work_ends_the_start_with_code_2_and_one_line() {
    if super::skipped("cluster::starts") {
        return;
    }
    for (variable, value, why) in [
        (
            "MAGPIE_KAFKA_COMPRESSION",
            "zip",
            "kafka.compression is \"zip\"",
        ),
        ("MAGPIE_KAFKA_BROKERS", "foo", "kafka.brokers is \"foo\""),
        (
            "MAGPIE_KAFKA_BATCH_SPACING_MS",
            "6000",
            "kafka.batch_spacing",
        ),
        ("MAGPIE_MONGO_URI", "foo", "mongo.uri: "),
        ("MAGPIE_ETCD_ENDPOINTS", "foo", "etcd."),
        ("MAGPIE_ETCD_LEASE_S", "1", "etcd."),
        ("MAGPIE_REDIS_URI", "foo", "redis."),
    ] {
        let refused = Cluster::refused("msg", &[(variable, value)]).await;
        let (code, text) = refused.expect("it ends by itself");
        assert_eq!(code, 2, "{variable}={value}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(why), "{why:?} is missing: {text}");
    }
}

/// Nothing listens on port 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_waits_for_an_engine_ends_when_it_is_asked_to() {
    if super::skipped("cluster::starts") {
        return;
    }
    for (variable, value, words) in [
        (
            "MAGPIE_ETCD_ENDPOINTS",
            "http://127.0.0.1:1",
            "the registration failed",
        ),
        ("MAGPIE_KAFKA_BROKERS", "127.0.0.1:1", "waiting for Kafka"),
        (
            "MAGPIE_MONGO_URI",
            "mongodb://127.0.0.1:1/?directConnection=true",
            "waiting for MongoDB",
        ),
    ] {
        let ended = Cluster::ended_while("msg", &[(variable, value)], words).await;
        let (code, text) = ended.expect("it ends");
        assert_eq!(code, 0, "{variable}={value}: {text}");
    }
}
