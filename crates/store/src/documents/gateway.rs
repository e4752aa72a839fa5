//! What gateways must learn even when nobody reaches them.

crate::document! {
    /// Deliveries that push has given up for one incarnation of a gateway. The gateway makes it, and reads it at every renewal of its
    /// presence; when it rose or is gone, its clients have to synchronise. Deleted when the gateway stops, and by another one a day
    /// after it was last seen.
    pub struct Missed in "missed_deliveries", revision rev {
        /// Instance id of the gateway.
        pub gateway_id: String,
        /// Batches given up.
        pub count: i64,
        /// Revision.
        pub rev: i64,
        /// When the gateway was last there, ms; noted every hour.
        pub seen_at: i64,
    }
    key [gateway_id];
    index by_seen [seen_at];
}
