//! Realtek RTL8139C+, a PCI fast Ethernet controller, and its elder RTL8139C without C+ mode (Realtek: RTL8139C(L)+ data
//! sheet; RTL8139C(L), revision 1.4, and RTL8100B(L), revision 1.41, whose sections 5 are the same and are cited).
//!
//! PCI 10ec:8139, revision 20h (10h for the C), subsystem 1af4:1100 as on QEMU, so that a guest that comes from there
//! keeps its binding; frozen. BAR 0 is 256 ports, BAR 1 the same 256 bytes of memory, INTA#, power management at 50h and,
//! if there is a ROM, its BAR. DMA: four transmit slots and a receive ring (`tx`, `rx`), or descriptor rings (`cplus`).
//!
//! Writes to the buffers' addresses and to CAPR only latch and are kept back ([`Region::coalesce`]). A frame is sent by one
//! write: TSD (which may be kept back too: see `keep`), or TPPoll. Receive interrupts come once for a batch; transmit interrupts wait a little for more frames
//! where the guest sends several at a time (see `interrupt`).
//!
//! Deliberately missing: early receive (frames come whole, ERBCR and ERSR read 0), flow control, collisions and other
//! errors of a medium, big-endian descriptors, VPD, CardBus registers, PME# and wake-up frames (nothing is wired to wake
//! the machine; their registers hold what is written), and configuration space from the EEPROM.

mod access;
mod cplus;
mod eeprom;
mod filter;
mod interrupt;
mod keep;
mod offload;
mod phy;
mod regs;
mod rx;
mod tally;
#[cfg(test)]
mod tests;
mod tx;

use crate::ctx::{Ctx, Effect, TimerId};
use crate::device::{Access, CONFIG_TAG, Devfn, Device, Owned, Region, Wake};
use crate::net::NicId;
use crate::pci::{ConfigSpace, ConfigState};
use crate::state::RestoreError;
use cplus::TxRing;
use eeprom::Eeprom;
use interrupt::Moderation;
use keep::Keeping;
use regs::Registers;
use rx::Receiver;
use serde::{Deserialize, Serialize};
use tally::Tally;

const VENDOR: u16 = 0x10ec;
const DEVICE: u16 = 0x8139;
const SUBSYSTEM: (u16, u16) = (0x1af4, 0x1100);
const CLASS_ETHERNET: u32 = 0x02_0000;
/// Fast back-to-back, medium DEVSEL, capabilities list.
const PCI_STATUS: [u8; 2] = [0x90, 0x02];
const BAR_IO: usize = 0;
const BAR_MEMORY: usize = 1;
const SIZE: u16 = 0x100;
const ROM_SIZE_MIN: u32 = 0x800;
const ROM_SIZE_MAX: usize = 1 << 24;

/// Where the power management capability is, and its control and status register.
const CAPABILITY: u8 = 0x50;
const PMCSR: u8 = 0x54;
/// Version 1.1, D1 and D2, no PME# from any state.
const PMC: u16 = 0x0602;

const TAG_IO: u8 = 0;
const TAG_MEMORY: u8 = 1;
const TAG_ROM: u8 = 2;

/// TCTR reads TimerInt.
const TIMER_MATCH: TimerId = TimerId(0);
/// Look for room for a frame that came in.
const TIMER_RX: TimerId = TimerId(1);
/// Go on with the transmit rings.
const TIMER_TX: TimerId = TimerId(2);
/// Announce what was sent.
const TIMER_SENT: TimerId = TimerId(3);
/// See whether TSD is to be kept back any longer.
const TIMER_KEPT: TimerId = TimerId(4);

/// Which chip. Drivers look at the PCI revision: Linux has 8139cp for the one and 8139too for the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chip {
    /// RTL8139C+, with both modes.
    #[default]
    CPlus,
    /// RTL8139C, without descriptors.
    C,
}

impl Chip {
    const fn revision(self) -> u8 {
        match self {
            Self::CPlus => 0x20,
            Self::C => 0x10,
        }
    }

    /// HWVERID in TCR.
    const fn version(self) -> u32 {
        match self {
            Self::CPlus => 0x7480_0000,
            Self::C => 0x7400_0000,
        }
    }

    const fn interrupts(self) -> u16 {
        match self {
            Self::CPlus => regs::int::ALL_CPLUS,
            Self::C => regs::int::ALL,
        }
    }
}

/// A card as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicSpec {
    /// Its name towards the host.
    pub nic: NicId,
    /// Its slot.
    pub devfn: Devfn,
    /// Its station address.
    pub mac: [u8; 6],
    /// Its expansion ROM; empty for none. At most 16 MiB are used.
    pub rom: Vec<u8>,
    /// Whether the cable is plugged in.
    pub link: bool,
}

/// The card.
pub struct Rtl8139 {
    // Configuration.
    nic: NicId,
    devfn: Devfn,
    chip: Chip,
    rom: Vec<u8>,
    // The chip.
    pci: ConfigSpace,
    regs: Registers,
    eeprom: Eeprom,
    tally: Tally,
    /// The slot to be sent next.
    slot: u8,
    rings: [TxRing; 2],
    /// The receive descriptor to be filled next.
    rx_index: u8,
    rx: Receiver,
    sent: Moderation,
    keeping: Keeping,
    // Its output.
    irq: bool,
}

/// [`Rtl8139`] in a saved state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rtl8139State {
    pci: ConfigState,
    regs: Registers,
    eeprom: Eeprom,
    tally: Tally,
    slot: u8,
    rings: [TxRing; 2],
    rx_index: u8,
    rx: Receiver,
    sent: Moderation,
    keeping: Keeping,
    irq: bool,
}

fn config(chip: Chip, rom: usize) -> ConfigSpace {
    let space = ConfigSpace::new(VENDOR, DEVICE, CLASS_ETHERNET, chip.revision())
        .subsystem(SUBSYSTEM.0, SUBSYSTEM.1)
        // I/O, memory, master, memory write and invalidate, parity; SERR#.
        .writable(crate::pci::COMMAND, &[0x57, 0x01])
        .preset(crate::pci::STATUS, &PCI_STATUS)
        .io_bar(BAR_IO, SIZE.into())
        .memory_bar(BAR_MEMORY, SIZE.into(), false)
        .interrupt_pin(1)
        // MIN_GNT and MAX_LAT.
        .preset(0x3e, &[0x20, 0x40])
        .preset(0x34, &[CAPABILITY])
        .preset(CAPABILITY.into(), &[1, 0])
        .preset(usize::from(CAPABILITY) + 2, &PMC.to_le_bytes())
        .writable(PMCSR.into(), &[0x03]);
    if rom == 0 {
        return space;
    }
    space.rom_bar((rom.min(ROM_SIZE_MAX) as u32).next_power_of_two().max(ROM_SIZE_MIN))
}

impl Rtl8139 {
    /// An RTL8139C+.
    pub fn new(spec: NicSpec) -> Self {
        Self::with_chip(spec, Chip::CPlus)
    }

    /// Either chip.
    pub fn with_chip(spec: NicSpec, chip: Chip) -> Self {
        let NicSpec { nic, devfn, mac, rom, link } = spec;
        Self {
            pci: config(chip, rom.len()),
            nic,
            devfn,
            chip,
            rom,
            regs: Registers::new(link),
            eeprom: Eeprom::new(mac, SUBSYSTEM),
            tally: Tally::default(),
            slot: 0,
            rings: Default::default(),
            rx_index: 0,
            rx: Receiver::default(),
            sent: Moderation::default(),
            keeping: Keeping::default(),
            irq: false,
        }
    }

    /// The station address as the guest has it now.
    pub fn station_address(&self) -> [u8; 6] {
        self.regs.idr
    }

    /// Where in its ring the next frame goes (CBR).
    pub fn ring_position(&self) -> u16 {
        self.regs.cbr
    }

    /// Whether the function is in power state D0. In any other it does nothing but keep its registers.
    fn awake(&self) -> bool {
        self.pci.byte(PMCSR) & 3 == 0
    }

    /// CR.RST, and what a return from D3 does.
    fn soft_reset(&mut self, cx: &mut Ctx<'_>) {
        self.regs.soft_reset(cx.now());
        self.slot = 0;
        self.restart_rings();
        self.flush_receiver(cx);
        self.sent.forget();
        self.keep_no_more(cx);
        self.arm_match(cx);
    }

    /// What the chip reads from its EEPROM after a reset, and on command (5.9).
    fn auto_load(&mut self) {
        self.regs.idr = self.eeprom.mac();
        let [_, config3] = self.eeprom.word(6).to_le_bytes();
        let [_, config1] = self.eeprom.word(0x0a).to_le_bytes();
        let [_, config4] = self.eeprom.word(0x0c).to_le_bytes();
        self.regs.config1 = config1 & regs::CONFIG1_WRITABLE;
        self.regs.config3 = config3;
        self.regs.config4 = config4 & regs::CONFIG4_WRITABLE;
        self.regs.config5 = 0;
    }

    fn arm_match(&self, cx: &mut Ctx<'_>) {
        match self.regs.timer_match(cx.now()) {
            Some(at) => cx.arm(TIMER_MATCH, at),
            None => cx.disarm(TIMER_MATCH),
        }
    }

    /// Everything that may have become possible: what was asked for and had to wait goes on.
    fn go_on(&mut self, cx: &mut Ctx<'_>) {
        self.send_slots(cx);
        self.work_rings(cx);
        self.receive(cx);
    }

    fn write_config(&mut self, cx: &mut Ctx<'_>, offset: u64, data: &[u8]) {
        let power = self.pci.byte(PMCSR) & 3;
        let written = self.pci.write(offset, data);
        if power == 3 && self.awake() {
            self.soft_reset(cx);
        }
        if written.mapping {
            cx.effect(Effect::Remap);
        }
        if written.mapping || power != self.pci.byte(PMCSR) & 3 {
            self.go_on(cx);
            self.update_irq(cx);
        }
    }

    fn rom_byte(&self, at: u64) -> u8 {
        usize::try_from(at).ok().and_then(|at| self.rom.get(at)).copied().unwrap_or(0xff)
    }
}

impl Device for Rtl8139 {
    type State = Rtl8139State;
    const KIND: &'static str = "rtl8139";
    const VERSION: u32 = 1;

    fn owns(&self) -> Owned {
        Owned { nics: vec![self.nic], ..Owned::default() }
    }

    fn regions(&self) -> Vec<Region> {
        let latches = |region: Region| {
            let addresses = u64::from(regs::TSAD)..u64::from(regs::RBSTART);
            let first = if self.keeping.is_on() { regs::TSD.into() } else { addresses.start };
            let capr = u64::from(regs::CAPR);
            region.with_coalesce(first..addresses.end).with_coalesce(capr..capr + 2)
        };
        let mut regions = Vec::new();
        if let Some(base) = self.pci.bar(BAR_IO) {
            regions.push(latches(Region::io(base as u16, SIZE, TAG_IO)));
        }
        if let Some(base) = self.pci.bar(BAR_MEMORY) {
            regions.push(latches(Region::mem(base, SIZE.into(), TAG_MEMORY)));
        }
        if let Some(base) = self.pci.rom()
            && !self.rom.is_empty()
        {
            regions.push(Region::mem(base, self.rom.len().min(ROM_SIZE_MAX) as u64, TAG_ROM));
        }
        regions
    }

    fn pci(&self) -> Option<Devfn> {
        Some(self.devfn)
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        match at.tag {
            TAG_IO | TAG_MEMORY => {
                self.note_look(cx, at.offset);
                if self.rx.waits() && self.receives_descriptors() {
                    // The guest gives descriptors back without a word; whoever looks may have done so.
                    self.receive(cx);
                    self.update_irq(cx);
                }
                self.read_registers(cx, at.offset, data);
            }
            TAG_ROM => {
                for (byte, at) in data.iter_mut().zip(at.offset..) {
                    *byte = self.rom_byte(at);
                }
            }
            CONFIG_TAG => self.pci.read(at.offset, data),
            _ => {}
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        match at.tag {
            TAG_IO | TAG_MEMORY => self.write_registers(cx, at.offset, data),
            CONFIG_TAG => self.write_config(cx, at.offset, data),
            _ => {}
        }
    }

    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        match why {
            Wake::Frames(nic) if nic == self.nic => self.receive(cx),
            Wake::Link(nic, up) if nic == self.nic => {
                if self.regs.phy.set_link(up) {
                    self.regs.isr |= regs::int::PUN;
                    self.receive(cx);
                }
            }
            Wake::Timer(TIMER_MATCH) => {
                // Time may have stood still since, or the timer been set anew.
                if self.regs.timer_int != 0 {
                    self.regs.isr |= regs::int::TIMEOUT;
                }
                self.arm_match(cx);
            }
            Wake::Timer(TIMER_RX) => self.look_for_room(cx),
            Wake::Timer(TIMER_TX) => self.work_rings(cx),
            Wake::Timer(TIMER_SENT) => self.announce_late(cx),
            Wake::Timer(TIMER_KEPT) => self.look_at_writes(cx),
            _ => return,
        }
        self.update_irq(cx);
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        self.flush_receiver(cx);
        let Self {
            nic: _,
            devfn: _,
            chip: _,
            rom: _,
            pci,
            regs,
            eeprom,
            tally,
            slot,
            rings,
            rx_index,
            rx,
            sent,
            keeping,
            irq,
        } = self;
        pci.reset();
        *regs = Registers::new(regs.phy.link());
        regs.timer_base = cx.now();
        eeprom.drive(0);
        *tally = Tally::default();
        *slot = 0;
        *rings = Default::default();
        *rx_index = 0;
        *rx = Receiver::default();
        *sent = Moderation::default();
        *keeping = Keeping::default();
        *irq = false;
        self.auto_load();
        for timer in [TIMER_MATCH, TIMER_RX, TIMER_TX, TIMER_SENT, TIMER_KEPT] {
            cx.disarm(timer);
        }
        self.drive_irq(cx);
        cx.effect(Effect::Remap);
    }

    fn save(&self) -> Rtl8139State {
        let Self {
            nic: _,
            devfn: _,
            chip: _,
            rom: _,
            pci,
            regs,
            eeprom,
            tally,
            slot,
            rings,
            rx_index,
            rx,
            sent,
            keeping,
            irq,
        } = self;
        Rtl8139State {
            pci: pci.save(),
            regs: regs.clone(),
            eeprom: eeprom.clone(),
            tally: tally.clone(),
            slot: *slot,
            rings: rings.clone(),
            rx_index: *rx_index,
            rx: rx.clone(),
            sent: sent.clone(),
            keeping: keeping.clone(),
            irq: *irq,
        }
    }

    fn load(&mut self, state: Rtl8139State) -> Result<(), RestoreError> {
        let Rtl8139State { pci, regs, eeprom, tally, slot, rings, rx_index, rx, sent, keeping, irq } = state;
        for (possible, what) in [
            (regs.is_possible(self.chip.interrupts()) && regs.phy.is_possible(), "registers"),
            (eeprom.is_possible(), "EEPROM"),
            (slot < 4, "transmit slot"),
            (rings.iter().all(TxRing::is_possible) && rx_index < 64, "descriptor ring"),
            (rx.is_possible(), "received frame"),
        ] {
            if !possible {
                return Err(RestoreError::Impossible { kind: Self::KIND, what });
            }
        }
        self.pci.load(Self::KIND, &pci, &[])?;
        (self.regs, self.eeprom, self.tally) = (regs, eeprom, tally);
        (self.slot, self.rings, self.rx_index) = (slot, rings, rx_index);
        (self.rx, self.sent, self.keeping, self.irq) = (rx, sent, keeping, irq);
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        self.drive_irq(cx);
        self.arm_match(cx);
        self.announce_again(cx);
        self.keep_again(cx);
        self.look_again(cx);
        self.go_on(cx);
        self.update_irq(cx);
        cx.effect(Effect::Remap);
    }
}
