//! Linux: setup code, protected-mode kernel, command line and initial RAM disk (Documentation/arch/x86/boot.rst). pcvm has
//! filled in the header but for the initial RAM disk's address, which depends on the memory map.

use crate::fw_cfg::{self, key};
use crate::{Entry, e820};
use pcvm_firmware_rt::{FarPtr, Hw};

/// Offset of `ramdisk_image` in the setup code.
const RAMDISK_IMAGE: u32 = 0x218;
/// Segment of the setup code of kernels that must be loaded there: those before protocol 2.02, and zImages.
const OLD_SEGMENT: u16 = 0x9000;
/// End of the stack (boot.rst, `heap_end` of "Special command line options"): the command line of old kernels is behind it.
const OLD_STACK: u16 = 0x9800;
const STACK: u16 = 0xe000;

/// Loads the kernel. The initial RAM disk is put as high as its size item and address item allow, above `floor`.
pub fn load<H: Hw>(hw: &mut H, floor: u32) -> Result<Entry, &'static str> {
    let (setup, _) = fw_cfg::load(hw, key::SETUP)?;
    fw_cfg::load(hw, key::KERNEL)?;
    fw_cfg::load(hw, key::COMMAND_LINE)?;
    let [address, size, data] = key::INITRD;
    let (address, size) = (fw_cfg::word(hw, address)?, fw_cfg::word(hw, size)?);
    if size != 0 {
        let last = u64::from(address) + u64::from(size);
        let at = e820::highest(hw, size, floor, last).ok_or("no memory for the initial RAM disk")?;
        fw_cfg::read(hw, data, at, size)?;
        hw.write32(FarPtr::from_linear(setup + RAMDISK_IMAGE), at);
    }
    let segment = (setup >> 4) as u16;
    Ok(Entry::Setup { segment, stack: if segment == OLD_SEGMENT { OLD_STACK } else { STACK } })
}
