//! Write protection of shadow RAM by the host bridge's PAM registers (Intel 82441FX data sheet 290549, 3.2.18).
//!
//! The power-on code leaves shadow RAM writable: option ROMs write to themselves during initialization, and the BIOS
//! fills tables in its code segment. The BIOS calls [`lock`] before it boots.

use crate::hw::Ports;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
/// Configuration addresses of the host bridge's dwords with DRAMT and PAM0 to PAM2, and with PAM3 to PAM6.
const PAM: [u32; 2] = [0x8000_0058, 0x8000_005c];
/// Write-enable bits in these dwords of C0000h to DFFFFh, E8000h to EFFFFh and F0000h to FFFFFh. The BIOS's data
/// segment, E0000h to E7FFFh (PAM5), stays writable.
const LOCKED: [u32; 2] = [0x2222_2000, 0x2200_2222];

/// Write-protects option ROMs, tables and the BIOS's code, but not its data segment.
pub fn lock<P: Ports>(ports: &mut P) {
    for (address, locked) in PAM.into_iter().zip(LOCKED) {
        ports.outl(ADDRESS, address);
        let value = ports.inl(DATA);
        // Skips dwords without such a bit, and a host bridge that is absent (all ones).
        if value != u32::MAX && value & locked != 0 {
            ports.outl(DATA, value & !locked);
        }
    }
}

/// Makes the BIOS's code segment writable again, to update a table.
pub fn unlock_code<P: Ports>(ports: &mut P) {
    ports.outl(ADDRESS, PAM[0]);
    let value = ports.inl(DATA);
    if value != u32::MAX {
        ports.outl(DATA, value | 0x2000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Bus, Fake};

    #[derive(Default)]
    struct HostBridge {
        address: u32,
        registers: [u32; 2],
    }

    impl Bus for HostBridge {
        fn read(&mut self, port: u16, size: u8) -> u32 {
            assert_eq!((port, size), (DATA, 4));
            self.registers[usize::from(self.address == PAM[1])]
        }
        fn write(&mut self, port: u16, _size: u8, value: u32) {
            match port {
                ADDRESS => self.address = value,
                _ => self.registers[usize::from(self.address == PAM[1])] = value,
            }
        }
    }

    #[test]
    fn lock_write_protects_all_but_the_data_segment() {
        let all = HostBridge { address: 0, registers: [0x3333_30a5, 0x3333_3333] };
        let mut machine = Fake::new(all);
        lock(&mut machine);
        assert_eq!(machine.bus.registers, [0x1111_10a5, 0x1133_1111]);
        let absent = HostBridge { address: 0, registers: [0x0033_3000, 0x0033_0000] };
        let mut machine = Fake::new(absent);
        lock(&mut machine);
        assert_eq!(machine.bus.registers, [0x0011_1000, 0x0033_0000], "lock does not map RAM where there was none");
        unlock_code(&mut machine);
        assert_eq!(machine.bus.registers, [0x0011_3000, 0x0033_0000]);
    }
}
