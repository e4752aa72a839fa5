//! What the store remembers of a message log that lives elsewhere, so that a log that was made anew, or a group whose offsets were
//! lost, is noticed.

crate::document! {
    /// A topic as it was at the last start. That of the inbound topic decides for all: which generation of topics is in use, and
    /// whether a repartition is under way.
    pub struct LogTopic in "log_topics", revision rev {
        /// Name of the topic.
        pub topic: String,
        /// Partitions; fixed when the topic was made.
        pub partitions: u32,
        /// Incarnation (bits of an u64).
        pub incarnation: i64,
        /// Revision.
        pub rev: i64,
        /// How often the log was repartitioned; part of the topic's name.
        pub generation: u32,
        /// Partitions it is about to have, 0 if none: while a repartition is not finished nothing starts.
        pub moving_to: u32,
    }
    key [topic];
}

crate::document! {
    /// How far a consumer group has applied a partition, written every second: where the group starts when the log has lost its
    /// committed offset.
    pub struct AppliedOffset in "applied_offsets" {
        /// Name of the topic.
        pub topic: String,
        /// Consumer group.
        pub consumer: String,
        /// Incarnation of the topic (bits of an u64).
        pub incarnation: i64,
        /// Partition.
        pub partition: u32,
        /// The next record.
        pub next: i64,
    }
    key [topic, consumer, incarnation, partition];
}
