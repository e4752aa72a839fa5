//! The wire contract seen from outside: descriptors against the tables in `contract/`, the JSON form of every message,
//! hostile input.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod json;
#[cfg(test)]
mod sample;
