//! End-to-end tests against a real `magpie up`.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod trace;
