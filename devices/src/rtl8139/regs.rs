//! RTL8139 registers: offsets, bits, reset values (RTL8139C(L)+ data sheet, section "Register Descriptions"; section
//! numbers of the RTL8139C(L) data sheet, revision 1.4, where both have the register).
//!
//! An access of any size and alignment is split into accesses to whole registers with a mask: bytes that a write does
//! not cover keep their value, and clear nothing in write-1-to-clear registers.

use super::phy::Phy;
use crate::time::VmTime;
use serde::{Deserialize, Serialize};

pub(super) const IDR: u8 = 0x00;
pub(super) const MAR: u8 = 0x08;
/// TSD0 to TSD3; in C+ mode DTCCR is at the same offset.
pub(super) const TSD: u8 = 0x10;
/// TSAD0 to TSAD3; in C+ mode TNPDS and THPDS, the two transmit rings' addresses, are at the same offset.
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
/// TSAD at 60h, the transmit status of all descriptors.
pub(super) const TSAD_ALL: u8 = 0x60;
pub(super) const BMCR: u8 = 0x62;
pub(super) const BMSR: u8 = 0x64;
pub(super) const ANAR: u8 = 0x66;
pub(super) const ANLPAR: u8 = 0x68;
pub(super) const ANER: u8 = 0x6a;
/// The last of the PHY's word registers.
pub(super) const CSCR: u8 = 0x74;
/// PHY and twister parameters, wake-up frames and their CRCs: storage without effect.
pub(super) const SCRATCH: std::ops::Range<u8> = 0x78..0xd4;
pub(super) const FLASH: u8 = 0xd4;
pub(super) const CONFIG5: u8 = 0xd8;
pub(super) const TPPOLL: u8 = 0xd9;
pub(super) const CPCR: u8 = 0xe0;
pub(super) const RDSAR: u8 = 0xe4;
pub(super) const RDSAR_HIGH: u8 = 0xe8;
pub(super) const ETTHR: u8 = 0xec;

/// Command register, CR (5.4).
pub(super) mod cr {
    pub(in super::super) const RST: u8 = 1 << 4;
    pub(in super::super) const RE: u8 = 1 << 3;
    pub(in super::super) const TE: u8 = 1 << 2;
    pub(in super::super) const BUFE: u8 = 1 << 0;
}

/// Bits of ISR (5.6) and IMR (5.5).
pub(super) mod int {
    pub(in super::super) const ROK: u16 = 1 << 0;
    pub(in super::super) const RER: u16 = 1 << 1;
    pub(in super::super) const TOK: u16 = 1 << 2;
    pub(in super::super) const TER: u16 = 1 << 3;
    /// Receive buffer overflow; in C+ mode, no receive descriptor available.
    pub(in super::super) const RXOVW: u16 = 1 << 4;
    /// Packet underrun or link change.
    pub(in super::super) const PUN: u16 = 1 << 5;
    /// Transmit descriptor unavailable (C+).
    pub(in super::super) const TDU: u16 = 1 << 7;
    /// Software interrupt (C+).
    pub(in super::super) const SWINT: u16 = 1 << 8;
    pub(in super::super) const TIMEOUT: u16 = 1 << 14;
    pub(in super::super) const SERR: u16 = 1 << 15;
    /// Implemented bits. FOVW (bit 6) and LenChg (bit 13) are never set.
    pub(in super::super) const ALL: u16 = 0xe07f;
    pub(in super::super) const ALL_CPLUS: u16 = ALL | TDU | SWINT;
}

/// Transmit status, TSD (5.2).
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

/// Transmit configuration, TCR (5.7).
pub(super) mod tcr {
    pub(in super::super) const LOOPBACK: u32 = 3 << 17;
    /// The chip appends no FCS.
    pub(in super::super) const NO_CRC: u32 = 1 << 16;
    /// IFG, loopback, CRC, DMA burst size and retry count; CLRABT reads 0.
    pub(in super::super) const WRITABLE: u32 = 0x030f_07f0;
    /// Standard interframe gap.
    pub(in super::super) const RESET: u32 = 0x0300_0000;
}

/// Receive configuration, RCR (5.8).
pub(super) mod rcr {
    pub(in super::super) const WRAP: u32 = 1 << 7;
    pub(in super::super) const AER: u32 = 1 << 5;
    pub(in super::super) const AR: u32 = 1 << 4;
    pub(in super::super) const AB: u32 = 1 << 3;
    pub(in super::super) const AM: u32 = 1 << 2;
    pub(in super::super) const APM: u32 = 1 << 1;
    pub(in super::super) const AAP: u32 = 1 << 0;
    /// All but the reserved bits and 9356SEL, which the EEPROM type determines.
    pub(in super::super) const WRITABLE: u32 = 0x0f03_ffbf;
}

/// C+ command register, CPCR.
pub(super) mod cpcr {
    pub(in super::super) const TX: u16 = 1 << 0;
    pub(in super::super) const RX: u16 = 1 << 1;
    pub(in super::super) const RX_CHECKSUM: u16 = 1 << 5;
    pub(in super::super) const RX_VLAN: u16 = 1 << 6;
    /// Both rings, multiple read/write, dual address cycle, checksum and VLAN. Big-endian mode (bit 9) is not
    /// implemented.
    pub(in super::super) const WRITABLE: u16 = 0x007b;
}

/// 9346CR.EEM, the operating mode (5.9).
pub(super) mod eem {
    pub(in super::super) const AUTO_LOAD: u8 = 1;
    pub(in super::super) const PROGRAM: u8 = 2;
    pub(in super::super) const CONFIG_WRITE: u8 = 3;
}

/// Fixed bits of CONFIG1: IOMAP and MEMMAP.
pub(super) const CONFIG1_MAPPED: u8 = 0x0c;
pub(super) const CONFIG1_WRITABLE: u8 = 0xf3;
pub(super) const CONFIG3_WRITABLE: u8 = 0x70;
pub(super) const CONFIG4_WRITABLE: u8 = 0xf5;
pub(super) const CONFIG5_WRITABLE: u8 = 0x7f;
const TCTR_NANOS: u64 = 30;

/// The first byte and the length in bytes of the register at `offset`.
pub(super) const fn register_at(offset: u8) -> (u8, u8) {
    match offset {
        0x10..=0x33 | 0x40..=0x4f | 0x54..=0x57 | 0xd4..=0xd7 | 0xe4..=0xeb => (offset & !3, 4),
        0x34..=0x35 | 0x38..=0x3f | 0x5c..=0x5d | 0x60..=0x77 | 0xe0..=0xe3 => (offset & !1, 2),
        _ => (offset, 1),
    }
}

const IDR_NAMES: [&str; 6] = ["IDR0", "IDR1", "IDR2", "IDR3", "IDR4", "IDR5"];
const MAR_NAMES: [&str; 8] = ["MAR0", "MAR1", "MAR2", "MAR3", "MAR4", "MAR5", "MAR6", "MAR7"];
const TSD_NAMES: [&str; 4] = ["TSD0", "TSD1", "TSD2", "TSD3"];
const TSAD_NAMES: [&str; 4] = ["TSAD0", "TSAD1", "TSAD2", "TSAD3"];

/// The data sheet's name of the register at `offset`; `cplus_tx` while the transmit rings are enabled (CPCR).
pub(super) fn name(offset: u8, cplus: bool, cplus_tx: bool) -> Option<&'static str> {
    let (first, _) = register_at(offset);
    let index = |base: u8, size: u8| usize::from((first - base) / size);
    Some(match first {
        IDR..6 => IDR_NAMES[index(IDR, 1)],
        MAR..TSD => MAR_NAMES[index(MAR, 1)],
        TSD..0x18 if cplus_tx => "DTCCR",
        TSD..TSAD => TSD_NAMES[index(TSD, 4)],
        TSAD..0x28 if cplus_tx => "TNPDS",
        0x28..RBSTART if cplus_tx => "THPDS",
        TSAD..RBSTART => TSAD_NAMES[index(TSAD, 4)],
        RBSTART => "RBSTART",
        0x34 => "ERBCR",
        0x36 => "ERSR",
        CR => "CR",
        CAPR => "CAPR",
        CBR => "CBR",
        IMR => "IMR",
        ISR => "ISR",
        TCR => "TCR",
        RCR => "RCR",
        TCTR => "TCTR",
        MPC => "MPC",
        CR9346 => "9346CR",
        CONFIG0 => "CONFIG0",
        CONFIG1 => "CONFIG1",
        TIMER_INT => "TimerInt",
        MSR => "MSR",
        CONFIG3 => "CONFIG3",
        CONFIG4 => "CONFIG4",
        MULINT => "MULINT",
        RERID => "RERID",
        TSAD_ALL => "TSAD",
        BMCR => "BMCR",
        BMSR => "BMSR",
        ANAR => "ANAR",
        ANLPAR => "ANLPAR",
        ANER => "ANER",
        0x6c => "DIS",
        0x6e => "FCSC",
        0x70 => "NWAYTR",
        0x72 => "REC",
        CSCR => "CSCR",
        0x78..0x7c => "PHY1_PARM",
        0x7c..0x80 => "TW_PARM",
        0x80 => "PHY2_PARM",
        0x84..0x8c => "CRC",
        0x8c..0xcc => "Wakeup",
        0xcc..0xd4 => "LSBCRC",
        FLASH => "FLASH",
        CONFIG5 => "CONFIG5",
        TPPOLL if cplus => "TPPoll",
        CPCR if cplus => "CPCR",
        RDSAR | RDSAR_HIGH if cplus => "RDSAR",
        ETTHR if cplus => "ETThR",
        _ => return None,
    })
}

/// The register values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registers {
    pub(super) idr: [u8; 6],
    pub(super) mar: [u8; 8],
    pub(super) tsd: [u32; 4],
    pub(super) tsad: [u32; 4],
    /// DTCCR, the address of the tally dump (C+ mode).
    pub(super) dtccr: [u32; 2],
    pub(super) rbstart: u32,
    /// CR: RE and TE.
    pub(super) cr: u8,
    pub(super) capr: u16,
    pub(super) cbr: u16,
    pub(super) imr: u16,
    pub(super) isr: u16,
    pub(super) tcr: u32,
    pub(super) rcr: u32,
    /// When TCTR was 0.
    pub(super) tctr_base: VmTime,
    pub(super) timer_int: u32,
    pub(super) mpc: u32,
    /// 9346CR.EEM.
    pub(super) eem: u8,
    pub(super) config1: u8,
    pub(super) config3: u8,
    pub(super) config4: u8,
    pub(super) config5: u8,
    pub(super) mulint: u16,
    /// The registers in [`SCRATCH`].
    pub(super) scratch: Vec<u8>,
    pub(super) flash: u32,
    pub(super) cpcr: u16,
    pub(super) rdsar: [u32; 2],
    pub(super) etthr: u8,
    pub(super) phy: Phy,
}

impl Registers {
    /// The values at power-on, before the EEPROM is loaded.
    pub(super) fn new(link: bool) -> Self {
        let mut new = Self {
            idr: [0; 6],
            mar: [0; 8],
            tsd: [tsd::OWN; 4],
            tsad: [0; 4],
            dtccr: [0; 2],
            rbstart: 0,
            cr: 0,
            capr: 0,
            cbr: 0,
            imr: 0,
            isr: 0,
            tcr: 0,
            rcr: 0,
            tctr_base: VmTime::ZERO,
            timer_int: 0,
            mpc: 0,
            eem: 0,
            config1: 0,
            config3: 0,
            config4: 0,
            config5: 0,
            mulint: 0,
            scratch: vec![0; SCRATCH.len()],
            flash: 0,
            cpcr: 0,
            rdsar: [0; 2],
            etthr: 0,
            phy: Phy::new(link),
        };
        new.soft_reset(VmTime::ZERO);
        new
    }

    /// Software reset, CR.RST (5.4): stops both directions and resets the ring pointers. Keeps the MAC address, the
    /// multicast filter, the addresses that software set, what was loaded from the EEPROM, and the PHY.
    pub(super) fn soft_reset(&mut self, now: VmTime) {
        self.tsd = [tsd::OWN; 4];
        self.dtccr = [0; 2];
        self.cr = 0;
        // An empty ring: CAPR is 16 below the read offset.
        self.capr = 0xfff0;
        self.cbr = 0;
        self.imr = 0;
        self.isr = 0;
        self.tcr = tcr::RESET;
        self.rcr = 0;
        self.tctr_base = now;
        self.timer_int = 0;
        self.mpc = 0;
        self.mulint = 0;
        self.cpcr = 0;
        self.etthr = 0;
    }

    /// Whether the values, from a saved state, are possible.
    pub(super) fn is_valid(&self, interrupts: u16) -> bool {
        self.scratch.len() == SCRATCH.len()
            && self.tsd.iter().all(|value| value & !(tsd::WRITABLE | tsd::CRS | tsd::TABT | tsd::TOK | tsd::TUN) == 0)
            && self.cr & !(cr::RE | cr::TE) == 0
            && (self.isr | self.imr) & !interrupts == 0
            && self.tcr & !tcr::WRITABLE == 0
            && self.rcr & !rcr::WRITABLE == 0
            && self.mpc < 1 << 24
            && self.eem < 4
            && self.cpcr & !cpcr::WRITABLE == 0
            && self.config1 & !CONFIG1_WRITABLE == 0
            && self.config4 & !CONFIG4_WRITABLE == 0
            && self.config5 & !CONFIG5_WRITABLE == 0
    }

    pub(super) fn receiver_enabled(&self) -> bool {
        self.cr & cr::RE != 0
    }

    pub(super) fn transmitter_enabled(&self) -> bool {
        self.cr & cr::TE != 0
    }

    pub(super) fn loopback(&self) -> bool {
        self.tcr & tcr::LOOPBACK != 0
    }

    /// Bytes of the receive ring (RCR.RBLEN). The 16 bytes past it that the data sheet mentions are never used.
    pub(super) fn rx_ring_size(&self) -> u32 {
        0x2000 << (self.rcr >> 11 & 3)
    }

    /// The offset in the receive ring that the guest reads next.
    pub(super) fn rx_read_offset(&self) -> u32 {
        u32::from(self.capr.wrapping_add(16)) & (self.rx_ring_size() - 1)
    }

    /// The offset in the receive ring at which the next frame is stored.
    pub(super) fn rx_write_offset(&self) -> u32 {
        u32::from(self.cbr) & (self.rx_ring_size() - 1)
    }

    /// CR.BUFE.
    pub(super) fn rx_ring_empty(&self) -> bool {
        self.rx_read_offset() == self.rx_write_offset()
    }

    /// TCTR, which counts the 33 MHz PCI clock.
    pub(super) fn tctr(&self, now: VmTime) -> u32 {
        (now.0.saturating_sub(self.tctr_base.0) / TCTR_NANOS) as u32
    }

    /// When TCTR next equals TimerInt; `None` if TimerInt is 0.
    pub(super) fn tctr_match(&self, now: VmTime) -> Option<VmTime> {
        if self.timer_int == 0 {
            return None;
        }
        let ticks = now.0.saturating_sub(self.tctr_base.0) / TCTR_NANOS;
        let round = ticks & !0xffff_ffff;
        let target = round | u64::from(self.timer_int);
        let target = if target > ticks { target } else { target + (1 << 32) };
        Some(self.tctr_base.plus_nanos(target.saturating_mul(TCTR_NANOS)))
    }

    /// TSAD at 60h, the transmit status of all descriptors (5.17).
    pub(super) fn tsad_summary(&self) -> u16 {
        let mut all = 0;
        for (n, status) in self.tsd.iter().enumerate() {
            for (bit, at) in [(tsd::OWN, 0), (tsd::TABT, 4), (tsd::TUN, 8), (tsd::TOK, 12)] {
                all |= u16::from(status & bit != 0) << (at + n);
            }
        }
        all
    }
}
