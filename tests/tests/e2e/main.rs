//! End-to-end tests against real processes, on embedded engines or (`MAGPIE_TEST_ENGINES=cluster`) as a cluster.

#[cfg(test)]
mod authority;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod disks;
#[cfg(test)]
mod drains;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod encodings;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod hostile_frames;
#[cfg(test)]
mod hostile_requests;
#[cfg(test)]
mod hostile_rest;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod resends;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod trace;
