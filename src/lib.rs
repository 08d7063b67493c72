//! pcvm: a virtual machine monitor that is a whole classic PC.

pub mod block;
pub mod board;
pub mod chardev;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod display;
pub mod emulator;
pub mod error;
pub mod image;
pub mod key_pacing;
pub mod keys;
pub mod kvm;
pub mod machine;
pub mod net;
pub mod screen;
pub mod socket_path;
pub mod tables;
pub mod tablet;
mod tty;
pub mod vnc;
