//! Shadow RAM: the BIOS's ROM copied to RAM at the same place (Intel 82441FX datasheet 290549, section 3.2.18, PAM0-PAM6).

use crate::Machine;

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
/// Bus 0, device 0, function 0.
const HOST_BRIDGE: u32 = 0x8000_0000;
const PAM: u8 = 0x59;
/// Read and write enable of both halves of a PAM register.
const READ_WRITE: u8 = 0x33;

/// Makes C0000h to FFFFFh RAM and copies the BIOS there from its place below 4 GiB.
pub fn copy_rom<M: Machine>(machine: &mut M) {
    for register in PAM..PAM + 7 {
        machine.outl(CONFIG_ADDRESS, HOST_BRIDGE | u32::from(register & !3));
        let value = if register == PAM { READ_WRITE & 0xf0 } else { READ_WRITE };
        machine.outb(CONFIG_DATA + u16::from(register & 3), value);
    }
    machine.copy(0xfffe_0000, 0xe_0000, 0x2_0000);
}
