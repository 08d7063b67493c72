//! The DSDT: the devices of the board that cannot be found by probing, and how PCI interrupts are routed.
//!
//! Every object is defined before it is named: Windows 7 stops with a blue screen at some forward references.
//! Processors are `Processor` objects in `\_PR`, as Windows 2000 and XP know them.

use super::*;
use crate::tables::e820;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Else, Field, FieldAccessType,
    FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, LessThan, Method, Name, OpRegion, OpRegionSpace, Or,
    PackageBuilder, Path, ResourceTemplate, Return, Scope, Store,
};
use acpi_tables::{Aml, AmlSink};

/// I/O ports of COM1 to COM4.
pub const COM_PORTS: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];
/// IRQs of COM1 to COM4.
pub const COM_IRQS: [u8; 4] = [4, 3, 4, 3];

/// `_STA`: present, enabled, shown, working.
const STA_ENABLED: u8 = 0x0b;
/// `_STA`: present, disabled.
const STA_DISABLED: u8 = 0x09;
/// PIRQRCx: the interrupt is not routed (82371SB data sheet, 2.3.8).
const PIRQ_DISABLED: u8 = 0x80;
/// PIRQRCA's offset in the ISA bridge's configuration space.
const PIRQRC: u8 = 0x60;
/// Where an Extended Interrupt descriptor has its (first) interrupt number (ACPI 1.0b, 6.4.3.5).
const EXT_IRQ_NUMBER: u8 = 5;
const LINKS: [char; 4] = ['A', 'B', 'C', 'D'];
/// The link that is wired to the SCI, for the power management function.
const SCI_LINK: &str = "LNKS";

/// AML that was made before.
struct Raw(Vec<u8>);

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

fn raw(aml: &dyn Aml) -> Raw {
    let mut bytes = Vec::new();
    aml.to_aml_bytes(&mut bytes);
    Raw(bytes)
}

/// IRQ descriptor (ACPI 1.0b, 6.4.2.1): edge-triggered, active high.
struct Irq {
    irq: u8,
    shared: bool,
}

impl Aml for Irq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const EDGE_HIGH: u8 = 1;
        const SHARED: u8 = 1 << 4;
        let mask = 1u16.checked_shl(self.irq.into()).unwrap_or(0);
        if self.shared {
            sink.byte(0x23);
            sink.word(mask);
            sink.byte(EDGE_HIGH | SHARED);
        } else {
            sink.byte(0x22);
            sink.word(mask);
        }
    }
}

/// DMA descriptor (ACPI 1.0b, 6.4.2.2): a channel, not a bus master, 8-bit transfers, compatibility timing.
struct Dma(u8);

impl Aml for Dma {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x2a);
        sink.byte(1u8.checked_shl(self.0.into()).unwrap_or(0));
        sink.byte(0);
    }
}

/// Extended Interrupt descriptor (ACPI 1.0b, 6.4.3.5): consumer, level-triggered, active high, shared.
struct PciIrqs<'a>(&'a [u8]);

impl Aml for PciIrqs<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const CONSUMER: u8 = 1;
        const SHARED: u8 = 1 << 3;
        sink.byte(0x89);
        sink.word(2 + 4 * self.0.len() as u16);
        sink.byte(CONSUMER | SHARED);
        sink.byte(self.0.len() as u8);
        for &irq in self.0 {
            sink.dword(irq.into());
        }
    }
}

/// `Processor` object without a P_BLK (ACPI 1.0b, 16.2.3): only C1.
struct Processor(u8);

impl Aml for Processor {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const BODY: u8 = 4 + 1 + 4 + 1;
        sink.vec(&[0x5b, 0x83, BODY + 1]);
        sink.vec(format!("CP{:02X}", self.0).as_bytes());
        sink.byte(self.0);
        sink.dword(0);
        sink.byte(0);
    }
}

/// The DSDT of a machine with `ram` bytes of RAM.
pub fn dsdt(config: &MachineConfig, ram: u64) -> Vec<u8> {
    let mut table = sdt(b"DSDT", 1, 36);
    let mut aml = Vec::new();
    processors(config.cpus.count).to_aml_bytes(&mut aml);
    Scope::new("\\_SB_".into(), vec![&pci0(config, ram)]).to_aml_bytes(&mut aml);
    links().to_aml_bytes(&mut aml);
    Scope::new("\\_SB_.PCI0".into(), vec![&routing()]).to_aml_bytes(&mut aml);
    soft_off().to_aml_bytes(&mut aml);
    table.append_slice(&aml);
    table.as_slice().to_vec()
}

fn processors(count: u32) -> Raw {
    let processors: Vec<_> = (0..count).map(|n| Processor(n as u8)).collect();
    let children = processors.iter().map(|p| p as &dyn Aml).collect();
    raw(&Scope::new("\\_PR_".into(), children))
}

fn pci0(config: &MachineConfig, ram: u64) -> Raw {
    let window = e820::low_ram(ram) as u32;
    raw(&Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_UID".into(), &0u8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &AddressSpace::<u16>::new_bus_number(0, 0xff),
                    &ports(0xcf8, 8),
                    &AddressSpace::<u16>::new_io(0, 0xcf7, None),
                    &AddressSpace::<u16>::new_io(0xd00, 0xffff, None),
                    &AddressSpace::<u32>::new_memory(AddressSpaceCacheable::Cacheable, true, 0xa_0000, 0xb_ffff, None),
                    &AddressSpace::<u32>::new_memory(
                        AddressSpaceCacheable::NotCacheable,
                        true,
                        window,
                        PCI_WINDOW_LAST,
                        None,
                    ),
                ]),
            ),
            &isa_bridge(config),
        ],
    ))
}

fn ports(base: u16, len: u8) -> IO {
    IO::new(base, base, 1, len)
}

fn isa_bridge(config: &MachineConfig) -> Raw {
    let registers = LINKS.map(|c| FieldEntry::Named([b'P', b'R', b'Q', c as u8], 8)).to_vec();
    let mut body = vec![
        raw(&Name::new("_ADR".into(), &0x0001_0000u32)),
        raw(&OpRegion::new("PIRQ".into(), OpRegionSpace::PCIConfig, &PIRQRC, &4u8)),
        raw(&Field::new(
            "PIRQ".into(),
            FieldAccessType::Byte,
            FieldLockRule::NoLock,
            FieldUpdateRule::Preserve,
            registers,
        )),
        isa_device(
            "PIC_",
            "PNP0000",
            None,
            &[&ports(0x20, 2), &ports(0xa0, 2), &ports(0x4d0, 2), &Irq { irq: 2, shared: false }],
        ),
        isa_device("TIMR", "PNP0100", None, &[&ports(0x40, 4), &Irq { irq: 0, shared: false }]),
        isa_device("DMAC", "PNP0200", None, &[&ports(0x00, 16), &ports(0x81, 15), &ports(0xc0, 32), &Dma(4)]),
        isa_device("SPKR", "PNP0800", None, &[&ports(0x61, 1)]),
        isa_device("FPU_", "PNP0C04", None, &[&ports(0xf0, 16), &Irq { irq: 13, shared: false }]),
        isa_device("RTC_", "PNP0B00", None, &[&ports(0x70, 2), &Irq { irq: 8, shared: false }]),
        isa_device("KBD_", "PNP0303", None, &[&ports(0x60, 1), &ports(0x64, 1), &Irq { irq: 1, shared: false }]),
        isa_device("MOU_", "PNP0F13", None, &[&Irq { irq: 12, shared: false }]),
    ];
    for n in (0..4).filter(|&n| config.serial[n].is_some()) {
        // COM1 and COM3 are on one IRQ, and so are COM2 and COM4.
        let shared = config.serial[n ^ 2].is_some();
        body.push(isa_device(
            &format!("COM{}", n + 1),
            "PNP0501",
            Some(n as u8 + 1),
            &[&ports(COM_PORTS[n], 8), &Irq { irq: COM_IRQS[n], shared }],
        ));
    }
    // Ports that belong to nobody's driver: nothing else may be put there.
    body.push(isa_device(
        "MBRD",
        "PNP0C02",
        Some(1),
        &[
            &ports(0x92, 1),
            &ports(SMI_CMD.into(), 2),
            &ports(0x510, 12),
            &ports(PM_BASE, PM_LEN),
            &ports(GPE0, GPE0_LEN),
        ],
    ));
    raw(&Device::new("ISA_".into(), body.iter().map(|part| part as &dyn Aml).collect()))
}

fn isa_device(name: &str, hid: &str, uid: Option<u8>, resources: &[&dyn Aml]) -> Raw {
    let mut body = vec![raw(&Name::new("_HID".into(), &EISAName::new(hid)))];
    body.extend(uid.map(|uid| raw(&Name::new("_UID".into(), &uid))));
    body.push(raw(&Name::new("_CRS".into(), &ResourceTemplate::new(resources.to_vec()))));
    raw(&Device::new(name.into(), body.iter().map(|part| part as &dyn Aml).collect()))
}

/// Two methods that all links use, LNKA to LNKD on PIRQRCA to PIRQRCD, and the link of the SCI.
fn links() -> Raw {
    let mut body = vec![
        // The status of a link whose register is Arg0.
        raw(&Method::new(
            "LSTA".into(),
            1,
            false,
            vec![
                &If::new(&And::new(&0u8, &Arg(0), &PIRQ_DISABLED), vec![&Return::new(&STA_DISABLED)]),
                &Return::new(&STA_ENABLED),
            ],
        )),
        // The resources of a link whose register is Arg0.
        raw(&Method::new(
            "LCRS".into(),
            1,
            true,
            vec![
                &Name::new("BUFF".into(), &ResourceTemplate::new(vec![&PciIrqs(&[0])])),
                &CreateDWordField::new(&Path::new("NUMB"), &Path::new("BUFF"), &EXT_IRQ_NUMBER),
                &If::new(
                    &LessThan::new(&Arg(0), &PIRQ_DISABLED),
                    vec![&Store::new(&Path::new("NUMB"), &And::new(&0u8, &Arg(0), &0x0fu8))],
                ),
                &Else::new(vec![&Store::new(&Path::new("NUMB"), &0u8)]),
                &Return::new(&Path::new("BUFF")),
            ],
        )),
    ];
    let choices = ResourceTemplate::new(vec![&PciIrqs(&PIRQ_IRQS)]);
    for (n, letter) in LINKS.into_iter().enumerate() {
        let register = Path::new(&format!("\\_SB_.PCI0.ISA_.PRQ{letter}"));
        body.push(raw(&Device::new(
            Path::new(&format!("LNK{letter}")),
            vec![
                &Name::new("_HID".into(), &EISAName::new("PNP0C0F")),
                &Name::new("_UID".into(), &(n as u8 + 1)),
                &Name::new("_PRS".into(), &choices),
                &Method::new("_STA".into(), 0, false, vec![&Return::new(&Call("LSTA", &register))]),
                &Method::new("_DIS".into(), 0, false, vec![&Or::new(&register, &register, &PIRQ_DISABLED)]),
                &Method::new("_CRS".into(), 0, false, vec![&Return::new(&Call("LCRS", &register))]),
                &Method::new(
                    "_SRS".into(),
                    1,
                    true,
                    vec![
                        &CreateDWordField::new(&Path::new("NUMB"), &Arg(0), &EXT_IRQ_NUMBER),
                        &Store::new(&register, &Path::new("NUMB")),
                    ],
                ),
            ],
        )));
    }
    let sci = ResourceTemplate::new(vec![&PciIrqs(&[SCI_IRQ])]);
    body.push(raw(&Device::new(
        SCI_LINK.into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C0F")),
            &Name::new("_UID".into(), &(LINKS.len() as u8 + 1)),
            &Name::new("_PRS".into(), &sci),
            &Name::new("_STA".into(), &STA_ENABLED),
            &Method::new("_DIS".into(), 0, false, vec![]),
            &Name::new("_CRS".into(), &sci),
            &Method::new("_SRS".into(), 1, false, vec![]),
        ],
    )));
    raw(&Scope::new("\\_SB_".into(), body.iter().map(|part| part as &dyn Aml).collect()))
}

/// A call of a method with one argument.
struct Call<'a>(&'static str, &'a dyn Aml);

impl Aml for Call<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        Path::new(self.0).to_aml_bytes(sink);
        self.1.to_aml_bytes(sink);
    }
}

/// Which link (0: LNKA) pin `pin` (0: INTA#) of slot `slot` is wired to: slot 1 to PIRQA, and on by one with each slot
/// and pin.
pub fn link(slot: u8, pin: u8) -> usize {
    usize::from(slot.wrapping_add(pin).wrapping_sub(1) & 3)
}

fn routing() -> Name {
    let mut table = PackageBuilder::new();
    for slot in 0..32u8 {
        for pin in 0..4u8 {
            let mut entry = PackageBuilder::new();
            entry.add_element(&(u32::from(slot) << 16 | 0xffff));
            entry.add_element(&pin);
            // INTA# of slot 1 is the power management function's, whose interrupt is the SCI.
            if (slot, pin) == (1, 0) {
                entry.add_element(&Path::new(SCI_LINK));
            } else {
                entry.add_element(&Path::new(&format!("LNK{}", LINKS[link(slot, pin)])));
            }
            entry.add_element(&0u8);
            table.add_element(&entry);
        }
    }
    Name::new("_PRT".into(), &table)
}

fn soft_off() -> Name {
    let mut package = PackageBuilder::new();
    for value in [SLP_TYP_S5, SLP_TYP_S5, 0, 0] {
        package.add_element(&value);
    }
    Name::new("\\_S5_".into(), &package)
}
