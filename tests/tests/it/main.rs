//! End-to-end tests against a real `magpie up`.

#[cfg(test)]
mod disks;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod resends;
