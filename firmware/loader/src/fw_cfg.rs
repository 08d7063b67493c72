//! fw_cfg client (QEMU's `docs/specs/fw_cfg.rst`): items by DMA to physical addresses.

use pcvm_firmware_rt::{FarPtr, Hw};

/// Low half of the DMA address register, big-endian; the write starts the transfer.
const DMA_LOW: u16 = 0x518;
const CONTROL_ERROR: u32 = 1 << 0;
const CONTROL_READ: u32 = 1 << 1;
const CONTROL_SELECT: u32 = 1 << 3;
/// Limit of polls of a transfer's control word. Known hosts complete the transfer within the port access.
const MAX_POLLS: u32 = 1_000_000;

/// The FWCfgDmaAccess structure.
const ACCESS: FarPtr = FarPtr::new(0x7c0, 0);
/// Buffer for a dword.
const VALUE: FarPtr = FarPtr::new(0x7c0, 16);

/// Keys of the items that describe a kernel.
pub mod key {
    /// u32: entry of a kernel that is not Linux'.
    pub const KERNEL_ENTRY: u16 = 0x10;
    /// Address, size and content of the protected-mode kernel.
    pub const KERNEL: [u16; 3] = [0x07, 0x08, 0x11];
    /// The same of the initial RAM disk, or of all modules.
    pub const INITRD: [u16; 3] = [0x0a, 0x0b, 0x12];
    /// The same of the command line.
    pub const COMMAND_LINE: [u16; 3] = [0x13, 0x14, 0x15];
    /// The same of Linux' setup code, or of the boot information.
    pub const SETUP: [u16; 3] = [0x16, 0x17, 0x18];
}

/// Copies the first `bytes` bytes of an item to physical address `to`.
pub fn read<H: Hw>(hw: &mut H, key: u16, to: u32, bytes: u32) -> Result<(), &'static str> {
    const FAILED: &str = "fw_cfg cannot copy the kernel";
    let control = u32::from(key) << 16 | CONTROL_SELECT | CONTROL_READ;
    for (offset, word) in [(0, control), (4, bytes), (8, 0), (12, to)] {
        hw.write32(ACCESS.add(offset), word.swap_bytes());
    }
    hw.outl(DMA_LOW, ACCESS.linear().swap_bytes());
    for _ in 0..MAX_POLLS {
        match hw.read32(ACCESS).swap_bytes() {
            0 => return Ok(()),
            control if control & CONTROL_ERROR != 0 => return Err(FAILED),
            _ => {}
        }
    }
    Err(FAILED)
}

/// A little-endian dword.
pub fn word<H: Hw>(hw: &mut H, key: u16) -> Result<u32, &'static str> {
    read(hw, key, VALUE.linear(), 4)?;
    Ok(hw.read32(VALUE))
}

/// Copies the item with these three keys to its address. Returns address and size.
pub fn load<H: Hw>(hw: &mut H, [address, size, data]: [u16; 3]) -> Result<(u32, u32), &'static str> {
    let (address, size) = (word(hw, address)?, word(hw, size)?);
    if size != 0 {
        read(hw, data, address, size)?;
    }
    Ok((address, size))
}
