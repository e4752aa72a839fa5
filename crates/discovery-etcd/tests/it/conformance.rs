//! The contract of the registry.

use crate::world::{ETCD, World};

magpie_discovery::conformance_tests!(World::new(&ETCD));
magpie_discovery::conformance_tests!(several: World::new(&ETCD));
