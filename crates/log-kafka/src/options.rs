//! Settings of the Kafka log, and the librdkafka configuration that they become.
//!
//! Whatever carries a promise of the log (acknowledgements, idempotence, offsets, the group protocol) is set here and can't be
//! overridden; [`Options::properties`] is for what a deployment must choose, such as TLS and SASL.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use magpie_log::Topic;
use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

/// What a record needs beside key and value in a request: headers of record, batch and request.
const RECORD_OVERHEAD: usize = 4096;

/// Other names of properties that are set here.
const ALIASES: [&str; 6] = [
    "metadata.broker.list",
    "request.required.acks",
    "delivery.timeout.ms",
    "queue.buffering.max.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
];

/// What records can be packed with.
const COMPRESSIONS: [&str; 4] = ["none", "lz4", "snappy", "gzip"];

/// The offset that a group without a committed one starts from: (topic, group, incarnation, partition) → next offset. It is
/// asked on the consumer's own thread and may block. `None`: the oldest record.
pub type StartOffset = Arc<dyn Fn(Topic, &str, u64, u32) -> Option<u64> + Send + Sync>;

/// Settings of the Kafka log.
#[derive(Clone)]
pub struct Options {
    /// Addresses to start from, `host:port,host:port`.
    pub brokers: String,
    /// How this process is called in the brokers' logs, metrics and quotas.
    pub client_id: String,
    /// Comes before the name of every topic and group.
    pub prefix: String,
    /// Partitions of inbound, stored and offline; fixed when the topics are created. `parked` has one.
    pub partitions: u32,
    /// How often the log was repartitioned: it then has topics with names of their own, `parked` excepted.
    pub generation: u32,
    /// Replicas of a topic that is created here.
    pub replication: u16,
    /// How long a topic that is created here keeps records.
    pub retention: Duration,
    /// The largest key and value together.
    pub max_record: usize,
    /// Bytes that may wait for Kafka before appends are refused.
    pub max_buffer_bytes: usize,
    /// Records that may wait for Kafka before appends are refused.
    pub max_buffer_records: usize,
    /// How long a record waits for others to share its request.
    pub linger: Duration,
    /// A consumer's batch starts at once if its last one started this long ago.
    pub batch_spacing: Duration,
    /// `none`, `lz4`, `snappy` or `gzip`.
    pub compression: String,
    /// An append that Kafka has not acknowledged for this long fails; the record may be in the log all the same.
    pub delivery_timeout: Duration,
    /// How long a question to the brokers may take.
    pub request_timeout: Duration,
    /// How long [`close`](magpie_log::MessageLog::close) waits for acknowledgements and commits.
    pub close_timeout: Duration,
    /// A consumer that is not heard of for this long loses its partitions.
    pub session_timeout: Duration,
    /// How often a consumer is heard of.
    pub heartbeat: Duration,
    /// A consumer whose batch takes longer than this loses its partitions.
    pub max_batch_time: Duration,
    /// How often offsets are committed.
    pub commit_interval: Duration,
    /// Bytes of one answer to a fetch, and of the records a consumer has read ahead.
    pub fetch_bytes: usize,
    /// Groups whose backlog is looked at every second: sets the metrics, and the limits below hold for those of inbound.
    pub watched: Vec<(Topic, String)>,
    /// Appends to the inbound topic are refused when a watched group of it has this much uncommitted,
    pub max_backlog_bytes: u64,
    /// or something this old; below half the retention.
    pub max_backlog_age: Duration,
    /// Where a group without a committed offset starts.
    pub start: Option<StartOffset>,
    /// Further properties of librdkafka, for instance `security.protocol`, `sasl.password`. Their values never print.
    pub properties: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            client_id: "magpie".to_owned(),
            prefix: "magpie-".to_owned(),
            partitions: 64,
            generation: 0,
            replication: 3,
            retention: hour * 24,
            max_record: 1 << 20,
            max_buffer_bytes: 8 << 20,
            max_buffer_records: 20_000,
            linger: Duration::from_millis(1),
            batch_spacing: Duration::from_millis(10),
            compression: "none".to_owned(),
            delivery_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(6),
            heartbeat: Duration::from_secs(1),
            max_batch_time: Duration::from_secs(30),
            commit_interval: Duration::from_millis(500),
            fetch_bytes: 4 << 20,
            watched: Vec::new(),
            max_backlog_bytes: 4 << 30,
            max_backlog_age: hour * 11,
            start: None,
            properties: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .field("generation", &self.generation)
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Refuses settings that can't work or would break a promise of the log, without asking a broker. What it says begins with the
    /// name of the setting.
    pub fn check(&self) -> Result<(), String> {
        if self.brokers.is_empty() || !self.brokers.split(',').all(is_address) {
            return Err(format!(
                "brokers is {:?}; it is host:port,host:port",
                self.brokers
            ));
        }
        if self.partitions == 0 || self.replication == 0 {
            return Err("partitions and replication must be at least 1".to_owned());
        }
        if !COMPRESSIONS.contains(&self.compression.as_str()) {
            return Err(format!(
                "compression is {:?}; it is one of {}",
                self.compression,
                COMPRESSIONS.join(", ")
            ));
        }
        if self.max_backlog_age * 2 >= self.retention {
            return Err("max_backlog_minutes must be below half of retention_hours".to_owned());
        }
        if self.batch_spacing >= self.session_timeout {
            return Err("batch_spacing_ms must be below session_timeout_ms".to_owned());
        }
        let ours: Vec<_> = [self.common(), self.of_producer(), self.of_consumer("")].concat();
        for name in self.properties.keys() {
            if ours.iter().any(|(key, _)| key == name) || ALIASES.contains(&name.as_str()) {
                return Err(format!("properties has {name}, which Magpie sets itself"));
            }
        }
        for config in [self.admin(), self.producer(), self.consumer("check")] {
            // The library's text names the property; it does not show values of passwords.
            if let Err(e) = config.create_native_config() {
                return Err(format!("properties: {e}"));
            }
        }
        Ok(())
    }

    fn common(&self) -> Vec<(&'static str, String)> {
        let yes = || "true".to_owned();
        let no = || "false".to_owned();
        vec![
            ("bootstrap.servers", self.brokers.clone()),
            ("client.id", self.client_id.clone()),
            ("message.max.bytes", self.max_message().to_string()),
            (
                "receive.message.max.bytes",
                (self.fetch_max() + (1 << 20)).to_string(),
            ),
            ("socket.keepalive.enable", yes()),
            ("socket.nagle.disable", yes()),
            (
                "socket.connection.setup.timeout.ms",
                millis(self.request_timeout),
            ),
            // A broker that stopped answering is given up, and its leaders looked for, before the appends time out.
            (
                "socket.timeout.ms",
                millis((self.delivery_timeout / 2).max(self.request_timeout)),
            ),
            ("reconnect.backoff.ms", "50".to_owned()),
            ("reconnect.backoff.max.ms", "1000".to_owned()),
            ("allow.auto.create.topics", no()),
            ("log.connection.close", no()),
            ("enable.metrics.push", no()),
        ]
    }

    fn of_producer(&self) -> Vec<(&'static str, String)> {
        vec![
            ("enable.idempotence", "true".to_owned()),
            ("acks", "all".to_owned()),
            ("max.in.flight", "5".to_owned()),
            // The appender gives up itself: see its header.
            ("message.timeout.ms", "0".to_owned()),
            (
                "linger.ms",
                (self.linger.as_secs_f64() * 1000.0).to_string(),
            ),
            ("compression.type", self.compression.clone()),
            (
                "queue.buffering.max.messages",
                self.max_buffer_records.to_string(),
            ),
            (
                "queue.buffering.max.kbytes",
                self.max_buffer_bytes.div_ceil(1024).to_string(),
            ),
        ]
    }

    fn of_consumer(&self, group: &str) -> Vec<(&'static str, String)> {
        vec![
            ("group.id", group.to_owned()),
            ("group.protocol", "classic".to_owned()),
            (
                "partition.assignment.strategy",
                "cooperative-sticky".to_owned(),
            ),
            ("session.timeout.ms", millis(self.session_timeout)),
            ("heartbeat.interval.ms", millis(self.heartbeat)),
            (
                "max.poll.interval.ms",
                millis(self.max_batch_time.max(self.session_timeout)),
            ),
            ("enable.auto.commit", "true".to_owned()),
            ("auto.commit.interval.ms", millis(self.commit_interval)),
            ("enable.auto.offset.store", "false".to_owned()),
            ("auto.offset.reset", "error".to_owned()),
            ("fetch.max.bytes", self.fetch_max().to_string()),
            ("fetch.message.max.bytes", self.max_message().to_string()),
            (
                "queued.max.messages.kbytes",
                self.fetch_bytes.div_ceil(1024).to_string(),
            ),
            // How soon a full read-ahead is looked at again.
            ("fetch.queue.backoff.ms", "10".to_owned()),
        ]
    }

    fn fetch_max(&self) -> usize {
        self.fetch_bytes.max(self.max_message())
    }

    fn config(&self, parts: &[Vec<(&'static str, String)>]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, value) in parts.iter().flatten() {
            config.set(*name, value);
        }
        config
    }

    /// What the administrative client is made of.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.config(&[self.common()])
    }

    /// What a producer is made of.
    pub(crate) fn producer(&self) -> ClientConfig {
        self.config(&[self.common(), self.of_producer()])
    }

    /// What a consumer of this group (as the brokers call it) is made of.
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        self.config(&[self.common(), self.of_consumer(group)])
    }

    /// The name of a topic at the brokers.
    pub(crate) fn topic_name(&self, topic: Topic) -> String {
        let name = topic.name();
        match (topic, self.generation) {
            (Topic::Parked, _) | (_, 0) => format!("{}{name}", self.prefix),
            (_, generation) => format!("{}{name}-{generation}", self.prefix),
        }
    }

    /// The name of a group at the brokers: one per topic, so that groups of two topics don't rebalance each other.
    pub(crate) fn group_name(&self, topic: Topic, group: &str) -> String {
        format!("{}-{group}", self.topic_name(topic))
    }

    /// How many partitions a topic should have.
    pub(crate) fn partitions(&self, topic: Topic) -> u32 {
        match topic {
            Topic::Inbound | Topic::Stored | Topic::Offline => self.partitions,
            Topic::Parked => 1,
        }
    }

    /// What a topic that is made here takes: a little more than clients send.
    pub(crate) fn largest_record_of_topics(&self) -> String {
        (self.max_message() + 1024).to_string()
    }

    /// The largest request that holds one record.
    pub(crate) fn max_message(&self) -> usize {
        self.max_record + RECORD_OVERHEAD
    }
}

fn is_address(broker: &str) -> bool {
    let (host, port) = broker.trim().rsplit_once(':').unwrap_or_default();
    !host.is_empty() && port.parse::<u16>().is_ok()
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_carry_a_promise_are_refused() {
        for name in [
            "acks",
            "auto.offset.reset",
            "delivery.timeout.ms",
            "bootstrap.servers",
        ] {
            let properties = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
            let options = Options {
                properties,
                ..Options::default()
            };
            assert!(options.check().is_err(), "{name}");
        }
        let properties = BTreeMap::from([("sasl.password".to_owned(), "hidden".to_owned())]);
        let options = Options {
            properties,
            ..Options::default()
        };
        options.check().expect("a property of the deployment");
        assert!(!format!("{options:?}").contains("hidden"));
        assert_eq!(options.producer().get("sasl.password"), Some("hidden"));
    }

    #[test]
    fn a_generation_has_topics_and_groups_of_its_own() {
        let of = |generation, topic| {
            let options = Options {
                generation,
                ..Options::default()
            };
            (
                options.topic_name(topic),
                options.group_name(topic, "transfer"),
            )
        };
        let names = |topic: &str| (topic.to_owned(), format!("{topic}-transfer"));
        assert_eq!(of(0, Topic::Inbound), names("magpie-inbound"));
        assert_eq!(of(2, Topic::Inbound), names("magpie-inbound-2"));
        assert_eq!(of(2, Topic::Parked), names("magpie-parked"));
    }
}
