//! End-to-end tests against a real `magpie up`.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod disks;
#[cfg(test)]
mod drains;
#[cfg(test)]
mod durability;
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
mod trace;
