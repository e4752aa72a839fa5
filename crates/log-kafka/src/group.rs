//! The group protocol's callbacks: partitions come with the offset they start at, and go once what they did is committed.
//!
//! Everything here runs on the reader's thread, inside its poll.

use std::{sync::Arc, time::Duration};

use magpie_types::time::now_ms;
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};

use crate::{
    consumer::{Member, Owned},
    context,
    offsets::Asking,
    options::{Options, StartOffset},
    start::{Committed, Start, Why, decide},
};

const PAUSE: Duration = Duration::from_millis(200);
/// How far a group goes back in a log that lost its newest records: more than a batch takes, and clocks differ.
const GO_BACK_MS: i64 = 10 * 60 * 1000;

/// The context of a group's consumer.
pub(crate) struct Group {
    pub(crate) member: Arc<Member>,
    start: Option<StartOffset>,
    timeout: Duration,
}

impl Group {
    pub(crate) fn new(member: Arc<Member>, options: &Options) -> Self {
        Self {
            member,
            start: options.start.clone(),
            timeout: options.request_timeout,
        }
    }

    fn asking<'a>(&'a self, consumer: &'a BaseConsumer<Self>) -> Asking<'a, Self> {
        Asking {
            consumer,
            topic: &self.member.topic,
            timeout: self.timeout,
        }
    }

    /// Where these partitions start.
    fn starts(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &[u32],
    ) -> KafkaResult<Vec<(u32, Start)>> {
        let asking = self.asking(consumer);
        let committed = asking.committed(partitions)?;
        let (oldest, ends) = (asking.oldest(partitions)?, asking.ends(partitions)?);
        let state = self.member.topic.state;
        let start = |partition: &u32| {
            let oldest = oldest.get(partition).copied().unwrap_or(0);
            let end = ends.get(partition).copied().unwrap_or(oldest);
            let applied = || {
                let ask = self.start.as_ref()?;
                ask(
                    state.topic,
                    &self.member.group,
                    state.incarnation,
                    *partition,
                )
            };
            let committed = committed.get(partition).copied();
            let mut start = decide(committed, state.incarnation, oldest, end, applied);
            if start.why == Why::BeyondEnd {
                let at = committed.and_then(|c| c.at).unwrap_or(0);
                start.offset = self.since(&asking, *partition, at)?.unwrap_or(end);
            }
            self.tell(*partition, committed.map(|c| c.offset), start);
            Ok((*partition, start))
        };
        partitions.iter().map(start).collect()
    }

    /// The first offset of a log that lost its end which may be new since this time.
    fn since(
        &self,
        asking: &Asking<'_, Self>,
        partition: u32,
        at: i64,
    ) -> KafkaResult<Option<u64>> {
        let found = asking.since(&[partition], at.saturating_sub(GO_BACK_MS).max(0))?;
        Ok(found.get(&partition).copied())
    }

    /// Logs and counts a start that is not the committed offset.
    fn tell(&self, partition: u32, was: Option<u64>, start: Start) {
        let (topic, group) = (self.member.topic.name.as_str(), self.member.group.as_str());
        let Start { offset, why } = start;
        match why {
            Why::Committed => return,
            // A new topic: nothing to say about each of its partitions.
            Why::Oldest if offset == 0 => {}
            Why::Applied | Why::Oldest => {
                tracing::info!(
                    topic,
                    group,
                    partition,
                    offset,
                    why = why.name(),
                    "a partition without a committed offset starts"
                );
            }
            Why::Expired | Why::BeyondEnd | Why::MadeAnew => {
                tracing::error!(
                    topic,
                    group,
                    partition,
                    was,
                    offset,
                    why = why.name(),
                    "a partition can't go on where it was; records are missing from the log"
                );
            }
        }
        self.member.topic.metrics.offset_reset(why.name());
    }

    /// Hands the offsets that were committed since the last time to librdkafka, which sends them in its interval and before
    /// it gives a partition away.
    pub(crate) fn store_commits(&self, consumer: &BaseConsumer<Self>) {
        let due: Vec<(u32, u64)> = self.member.with_owned(|owned| {
            let due = owned.iter_mut().filter(|(_, o)| !o.told);
            let due = due.filter_map(|(partition, o)| Some((*partition, o.committed?)));
            due.collect()
        });
        if due.is_empty() {
            return;
        }
        let metadata = Committed::metadata(self.member.topic.state.incarnation, now_ms());
        let mut list = TopicPartitionList::with_capacity(due.len());
        for (partition, next) in &due {
            let mut element = list.add_partition(&self.member.topic.name, partition.cast_signed());
            element.set_metadata(&metadata);
            let offset = Offset::Offset(i64::try_from(*next).unwrap_or(i64::MAX));
            if let Err(e) = element.set_offset(offset) {
                tracing::error!(error = %e, "an offset can't be committed");
            }
        }
        if let Err(e) = consumer.store_offsets(&list) {
            // Lost a moment ago; the callback that says so is still to come.
            self.member
                .topic
                .metrics
                .not_owned
                .increment(due.len() as u64);
            tracing::debug!(error = %e, "offsets of partitions that are gone");
        }
        self.member.with_owned(|owned| {
            for (partition, _) in due {
                if let Some(o) = owned.get_mut(&partition) {
                    o.told = true;
                }
            }
        });
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        let partitions = partitions(list);
        // Without the offsets nothing can start, so this waits for the brokers.
        while !partitions.is_empty() && !self.member.closing() {
            let placed = self.starts(consumer, &partitions).and_then(|starts| {
                for (partition, start) in &starts {
                    list.set_partition_offset(
                        &self.member.topic.name,
                        partition.cast_signed(),
                        place(start.offset),
                    )?;
                }
                Ok(starts)
            });
            match placed {
                Ok(starts) => {
                    self.member.with_owned(|owned| {
                        owned.extend(
                            starts
                                .iter()
                                .map(|(partition, start)| (*partition, owned_from(*start))),
                        );
                    });
                    break;
                }
                Err(e) => {
                    tracing::warn!(error = %e, "offsets can't be read; trying again");
                    std::thread::sleep(PAUSE);
                }
            }
        }
        if let Err(e) = consumer.incremental_assign(list) {
            tracing::error!(error = %e, "partitions can't be taken");
        }
        self.changed("assigned", &partitions);
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions = partitions(list);
        let event = if consumer.assignment_lost() {
            "lost"
        } else {
            "revoked"
        };
        self.store_commits(consumer);
        self.member
            .with_owned(|owned| owned.retain(|partition, _| !partitions.contains(partition)));
        if let Err(e) = consumer.incremental_unassign(list) {
            tracing::error!(error = %e, "partitions can't be given back");
        }
        self.changed(event, &partitions);
    }

    fn changed(&self, event: &'static str, partitions: &[u32]) {
        if partitions.is_empty() {
            return;
        }
        let owned = self.member.with_owned(|owned| owned.len());
        let metrics = &self.member.topic.metrics;
        metrics.rebalanced(event);
        metrics
            .owned
            .set(f64::from(u32::try_from(owned).unwrap_or(u32::MAX)));
        let topic = self.member.topic.name.as_str();
        tracing::info!(
            topic,
            group = self.member.group,
            ?partitions,
            owned,
            "partitions {event}"
        );
    }

    /// Starts all partitions again after librdkafka found an offset outside the log and stopped reading that partition (it
    /// does not say which): where they stand, if the log has that, else where [`decide`] says.
    pub(crate) fn reposition(&self, consumer: &BaseConsumer<Self>) -> KafkaResult<()> {
        let owned = self.member.with_owned(|owned| owned.clone());
        let partitions: Vec<u32> = owned.keys().copied().collect();
        let asking = self.asking(consumer);
        let (oldest, ends) = (asking.oldest(&partitions)?, asking.ends(&partitions)?);
        let standing = consumer.position()?;
        let incarnation = self.member.topic.state.incarnation;
        let mut targets = Vec::new();
        for (partition, place) in owned {
            let found = standing.find_partition(&self.member.topic.name, partition.cast_signed());
            let at = match found.map(|element| element.offset()) {
                Some(Offset::Offset(at)) => u64::try_from(at).unwrap_or(place.start),
                _ => place.start,
            };
            let oldest = oldest.get(&partition).copied().unwrap_or(0);
            let end = ends.get(&partition).copied().unwrap_or(oldest);
            let here = Committed {
                offset: at,
                incarnation: Some(incarnation),
                at: Some(now_ms()),
            };
            let mut start = decide(Some(here), incarnation, oldest, end, || None);
            if start.why == Why::BeyondEnd {
                start.offset = self.since(&asking, partition, now_ms())?.unwrap_or(end);
            }
            self.tell(partition, Some(at), start);
            targets.push((partition, start));
        }
        let places = targets
            .iter()
            .map(|(partition, start)| (*partition, place(start.offset)));
        let list = asking.list(places)?;
        // A seek does not reach a partition that is not read any more.
        consumer.incremental_unassign(&list)?;
        consumer.incremental_assign(&list)?;
        self.member.with_owned(|owned| {
            let moved = targets
                .iter()
                .filter(|(_, start)| start.why != Why::Committed);
            owned.extend(moved.map(|(partition, start)| (*partition, owned_from(*start))));
        });
        Ok(())
    }
}

/// A place that only the caller knew is committed at once: nobody would until the next record, and the group would look behind.
fn owned_from(start: Start) -> Owned {
    let untold = start.why == Why::Applied;
    Owned {
        start: start.offset,
        committed: untold.then_some(start.offset),
        told: !untold,
    }
}

fn place(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

fn partitions(list: &TopicPartitionList) -> Vec<u32> {
    list.elements()
        .iter()
        .filter_map(|element| u32::try_from(element.partition()).ok())
        .collect()
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        context::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::error(&error, reason);
    }
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, list),
            _ => self.revoked(consumer, list),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(e) = result {
            metrics::counter!("magpie_log_commit_failed_total").increment(1);
            tracing::warn!(topic = self.member.topic.name, error = %e, "offsets could not be committed; they are with the next commit");
        }
    }
}
