//! The control socket: how programs speak to a running machine, in QMP's wire format, with QMP's names for commands and
//! events as far as it has any. Commands of pcvm's own begin with `x-`.
//!
//! [`Server`] is a part of the main loop: it never waits for a client, and a client that does not read is not read from
//! either. What takes long (a screen dump) runs on a thread for as long as it lasts.

pub mod client;
mod command;
mod pointer;
pub mod press_key;
pub mod qmp;
mod server;
pub mod typist;

pub use server::{Happened, Server};
