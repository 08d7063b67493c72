//! Buffers of the power-on code in low memory, which is free until a boot sector runs. Stack and statics are below.

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
