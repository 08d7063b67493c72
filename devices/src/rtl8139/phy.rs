//! The PHY's registers at 62h to 75h (IEEE 802.3 clause 22.2.4 and 28; RTL8139C(L) data sheet 5.12 and 5.18 to 5.22), and what
//! they make of the media status register. The partner is a switch that offers everything.

use serde::{Deserialize, Serialize};

const BMCR_RESET: u16 = 1 << 15;
const BMCR_100: u16 = 1 << 13;
const BMCR_AUTONEG: u16 = 1 << 12;
const BMCR_DUPLEX: u16 = 1 << 8;
/// Bits that only the configuration write mode lets through (5.9).
const BMCR_WRITABLE: u16 = BMCR_100 | BMCR_AUTONEG | BMCR_DUPLEX;

/// 100 and 10 Mb/s, half and full duplex, auto-negotiation, extended registers.
const BMSR_ABILITIES: u16 = 0x7809;
const BMSR_DONE: u16 = 1 << 5;
const BMSR_LINK: u16 = 1 << 2;

/// Pause, all four technologies, 802.3.
const ANAR_RESET: u16 = 0x05e1;
const ANAR_WRITABLE: u16 = 0x2de0;
const TECHNOLOGIES: u16 = 0x01e0;
const TX_FULL: u16 = 1 << 8;
const TX_HALF: u16 = 1 << 7;
const T10_FULL: u16 = 1 << 6;
/// The same, acknowledged.
const PARTNER: u16 = 0x45e1;
/// The partner can negotiate.
const ANER_PARTNER: u16 = 1;

/// CSCR: link down power save, heartbeat, 100 Mb/s; and the connection's status.
const CSCR: u16 = 0x0340;
const CSCR_CONNECTED: u16 = 1 << 3;
/// The data sheet does not name these two bits. Linux's 8139too, FreeBSD's rl(4) and ReactOS's driver do, and agree; the
/// first and the last take PUN for a change of the link only if the second bit is set when they see it.
const CSCR_LINK_OK: u16 = 1 << 10;
const CSCR_LINK_CHANGED: u16 = 1 << 11;

const MSR_SPEED_10: u8 = 1 << 3;
const MSR_LINKB: u8 = 1 << 2;
/// Auxiliary power is there.
const MSR_AUX: u8 = 1 << 4;

/// The PHY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Phy {
    link: bool,
    /// The link was lost since BMSR was read: the bit is latched low.
    lost: bool,
    /// Speed, auto-negotiation and duplex.
    control: u16,
    advertised: u16,
}

impl Phy {
    pub(super) fn new(link: bool) -> Self {
        Self { link, lost: false, control: BMCR_100 | BMCR_AUTONEG | BMCR_DUPLEX, advertised: ANAR_RESET }
    }

    /// Whether a saved state is one that there can be.
    pub(super) fn is_possible(&self) -> bool {
        self.control & !BMCR_WRITABLE == 0 && self.advertised & !ANAR_WRITABLE == ANAR_RESET & !ANAR_WRITABLE
    }

    /// Whether there is a link.
    pub(super) fn link(&self) -> bool {
        self.link
    }

    /// The cable was plugged in or pulled out. True if that changes anything.
    pub(super) fn set_link(&mut self, up: bool) -> bool {
        self.lost |= !up;
        std::mem::replace(&mut self.link, up) != up
    }

    fn autoneg(&self) -> bool {
        self.control & BMCR_AUTONEG != 0
    }

    /// Speed and duplex as they came out, as BMCR bits.
    fn mode(&self) -> u16 {
        if !self.autoneg() || !self.link {
            return self.control & (BMCR_100 | BMCR_DUPLEX);
        }
        // Priority resolution (IEEE 802.3, annex 28B.3).
        match self.advertised & PARTNER & TECHNOLOGIES {
            common if common & TX_FULL != 0 => BMCR_100 | BMCR_DUPLEX,
            common if common & TX_HALF != 0 => BMCR_100,
            common if common & T10_FULL != 0 => BMCR_DUPLEX,
            _ => 0,
        }
    }

    /// The media status register.
    pub(super) fn media_status(&self) -> u8 {
        let mut status = MSR_AUX;
        if !self.link {
            status |= MSR_LINKB;
        }
        if self.mode() & BMCR_100 == 0 {
            status |= MSR_SPEED_10;
        }
        status
    }

    /// Software reads the register at `offset`; `changed` while a change of the link is not acknowledged.
    pub(super) fn read(&mut self, offset: u8, changed: bool) -> u16 {
        let negotiated = self.autoneg() && self.link;
        match offset {
            0x62 => self.control & BMCR_AUTONEG | self.mode(),
            0x64 => {
                let link = self.link && !std::mem::replace(&mut self.lost, !self.link);
                BMSR_ABILITIES | if negotiated { BMSR_DONE } else { 0 } | if link { BMSR_LINK } else { 0 }
            }
            0x66 => self.advertised,
            0x68 if negotiated => PARTNER,
            0x6a if negotiated => ANER_PARTNER,
            0x74 => {
                CSCR | if self.link { CSCR_CONNECTED | CSCR_LINK_OK } else { 0 }
                    | if changed { CSCR_LINK_CHANGED } else { 0 }
            }
            _ => 0,
        }
    }

    /// Software writes the register at `offset`; `unlocked` in configuration write mode.
    pub(super) fn write(&mut self, offset: u8, value: u16, mask: u16, unlocked: bool) {
        let merge = |old: u16| old & !mask | value & mask;
        match offset {
            // Restarting the negotiation (bit 9) gives the same again at once.
            0x62 if value & mask & BMCR_RESET != 0 => *self = Self { lost: self.lost, ..Self::new(self.link) },
            0x62 if unlocked => self.control = merge(self.control) & BMCR_WRITABLE,
            0x66 => self.advertised = merge(self.advertised) & ANAR_WRITABLE | ANAR_RESET & !ANAR_WRITABLE,
            _ => {}
        }
    }
}
