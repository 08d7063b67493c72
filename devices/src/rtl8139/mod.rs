//! Realtek RTL8139C+ PCI fast Ethernet controller, and its predecessor RTL8139C without C+ mode (Realtek: RTL8139C(L)+
//! data sheet; RTL8139C(L), revision 1.4, and RTL8100B(L), revision 1.41, whose sections 5 are the same and are cited).
//!
//! PCI 10ec:8139, revision 20h (10h for the C). The subsystem ID is 1af4:1100 as in QEMU, so that a guest that was
//! installed under QEMU keeps its driver binding; it never changes. BAR 0 is 256 ports, BAR 1 the same 256 bytes of
//! memory; INTA#; power management capability at 50h; an expansion ROM BAR if the configuration has a ROM. DMA: four
//! transmit slots and a receive ring in C mode (`tx`, `rx`), or descriptor rings in C+ mode (`cplus`).
//!
//! Writes to the address registers and to CAPR only latch a value and are coalesced ([`Region::coalesce`]). One
//! register write sends a frame: TSD, whose writes may be coalesced too (see `tx_coalescing`), or TPPoll. A batch of
//! received frames raises one interrupt; transmit interrupts are moderated while the guest sends several frames at a
//! time (see `interrupt`).
//!
//! Deliberately missing: early receive (frames arrive whole; ERBCR and ERSR read 0), flow control, collisions and other
//! errors of a physical medium, big-endian descriptors, VPD, CardBus registers, PME# and wake-up frames (nothing is
//! wired to wake the machine; their registers hold what is written), and PCI configuration space loaded from the
//! EEPROM.

mod access;
mod cplus;
mod eeprom;
mod filter;
mod interrupt;
mod offload;
mod phy;
mod regs;
mod rx;
mod tally;
#[cfg(test)]
mod tests;
mod tx;
mod tx_coalescing;

use crate::ctx::{Ctx, Effect, TimerId};
use crate::device::{Access, CONFIG_TAG, Devfn, Device, Owned, Region, Wake};
use crate::net::NicId;
use crate::pci::{ConfigSpace, ConfigState, config_register_name};
use crate::state::RestoreError;
use cplus::TxRing;
use eeprom::Eeprom;
use interrupt::TxModeration;
use regs::Registers;
use rx::Receiver;
use serde::{Deserialize, Serialize};
use tally::Tally;
use tx_coalescing::TxCoalescing;

const VENDOR: u16 = 0x10ec;
const DEVICE: u16 = 0x8139;
const SUBSYSTEM: (u16, u16) = (0x1af4, 0x1100);
const CLASS_ETHERNET: u32 = 0x02_0000;
/// PCI status: fast back-to-back, medium DEVSEL, capabilities list.
const PCI_STATUS: [u8; 2] = [0x90, 0x02];
const BAR_IO: usize = 0;
const BAR_MEMORY: usize = 1;
const REGISTERS_SIZE: u16 = 0x100;
const ROM_SIZE_MIN: u32 = 0x800;
const ROM_SIZE_MAX: usize = 1 << 24;

/// Offsets in PCI configuration space of the power management capability and of its PMCSR.
const PM_CAPABILITY: u8 = 0x50;
const PMCSR: u8 = 0x54;
/// PMC: version 1.1, D1 and D2 supported, no PME# from any state.
const PMC: u16 = 0x0602;

const TAG_IO: u8 = 0;
const TAG_MEMORY: u8 = 1;
const TAG_ROM: u8 = 2;

/// TCTR reaches TimerInt: sets ISR.TimeOut.
const TIMER_TCTR: TimerId = TimerId(0);
/// Polls for receive buffer space for a pending frame.
const TIMER_RX_POLL: TimerId = TimerId(1);
/// Continues the transmit rings after a budget was used up.
const TIMER_TX_RINGS: TimerId = TimerId(2);
/// The deadline of a deferred transmit interrupt.
const TIMER_TX_INTERRUPT: TimerId = TimerId(3);
/// Ends TSD coalescing if the guest does not profit from it.
const TIMER_TX_COALESCING: TimerId = TimerId(4);

/// The chip variant. Drivers select by the PCI revision: Linux binds 8139cp to the C+ and 8139too to the C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chip {
    /// RTL8139C+, which has C mode and C+ mode.
    #[default]
    CPlus,
    /// RTL8139C, which has no descriptor rings.
    C,
}

impl Chip {
    const fn revision(self) -> u8 {
        match self {
            Self::CPlus => 0x20,
            Self::C => 0x10,
        }
    }

    /// TCR.HWVERID.
    const fn hwverid(self) -> u32 {
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

/// The configuration of a NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicSpec {
    /// Its id on the host side.
    pub nic: NicId,
    /// Its PCI address.
    pub devfn: Devfn,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its expansion ROM; empty for none. Only the first 16 MiB are used.
    pub rom: Vec<u8>,
    /// Whether the link is up.
    pub link: bool,
}

/// The NIC.
pub struct Rtl8139 {
    // Configuration.
    nic: NicId,
    devfn: Devfn,
    chip: Chip,
    rom: Vec<u8>,
    // Chip state.
    pci: ConfigSpace,
    regs: Registers,
    eeprom: Eeprom,
    tally: Tally,
    /// The transmit slot to be sent next.
    tx_slot: u8,
    tx_rings: [TxRing; 2],
    /// The receive descriptor to be filled next.
    rx_index: u8,
    rx: Receiver,
    tx_moderation: TxModeration,
    tx_coalescing: TxCoalescing,
    // The level of INTA#.
    inta: bool,
}

/// Saved state of [`Rtl8139`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rtl8139State {
    pci: ConfigState,
    regs: Registers,
    eeprom: Eeprom,
    tally: Tally,
    tx_slot: u8,
    tx_rings: [TxRing; 2],
    rx_index: u8,
    rx: Receiver,
    tx_moderation: TxModeration,
    tx_coalescing: TxCoalescing,
    inta: bool,
}

fn config(chip: Chip, rom: usize) -> ConfigSpace {
    let space = ConfigSpace::new(VENDOR, DEVICE, CLASS_ETHERNET, chip.revision())
        .subsystem(SUBSYSTEM.0, SUBSYSTEM.1)
        // PCI command: I/O, memory, bus master, memory write and invalidate, parity error response; SERR#.
        .writable(crate::pci::COMMAND, &[0x57, 0x01])
        .preset(crate::pci::STATUS, &PCI_STATUS)
        .io_bar(BAR_IO, REGISTERS_SIZE.into())
        .memory_bar(BAR_MEMORY, REGISTERS_SIZE.into(), false)
        .interrupt_pin(1)
        // MIN_GNT and MAX_LAT.
        .preset(0x3e, &[0x20, 0x40])
        .preset(0x34, &[PM_CAPABILITY])
        .preset(PM_CAPABILITY.into(), &[1, 0])
        .preset(usize::from(PM_CAPABILITY) + 2, &PMC.to_le_bytes())
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

    /// An RTL8139 of either variant.
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
            tx_slot: 0,
            tx_rings: Default::default(),
            rx_index: 0,
            rx: Receiver::default(),
            tx_moderation: TxModeration::default(),
            tx_coalescing: TxCoalescing::default(),
            inta: false,
        }
    }

    /// The MAC address in IDR0-IDR5.
    pub fn station_address(&self) -> [u8; 6] {
        self.regs.idr
    }

    /// CBR: the offset in the receive ring at which the next frame is stored.
    pub fn ring_position(&self) -> u16 {
        self.regs.cbr
    }

    /// Whether the function is in power state D0. In other states it keeps its registers and does no work.
    fn in_d0(&self) -> bool {
        self.pci.byte(PMCSR) & 3 == 0
    }

    /// Software reset (CR.RST), and the return from D3.
    fn soft_reset(&mut self, cx: &mut Ctx<'_>) {
        self.regs.soft_reset(cx.now());
        self.tx_slot = 0;
        self.restart_rings();
        self.discard_pending_frame(cx);
        self.tx_moderation.clear();
        self.stop_tx_coalescing(cx);
        self.arm_tctr_timer(cx);
    }

    /// Loads the registers that come from the EEPROM, after a reset and on the auto-load command (5.9).
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

    fn arm_tctr_timer(&self, cx: &mut Ctx<'_>) {
        match self.regs.tctr_match(cx.now()) {
            Some(at) => cx.arm(TIMER_TCTR, at),
            None => cx.disarm(TIMER_TCTR),
        }
    }

    /// Continues work that was blocked: by the power state, or by PCI bus mastering.
    fn resume_deferred_work(&mut self, cx: &mut Ctx<'_>) {
        self.send_tx_slots(cx);
        self.process_tx_rings(cx);
        self.receive(cx);
    }

    fn write_pci_config(&mut self, cx: &mut Ctx<'_>, offset: u64, data: &[u8]) {
        let power = self.pci.byte(PMCSR) & 3;
        let written = self.pci.write(offset, data);
        if power == 3 && self.in_d0() {
            self.soft_reset(cx);
        }
        if written.mapping {
            cx.effect(Effect::Remap);
        }
        if written.mapping || power != self.pci.byte(PMCSR) & 3 {
            self.resume_deferred_work(cx);
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
        let with_coalescing = |region: Region| {
            let addresses = u64::from(regs::TSAD)..u64::from(regs::RBSTART);
            let start = if self.tx_coalescing.is_active() { regs::TSD.into() } else { addresses.start };
            let capr = u64::from(regs::CAPR);
            region.with_coalesce(start..addresses.end).with_coalesce(capr..capr + 2)
        };
        let mut regions = Vec::new();
        if let Some(base) = self.pci.bar(BAR_IO) {
            regions.push(with_coalescing(Region::io(base as u16, REGISTERS_SIZE, TAG_IO)));
        }
        if let Some(base) = self.pci.bar(BAR_MEMORY) {
            regions.push(with_coalescing(Region::mem(base, REGISTERS_SIZE.into(), TAG_MEMORY)));
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

    fn register_name(&self, at: Access) -> Option<&'static str> {
        match at.tag {
            TAG_IO | TAG_MEMORY => regs::name(u8::try_from(at.offset).ok()?, self.chip == Chip::CPlus, self.cplus_tx()),
            CONFIG_TAG => config_register_name(&[], at.offset),
            _ => None,
        }
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        match at.tag {
            TAG_IO | TAG_MEMORY => {
                self.note_synchronous_access(cx, at.offset);
                if self.rx.has_pending_frame() && self.cplus_rx() {
                    // A guest returns descriptors without a register access, so a pending frame may have room by now.
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
            CONFIG_TAG => self.write_pci_config(cx, at.offset, data),
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
            Wake::Timer(TIMER_TCTR) => {
                // TimerInt may have been cleared, or TCTR restarted, after the timer was armed.
                if self.regs.timer_int != 0 {
                    self.regs.isr |= regs::int::TIMEOUT;
                }
                self.arm_tctr_timer(cx);
            }
            Wake::Timer(TIMER_RX_POLL) => self.on_rx_poll_timer(cx),
            Wake::Timer(TIMER_TX_RINGS) => self.process_tx_rings(cx),
            Wake::Timer(TIMER_TX_INTERRUPT) => self.on_tx_interrupt_timer(cx),
            Wake::Timer(TIMER_TX_COALESCING) => self.on_tx_coalescing_timer(cx),
            _ => return,
        }
        self.update_irq(cx);
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        self.discard_pending_frame(cx);
        let Self {
            nic: _,
            devfn: _,
            chip: _,
            rom: _,
            pci,
            regs,
            eeprom,
            tally,
            tx_slot,
            tx_rings,
            rx_index,
            rx,
            tx_moderation,
            tx_coalescing,
            inta,
        } = self;
        pci.reset();
        *regs = Registers::new(regs.phy.link());
        regs.tctr_base = cx.now();
        eeprom.set_pins(0);
        *tally = Tally::default();
        *tx_slot = 0;
        *tx_rings = Default::default();
        *rx_index = 0;
        *rx = Receiver::default();
        *tx_moderation = TxModeration::default();
        *tx_coalescing = TxCoalescing::default();
        *inta = false;
        self.auto_load();
        for timer in [TIMER_TCTR, TIMER_RX_POLL, TIMER_TX_RINGS, TIMER_TX_INTERRUPT, TIMER_TX_COALESCING] {
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
            tx_slot,
            tx_rings,
            rx_index,
            rx,
            tx_moderation,
            tx_coalescing,
            inta,
        } = self;
        Rtl8139State {
            pci: pci.save(),
            regs: regs.clone(),
            eeprom: eeprom.clone(),
            tally: tally.clone(),
            tx_slot: *tx_slot,
            tx_rings: tx_rings.clone(),
            rx_index: *rx_index,
            rx: rx.clone(),
            tx_moderation: tx_moderation.clone(),
            tx_coalescing: tx_coalescing.clone(),
            inta: *inta,
        }
    }

    fn load(&mut self, state: Rtl8139State) -> Result<(), RestoreError> {
        let Rtl8139State {
            pci,
            regs,
            eeprom,
            tally,
            tx_slot,
            tx_rings,
            rx_index,
            rx,
            tx_moderation,
            tx_coalescing,
            inta,
        } = state;
        for (valid, what) in [
            (regs.is_valid(self.chip.interrupts()) && regs.phy.is_valid(), "registers"),
            (eeprom.is_valid(), "EEPROM"),
            (tx_slot < 4, "transmit slot"),
            (tx_rings.iter().all(TxRing::is_valid) && rx_index < 64, "descriptor ring"),
            (rx.is_valid(), "received frame"),
        ] {
            if !valid {
                return Err(RestoreError::Impossible { kind: Self::KIND, what });
            }
        }
        self.pci.load(Self::KIND, &pci, &[])?;
        (self.regs, self.eeprom, self.tally) = (regs, eeprom, tally);
        (self.tx_slot, self.tx_rings, self.rx_index) = (tx_slot, tx_rings, rx_index);
        (self.rx, self.tx_moderation, self.tx_coalescing, self.inta) = (rx, tx_moderation, tx_coalescing, inta);
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        self.drive_irq(cx);
        self.arm_tctr_timer(cx);
        self.rearm_tx_interrupt_timer(cx);
        self.rearm_tx_coalescing_timer(cx);
        self.rearm_rx_poll_timer(cx);
        self.resume_deferred_work(cx);
        self.update_irq(cx);
        cx.effect(Effect::Remap);
    }
}
