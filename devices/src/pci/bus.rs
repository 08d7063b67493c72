//! PCI configuration mechanism #1 (PCI 2.1, section 3.7.4.1): CONFADD at port CF8h, CONFDATA at CFCh to CFFh.
//!
//! The host bridge decodes only dword accesses to CF8h. Narrower accesses, and CF9h to CFBh, go to other devices. The
//! machine has one bus, number 0.

use crate::Devfn;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// CONFADD.
pub const ADDRESS_PORT: u16 = 0xcf8;
/// The first of the four CONFDATA ports.
pub const DATA_PORT: u16 = 0xcfc;

/// CONFADD, configuration address register.
#[bitfield(u32)]
struct Confadd {
    /// Reads as 0.
    #[bits(2)]
    zero: u8,
    /// Dword index in the function's configuration space.
    #[bits(6)]
    dword: u8,
    devfn: u8,
    bus: u8,
    #[bits(7)]
    reserved: u8,
    enable: bool,
}

/// The bits of CONFADD that the guest can write.
const WRITABLE: u32 = 0x80ff_fffc;

/// CONFADD. The board decodes accesses to CONFDATA with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub struct ConfigAddress(u32);

impl From<u32> for ConfigAddress {
    fn from(value: u32) -> Self {
        Self(value & WRITABLE)
    }
}

impl From<ConfigAddress> for u32 {
    fn from(address: ConfigAddress) -> Self {
        address.0
    }
}

impl ConfigAddress {
    /// Writes `port`. Returns false if the access is not the host bridge's; another device may then decode it.
    pub fn write(&mut self, port: u16, data: &[u8]) -> bool {
        match (port, <[u8; 4]>::try_from(data)) {
            (ADDRESS_PORT, Ok(bytes)) => {
                *self = Self::from(u32::from_le_bytes(bytes));
                true
            }
            _ => false,
        }
    }

    /// Reads `port`. Returns false if the access is not the host bridge's.
    pub fn read(&self, port: u16, data: &mut [u8]) -> bool {
        match (port, data) {
            (ADDRESS_PORT, data @ [_, _, _, _]) => {
                data.copy_from_slice(&self.0.to_le_bytes());
                true
            }
            _ => false,
        }
    }

    /// The function and register (0 to FFh) that an access to `port` selects. `None` if the port is not CFCh to CFFh,
    /// if CONFADD's enable bit is clear, or if its bus number is not 0. The caller splits accesses that cross CFFh.
    pub fn decode(&self, port: u16) -> Option<(Devfn, u8)> {
        let byte = u8::try_from(port.checked_sub(DATA_PORT)?).ok().filter(|&byte| byte < 4)?;
        let address = Confadd::from_bits(self.0);
        (address.enable() && address.bus() == 0).then(|| (Devfn(address.devfn()), address.dword() << 2 | byte))
    }

    /// PCI reset.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latched(value: u32) -> ConfigAddress {
        let mut address = ConfigAddress::default();
        assert!(address.write(0xcf8, &value.to_le_bytes()));
        address
    }

    #[test]
    fn a_data_access_is_decoded_only_if_enabled_and_on_bus_0() {
        for (value, port, expect) in [
            (0x8000_0000_u32, 0xcfc, Some((Devfn::new(0, 0), 0x00))),
            (0x8000_0000, 0xcff, Some((Devfn::new(0, 0), 0x03))),
            (0x8000_0960, 0xcfd, Some((Devfn::new(1, 1), 0x61))),
            (0x8000_fffc, 0xcff, Some((Devfn::new(31, 7), 0xff))),
            (0x8000_fffc, 0xd00, None),
            (0x8000_fffc, 0xcf8, None),
            (0x8000_fffc, 0, None),
            (0x0000_0960, 0xcfc, None),
            (0x8001_0960, 0xcfc, None),
        ] {
            assert_eq!(latched(value).decode(port), expect, "{value:08x} {port:x}");
        }
    }

    #[test]
    fn only_a_dword_write_to_cf8_changes_the_address() {
        let mut address = latched(0x8000_0800);
        for (port, data) in
            [(0xcf8, &[1][..]), (0xcf8, &[1, 2]), (0xcf9, &[6]), (0xcfa, &[1, 2]), (0xcfc, &[1, 2, 3, 4])]
        {
            assert!(!address.write(port, data));
            assert!(!address.read(port, &mut data.to_vec()));
        }
        let mut data = [0; 4];
        assert!(address.read(0xcf8, &mut data));
        assert_eq!(u32::from_le_bytes(data), 0x8000_0800);
    }

    #[test]
    fn reserved_address_bits_read_zero() {
        let mut data = [0; 4];
        latched(u32::MAX).read(0xcf8, &mut data);
        assert_eq!(u32::from_le_bytes(data), 0x80ff_fffc);
        assert_eq!(ConfigAddress::from(u32::MAX), latched(u32::MAX), "a saved state cannot set them either");
    }
}
