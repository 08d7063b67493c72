//! Control socket: QMP (QEMU Machine Protocol) server and client. Commands and events have QMP's names where QMP defines
//! them; commands that only pcvm has begin with `x-`.
//!
//! [`Server`] runs on the main loop and never blocks on a client: while a client does not read its replies, the server reads
//! no requests from it. A command that takes long (a screen dump) runs on a thread of its own.

pub mod client;
mod command;
mod pointer;
pub mod press_key;
pub mod qmp;
mod server;
pub mod socket_path;
pub mod typist;

pub use server::{Happened, Server};
