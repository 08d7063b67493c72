//! Fake PC for POST tests: RAM, shadow RAM, ROM, PCI functions and bridges, fw_cfg, CMOS, application processors.

use crate::{Machine, processors, scratch};
use pcvm_devices::testing::Bench;
use pcvm_devices::{Device, testing};
use pcvm_firmware_rt::Ports;
use std::collections::BTreeMap;

pub use testing::Rng;

/// Configuration space of a PCI function.
pub trait ConfigSpace {
    fn read(&mut self, register: u8, width: u8) -> u32;
    fn write(&mut self, register: u8, width: u8, value: u32);
    /// The model of the function, if it is one (and not a device of `pcvm_devices`).
    fn model(&self) -> Option<&Function> {
        None
    }
}

impl<D: Device> ConfigSpace for Bench<D> {
    fn read(&mut self, register: u8, width: u8) -> u32 {
        self.config_read(register, width)
    }
    fn write(&mut self, register: u8, width: u8, value: u32) {
        self.config_write(register, width, value);
    }
}

/// A BAR: type and size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    None,
    Io(u32),
    Memory(u32),
    Prefetchable(u32),
    /// 64-bit prefetchable memory. Uses the next BAR register too.
    Wide(u64),
}

/// Model of a PCI function or bridge.
#[derive(Clone)]
pub struct Function {
    pub bytes: [u8; 256],
    pub bars: Vec<Bar>,
    pub rom: u32,
    /// Index among the board's buses of the bus behind it.
    pub bridge: Option<usize>,
    pub prefetchable_window: bool,
}

impl Function {
    pub fn new(id: u32, class: u16, pin: u8, bars: &[Bar]) -> Self {
        let mut bytes = [0; 256];
        bytes[..4].copy_from_slice(&id.to_le_bytes());
        bytes[10..12].copy_from_slice(&class.to_le_bytes());
        bytes[0x3d] = pin;
        Self { bytes, bars: bars.to_vec(), rom: 0, bridge: None, prefetchable_window: true }
    }

    pub fn bridge_to(bus: usize) -> Self {
        let mut function = Self::new(0x0001_1b36, 0x0604, 1, &[]);
        function.bytes[0x0e] = 1;
        function.bridge = Some(bus);
        function
    }

    pub fn with_rom(self, size: u32) -> Self {
        Self { rom: size, ..self }
    }

    pub fn dword(&self, register: usize) -> u32 {
        u32::from_le_bytes(self.bytes[register..register + 4].try_into().unwrap())
    }

    fn mask(&self, register: usize) -> [u8; 4] {
        let mask = match (register, self.bridge) {
            (0x04, _) => 0x0000_0107,
            (0x3c, None) => 0xff,
            (0x3c, Some(_)) => 0xffff_00ff,
            (0x18, Some(_)) => 0x00ff_ffff,
            (0x1c, Some(_)) => 0x0000_f0f0,
            (0x20, Some(_)) => 0xfff0_fff0,
            (0x24, Some(_)) if self.prefetchable_window => 0xfff0_fff0,
            (0x30, None) if self.rom != 0 => !(self.rom - 1) | 1,
            (0x10..0x28, _) => self.bar_mask((register - 0x10) / 4),
            _ => 0,
        };
        mask.to_le_bytes()
    }

    fn bar_mask(&self, n: usize) -> u32 {
        match (self.bars.get(n), n.checked_sub(1).and_then(|n| self.bars.get(n))) {
            (_, Some(&Bar::Wide(size))) => ((!(size - 1)) >> 32) as u32,
            (Some(&Bar::Io(size) | &Bar::Memory(size) | &Bar::Prefetchable(size)), _) => !(size - 1),
            (Some(&Bar::Wide(size)), _) => !(size - 1) as u32,
            _ => 0,
        }
    }

    fn fixed_bits(&self, register: usize) -> u32 {
        if !(0x10..0x28).contains(&register) {
            return 0;
        }
        match self.bars.get((register - 0x10) / 4) {
            Some(Bar::Io(_)) => 1,
            Some(Bar::Prefetchable(_)) => 8,
            Some(Bar::Wide(_)) => 0xc,
            _ => 0,
        }
    }

    /// Address ranges that it decodes now: (is I/O, first, last).
    pub fn decoded(&self) -> Vec<(bool, u64, u64)> {
        let command = self.bytes[4];
        let mut all = Vec::new();
        for (n, bar) in self.bars.iter().enumerate() {
            let raw = self.dword(0x10 + 4 * n);
            let (io, base, size) = match *bar {
                Bar::Io(size) => (true, u64::from(raw & !3), u64::from(size)),
                Bar::Memory(size) | Bar::Prefetchable(size) => (false, u64::from(raw & !15), size.into()),
                Bar::Wide(size) => (false, u64::from(self.dword(0x14 + 4 * n)) << 32 | u64::from(raw & !15), size),
                Bar::None => continue,
            };
            if command & if io { 1 } else { 2 } != 0 {
                all.push((io, base, base + size - 1));
            }
        }
        all
    }
}

impl ConfigSpace for Function {
    fn read(&mut self, register: u8, width: u8) -> u32 {
        let register = usize::from(register);
        let at = register & !3;
        let whole = self.dword(at) | self.fixed_bits(at);
        let shifted = whole >> (8 * (register & 3));
        if width == 4 { shifted } else { shifted & ((1 << (8 * width)) - 1) }
    }
    fn write(&mut self, register: u8, width: u8, value: u32) {
        for n in 0..usize::from(width) {
            let at = usize::from(register) + n;
            let mask = self.mask(at & !3)[at & 3];
            let byte = value.to_le_bytes()[n];
            self.bytes[at] = self.bytes[at] & !mask | byte & mask;
        }
    }
    fn model(&self) -> Option<&Function> {
        Some(self)
    }
}

/// The fake PC.
pub struct Board {
    pub ram: Vec<u8>,
    /// ROM at the end of the first 4 GiB.
    pub rom: Vec<u8>,
    /// Functions by bus (index, 0 is the root bus) and device << 3 | function.
    pub functions: BTreeMap<(usize, u8), Box<dyn ConfigSpace>>,
    /// ROM contents at addresses outside of RAM.
    pub mapped: BTreeMap<u32, Vec<u8>>,
    pub files: Vec<(String, Vec<u8>)>,
    pub keys: BTreeMap<u16, Vec<u8>>,
    pub has_fw_cfg: bool,
    pub has_dma: bool,
    /// fw_cfg writes: key, offset, data.
    pub written: Vec<(u16, u32, Vec<u8>)>,
    pub cmos: [u8; 128],
    pub processors: u16,
    pub cpuid: BTreeMap<u32, [u32; 4]>,
    pub msrs: BTreeMap<u32, u64>,
    /// MSRs that the application processors have loaded.
    pub loaded: BTreeMap<u32, u64>,
    pub io_apic: bool,
    pub io_apic_id: u8,
    /// Writes to the local APIC's ICR.
    pub icr: Vec<u32>,
    /// Number of port accesses.
    pub accesses: u32,
    address: u32,
    selected: u16,
    offset: usize,
    dma_high: u32,
    cmos_index: u8,
    io_apic_index: u32,
    pit_polls: u32,
}

impl Board {
    pub fn new(ram: usize) -> Self {
        let mut rom = vec![0; 0x2_0000];
        // The BIOS's header.
        rom[0x1_e000..0x1_e008].copy_from_slice(b"pcvmBIOS");
        rom[0x1_e00a..0x1_e00c].copy_from_slice(&0x4000u16.to_le_bytes());
        Self {
            ram: vec![0; ram],
            rom,
            functions: BTreeMap::new(),
            mapped: BTreeMap::new(),
            files: Vec::new(),
            keys: BTreeMap::new(),
            has_fw_cfg: true,
            has_dma: true,
            written: Vec::new(),
            cmos: [0; 128],
            processors: 1,
            cpuid: BTreeMap::from([(0, [2, 0, 0, 0]), (1, [0x633, 0, 0, 1 << 5 | 1 << 9 | 1 << 12])]),
            msrs: BTreeMap::from([(0xfe, 0x508)]),
            loaded: BTreeMap::new(),
            io_apic: true,
            io_apic_id: 0,
            icr: Vec::new(),
            accesses: 0,
            address: 0,
            selected: 0,
            offset: 0,
            dma_high: 0,
            cmos_index: 0,
            io_apic_index: 0,
            pit_polls: 0,
        }
    }

    /// A board with the PCI functions of every pcvm machine.
    pub fn pc(ram: usize) -> Self {
        use pcvm_devices::chipset::{acpi_pm::AcpiPm, i440fx::I440fx, piix3::Piix3};
        let mut board = Self::new(ram);
        board.add(0, 0x00, Bench::new(I440fx::new()));
        board.add(0, 0x08, Bench::new(Piix3::new()));
        board.add(0, 0x09, Bench::new(pcvm_devices::ide::Piix3Ide::new([None, None, None, None])));
        board.add(0, 0x0b, Bench::new(AcpiPm::new()));
        board.add(0, 0x10, Bench::new(pcvm_devices::vga::Vga::new(16 << 20, vec![0x55, 0xaa])));
        board.file("etc/e820", &e820(&[(0, ram as u64, 1)]));
        board.keys.insert(5, vec![1, 0]);
        board
    }

    pub fn add(&mut self, bus: usize, devfn: u8, config: impl ConfigSpace + 'static) {
        self.functions.insert((bus, devfn), Box::new(config));
    }

    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.files.retain(|(other, _)| other != name);
        self.files.push((name.to_owned(), content.to_vec()));
    }

    pub fn config(&mut self, bus: usize, devfn: u8, register: u8, width: u8) -> u32 {
        self.functions.get_mut(&(bus, devfn)).unwrap().read(register, width)
    }

    fn item(&self, key: u16) -> Vec<u8> {
        match key {
            0 => b"QEMU".to_vec(),
            0x19 => {
                let mut bytes = (self.files.len() as u32).to_be_bytes().to_vec();
                for (n, (name, content)) in self.files.iter().enumerate() {
                    bytes.extend((content.len() as u32).to_be_bytes());
                    bytes.extend((0x20 + n as u16).to_be_bytes());
                    bytes.extend([0, 0]);
                    let mut padded = [0; 56];
                    padded[..name.len()].copy_from_slice(name.as_bytes());
                    bytes.extend(padded);
                }
                bytes
            }
            0x20.. => self.files.get(usize::from(key) - 0x20).map_or(Vec::new(), |(_, content)| content.clone()),
            key => self.keys.get(&key).cloned().unwrap_or_default(),
        }
    }

    fn dma(&mut self, at: u32) {
        let mut words = [0; 4];
        for (n, word) in words.iter_mut().enumerate() {
            *word = self.read32(at + 4 * n as u32).swap_bytes();
        }
        let [control, bytes, _, to] = words;
        if control & 8 != 0 {
            (self.selected, self.offset) = ((control >> 16) as u16, 0);
        }
        if control & 2 != 0 {
            let item = self.item(self.selected);
            for n in 0..bytes {
                let byte = item.get(self.offset).copied().unwrap_or(0);
                self.offset += 1;
                self.write8(to.wrapping_add(n), byte);
            }
        } else if control & 16 != 0 {
            let data = (0..bytes).map(|n| self.read8(to + n)).collect();
            self.written.push((self.selected, self.offset as u32, data));
        } else if control & 4 != 0 {
            self.offset += bytes as usize;
        }
        self.write32(at, 0);
    }

    /// Index of the bus that the bridges currently number `number`.
    fn bus(&self, number: u8) -> Option<usize> {
        let mut bus = 0;
        if number == 0 {
            return Some(0);
        }
        for _ in 0..32 {
            let bridges = self.functions.iter().filter(|((on, _), _)| *on == bus).filter_map(|(_, f)| f.model());
            let next =
                bridges.filter(|f| f.bridge.is_some()).find(|f| (f.bytes[0x19]..=f.bytes[0x1a]).contains(&number));
            let next = next.filter(|f| f.bytes[0x19] != 0)?;
            bus = next.bridge?;
            if next.bytes[0x19] == number {
                return Some(bus);
            }
        }
        None
    }

    fn function(&mut self) -> Option<&mut Box<dyn ConfigSpace>> {
        let bus = self.bus((self.address >> 16) as u8)?;
        self.functions.get_mut(&(bus, (self.address >> 8) as u8))
    }

    fn input(&mut self, port: u16, width: u8) -> u32 {
        self.accesses += 1;
        match port {
            0xcfc..=0xcff => {
                let register = (self.address & 0xfc) as u8 + (port - 0xcfc) as u8;
                let ones = if width == 4 { u32::MAX } else { (1 << (8 * width)) - 1 };
                self.function().map_or(ones, |f| f.read(register, width))
            }
            0x514 | 0x518 if self.has_fw_cfg && self.has_dma => {
                u32::from_le_bytes(if port == 0x514 { *b"QEMU" } else { *b" CFG" })
            }
            0x511 if self.has_fw_cfg => {
                let byte = self.item(self.selected).get(self.offset).copied().unwrap_or(0);
                self.offset += 1;
                byte.into()
            }
            0x71 => self.cmos[usize::from(self.cmos_index & 0x7f)].into(),
            0x61 => {
                self.pit_polls += 1;
                if self.pit_polls.is_multiple_of(100) { 0x20 } else { 0 }
            }
            _ => u32::MAX,
        }
    }

    fn output(&mut self, port: u16, width: u8, value: u32) {
        self.accesses += 1;
        match port {
            0xcf8 if width == 4 => self.address = value,
            0xcfc..=0xcff => {
                let register = (self.address & 0xfc) as u8 + (port - 0xcfc) as u8;
                if let Some(function) = self.function() {
                    function.write(register, width, value);
                }
            }
            0x510 => (self.selected, self.offset) = (value as u16, 0),
            0x514 => self.dma_high = value,
            0x518 if self.has_fw_cfg && self.has_dma => self.dma(value.swap_bytes()),
            0x70 => self.cmos_index = value as u8,
            _ => {}
        }
    }

    /// Whether the PAM registers map RAM at `at`, for reads or for writes.
    fn shadowed(&mut self, at: u32, write: bool) -> bool {
        let register = if at >= 0xf_0000 { 0x59 } else { 0x5a + ((at - 0xc_0000) >> 15) as u8 };
        let high = at >= 0xf_0000 || at & 0x4000 != 0;
        let Some(bridge) = self.functions.get_mut(&(0, 0)) else { return true };
        let pam = bridge.read(register, 1) >> if high { 4 } else { 0 };
        pam & if write { 2 } else { 1 } != 0
    }

    /// Index in `ram` for an access; `None` if RAM is not mapped there.
    fn ram_at(&mut self, at: u32, write: bool) -> Option<usize> {
        if (0xa_0000..0x10_0000).contains(&at) && (at < 0xc_0000 || !self.shadowed(at, write)) {
            return None;
        }
        Some(at as usize).filter(|&at| at < self.ram.len())
    }

    /// Does what the trampoline does on each application processor.
    fn start_others(&mut self) {
        let table = scratch::TRAMPOLINE + u32::from(processors::TABLE_OFFSET);
        for n in 0..u32::from(self.read16(table + 4)) {
            let at = table + 8 + 12 * n;
            let value = u64::from(self.read32(at + 8)) << 32 | u64::from(self.read32(at + 4));
            let register = self.read32(at);
            self.loaded.insert(register, value);
        }
        let others = self.processors - 1;
        for n in 0..others {
            // In descending order, as an example of an arbitrary order.
            self.write8(scratch::TRAMPOLINE + u32::from(processors::IDS_OFFSET) + u32::from(n), (others - n) as u8);
        }
        self.write16(table - 2, others);
    }
}

impl Ports for Board {
    fn inb(&mut self, port: u16) -> u8 {
        self.input(port, 1) as u8
    }
    fn inw(&mut self, port: u16) -> u16 {
        self.input(port, 2) as u16
    }
    fn inl(&mut self, port: u16) -> u32 {
        self.input(port, 4)
    }
    fn outb(&mut self, port: u16, value: u8) {
        self.output(port, 1, value.into());
    }
    fn outw(&mut self, port: u16, value: u16) {
        self.output(port, 2, value.into());
    }
    fn outl(&mut self, port: u16, value: u32) {
        self.output(port, 4, value);
    }
}

impl Machine for Board {
    fn read8(&mut self, at: u32) -> u8 {
        if let Some(index) = self.ram_at(at, false) {
            return self.ram[index];
        }
        let rom_start = 0u32.wrapping_sub(self.rom.len() as u32);
        if at >= rom_start {
            return self.rom[(at - rom_start) as usize];
        }
        if (0xe_0000..0x10_0000).contains(&at) {
            return self.rom[(at - 0xe_0000) as usize];
        }
        let below = self.mapped.range(..=at).next_back();
        below.and_then(|(base, bytes)| bytes.get((at - base) as usize)).copied().unwrap_or(0xff)
    }
    fn read16(&mut self, at: u32) -> u16 {
        u16::from_le_bytes([self.read8(at), self.read8(at + 1)])
    }
    fn read32(&mut self, at: u32) -> u32 {
        match at {
            0xfec0_0010 if self.io_apic && self.io_apic_index == 0 => return u32::from(self.io_apic_id) << 24,
            0xfec0_0010 if self.io_apic && self.io_apic_index == 1 => return 0x0017_0011,
            0xfee0_0030 => return 0x0005_0014,
            _ => {}
        }
        u32::from(self.read16(at)) | u32::from(self.read16(at.wrapping_add(2))) << 16
    }
    fn write8(&mut self, at: u32, value: u8) {
        if let Some(index) = self.ram_at(at, true) {
            self.ram[index] = value;
        }
    }
    fn write16(&mut self, at: u32, value: u16) {
        self.write8(at, value as u8);
        self.write8(at + 1, (value >> 8) as u8);
    }
    fn write32(&mut self, at: u32, value: u32) {
        match at {
            0xfec0_0000 => self.io_apic_index = value,
            0xfee0_0300 => {
                self.icr.push(value);
                if value & 0x700 == 0x600 {
                    self.start_others();
                }
            }
            _ => {
                self.write16(at, value as u16);
                self.write16(at.wrapping_add(2), (value >> 16) as u16);
            }
        }
    }
    fn copy(&mut self, from: u32, to: u32, bytes: u32) {
        for n in 0..bytes {
            let byte = self.read8(from + n);
            self.write8(to + n, byte);
        }
    }
    fn fill(&mut self, to: u32, value: u8, bytes: u32) {
        for n in 0..bytes {
            self.write8(to + n, value);
        }
    }
    fn insb(&mut self, port: u16, to: u32, bytes: u32) {
        for n in 0..bytes {
            let byte = self.inb(port);
            self.write8(to + n, byte);
        }
    }
    fn cpuid(&mut self, leaf: u32) -> Option<[u32; 4]> {
        if self.cpuid.is_empty() { None } else { Some(self.cpuid.get(&leaf).copied().unwrap_or_default()) }
    }
    fn rdmsr(&mut self, register: u32) -> u64 {
        self.msrs.get(&register).copied().expect("rdmsr of an MSR that this CPU does not have")
    }
    fn wrmsr(&mut self, register: u32, value: u64) {
        self.msrs.insert(register, value);
    }
    fn trampoline(&self) -> &'static [u8] {
        &[0xf4]
    }
}

/// Contents of `etc/e820`.
pub fn e820(ranges: &[(u64, u64, u32)]) -> Vec<u8> {
    let bytes = |&(base, length, kind): &(u64, u64, u32)| {
        [&base.to_le_bytes()[..], &length.to_le_bytes(), &kind.to_le_bytes()].concat()
    };
    ranges.iter().flat_map(bytes).collect()
}

/// An option ROM of `bytes` bytes with a valid checksum, for a PCI device.
pub fn option_rom(bytes: usize, id: u32, fill: u8) -> Vec<u8> {
    let mut rom = vec![fill; bytes];
    rom[..3].copy_from_slice(&[0x55, 0xaa, (bytes / 512) as u8]);
    rom[0x18..0x1a].copy_from_slice(&0x40u16.to_le_bytes());
    rom[0x40..0x44].copy_from_slice(b"PCIR");
    rom[0x44..0x48].copy_from_slice(&id.to_le_bytes());
    rom[0x50..0x52].copy_from_slice(&((bytes / 512) as u16).to_le_bytes());
    rom[0x54] = 0;
    rom[0x55] = 0x80;
    let sum = rom.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    *rom.last_mut().unwrap() = fill.wrapping_sub(sum);
    rom
}

/// Runs POST on the board.
pub fn power_on(board: &mut Board) -> pcvm_firmware_rt::Handoff {
    let mut handoff = pcvm_firmware_rt::Handoff::EMPTY;
    crate::power_on(board, &mut crate::Pci::new(), &mut handoff);
    handoff
}
