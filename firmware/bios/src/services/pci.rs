//! PCI BIOS INT 1Ah AH=B1h (PCI BIOS Specification, revision 2.1).

use crate::Bios;
use pcvm_firmware_rt::{FarPtr, Hw, Ports, Regs};

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
const ENABLE: u32 = 0x8000_0000;

/// "PCI ".
const SIGNATURE: u32 = 0x2049_4350;
/// Configuration mechanism 1, special cycles by mechanism 1.
const MECHANISM: u8 = 0x11;
/// Version 2.10 in BCD.
const VERSION: u16 = 0x0210;

/// Error codes in AH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PciError {
    Function = 0x81,
    BadVendor = 0x83,
    NotFound = 0x86,
    BadRegister = 0x87,
    CannotSet = 0x88,
    BufferTooSmall = 0x89,
}

fn select<P: Ports + ?Sized>(hw: &mut P, function: u16, register: u16) {
    hw.outl(CONFIG_ADDRESS, ENABLE | u32::from(function) << 8 | u32::from(register & 0xfc));
}

/// Reads the configuration dword that holds `register`. `function` is bus << 8 | device << 3 | function.
fn read<P: Ports + ?Sized>(hw: &mut P, function: u16, register: u16) -> u32 {
    select(hw, function, register);
    hw.inl(CONFIG_DATA)
}

/// INT 1Ah AH=B1h. Returns false for other functions.
pub fn int1a<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> bool {
    if regs.ah() != 0xb1 {
        return false;
    }
    // The functions with bit 7 set in AL (32-bit entry) are the same.
    let result = call(bios, regs);
    regs.set_ah(result.err().map_or(0, |error| error as u8));
    regs.set_cf(result.is_err());
    true
}

fn call<H: Hw>(bios: &mut Bios<H>, regs: &mut Regs) -> Result<(), PciError> {
    let (function, register) = (regs.bx(), regs.di());
    let width = match regs.al() {
        0x08 | 0x0b => 1,
        0x09 | 0x0c => 2,
        _ => 4,
    };
    let hw = &mut *bios.hw;
    match regs.al() {
        0x01 => {
            regs.set_al(MECHANISM);
            regs.set_bx(VERSION);
            regs.set_cl(bios.handoff.last_bus);
            regs.edx = SIGNATURE;
        }
        0x02 => {
            if regs.dx() == 0xffff {
                return Err(PciError::BadVendor);
            }
            let id = u32::from(regs.cx()) << 16 | u32::from(regs.dx());
            regs.set_bx(find(hw, bios.handoff.last_bus, regs.si(), 0x00, |value| value == id)?);
        }
        0x03 => {
            let class = regs.ecx & 0xff_ffff;
            regs.set_bx(find(hw, bios.handoff.last_bus, regs.si(), 0x08, |value| value >> 8 == class)?);
        }
        // A special cycle is addressed to device 31, function 7 of the bus.
        0x06 => {
            select(hw, (function & 0xff00) | 0x00ff, 0);
            hw.outl(CONFIG_DATA, regs.edx);
        }
        0x08..=0x0d if register > 0xff || register & (width - 1) != 0 => return Err(PciError::BadRegister),
        0x08..=0x0d => {
            select(hw, function, register);
            let port = CONFIG_DATA + (register & 3);
            match regs.al() {
                0x08 => regs.set_cl(hw.inb(port)),
                0x09 => regs.set_cx(hw.inw(port)),
                0x0a => regs.ecx = hw.inl(port),
                0x0b => hw.outb(port, regs.cl()),
                0x0c => hw.outw(port, regs.cx()),
                _ => hw.outl(port, regs.ecx),
            }
        }
        0x0e => routing_options(hw, regs)?,
        0x0f => set_interrupt(hw, regs)?,
        _ => return Err(PciError::Function),
    }
    Ok(())
}

/// Returns the `index`-th function whose dword at `register` matches.
fn find<H: Hw>(
    hw: &mut H,
    last_bus: u8,
    mut index: u16,
    register: u16,
    wanted: impl Fn(u32) -> bool,
) -> Result<u16, PciError> {
    for bus in 0..=last_bus {
        for device in 0..32 {
            let mut functions = 1;
            let mut n = 0;
            while n < functions {
                let function = u16::from(bus) << 8 | device << 3 | n;
                n += 1;
                let id = read(hw, function, 0x00);
                if id & 0xffff == 0xffff || id == 0 {
                    if n == 1 {
                        break;
                    }
                    continue;
                }
                // Header type bit 7: a multifunction device.
                if n == 1 && read(hw, function, 0x0c) >> 16 & 0x80 != 0 {
                    functions = 8;
                }
                let value = if register == 0 { id } else { read(hw, function, register) };
                if wanted(value) {
                    if index == 0 {
                        return Ok(function);
                    }
                    index -= 1;
                }
            }
        }
    }
    Err(PciError::NotFound)
}

/// The IRQ routing table `$PIR` (Microsoft, "PCI IRQ Routing Table Specification"): a header of 32 bytes, then entries
/// of 16 bytes.
struct RoutingTable {
    at: FarPtr,
    /// Size of the entries in bytes.
    size: u16,
}

const ROUTING_HEADER: u16 = 32;
const ROUTING_ENTRY: u16 = 16;

impl RoutingTable {
    fn find<H: Hw>(hw: &mut H) -> Option<Self> {
        const SIGNATURE: u32 = u32::from_le_bytes(*b"$PIR");
        for paragraph in 0..0x1000 {
            let at = FarPtr::new(0xf000 + paragraph, 0);
            if hw.read32(at) != SIGNATURE {
                continue;
            }
            let size = hw.read16(at.add(6));
            if !(ROUTING_HEADER..=0x1000).contains(&size) || !size.is_multiple_of(ROUTING_ENTRY) {
                continue;
            }
            let sum = (0..size).fold(0u8, |sum, n| sum.wrapping_add(hw.read8(at.add(n))));
            if sum == 0 {
                return Some(Self { at, size: size - ROUTING_HEADER });
            }
        }
        None
    }

    fn exclusive<H: Hw>(&self, hw: &mut H) -> u16 {
        hw.read16(self.at.add(10))
    }

    /// Link value and IRQ mask of pin 0 to 3 of a device (bus << 8 | device << 3).
    fn link<H: Hw>(&self, hw: &mut H, device: u16, pin: u16) -> Option<(u8, u16)> {
        (0..self.size / ROUTING_ENTRY).find_map(|n| {
            let entry = self.at.add(ROUTING_HEADER + n * ROUTING_ENTRY);
            let found = u16::from(hw.read8(entry)) << 8 | u16::from(hw.read8(entry.add(1)) & 0xf8);
            let link = entry.add(2 + 3 * pin);
            (found == device).then(|| (hw.read8(link), hw.read16(link.add(1))))
        })
    }
}

/// AL=0Eh: copies the entries to the buffer described at ES:DI (its size, then its far address).
fn routing_options<H: Hw>(hw: &mut H, regs: &mut Regs) -> Result<(), PciError> {
    let table = RoutingTable::find(hw).ok_or(PciError::Function)?;
    let parameter = FarPtr::new(regs.es, regs.di());
    let room = hw.read16(parameter);
    hw.write16(parameter, table.size);
    if room < table.size {
        return Err(PciError::BufferTooSmall);
    }
    let buffer = FarPtr::from_u32(hw.read32(parameter.add(2)));
    hw.copy(table.at.add(ROUTING_HEADER), buffer, table.size);
    regs.set_bx(table.exclusive(hw));
    Ok(())
}

/// AL=0Fh: routes pin CL (0Ah to 0Dh) of a device to IRQ CH by the PIIX3's PIRQ route control registers (Intel 82371SB
/// datasheet 290550, section 2.2.16). The link values of the table, 60h to 63h, are the numbers of those registers.
fn set_interrupt<H: Hw>(hw: &mut H, regs: &Regs) -> Result<(), PciError> {
    const EDGE_LEVEL: u16 = 0x4d0;
    let (irq, pin) = (regs.ch(), regs.cl().wrapping_sub(0x0a));
    if irq > 15 || pin > 3 {
        return Err(PciError::CannotSet);
    }
    let table = RoutingTable::find(hw).ok_or(PciError::Function)?;
    let (link, allowed) = table.link(hw, regs.bx() & 0xfff8, pin.into()).ok_or(PciError::CannotSet)?;
    if !(0x60..=0x63).contains(&link) || allowed >> irq & 1 == 0 {
        return Err(PciError::CannotSet);
    }
    let bridge = hw.read16(table.at.add(8));
    let router = bridge.swap_bytes();
    select(hw, router, link.into());
    hw.outb(CONFIG_DATA + u16::from(link & 3), irq);
    let port = EDGE_LEVEL + u16::from(irq >> 3);
    let levels = hw.inb(port);
    hw.outb(port, levels | 1 << (irq & 7));
    Ok(())
}
