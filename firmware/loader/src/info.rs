//! Boot information of kernels that start in 32-bit mode: pcvm has written its beginning, and the loader appends to it.

use crate::fw_cfg::{self, key};
use pcvm_firmware_rt::{FarPtr, Hw, Regs};

/// End of the area for boot information.
const END: u32 = 0xfff0;

/// The area that the information has.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Where it begins.
    pub start: FarPtr,
    /// First free address.
    free: u32,
}

impl Info {
    /// Loads the kernel's memory image and its modules, and the information that pcvm has written.
    pub fn load<H: Hw>(hw: &mut H) -> Result<Self, &'static str> {
        fw_cfg::load(hw, key::KERNEL)?;
        fw_cfg::load(hw, key::INITRD)?;
        let (at, size) = fw_cfg::load(hw, key::SETUP)?;
        Ok(Self::at(at, size))
    }

    /// Information at `at` that begins with `size` bytes.
    pub fn at(at: u32, size: u32) -> Self {
        Self { start: FarPtr::new(0, at as u16), free: at + size }
    }

    /// A zeroed block of `bytes` bytes, aligned to 16.
    pub fn block<H: Hw>(&mut self, hw: &mut H, bytes: u16) -> Result<FarPtr, &'static str> {
        let at = self.free.next_multiple_of(16);
        self.free = at + u32::from(bytes);
        if self.free > END {
            return Err("the boot information is too long");
        }
        let at = FarPtr::new(0, at as u16);
        hw.fill(at, 0, bytes);
        Ok(at)
    }

    /// Room for further blocks.
    pub fn room(&self) -> u16 {
        END.saturating_sub(self.free.next_multiple_of(16)) as u16
    }
}

/// Enables the A20 gate (INT 15h AX=2401h).
pub fn enable_a20<H: Hw>(hw: &mut H) {
    hw.call_interrupt(0x15, &mut Regs::with_ax(0x2401));
}
