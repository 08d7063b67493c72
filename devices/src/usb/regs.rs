//! UHCI I/O registers (UHCI Design Guide 1.1, section 2.1).

use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// USB Command.
pub const USBCMD: u64 = 0x00;
/// USB Status.
pub const USBSTS: u64 = 0x02;
/// USB Interrupt Enable.
pub const USBINTR: u64 = 0x04;
/// Frame Number.
pub const FRNUM: u64 = 0x06;
/// Frame List Base Address, low word.
pub const FRBASEADD: u64 = 0x08;
/// Frame List Base Address, high word.
pub const FRBASEADD_HIGH: u64 = 0x0a;
/// Start of Frame Modify, one byte.
pub const SOFMOD: u64 = 0x0c;
/// Port 1 Status and Control.
pub const PORTSC1: u64 = 0x10;
/// Port 2 Status and Control.
pub const PORTSC2: u64 = 0x12;

/// SOFMOD after reset: a frame of 12,000 bit times.
pub const SOFMOD_RESET: u8 = 0x40;
/// The implemented bits of FRNUM.
pub const FRNUM_MASK: u16 = 0x7ff;

/// The name of the register at `offset`.
pub fn name(offset: u64) -> Option<&'static str> {
    match offset & !1 {
        USBCMD => Some("USBCMD"),
        USBSTS => Some("USBSTS"),
        USBINTR => Some("USBINTR"),
        FRNUM => Some("FRNUM"),
        FRBASEADD | FRBASEADD_HIGH => Some("FRBASEADD"),
        SOFMOD if offset == SOFMOD => Some("SOFMOD"),
        PORTSC1 => Some("PORTSC1"),
        PORTSC2 => Some("PORTSC2"),
        _ => None,
    }
}

/// USBCMD (2.1.1).
#[bitfield(u16)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct UsbCmd {
    /// Run/Stop.
    pub rs: bool,
    /// Host Controller Reset.
    pub hcreset: bool,
    /// Global Reset.
    pub greset: bool,
    /// Enter Global Suspend Mode.
    pub egsm: bool,
    /// Force Global Resume.
    pub fgr: bool,
    /// Software Debug: the controller stops after every transaction.
    pub swdbg: bool,
    /// Configure Flag, scratch for software.
    pub cf: bool,
    /// Max Packet: near the end of a frame a packet of up to 64 bytes may start, else one of up to 32 bytes.
    pub maxp: bool,
    __: u8,
}

/// USBSTS (2.1.2). HCHalted is not stored: it follows from USBCMD.RS.
#[bitfield(u16)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct UsbSts {
    /// USBINT: a TD with IOC is complete, or a short packet was detected.
    pub usbint: bool,
    /// USB Error Interrupt: a transaction ended in an error.
    pub usb_error: bool,
    /// Resume Detect: a function signalled resume in global suspend.
    pub resume_detect: bool,
    /// Host System Error: a PCI transfer failed.
    pub host_system_error: bool,
    /// Host Controller Process Error: the schedule is inconsistent.
    pub process_error: bool,
    /// HCHalted; set only in the value that software reads.
    pub hc_halted: bool,
    #[bits(10)]
    __: u16,
}

/// USBINTR (2.1.3).
#[bitfield(u16)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct UsbIntr {
    /// Timeout/CRC Interrupt Enable.
    pub timeout_crc: bool,
    /// Resume Interrupt Enable.
    pub resume: bool,
    /// Interrupt On Complete Enable.
    pub ioc: bool,
    /// Short Packet Interrupt Enable.
    pub short_packet: bool,
    #[bits(12)]
    __: u16,
}

/// PORTSC (2.1.7).
#[bitfield(u16)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSc {
    pub connect_status: bool,
    pub connect_status_change: bool,
    pub port_enabled: bool,
    pub port_enable_change: bool,
    /// Line Status: D+ is high.
    pub d_plus: bool,
    /// Line Status: D- is high.
    pub d_minus: bool,
    pub resume_detect: bool,
    /// Bit 7 always reads 1; drivers count ports by it.
    pub always_one: bool,
    pub low_speed: bool,
    pub port_reset: bool,
    #[bits(2)]
    __: u8,
    pub suspend: bool,
    #[bits(3)]
    __: u8,
}

/// LEGSUP, Legacy Support, at C0h of the PCI configuration space (82371SB, 2.4.16). Only USBPIRQDEN has an effect; the
/// bits for SMI# and for the traps of ports 60h and 64h just read back.
pub const LEGSUP: u8 = 0xc0;
/// USBPIRQDEN in the high byte of LEGSUP: USB interrupts go to PIRQD#.
pub const LEGSUP_USBPIRQDEN: u8 = 0x20;
