//! Questions about offsets: what a group has committed, where a partition begins and ends, what is newer than a time.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaResult,
};

use crate::{start::Committed, topic::TopicHandle};

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
        let found = self.consumer.committed_offsets(list, self.timeout)?;
        let mut committed = BTreeMap::new();
        for element in found.elements() {
            element.error()?;
            if let (Ok(partition), Some(offset)) =
                (u32::try_from(element.partition()), number(element.offset()))
            {
                committed.insert(partition, Committed::parse(offset, element.metadata()));
            }
        }
        Ok(committed)
    }

    /// The oldest offset of each partition that is still there.
    pub(crate) fn oldest(&self, partitions: &[u32]) -> KafkaResult<BTreeMap<u32, u64>> {
        self.at(partitions, Offset::Beginning)
    }

    /// The next offset of each partition.
    pub(crate) fn ends(&self, partitions: &[u32]) -> KafkaResult<BTreeMap<u32, u64>> {
        self.at(partitions, Offset::End)
    }

    /// The first offset of each partition that the log took at this time (Unix ms) or later; none where nothing is that new.
    pub(crate) fn since(&self, partitions: &[u32], time: i64) -> KafkaResult<BTreeMap<u32, u64>> {
        self.at(partitions, Offset::Offset(time))
    }

    /// One request for each broker that leads some of the partitions.
    fn at(&self, partitions: &[u32], what: Offset) -> KafkaResult<BTreeMap<u32, u64>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let list = self.list(partitions.iter().map(|p| (*p, what)))?;
        let found = self.consumer.offsets_for_times(list, self.timeout)?;
        let mut offsets = BTreeMap::new();
        for element in found.elements() {
            element.error()?;
            if let (Ok(partition), Some(offset)) =
                (u32::try_from(element.partition()), number(element.offset()))
            {
                offsets.insert(partition, offset);
            }
        }
        Ok(offsets)
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

fn number(offset: Offset) -> Option<u64> {
    match offset {
        Offset::Offset(offset) => u64::try_from(offset).ok(),
        _ => None,
    }
}
