//! The gateway over real sockets, with the services around it made by hand.

#[cfg(test)]
mod connections;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod missed;
#[cfg(test)]
mod world;
