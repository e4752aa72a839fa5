//! A broker that talks TLS only to those whom it knows, by certificate and by password.

use std::{collections::BTreeMap, path::Path};

use magpie_log_kafka::{KafkaLog, Options};
use magpie_testdeps::{Kind, Server, certificates};

use crate::common::{append, in_time, next, number, open, options, subscribe};

const PASSWORD: &str = "a password for tests";

/// A broker whose second listener takes TLS with certificates of both sides and a user's password.
fn broker(dir: &Path) -> Server {
    let file = |name: &str| dir.join(name).display().to_string();
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule";
    Server::start_at(Kind::Kafka, |port| {
        let listeners = |controller: String| {
            let secure = port + 10_000;
            format!("PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure}{controller}")
        };
        let own = |name: &str, value: String| format!("listener.name.secure.{name}={value}");
        [
            format!("listeners={}", listeners(format!(",CONTROLLER://127.0.0.1:{}", port + 1))),
            format!("advertised.listeners={}", listeners(String::new())),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL".to_owned(),
            own("sasl.enabled.mechanisms", "PLAIN".to_owned()),
            own("plain.sasl.jaas.config", format!("{login} required user_magpie=\"{PASSWORD}\";")),
            own("ssl.client.auth", "required".to_owned()),
            own("ssl.keystore.type", "PEM".to_owned()),
            own("ssl.keystore.location", file("both.pem")),
            own("ssl.truststore.type", "PEM".to_owned()),
            own("ssl.truststore.location", file("ca.pem")),
        ]
        .into_iter()
        .flat_map(|setting| ["--override".to_owned(), setting])
        .collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_over_tls_with_certificate_and_password() {
    let dir = tempfile::tempdir().expect("a folder");
    certificates(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let server = broker(dir.path());
    let known = BTreeMap::from([
        ("security.protocol", "SASL_SSL".to_owned()),
        ("ssl.ca.location", file("ca.pem")),
        ("ssl.certificate.location", file("cert.pem")),
        ("ssl.key.location", file("key.pem")),
        ("sasl.mechanisms", "PLAIN".to_owned()),
        ("sasl.username", "magpie".to_owned()),
        ("sasl.password", PASSWORD.to_owned()),
    ]);
    let with = |changes: &[(&'static str, &str)]| {
        let mut properties = known.clone();
        for (name, value) in changes {
            match *value {
                "" => drop(properties.remove(name)),
                value => drop(properties.insert(name, value.to_owned())),
            }
        }
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        Options {
            brokers: format!("127.0.0.1:{}", server.port() + 10_000),
            properties: properties.into_iter().map(owned).collect(),
            ..options(&server)
        }
    };

    let log = open(&with(&[])).await;
    let mut consumer = subscribe(&log, "all").await;
    append(&log, "key", 7).await.expect("append");
    let records = next(&mut *consumer).await;
    assert_eq!(records.iter().map(number).collect::<Vec<_>>(), [7]);

    for (who, changes) in [
        ("a wrong password", vec![("sasl.password", "hunter2")]),
        (
            "no certificate",
            vec![("ssl.certificate.location", ""), ("ssl.key.location", "")],
        ),
        (
            "a broker of an unknown authority",
            vec![("ssl.ca.location", "")],
        ),
        (
            "no TLS",
            vec![
                ("security.protocol", "SASL_PLAINTEXT"),
                ("ssl.ca.location", ""),
            ],
        ),
    ] {
        let opened = in_time(who, KafkaLog::open(with(&changes))).await;
        let error = opened.err().expect(who).to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
