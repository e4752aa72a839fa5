//! The registry on a real etcd: the contract, faults of etcd, faults of instances, and who calls.

mod calls;
mod conformance;
mod faults;
mod identity;
mod world;
