//! What gateways must learn even when nobody reaches them.

crate::document! {
    /// Deliveries that push has given up for one incarnation of a gateway. The gateway reads it at every renewal of its presence;
    /// when it rose, its clients have to synchronise. Deleted when the gateway stops.
    pub struct Missed in "missed_deliveries", revision rev {
        /// Instance id of the gateway.
        pub gateway_id: String,
        /// Batches given up.
        pub count: i64,
        /// Revision.
        pub rev: i64,
    }
    key [gateway_id];
}
