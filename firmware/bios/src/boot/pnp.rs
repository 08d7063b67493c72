//! Plug and Play BIOS system device nodes (Plug and Play BIOS Specification 1.0A, section 4.2; resource descriptors of
//! the Plug and Play ISA Specification 1.0A, section 6.2). An operating system without ACPI reads them by functions 00h
//! and 01h.
//!
//! All devices are fixed: the only possible resources of a node are the allocated ones.

use crate::Bios;
use pcvm_firmware_rt::{Field, Hw, bda, pnp};

/// A hardware resource.
#[derive(Clone, Copy)]
enum Resource {
    /// Fixed ports: base and count.
    Ports(u16, u8),
    Irq(u8),
    Dma(u8),
}
use Resource::{Dma, Irq, Ports};

/// A device node: EISA ID, type code (base class, subclass, interface), resources.
struct Node {
    id: u32,
    class: [u8; 3],
    resources: &'static [Resource],
}

/// A compressed EISA ID: three letters of 5 bits, then four hexadecimal digits, most significant byte first.
const fn eisa(letters: &[u8; 3], number: u16) -> u32 {
    let packed = ((letters[0] & 0x1f) as u16) << 10 | ((letters[1] & 0x1f) as u16) << 5 | (letters[2] & 0x1f) as u16;
    u32::from_le_bytes([(packed >> 8) as u8, packed as u8, (number >> 8) as u8, number as u8])
}

const fn node(number: u16, class: [u8; 3], resources: &'static [Resource]) -> Node {
    Node { id: eisa(b"PNP", number), class, resources }
}

/// Devices that every machine has.
const FIXED: [Node; 8] = [
    node(0x0000, [0x08, 0x00, 0x01], &[Ports(0x20, 2), Ports(0xa0, 2), Irq(2)]),
    node(0x0100, [0x08, 0x02, 0x01], &[Ports(0x40, 4), Irq(0)]),
    node(0x0200, [0x08, 0x01, 0x01], &[Ports(0x00, 16), Ports(0x80, 16), Ports(0xc0, 32), Dma(4)]),
    node(0x0303, [0x09, 0x00, 0x00], &[Ports(0x60, 1), Ports(0x64, 1), Irq(1)]),
    node(0x0f13, [0x09, 0x02, 0x00], &[Irq(12)]),
    node(0x0800, [0x04, 0x01, 0x00], &[Ports(0x61, 1)]),
    node(0x0b00, [0x08, 0x03, 0x01], &[Ports(0x70, 2), Irq(8)]),
    node(0x0c04, [0x0b, 0x80, 0x00], &[Ports(0xf0, 16), Irq(13)]),
];
const FLOPPY: Node = node(0x0700, [0x01, 0x02, 0x00], &[Ports(0x3f0, 6), Ports(0x3f7, 1), Irq(6), Dma(2)]);
/// Serial ports, by base port.
const SERIAL: [(u16, Node); 4] = [
    (0x3f8, node(0x0501, [0x07, 0x00, 0x02], &[Ports(0x3f8, 8), Irq(4)])),
    (0x2f8, node(0x0501, [0x07, 0x00, 0x02], &[Ports(0x2f8, 8), Irq(3)])),
    (0x3e8, node(0x0501, [0x07, 0x00, 0x02], &[Ports(0x3e8, 8), Irq(4)])),
    (0x2e8, node(0x0501, [0x07, 0x00, 0x02], &[Ports(0x2e8, 8), Irq(3)])),
];
/// Parallel ports, by base port.
const PARALLEL: [(u16, Node); 2] = [
    (0x378, node(0x0400, [0x07, 0x01, 0x00], &[Ports(0x378, 8), Irq(7)])),
    (0x278, node(0x0400, [0x07, 0x01, 0x00], &[Ports(0x278, 8), Irq(5)])),
];

/// Writes nodes one after another.
struct Table<'a, H> {
    hw: &'a mut H,
    at: u16,
    largest: u16,
    count: u8,
}

impl<H: Hw> Table<'_, H> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.hw.copy_out(bytes, pnp::NODES.add(self.at));
        self.at += bytes.len() as u16;
    }

    fn add(&mut self, node: &Node) {
        // The header, resources of up to 8 bytes each, three end tags.
        if usize::from(self.at) + 12 + node.resources.len() * 8 + 6 > pnp::NODES_SIZE {
            return;
        }
        /// The device can be neither disabled nor configured.
        const ATTRIBUTES: u16 = 0x0003;
        const END: [u8; 2] = [0x79, 0];
        let start = self.at;
        self.at += 2;
        let handle = self.count;
        self.bytes(&[handle]);
        self.bytes(&node.id.to_le_bytes());
        self.bytes(&node.class);
        self.bytes(&ATTRIBUTES.to_le_bytes());
        for resource in node.resources {
            match *resource {
                Ports(base, count) => {
                    let [low, high] = base.to_le_bytes();
                    self.bytes(&[0x47, 0x01, low, high, low, high, 1, count]);
                }
                Irq(irq) => {
                    let [low, high] = (1u16 << irq).to_le_bytes();
                    self.bytes(&[0x22, low, high]);
                }
                Dma(channel) => self.bytes(&[0x2a, 1 << channel, 0]),
            }
        }
        // The end tags of allocated resources, possible resources and compatible IDs.
        self.bytes(&END);
        self.bytes(&END);
        self.bytes(&END);
        let size = self.at - start;
        self.hw.write16(pnp::NODES.add(start), size);
        self.largest = self.largest.max(size);
        self.count += 1;
    }
}

/// Writes the nodes of the devices that exist. Segment F000h must still be writable.
pub fn write_nodes<H: Hw>(bios: &mut Bios<H>) {
    let ports = |bios: &mut Bios<H>, first: Field<u16>, n: u16| bios.hw.read16(first.at.add(n * 2));
    let serial = [0, 1, 2, 3].map(|n| ports(bios, bda::COM1, n));
    let parallel = [0, 1, 2].map(|n| ports(bios, bda::LPT1, n));
    let floppy = bios.hw.get(bda::EQUIPMENT) & 1 != 0;
    let mut table = Table { hw: &mut *bios.hw, at: 3, largest: 0, count: 0 };
    FIXED.iter().for_each(|node| table.add(node));
    if floppy {
        table.add(&FLOPPY);
    }
    SERIAL.iter().filter(|(port, _)| serial.contains(port)).for_each(|(_, node)| table.add(node));
    PARALLEL.iter().filter(|(port, _)| parallel.contains(port)).for_each(|(_, node)| table.add(node));
    let (largest, count) = (table.largest, table.count);
    bios.hw.write16(pnp::NODES, largest);
    bios.hw.write8(pnp::NODES.add(2), count);
}
