//! NBD client: a drive whose bytes are on another host, or in another process of this one (NetworkBlockDevice/nbd,
//! doc/proto.md).
//!
//! Speaks fixed newstyle negotiation with STARTTLS, GO, block sizes and structured replies; READ, WRITE, FLUSH, TRIM and
//! WRITE_ZEROES. Every method blocks; callers are worker threads. Changes and flushes use one connection, reads further
//! ones if the server allows several and the first is busy.
//!
//! When a connection is lost, requests wait for a new one, up to `reconnect` seconds, and are then executed again. **A flush
//! succeeds only if every write acknowledged before it is on stable storage**, and a read gives what was acknowledged last,
//! also if the server was killed and has lost it: writes that no flush has followed are kept in `replay::ReplayLog` and
//! written again before anything else. Two limits are the protocol's: a server without FLUSH promises nothing, and a write
//! that hangs in a lost connection to a server that lives on may be executed after its repetition.
//!
//! Deliberately missing: oldstyle negotiation, extended headers, metadata contexts, resizing; more than one request at a
//! time per connection (IDE has a queue depth of one).

mod client;
mod connect;
mod connection;
mod error;
mod fuzz;
mod interrupt;
mod io;
mod link;
mod negotiate;
mod outage;
mod replay;
mod tls;
mod wire;

#[cfg(test)]
pub(super) mod tests;

pub use client::NbdClient;
pub use error::NbdError;
#[doc(hidden)]
pub use fuzz::fuzz;
pub use interrupt::Interrupt;
