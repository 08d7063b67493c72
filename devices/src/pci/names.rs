//! Register names of PCI configuration space (PCI 2.1, section 6.1), in the spelling of Intel's data sheets.

use std::ops::RangeInclusive;

/// Registers as (offsets, name). Where entries overlap, the first one wins.
pub type RegisterNames = [(RangeInclusive<u8>, &'static str)];

/// The type 0 header.
const HEADER: &RegisterNames = &[
    (0x00..=0x01, "VID"),
    (0x02..=0x03, "DID"),
    (0x04..=0x05, "PCICMD"),
    (0x06..=0x07, "PCISTS"),
    (0x08..=0x08, "RID"),
    (0x09..=0x0b, "CLASSC"),
    (0x0c..=0x0c, "CLS"),
    (0x0d..=0x0d, "MLT"),
    (0x0e..=0x0e, "HEDT"),
    (0x0f..=0x0f, "BIST"),
    (0x10..=0x13, "BAR0"),
    (0x14..=0x17, "BAR1"),
    (0x18..=0x1b, "BAR2"),
    (0x1c..=0x1f, "BAR3"),
    (0x20..=0x23, "BAR4"),
    (0x24..=0x27, "BAR5"),
    (0x28..=0x2b, "CIS"),
    (0x2c..=0x2d, "SVID"),
    (0x2e..=0x2f, "SID"),
    (0x30..=0x33, "ROMBAR"),
    (0x3c..=0x3c, "INTLN"),
    (0x3d..=0x3d, "INTPN"),
    (0x3e..=0x3e, "MINGNT"),
    (0x3f..=0x3f, "MAXLAT"),
];

/// The name of the register that contains `offset`, looked up in `registers`.
pub fn register_name(registers: &RegisterNames, offset: u64) -> Option<&'static str> {
    let offset = u8::try_from(offset).ok()?;
    registers.iter().find(|(offsets, _)| offsets.contains(&offset)).map(|(_, name)| *name)
}

/// The name of the configuration register that contains `offset`: one of the device's `own` registers, else one of the
/// type 0 header.
pub fn config_register_name(own: &RegisterNames, offset: u64) -> Option<&'static str> {
    register_name(own, offset).or_else(|| register_name(HEADER, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_header_register_has_its_name() {
        for (offset, name) in [
            (0x00, Some("VID")),
            (0x03, Some("DID")),
            (0x04, Some("PCICMD")),
            (0x05, Some("PCICMD")),
            (0x0b, Some("CLASSC")),
            (0x13, Some("BAR0")),
            (0x27, Some("BAR5")),
            (0x34, None),
            (0x3d, Some("INTPN")),
            (0x40, None),
            (0x100, None),
            (u64::MAX, None),
        ] {
            assert_eq!(config_register_name(&[], offset), name, "{offset:x}");
        }
    }

    #[test]
    fn a_devices_own_name_replaces_the_headers() {
        let own: &RegisterNames = &[(0x20..=0x23, "BMIBA"), (0x40..=0x41, "IDETIM")];
        assert_eq!(config_register_name(own, 0x21), Some("BMIBA"));
        assert_eq!(config_register_name(own, 0x41), Some("IDETIM"));
        assert_eq!(config_register_name(own, 0x24), Some("BAR5"));
    }
}
