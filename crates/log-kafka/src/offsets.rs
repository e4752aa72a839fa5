//! Questions about offsets: what a group has committed, where a partition begins and ends, what is newer than a time.
//!
//! A partition has no leader for a moment after its topic was made and when a broker goes, and a group no coordinator: such
//! questions are asked again, within the timeout, after a look for new leaders.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use crate::{start::Committed, topic::TopicHandle};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks for a topic by a consumer of the group.
pub(crate) struct Asking<'a, C: ConsumerContext> {
    pub(crate) consumer: &'a BaseConsumer<C>,
    pub(crate) topic: &'a TopicHandle,
    pub(crate) timeout: Duration,
}

impl<C: ConsumerContext> Asking<'_, C> {
    /// What the group has committed of these partitions.
    pub(crate) fn committed(&self, partitions: &[u32]) -> KafkaResult<BTreeMap<u32, Committed>> {
        let list = self.list(partitions.iter().map(|p| (*p, Offset::Invalid)))?;
        let found = self.ask(|timeout| self.consumer.committed_offsets(list.clone(), timeout))?;
        let offsets = numbers(&found);
        let committed = offsets
            .map(|(partition, offset, metadata)| (partition, Committed::parse(offset, &metadata)));
        Ok(committed.collect())
    }

    /// The oldest offset of each partition that is still there.
    pub(crate) fn oldest(&self, partitions: &[u32]) -> KafkaResult<BTreeMap<u32, u64>> {
        self.all_at(partitions, Offset::Beginning)
    }

    /// The next offset of each partition.
    pub(crate) fn ends(&self, partitions: &[u32]) -> KafkaResult<BTreeMap<u32, u64>> {
        self.all_at(partitions, Offset::End)
    }

    /// The first offset of each partition that the log took at this time (Unix ms) or later; none where nothing is that new.
    pub(crate) fn since(&self, partitions: &[u32], time: i64) -> KafkaResult<BTreeMap<u32, u64>> {
        self.at(partitions, Offset::Offset(time))
    }

    /// Every partition has an oldest offset and an end.
    fn all_at(&self, partitions: &[u32], what: Offset) -> KafkaResult<BTreeMap<u32, u64>> {
        let offsets = self.at(partitions, what)?;
        match partitions
            .iter()
            .all(|partition| offsets.contains_key(partition))
        {
            true => Ok(offsets),
            false => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset)),
        }
    }

    /// One request for each broker that leads some of the partitions.
    fn at(&self, partitions: &[u32], what: Offset) -> KafkaResult<BTreeMap<u32, u64>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let list = self.list(partitions.iter().map(|p| (*p, what)))?;
        let found = self.ask(|timeout| self.consumer.offsets_for_times(list.clone(), timeout))?;
        Ok(numbers(&found)
            .map(|(partition, offset, _)| (partition, offset))
            .collect())
    }

    /// Asks until the answer does not change by waiting, or the time is over.
    fn ask(
        &self,
        question: impl Fn(Duration) -> KafkaResult<TopicPartitionList>,
    ) -> KafkaResult<TopicPartitionList> {
        let started = Instant::now();
        loop {
            let left = self.timeout.saturating_sub(started.elapsed());
            let answer = question(left.max(PAUSE)).and_then(|list| {
                list.elements()
                    .iter()
                    .try_for_each(|element| element.error())?;
                Ok(list)
            });
            match answer {
                Err(e) if passes(&e) && left > PAUSE => {
                    thread::sleep(PAUSE);
                    self.look_for_leaders(left);
                }
                answer => return answer,
            }
        }
    }

    /// Has librdkafka learn the leaders anew. By itself it keeps what it was told of a partition for minutes, and has no leader for it
    /// as long as that names a broker which it has forgotten because it was away.
    fn look_for_leaders(&self, timeout: Duration) {
        let client = self.consumer.client();
        if let Err(e) = client.fetch_metadata(Some(&self.topic.name), timeout) {
            tracing::debug!(error = %e, topic = self.topic.name, "leaders can't be asked for");
        }
    }

    pub(crate) fn list(
        &self,
        offsets: impl Iterator<Item = (u32, Offset)>,
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&self.topic.name, partition.cast_signed(), offset)?;
        }
        Ok(list)
    }
}

/// The elements that have an offset: partition, offset, metadata.
fn numbers(list: &TopicPartitionList) -> impl Iterator<Item = (u32, u64, String)> {
    list.elements().into_iter().filter_map(|element| {
        let Offset::Offset(offset) = element.offset() else {
            return None;
        };
        let partition = u32::try_from(element.partition()).ok()?;
        Some((
            partition,
            u64::try_from(offset).ok()?,
            element.metadata().to_owned(),
        ))
    })
}

/// Leaders and coordinators that are being chosen.
fn passes(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::OffsetNotAvailable
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::WaitingForCoordinator
                | RDKafkaErrorCode::BrokerTransportFailure
        )
    )
}
