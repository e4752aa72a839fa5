//! What an acknowledgement is worth with the settings of a topic, and settings that Magpie can't work with.
//!
//! Kafka acknowledges a record when the in-sync replicas have it in memory (the page cache); it does not wait for the disk.
//! A process may die then, a machine may not: with one replica, or with two of which one may be out of sync, a power cut
//! loses acknowledged messages. Three replicas of which two must have the record, or a flush per record, close that gap.

use magpie_log::{LogError, Result};

use crate::options::Options;

/// Looks at a topic's settings: an error when the log can't work with them, a warning each for what makes it less than safe.
pub(crate) fn check<'a>(
    name: &str,
    get: impl Fn(&str) -> Option<&'a str>,
    replication: u32,
    options: &Options,
) -> Result<Vec<String>> {
    let number = |key| get(key).and_then(|value| value.parse::<i64>().ok());
    let refuse = |why: String| Err(LogError::Damaged(format!("topic {name}: {why}")));
    if get("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        return refuse("cleanup.policy must be delete; compaction removes messages".to_owned());
    }
    let max = i64::try_from(options.max_message()).unwrap_or(i64::MAX);
    if number("max.message.bytes").is_some_and(|found| found < max) {
        return refuse(format!(
            "max.message.bytes must be at least {max}, or kafka.max_record_bytes smaller"
        ));
    }
    let in_sync = number("min.insync.replicas").unwrap_or(1);
    if in_sync > i64::from(replication) {
        return refuse(format!(
            "min.insync.replicas is {in_sync} and a partition has {replication} replicas: no record would ever be taken"
        ));
    }
    let mut warnings = Vec::new();
    let mut warn = |why: String| warnings.push(format!("topic {name}: {why}"));
    let flushed = number("flush.messages") == Some(1);
    if (replication < 3 || in_sync < 2) && !flushed {
        warn(format!(
            "{replication} replicas, min.insync.replicas {in_sync}: Kafka acknowledges what is in the page cache, so the power cut \
             of one machine can lose acknowledged messages. Use 3 replicas with min.insync.replicas=2, or flush.messages=1"
        ));
    }
    if get("unclean.leader.election.enable") == Some("true") {
        warn(
            "unclean.leader.election.enable=true can lose acknowledged messages; set it to false"
                .to_owned(),
        );
    }
    if get("message.timestamp.type").is_some_and(|kind| kind != "LogAppendTime") {
        warn("message.timestamp.type should be LogAppendTime: ages are taken from the senders' clocks".to_owned());
    }
    let least = i64::try_from(options.max_backlog_age.as_millis() * 2).unwrap_or(i64::MAX);
    if number("retention.ms").is_some_and(|found| (0..least).contains(&found)) {
        warn(format!(
            "retention.ms should be at least {least}, twice kafka.max_backlog_minutes: records may go before they are processed"
        ));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: [(&str, &str); 5] = [
        ("cleanup.policy", "delete"),
        ("max.message.bytes", "2000000"),
        ("min.insync.replicas", "2"),
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.ms", "86400000"),
    ];

    fn check_with(change: (&str, &str), replication: u32) -> Result<Vec<String>> {
        let get = |key: &str| {
            let safe = SAFE.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
            if key == change.0 {
                Some(change.1)
            } else {
                safe
            }
        };
        check("t", get, replication, &Options::default())
    }

    #[test]
    fn safe_settings_pass_in_silence() {
        assert_eq!(check_with(("", ""), 3).expect("safe").len(), 0);
        assert_eq!(
            check_with(("flush.messages", "1"), 2).expect("safe").len(),
            0
        );
    }

    #[test]
    fn settings_that_lose_messages_are_told() {
        for (change, replication) in [
            (("", ""), 2),
            (("min.insync.replicas", "1"), 3),
            (("unclean.leader.election.enable", "true"), 3),
            (("message.timestamp.type", "CreateTime"), 3),
            (("retention.ms", "60000"), 3),
        ] {
            assert_eq!(
                check_with(change, replication).expect("works").len(),
                1,
                "{change:?}"
            );
        }
    }

    #[test]
    fn settings_that_can_not_work_are_refused() {
        for (change, replication) in [
            (("cleanup.policy", "compact"), 3),
            (("max.message.bytes", "1000"), 3),
            (("", ""), 1),
        ] {
            assert!(check_with(change, replication).is_err(), "{change:?}");
        }
    }
}
