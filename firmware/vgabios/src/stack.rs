//! Stacks of the VGA BIOS: part of the extended BIOS data area (EBDA), one stack for each nesting level.
//!
//! Programs call INT 10h with little stack: Windows 1.01 has about 220 bytes for a mode set, and boot sectors keep code just
//! below theirs. So a call uses 16 bytes of the caller's stack and the rest here. The system BIOS reserves the space and
//! writes [`MARK`] (`VIDEO_STACK` in `rt/src/ebda.rs`). The EBDA is found through 40:0Eh at each call, because DOS may
//! move it. Where the mark is missing, the call runs on the caller's stack: under another system BIOS, and in an x86
//! interpreter whose memory below 640 KiB is a copy or absent. The stack is not in segment E000h, which the interpreter of
//! Windows Vista takes for ROM.
//!
//! Interrupts are disabled on an own stack, because a handler may switch to another task or never return.
//! [`crate::Hw::let_interrupts_in`] serves them on the caller's stack. A handler that then calls INT 10h gets the next
//! stack, and the caller's own if all are busy.

/// Offset of [`MARK`] in the EBDA.
pub const MARK_AT: u16 = 0x30;
/// "vstk": the EBDA has the stacks.
pub const MARK: u32 = u32::from_le_bytes(*b"vstk");
/// Offset in the EBDA of a byte for each stack: 1 while it is in use.
pub const BUSY: u16 = 0x34;
/// Number of stacks.
pub const COUNT: u16 = 3;
/// Offset of the first stack in the EBDA.
pub const FIRST: u16 = 0x40;
/// Bytes of a stack.
pub const SIZE: u16 = 0x140;

const _: () = assert!(BUSY + COUNT <= FIRST && FIRST + COUNT * SIZE <= 0x400, "the stacks exceed the EBDA of 1 KiB");
