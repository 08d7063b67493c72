//! Buffers of the power-on code in low memory, which is free until a boot sector runs. Stack and statics are below.
//!
//! Boot sectors find conventional memory cleared: [`clear`] clears the buffers, and the entry code in `flat.rs` stack and
//! statics. Only what was written is cleared, because each page that the firmware touches takes host memory.

use crate::Machine;

/// fw_cfg DMA access structure: 16 bytes.
pub const DMA_ACCESS: u32 = 0x7_0000;
/// fw_cfg file directory.
pub const DIRECTORY: u32 = 0x7_0100;
/// Its size in bytes.
pub const DIRECTORY_SIZE: u32 = 0x7f00;
/// Buffer for short items and files.
pub const BUFFER: u32 = 0x7_8000;
/// Its size in bytes.
pub const BUFFER_SIZE: u32 = 0x7000;
/// Start-up code of the application processors: one page.
pub const TRAMPOLINE: u32 = 0x7_f000;
/// Script of the table loader.
pub const SCRIPT: u32 = 0x8_0000;
/// Its size in bytes.
pub const SCRIPT_SIZE: u32 = 0x1_f000;

/// Clears the DMA access structure, the first `directory` bytes of the file directory, the part of the buffer that short
/// items use, and the start-up code. The users of longer items and of the script clear them.
pub fn clear<M: Machine>(machine: &mut M, directory: u32) {
    const SHORT: u32 = 16;
    machine.fill(DMA_ACCESS, 0, 16);
    machine.fill(DIRECTORY, 0, directory.min(DIRECTORY_SIZE));
    machine.fill(BUFFER, 0, SHORT);
    machine.fill(TRAMPOLINE, 0, 0x1000);
}
