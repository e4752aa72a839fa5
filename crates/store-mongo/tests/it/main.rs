//! The store on real servers.

#[cfg(test)]
mod away;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod growing;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod server;
