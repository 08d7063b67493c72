//! Configuration mechanism #1 (PCI 2.1, 3.7.4.1): the address at port CF8h, the data at CFCh to CFFh.
//!
//! Only a dword write to CF8h is taken by the host bridge; narrower ones, and CF9h to CFBh, are other devices' ports.
//! There is one bus, number 0.

use crate::Devfn;
use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// The address port.
pub const ADDRESS_PORT: u16 = 0xcf8;
/// The first of the four data ports.
pub const DATA_PORT: u16 = 0xcfc;

/// What CF8h holds.
#[bitfield(u32)]
struct Address {
    /// Always zero.
    #[bits(2)]
    zero: u8,
    /// Dword of configuration space.
    #[bits(6)]
    dword: u8,
    devfn: u8,
    bus: u8,
    #[bits(7)]
    reserved: u8,
    enable: bool,
}

/// The bits that can be written.
const WRITABLE: u32 = 0x80ff_fffc;

/// The latch at CF8h. Plain data; the board asks it where an access to the data ports goes.
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
    /// A write to `port`. False if it is not the host bridge's: the board then looks for another device there.
    pub fn write(&mut self, port: u16, data: &[u8]) -> bool {
        match (port, <[u8; 4]>::try_from(data)) {
            (ADDRESS_PORT, Ok(bytes)) => {
                *self = Self::from(u32::from_le_bytes(bytes));
                true
            }
            _ => false,
        }
    }

    /// A read of `port`. False if it is not the host bridge's.
    pub fn read(&self, port: u16, data: &mut [u8]) -> bool {
        match (port, data) {
            (ADDRESS_PORT, data @ [_, _, _, _]) => {
                data.copy_from_slice(&self.0.to_le_bytes());
                true
            }
            _ => false,
        }
    }

    /// The function and register (0 to FFh) that an access to `port` means: none if the port is not CFCh to CFFh,
    /// configuration accesses are not enabled, or the bus is not bus 0. An access must not go beyond CFFh.
    pub fn decode(&self, port: u16) -> Option<(Devfn, u8)> {
        let byte = u8::try_from(port.checked_sub(DATA_PORT)?).ok().filter(|&byte| byte < 4)?;
        let address = Address::from_bits(self.0);
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
    fn an_access_is_decoded_only_when_enabled_and_on_bus_0() {
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
    fn only_a_dword_at_cf8_latches() {
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
    fn reserved_bits_read_zero() {
        let mut data = [0; 4];
        latched(u32::MAX).read(0xcf8, &mut data);
        assert_eq!(u32::from_le_bytes(data), 0x80ff_fffc);
        assert_eq!(ConfigAddress::from(u32::MAX), latched(u32::MAX), "nor can a saved state set them");
    }
}
