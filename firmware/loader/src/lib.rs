//! Kernel loader: the option ROM that starts the kernel of `--kernel` after power-on, when the BIOS is ready.
//!
//! It takes kernel, command line and initial RAM disk from fw_cfg (QEMU's `docs/specs/fw_cfg.rst`, keys 07h to 18h), which
//! copies them to any address below 4 GiB. A Linux kernel then starts with its own 16-bit setup code, which calls the
//! BIOS for the memory map, the video mode and the disks (Documentation/arch/x86/boot.rst). Kernels of the
//! Multiboot Specification (0.6.96) and of PVH (Xen, docs/misc/pvh.pandoc) start in 32-bit mode with what these
//! specifications make a boot loader collect.
//!
//! ## Memory
//! | address | contents |
//! |---|---|
//! | 01000h | this code and its data, in one segment; its stack ends at 7C00h |
//! | 07C00h | buffers, see `fw_cfg` and `e820` |
//! | 08000h | boot information for Multiboot and PVH, up to FFF0h |
//! | 10000h | free for the kernel, up to the extended BIOS data area |

#![cfg_attr(rom, no_std)]
#![forbid(unsafe_code)]

mod apm;
mod e820;
mod fw_cfg;
mod info;
mod linux;
mod multiboot;
mod pvh;
#[cfg(test)]
mod tests;
mod video;

use pcvm_firmware_rt::{Hw, Regs};

/// Size of the parameter block, which pcvm patches at offset 60h of the ROM.
pub const PARAMETERS: usize = 32;

/// How the kernel is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// In real mode at `segment + 20h`:0, with all data segments and the stack in `segment`.
    Setup {
        /// Segment of the setup code.
        segment: u16,
        /// SP.
        stack: u16,
    },
    /// In 32-bit protected mode with flat segments.
    Flat {
        /// EIP.
        address: u32,
        /// EAX.
        eax: u32,
        /// EBX.
        ebx: u32,
    },
}

/// The parameter block: dwords in little-endian order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parameters {
    /// [`KIND_LINUX`], [`KIND_MULTIBOOT`] or [`KIND_PVH`].
    kind: u32,
    /// Linux: the lowest address of the initial RAM disk.
    floor: u32,
    /// Multiboot: the video mode that the kernel's header requests.
    video: video::Request,
}

const KIND_LINUX: u32 = 0;
const KIND_MULTIBOOT: u32 = 1;
const KIND_PVH: u32 = 2;

impl Parameters {
    fn new(block: &[u8; PARAMETERS]) -> Self {
        let (words, _) = block.as_chunks::<4>();
        let word = |n: usize| words.get(n).map_or(0, |word| u32::from_le_bytes(*word));
        let video =
            video::Request { given: word(2) != 0, text: word(3) == 1, width: word(4), height: word(5), depth: word(6) };
        Self { kind: word(0), floor: word(1), video }
    }
}

/// Loads the kernel.
///
/// # Errors
/// A message for the screen.
pub fn load<H: Hw>(hw: &mut H, parameters: &[u8; PARAMETERS]) -> Result<Entry, &'static str> {
    let parameters = Parameters::new(parameters);
    match parameters.kind {
        KIND_LINUX => linux::load(hw, parameters.floor),
        KIND_MULTIBOOT => multiboot::load(hw, parameters.video),
        KIND_PVH => pvh::load(hw),
        _ => Err("unknown kind of kernel"),
    }
}

/// Writes why the kernel does not start.
pub fn report<H: Hw>(hw: &mut H, why: &str) {
    for byte in "  kernel loader: ".bytes().chain(why.bytes()).chain("\r\n".bytes()) {
        let mut regs = Regs::with_ax(0x0e00 | u16::from(byte));
        regs.set_bx(7);
        hw.call_interrupt(0x10, &mut regs);
    }
}
