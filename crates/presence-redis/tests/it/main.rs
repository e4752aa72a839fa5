//! Presence on real Redis servers.

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod world;
