//! Low memory that the power-on code uses while nothing else does. Its stack and statics lie below.

/// What a fw_cfg transfer is described by: 16 bytes.
pub const TRANSFER: u32 = 0x7_0000;
/// fw_cfg's directory.
pub const DIRECTORY: u32 = 0x7_0100;
/// Bytes for it.
pub const DIRECTORY_SIZE: u32 = 0x7f00;
/// What is read and looked at once.
pub const BUFFER: u32 = 0x7_8000;
/// Bytes for it.
pub const BUFFER_SIZE: u32 = 0x7000;
/// What other processors run first: a page of its own.
pub const TRAMPOLINE: u32 = 0x7_f000;
/// The table loader's script.
pub const SCRIPT: u32 = 0x8_0000;
/// Bytes for it.
pub const SCRIPT_SIZE: u32 = 0x1_f000;
