//! The engine against the contract, and what only this engine promises.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod log_size;
#[cfg(test)]
mod opening;
