//! The registers that hold values, their reset values and how they lie in the 256 bytes (RTL8139C(L)+ data sheet, section
//! "Register Descriptions"; section numbers of the RTL8139C(L) data sheet, revision 1.4, where both have it).
//!
//! An access of any size and alignment is one or more accesses to whole registers: what it does not touch of a register
//! keeps its value (or, where ones clear, clears nothing).

use super::phy::Phy;
use crate::time::VmTime;
use serde::{Deserialize, Serialize};

pub(super) const IDR: u8 = 0x00;
pub(super) const MAR: u8 = 0x08;
/// Transmit status of descriptor 0; in C+ mode the dump tally counter command.
pub(super) const TSD: u8 = 0x10;
/// Transmit start address of descriptor 0; in C+ mode the two transmit rings' addresses.
pub(super) const TSAD: u8 = 0x20;
pub(super) const RBSTART: u8 = 0x30;
pub(super) const CR: u8 = 0x37;
pub(super) const CAPR: u8 = 0x38;
pub(super) const CBR: u8 = 0x3a;
pub(super) const IMR: u8 = 0x3c;
pub(super) const ISR: u8 = 0x3e;
pub(super) const TCR: u8 = 0x40;
pub(super) const RCR: u8 = 0x44;
pub(super) const TCTR: u8 = 0x48;
pub(super) const MPC: u8 = 0x4c;
pub(super) const CR9346: u8 = 0x50;
pub(super) const CONFIG0: u8 = 0x51;
pub(super) const CONFIG1: u8 = 0x52;
pub(super) const TIMER_INT: u8 = 0x54;
pub(super) const MSR: u8 = 0x58;
pub(super) const CONFIG3: u8 = 0x59;
pub(super) const CONFIG4: u8 = 0x5a;
pub(super) const MULINT: u8 = 0x5c;
pub(super) const RERID: u8 = 0x5e;
/// Transmit status of all descriptors.
pub(super) const TSAD_ALL: u8 = 0x60;
pub(super) const BMCR: u8 = 0x62;
/// The last of the PHY's word registers.
pub(super) const CSCR: u8 = 0x74;
/// PHY, twister and wake-up frame registers: nothing but storage.
pub(super) const STORE: std::ops::Range<u8> = 0x78..0xd4;
pub(super) const FLASH: u8 = 0xd4;
pub(super) const CONFIG5: u8 = 0xd8;
pub(super) const TPPOLL: u8 = 0xd9;
pub(super) const CPCR: u8 = 0xe0;
pub(super) const RDSAR: u8 = 0xe4;
pub(super) const ETTHR: u8 = 0xec;

/// Command register (5.4).
pub(super) mod cr {
    pub(in super::super) const RST: u8 = 1 << 4;
    pub(in super::super) const RE: u8 = 1 << 3;
    pub(in super::super) const TE: u8 = 1 << 2;
    pub(in super::super) const BUFE: u8 = 1 << 0;
}

/// Interrupt status and mask (5.6, 5.5).
pub(super) mod int {
    pub(in super::super) const ROK: u16 = 1 << 0;
    pub(in super::super) const RER: u16 = 1 << 1;
    pub(in super::super) const TOK: u16 = 1 << 2;
    pub(in super::super) const TER: u16 = 1 << 3;
    /// Receive buffer overflow; in C+ mode no receive descriptor.
    pub(in super::super) const RXOVW: u16 = 1 << 4;
    /// Packet underrun, and link change.
    pub(in super::super) const PUN: u16 = 1 << 5;
    /// C+: no more transmit descriptors.
    pub(in super::super) const TDU: u16 = 1 << 7;
    /// C+: software interrupt.
    pub(in super::super) const SWINT: u16 = 1 << 8;
    pub(in super::super) const TIMEOUT: u16 = 1 << 14;
    pub(in super::super) const SERR: u16 = 1 << 15;
    /// What there is. FIFO overflow (bit 6) and cable length change (13) never come.
    pub(in super::super) const ALL: u16 = 0xe07f;
    pub(in super::super) const ALL_CPLUS: u16 = ALL | TDU | SWINT;
}

/// Transmit status (5.2).
pub(super) mod tsd {
    pub(in super::super) const CRS: u32 = 1 << 31;
    pub(in super::super) const TABT: u32 = 1 << 30;
    pub(in super::super) const TOK: u32 = 1 << 15;
    pub(in super::super) const TUN: u32 = 1 << 14;
    pub(in super::super) const OWN: u32 = 1 << 13;
    pub(in super::super) const SIZE: u32 = 0x1fff;
    /// Early transmit threshold, OWN and size.
    pub(in super::super) const WRITABLE: u32 = 0x003f_3fff;
}

/// Transmit configuration (5.7).
pub(super) mod tcr {
    pub(in super::super) const LOOPBACK: u32 = 3 << 17;
    /// No FCS is appended.
    pub(in super::super) const NO_CRC: u32 = 1 << 16;
    /// IFG, loopback, CRC, DMA burst and retry count; CLRABT reads 0.
    pub(in super::super) const WRITABLE: u32 = 0x030f_07f0;
    /// Interframe gap of the standard.
    pub(in super::super) const RESET: u32 = 0x0300_0000;
}

/// Receive configuration (5.8).
pub(super) mod rcr {
    pub(in super::super) const WRAP: u32 = 1 << 7;
    pub(in super::super) const AER: u32 = 1 << 5;
    pub(in super::super) const AR: u32 = 1 << 4;
    pub(in super::super) const AB: u32 = 1 << 3;
    pub(in super::super) const AM: u32 = 1 << 2;
    pub(in super::super) const APM: u32 = 1 << 1;
    pub(in super::super) const AAP: u32 = 1 << 0;
    /// All but the reserved bits and 9356SEL, which says which EEPROM there is.
    pub(in super::super) const WRITABLE: u32 = 0x0f03_ffbf;
}

/// C+ command register.
pub(super) mod cpcr {
    pub(in super::super) const TX: u16 = 1 << 0;
    pub(in super::super) const RX: u16 = 1 << 1;
    pub(in super::super) const RX_CHECKSUM: u16 = 1 << 5;
    pub(in super::super) const RX_VLAN: u16 = 1 << 6;
    /// Both rings, multiple read, dual address cycle, checksum and VLAN. Big endian (bit 9) is not done.
    pub(in super::super) const WRITABLE: u16 = 0x007b;
}

/// The EEPROM command register's operating modes (5.9).
pub(super) mod eem {
    pub(in super::super) const AUTO_LOAD: u8 = 1;
    pub(in super::super) const PROGRAM: u8 = 2;
    pub(in super::super) const CONFIG_WRITE: u8 = 3;
}

/// Fixed bits of CONFIG1: both BARs are there.
pub(super) const CONFIG1_MAPPED: u8 = 0x0c;
pub(super) const CONFIG1_WRITABLE: u8 = 0xf3;
pub(super) const CONFIG3_WRITABLE: u8 = 0x70;
pub(super) const CONFIG4_WRITABLE: u8 = 0xf5;
pub(super) const CONFIG5_WRITABLE: u8 = 0x7f;
const TCTR_NANOS: u64 = 30;

/// Where the register at `offset` begins, and its length in bytes.
pub(super) const fn register_at(offset: u8) -> (u8, u8) {
    match offset {
        0x10..=0x33 | 0x40..=0x4f | 0x54..=0x57 | 0xd4..=0xd7 | 0xe4..=0xeb => (offset & !3, 4),
        0x34..=0x35 | 0x38..=0x3f | 0x5c..=0x5d | 0x60..=0x77 | 0xe0..=0xe3 => (offset & !1, 2),
        _ => (offset, 1),
    }
}

/// What the registers hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registers {
    pub(super) idr: [u8; 6],
    pub(super) mar: [u8; 8],
    pub(super) tsd: [u32; 4],
    pub(super) tsad: [u32; 4],
    /// The tally dump's address, in C+ mode.
    pub(super) dtccr: [u32; 2],
    pub(super) rbstart: u32,
    /// RE and TE.
    pub(super) command: u8,
    pub(super) capr: u16,
    pub(super) cbr: u16,
    pub(super) imr: u16,
    pub(super) isr: u16,
    pub(super) tcr: u32,
    pub(super) rcr: u32,
    /// When TCTR was 0.
    pub(super) timer_base: VmTime,
    pub(super) timer_int: u32,
    pub(super) missed: u32,
    /// Operating mode of the EEPROM command register.
    pub(super) eem: u8,
    pub(super) config1: u8,
    pub(super) config3: u8,
    pub(super) config4: u8,
    pub(super) config5: u8,
    pub(super) multiple_interrupt: u16,
    /// [`STORE`].
    pub(super) store: Vec<u8>,
    pub(super) flash: u32,
    pub(super) cpcr: u16,
    pub(super) rdsar: [u32; 2],
    pub(super) early_tx: u8,
    pub(super) phy: Phy,
}

impl Registers {
    /// After power-on, before the EEPROM was read.
    pub(super) fn new(link: bool) -> Self {
        let mut new = Self {
            idr: [0; 6],
            mar: [0; 8],
            tsd: [tsd::OWN; 4],
            tsad: [0; 4],
            dtccr: [0; 2],
            rbstart: 0,
            command: 0,
            capr: 0,
            cbr: 0,
            imr: 0,
            isr: 0,
            tcr: 0,
            rcr: 0,
            timer_base: VmTime::ZERO,
            timer_int: 0,
            missed: 0,
            eem: 0,
            config1: 0,
            config3: 0,
            config4: 0,
            config5: 0,
            multiple_interrupt: 0,
            store: vec![0; STORE.len()],
            flash: 0,
            cpcr: 0,
            rdsar: [0; 2],
            early_tx: 0,
            phy: Phy::new(link),
        };
        new.soft_reset(VmTime::ZERO);
        new
    }

    /// CR.RST (5.4): both directions off, buffers' pointers back. The station address, the multicast filter, addresses
    /// that software set, what came from the EEPROM and the PHY stay.
    pub(super) fn soft_reset(&mut self, now: VmTime) {
        self.tsd = [tsd::OWN; 4];
        self.dtccr = [0; 2];
        self.command = 0;
        // An empty ring: CAPR is 16 bytes behind what it means.
        self.capr = 0xfff0;
        self.cbr = 0;
        self.imr = 0;
        self.isr = 0;
        self.tcr = tcr::RESET;
        self.rcr = 0;
        self.timer_base = now;
        self.timer_int = 0;
        self.missed = 0;
        self.multiple_interrupt = 0;
        self.cpcr = 0;
        self.early_tx = 0;
    }

    /// Whether a saved state is one that there can be.
    pub(super) fn is_possible(&self, interrupts: u16) -> bool {
        self.store.len() == STORE.len()
            && self.tsd.iter().all(|value| value & !(tsd::WRITABLE | tsd::CRS | tsd::TABT | tsd::TOK | tsd::TUN) == 0)
            && self.command & !(cr::RE | cr::TE) == 0
            && (self.isr | self.imr) & !interrupts == 0
            && self.tcr & !tcr::WRITABLE == 0
            && self.rcr & !rcr::WRITABLE == 0
            && self.missed < 1 << 24
            && self.eem < 4
            && self.cpcr & !cpcr::WRITABLE == 0
            && self.config1 & !CONFIG1_WRITABLE == 0
            && self.config4 & !CONFIG4_WRITABLE == 0
            && self.config5 & !CONFIG5_WRITABLE == 0
    }

    pub(super) fn receiving(&self) -> bool {
        self.command & cr::RE != 0
    }

    pub(super) fn transmitting(&self) -> bool {
        self.command & cr::TE != 0
    }

    pub(super) fn loopback(&self) -> bool {
        self.tcr & tcr::LOOPBACK != 0
    }

    /// Bytes of the receive ring (RCR.RBLEN); the 16 more that the data sheet speaks of are never used.
    pub(super) fn ring_size(&self) -> u32 {
        0x2000 << (self.rcr >> 11 & 3)
    }

    /// Where in the ring the guest reads next.
    pub(super) fn ring_read(&self) -> u32 {
        u32::from(self.capr.wrapping_add(16)) & (self.ring_size() - 1)
    }

    /// Where in the ring the next frame goes.
    pub(super) fn ring_write(&self) -> u32 {
        u32::from(self.cbr) & (self.ring_size() - 1)
    }

    /// CR.BUFE.
    pub(super) fn ring_empty(&self) -> bool {
        self.ring_read() == self.ring_write()
    }

    /// TCTR: counts the PCI clock, 33 MHz.
    pub(super) fn timer(&self, now: VmTime) -> u32 {
        (now.0.saturating_sub(self.timer_base.0) / TCTR_NANOS) as u32
    }

    /// When TCTR will read TimerInt next, if it asks for that.
    pub(super) fn timer_match(&self, now: VmTime) -> Option<VmTime> {
        if self.timer_int == 0 {
            return None;
        }
        let ticks = now.0.saturating_sub(self.timer_base.0) / TCTR_NANOS;
        let round = ticks & !0xffff_ffff;
        let target = round | u64::from(self.timer_int);
        let target = if target > ticks { target } else { target + (1 << 32) };
        Some(self.timer_base.plus_nanos(target.saturating_mul(TCTR_NANOS)))
    }

    /// TSAD, the summary of all descriptors' status (5.17).
    pub(super) fn transmit_summary(&self) -> u16 {
        let mut all = 0;
        for (n, status) in self.tsd.iter().enumerate() {
            for (bit, at) in [(tsd::OWN, 0), (tsd::TABT, 4), (tsd::TUN, 8), (tsd::TOK, 12)] {
                all |= u16::from(status & bit != 0) << (at + n);
            }
        }
        all
    }
}
