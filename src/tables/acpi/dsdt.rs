//! DSDT: AML for devices that are not discoverable, and PCI interrupt routing.
//!
//! Every object is defined before it is referenced: Windows 7 stops with a blue screen at some forward references.
//! Processors are `Processor` objects in `\_PR`, the form that Windows 2000 and XP support.

use super::*;
use crate::tables::e820;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, BufferData, CreateDWordField, Device, EISAName, Else, Field,
    FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, LessThan, Method, Name, OpRegion,
    OpRegionSpace, Or, PackageBuilder, Path, ResourceTemplate, Return, Scope, Store,
};
use acpi_tables::{Aml, AmlSink};
use pcvm_devices::DiskId;
use pcvm_devices::fdc::{DriveType, FIRST_DISK};

/// I/O ports of COM1 to COM4.
pub const COM_PORTS: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];
/// IRQs of COM1 to COM4.
pub const COM_IRQS: [u8; 4] = [4, 3, 4, 3];

/// `_STA`: present, enabled, functioning; not shown in the user interface.
const STA_ENABLED: u8 = 0x0b;
/// `_STA`: present, functioning, not enabled.
const STA_DISABLED: u8 = 0x09;
/// PIRQRCx bit 7: the PIRQ is not routed (82371SB data sheet, 2.3.8).
const PIRQ_DISABLED: u8 = 0x80;
/// Offset of PIRQRCA in the ISA bridge's configuration space.
const PIRQRC: u8 = 0x60;
/// Offset of the first interrupt number in an Extended Interrupt descriptor (ACPI 1.0b, 6.4.3.5).
const EXT_IRQ_NUMBER: u8 = 5;
const LINKS: [char; 4] = ['A', 'B', 'C', 'D'];
/// The link device of the power management function, which is fixed to the SCI.
const SCI_LINK: &str = "LNKS";

/// Encoded AML.
struct AmlBytes(Vec<u8>);

impl Aml for AmlBytes {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

fn encode(aml: &dyn Aml) -> AmlBytes {
    let mut bytes = Vec::new();
    aml.to_aml_bytes(&mut bytes);
    AmlBytes(bytes)
}

/// IRQ descriptor (ACPI 1.0b, 6.4.2.1): edge-triggered, active high.
struct IrqDescriptor {
    irq: u8,
    shared: bool,
}

impl Aml for IrqDescriptor {
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

/// DMA descriptor (ACPI 1.0b, 6.4.2.2) of one channel: no bus master, 8-bit transfers, compatibility timing.
struct DmaDescriptor(u8);

impl Aml for DmaDescriptor {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x2a);
        sink.byte(1u8.checked_shl(self.0.into()).unwrap_or(0));
        sink.byte(0);
    }
}

/// Extended Interrupt descriptor (ACPI 1.0b, 6.4.3.5): consumer, level-triggered, active high, shared.
struct ExtendedInterrupt<'a>(&'a [u8]);

impl Aml for ExtendedInterrupt<'_> {
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

/// `Processor` object without a P_BLK, so that only C1 is supported (ACPI 1.0b, 16.2.3).
struct ProcessorObject(u8);

impl Aml for ProcessorObject {
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

fn processors(count: u32) -> AmlBytes {
    let processors: Vec<_> = (0..count).map(|n| ProcessorObject(n as u8)).collect();
    let children = processors.iter().map(|p| p as &dyn Aml).collect();
    encode(&Scope::new("\\_PR_".into(), children))
}

fn pci0(config: &MachineConfig, ram: u64) -> AmlBytes {
    let window = e820::low_ram(ram) as u32;
    encode(&Device::new(
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

fn isa_bridge(config: &MachineConfig) -> AmlBytes {
    let registers = LINKS.map(|c| FieldEntry::Named([b'P', b'R', b'Q', c as u8], 8)).to_vec();
    let mut body = vec![
        encode(&Name::new("_ADR".into(), &0x0001_0000u32)),
        encode(&OpRegion::new("PIRQ".into(), OpRegionSpace::PCIConfig, &PIRQRC, &4u8)),
        encode(&Field::new(
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
            &[&ports(0x20, 2), &ports(0xa0, 2), &ports(0x4d0, 2), &IrqDescriptor { irq: 2, shared: false }],
        ),
        isa_device("TIMR", "PNP0100", None, &[&ports(0x40, 4), &IrqDescriptor { irq: 0, shared: false }]),
        isa_device("DMAC", "PNP0200", None, &[&ports(0x00, 16), &ports(0x81, 15), &ports(0xc0, 32), &DmaDescriptor(4)]),
        isa_device("SPKR", "PNP0800", None, &[&ports(0x61, 1)]),
        isa_device("FPU_", "PNP0C04", None, &[&ports(0xf0, 16), &IrqDescriptor { irq: 13, shared: false }]),
        isa_device("RTC_", "PNP0B00", None, &[&ports(0x70, 2), &IrqDescriptor { irq: 8, shared: false }]),
        isa_device(
            "KBD_",
            "PNP0303",
            None,
            &[&ports(0x60, 1), &ports(0x64, 1), &IrqDescriptor { irq: 1, shared: false }],
        ),
        isa_device("MOU_", "PNP0F13", None, &[&IrqDescriptor { irq: 12, shared: false }]),
    ];
    body.extend(floppy_controller(config));
    for n in (0..4).filter(|&n| config.serial[n].is_some()) {
        // COM1 and COM3 share an IRQ, and so do COM2 and COM4.
        let shared = config.serial[n ^ 2].is_some();
        body.push(isa_device(
            &format!("COM{}", n + 1),
            "PNP0501",
            Some(n as u8 + 1),
            &[&ports(COM_PORTS[n], 8), &IrqDescriptor { irq: COM_IRQS[n], shared }],
        ));
    }
    // Motherboard resources: ports without a device object, which the operating system must not assign.
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
    encode(&Device::new("ISA_".into(), body.iter().map(|part| part as &dyn Aml).collect()))
}

/// The floppy controller with its drives (ACPI 2.0, 10.8 and 10.9). Windows finds the drives by these objects.
fn floppy_controller(config: &MachineConfig) -> Option<AmlBytes> {
    let drives: Vec<_> = (0u8..2)
        .filter_map(|n| {
            let drive = config.drives.get(&DiskId(FIRST_DISK + n))?;
            Some((n, drive.media.floppy_drive(None)?))
        })
        .collect();
    if drives.is_empty() {
        return None;
    }
    // _FDE: a double word each for drives 0 to 3, not 0 if present, and for a tape drive, of which there is none.
    let mut present = [0; 20];
    let (low, high, irq) = (ports(0x3f0, 6), ports(0x3f7, 1), IrqDescriptor { irq: 6, shared: false });
    let resources = ResourceTemplate::new(vec![&low, &high, &irq, &DmaDescriptor(2)]);
    let mut body = vec![
        encode(&Name::new("_HID".into(), &EISAName::new("PNP0700"))),
        encode(&Name::new("_CRS".into(), &resources)),
    ];
    for &(n, kind) in &drives {
        present[usize::from(n) * 4] = 1;
        // Type, highest cylinder, sectors per track, highest head, then the diskette parameter table of INT 1Eh.
        let (cylinder, sectors, gap, format_gap) = match kind {
            DriveType::D360 => (39, 9, 0x2a, 0x50),
            DriveType::D1200 => (79, 15, 0x1b, 0x54),
            DriveType::D720 => (79, 9, 0x2a, 0x50),
            DriveType::D1440 => (79, 18, 0x1b, 0x6c),
            DriveType::D2880 => (79, 36, 0x1b, 0x54),
        };
        let table = [0xaf, 0x02, 0x25, 0x02, sectors, gap, 0xff, format_gap, 0xf6, 0x0f, 0x08];
        let mut information = PackageBuilder::new();
        for value in [n, kind as u8, cylinder, sectors, 1].into_iter().chain(table) {
            information.add_element(&value);
        }
        body.push(encode(&Device::new(
            format!("FLP{}", char::from(b'A' + n)).as_str().into(),
            vec![&Name::new("_ADR".into(), &n), &Name::new("_FDI".into(), &information)],
        )));
    }
    body.insert(2, encode(&Name::new("_FDE".into(), &BufferData::new(present.to_vec()))));
    Some(encode(&Device::new("FDC0".into(), body.iter().map(|part| part as &dyn Aml).collect())))
}

fn isa_device(name: &str, hid: &str, uid: Option<u8>, resources: &[&dyn Aml]) -> AmlBytes {
    let mut body = vec![encode(&Name::new("_HID".into(), &EISAName::new(hid)))];
    body.extend(uid.map(|uid| encode(&Name::new("_UID".into(), &uid))));
    body.push(encode(&Name::new("_CRS".into(), &ResourceTemplate::new(resources.to_vec()))));
    encode(&Device::new(name.into(), body.iter().map(|part| part as &dyn Aml).collect()))
}

/// PCI interrupt link devices: LNKA to LNKD for PIRQRCA to PIRQRCD, the methods LSTA and LCRS that they share, and the link
/// of the SCI.
fn links() -> AmlBytes {
    let mut body = vec![
        // LSTA: `_STA` of a link. Arg0 is the value of its PIRQRC register.
        encode(&Method::new(
            "LSTA".into(),
            1,
            false,
            vec![
                &If::new(&And::new(&0u8, &Arg(0), &PIRQ_DISABLED), vec![&Return::new(&STA_DISABLED)]),
                &Return::new(&STA_ENABLED),
            ],
        )),
        // LCRS: `_CRS` of a link. Arg0 is the value of its PIRQRC register.
        encode(&Method::new(
            "LCRS".into(),
            1,
            true,
            vec![
                &Name::new("BUFF".into(), &ResourceTemplate::new(vec![&ExtendedInterrupt(&[0])])),
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
    let choices = ResourceTemplate::new(vec![&ExtendedInterrupt(&PIRQ_IRQS)]);
    for (n, letter) in LINKS.into_iter().enumerate() {
        let register = Path::new(&format!("\\_SB_.PCI0.ISA_.PRQ{letter}"));
        body.push(encode(&Device::new(
            Path::new(&format!("LNK{letter}")),
            vec![
                &Name::new("_HID".into(), &EISAName::new("PNP0C0F")),
                &Name::new("_UID".into(), &(n as u8 + 1)),
                &Name::new("_PRS".into(), &choices),
                &Method::new("_STA".into(), 0, false, vec![&Return::new(&MethodCall("LSTA", &register))]),
                &Method::new("_DIS".into(), 0, false, vec![&Or::new(&register, &register, &PIRQ_DISABLED)]),
                &Method::new("_CRS".into(), 0, false, vec![&Return::new(&MethodCall("LCRS", &register))]),
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
    let sci = ResourceTemplate::new(vec![&ExtendedInterrupt(&[SCI_IRQ])]);
    body.push(encode(&Device::new(
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
    encode(&Scope::new("\\_SB_".into(), body.iter().map(|part| part as &dyn Aml).collect()))
}

/// Invocation of a method with one argument.
struct MethodCall<'a>(&'static str, &'a dyn Aml);

impl Aml for MethodCall<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        Path::new(self.0).to_aml_bytes(sink);
        self.1.to_aml_bytes(sink);
    }
}

/// The link (0: LNKA) of interrupt pin `pin` (0: INTA#) of slot `slot`. INTA# of slot 1 is PIRQA#; each further slot or pin
/// advances by one.
pub fn link_of(slot: u8, pin: u8) -> usize {
    usize::from(slot.wrapping_add(pin).wrapping_sub(1) & 3)
}

/// `_PRT`: the link of each pin of each slot.
fn routing() -> Name {
    let mut table = PackageBuilder::new();
    for slot in 0..32u8 {
        for pin in 0..4u8 {
            let mut entry = PackageBuilder::new();
            entry.add_element(&(u32::from(slot) << 16 | 0xffff));
            entry.add_element(&pin);
            // Only the power management function uses INTA# of slot 1; its interrupt is the SCI.
            if (slot, pin) == (1, 0) {
                entry.add_element(&Path::new(SCI_LINK));
            } else {
                entry.add_element(&Path::new(&format!("LNK{}", LINKS[link_of(slot, pin)])));
            }
            entry.add_element(&0u8);
            table.add_element(&entry);
        }
    }
    Name::new("_PRT".into(), &table)
}

/// `\_S5`: SLP_TYPa and SLP_TYPb of soft-off.
fn soft_off() -> Name {
    let mut package = PackageBuilder::new();
    for value in [SLP_TYP_S5, SLP_TYP_S5, 0, 0] {
        package.add_element(&value);
    }
    Name::new("\\_S5_".into(), &package)
}
