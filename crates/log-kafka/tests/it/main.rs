//! The message log on real Kafka brokers: the contract, brokers that fail, members of groups, topics, repartitioning, TLS.

mod brokers;
mod common;
mod conformance;
mod groups;
mod repartition;
mod tls;
mod topics;
