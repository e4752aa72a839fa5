//! A process of a cluster does not start with a secret that is missing, short or known to the world.

use magpie_tests::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_weak_secret_ends_the_start_with_code_2_and_one_line() {
    if super::skipped("cluster::secrets") {
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
