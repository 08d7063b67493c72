//! RTL8139 PHY registers at 62h to 75h and the media status register (IEEE 802.3 clauses 22.2.4 and 28; RTL8139C(L)
//! data sheet 5.12 and 5.18 to 5.22). The link partner is a switch that advertises all modes.

use super::regs;
use serde::{Deserialize, Serialize};

const BMCR_RESET: u16 = 1 << 15;
const BMCR_100: u16 = 1 << 13;
const BMCR_AUTONEG: u16 = 1 << 12;
const BMCR_DUPLEX: u16 = 1 << 8;
/// Bits that are writable only in configuration write mode (9346CR, 5.9).
const BMCR_WRITABLE: u16 = BMCR_100 | BMCR_AUTONEG | BMCR_DUPLEX;

/// 10 and 100 Mb/s, half and full duplex, auto-negotiation, extended registers.
const BMSR_ABILITIES: u16 = 0x7809;
const BMSR_AUTONEG_COMPLETE: u16 = 1 << 5;
const BMSR_LINK: u16 = 1 << 2;

/// Pause, all four technologies, selector 802.3.
const ANAR_RESET: u16 = 0x05e1;
const ANAR_WRITABLE: u16 = 0x2de0;
const ANAR_TECHNOLOGIES: u16 = 0x01e0;
const ANAR_100_FULL: u16 = 1 << 8;
const ANAR_100_HALF: u16 = 1 << 7;
const ANAR_10_FULL: u16 = 1 << 6;
/// ANLPAR: the same advertisement, with the acknowledge bit.
const ANLPAR_PARTNER: u16 = 0x45e1;
/// ANER.LP_NW_ABLE: the link partner supports auto-negotiation.
const ANER_LP_NW_ABLE: u16 = 1;

/// CSCR: link-down power saving, heartbeat, 100 Mb/s; the connected bit follows the link.
const CSCR_RESET: u16 = 0x0340;
const CSCR_CONNECTED: u16 = 1 << 3;
/// The data sheet does not name these two bits. Linux's 8139too, FreeBSD's rl(4) and ReactOS's driver do, and agree.
/// Linux and ReactOS take PUN for a link change only if the second bit is set when they read CSCR.
const CSCR_LINK_OK: u16 = 1 << 10;
const CSCR_LINK_CHANGED: u16 = 1 << 11;

const MSR_SPEED_10: u8 = 1 << 3;
const MSR_LINKB: u8 = 1 << 2;
/// MSR: auxiliary power is present.
const MSR_AUX: u8 = 1 << 4;

/// The PHY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Phy {
    link: bool,
    /// The link was down since BMSR was last read; BMSR's link bit latches low.
    link_lost: bool,
    /// BMCR: speed, auto-negotiation and duplex.
    bmcr: u16,
    anar: u16,
}

impl Phy {
    pub(super) fn new(link: bool) -> Self {
        Self { link, link_lost: false, bmcr: BMCR_100 | BMCR_AUTONEG | BMCR_DUPLEX, anar: ANAR_RESET }
    }

    /// Whether the state, from a saved state, is possible.
    pub(super) fn is_valid(&self) -> bool {
        self.bmcr & !BMCR_WRITABLE == 0 && self.anar & !ANAR_WRITABLE == ANAR_RESET & !ANAR_WRITABLE
    }

    /// Whether the link is up.
    pub(super) fn link(&self) -> bool {
        self.link
    }

    /// Sets the link state. Returns whether it changed.
    pub(super) fn set_link(&mut self, up: bool) -> bool {
        self.link_lost |= !up;
        std::mem::replace(&mut self.link, up) != up
    }

    fn autoneg(&self) -> bool {
        self.bmcr & BMCR_AUTONEG != 0
    }

    /// Speed and duplex as BMCR bits: negotiated, or forced.
    fn resolved_mode(&self) -> u16 {
        if !self.autoneg() || !self.link {
            return self.bmcr & (BMCR_100 | BMCR_DUPLEX);
        }
        // Priority resolution (IEEE 802.3, annex 28B.3).
        match self.anar & ANLPAR_PARTNER & ANAR_TECHNOLOGIES {
            common if common & ANAR_100_FULL != 0 => BMCR_100 | BMCR_DUPLEX,
            common if common & ANAR_100_HALF != 0 => BMCR_100,
            common if common & ANAR_10_FULL != 0 => BMCR_DUPLEX,
            _ => 0,
        }
    }

    /// MSR, the media status register.
    pub(super) fn msr(&self) -> u8 {
        let mut status = MSR_AUX;
        if !self.link {
            status |= MSR_LINKB;
        }
        if self.resolved_mode() & BMCR_100 == 0 {
            status |= MSR_SPEED_10;
        }
        status
    }

    /// Software reads the register at `offset`. `link_changed` is set until software acknowledges a link change
    /// (ISR.PUN).
    pub(super) fn read(&mut self, offset: u8, link_changed: bool) -> u16 {
        let negotiated = self.autoneg() && self.link;
        match offset {
            regs::BMCR => self.bmcr & BMCR_AUTONEG | self.resolved_mode(),
            regs::BMSR => {
                let link_up = self.link && !std::mem::replace(&mut self.link_lost, !self.link);
                BMSR_ABILITIES
                    | if negotiated { BMSR_AUTONEG_COMPLETE } else { 0 }
                    | if link_up { BMSR_LINK } else { 0 }
            }
            regs::ANAR => self.anar,
            regs::ANLPAR if negotiated => ANLPAR_PARTNER,
            regs::ANER if negotiated => ANER_LP_NW_ABLE,
            regs::CSCR => {
                CSCR_RESET
                    | if self.link { CSCR_CONNECTED | CSCR_LINK_OK } else { 0 }
                    | if link_changed { CSCR_LINK_CHANGED } else { 0 }
            }
            _ => 0,
        }
    }

    /// Software writes the register at `offset`; `unlocked` in configuration write mode.
    pub(super) fn write(&mut self, offset: u8, value: u16, mask: u16, unlocked: bool) {
        let merge = |old: u16| old & !mask | value & mask;
        match offset {
            // Restart auto-negotiation (bit 9) has the same result at once.
            regs::BMCR if value & mask & BMCR_RESET != 0 => {
                *self = Self { link_lost: self.link_lost, ..Self::new(self.link) }
            }
            regs::BMCR if unlocked => self.bmcr = merge(self.bmcr) & BMCR_WRITABLE,
            regs::ANAR => self.anar = merge(self.anar) & ANAR_WRITABLE | ANAR_RESET & !ANAR_WRITABLE,
            _ => {}
        }
    }
}
