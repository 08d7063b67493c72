//! The controller's I/O registers (UHCI Design Guide 1.1, section 2.1).

use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};

/// USBCMD.
pub const COMMAND: u64 = 0x00;
/// USBSTS.
pub const STATUS: u64 = 0x02;
/// USBINTR.
pub const INTERRUPTS: u64 = 0x04;
/// FRNUM.
pub const FRAME_NUMBER: u64 = 0x06;
/// FRBASEADD, low word.
pub const FRAME_LIST: u64 = 0x08;
/// FRBASEADD, high word.
pub const FRAME_LIST_HIGH: u64 = 0x0a;
/// SOFMOD (a byte).
pub const START_OF_FRAME: u64 = 0x0c;
/// PORTSC1.
pub const PORT_1: u64 = 0x10;
/// PORTSC2.
pub const PORT_2: u64 = 0x12;

/// SOFMOD at reset: a frame of 12000 bit times.
pub const START_OF_FRAME_RESET: u8 = 0x40;
/// What of FRNUM there is.
pub const FRAME_MASK: u16 = 0x7ff;

/// USBCMD (2.1.1).
#[bitfield(u16)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// RS.
    pub run: bool,
    /// HCRESET.
    pub host_reset: bool,
    /// GRESET.
    pub global_reset: bool,
    /// EGSM.
    pub global_suspend: bool,
    /// FGR.
    pub global_resume: bool,
    /// SWDBG: stop after every transaction.
    pub debug: bool,
    /// CF, for software.
    pub configured: bool,
    /// MAXP: near the end of a frame packets of up to 64 bytes may begin, else of 32.
    pub max_packet_64: bool,
    __: u8,
}

/// USBSTS (2.1.2), without HCHalted, which follows from USBCMD.
#[bitfield(u16)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// USBINT: a TD with IOC is done, or a packet was short.
    pub interrupt: bool,
    /// A transaction ended in error.
    pub error: bool,
    /// A device asked for a resume in global suspend.
    pub resume: bool,
    /// PCI did not give what was to be read.
    pub host_error: bool,
    /// The schedule makes no sense.
    pub process_error: bool,
    /// Only in what software reads.
    pub halted: bool,
    #[bits(10)]
    __: u16,
}

/// USBINTR (2.1.3).
#[bitfield(u16)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct Enables {
    pub error: bool,
    pub resume: bool,
    pub complete: bool,
    pub short_packet: bool,
    #[bits(12)]
    __: u16,
}

/// PORTSC (2.1.7).
#[bitfield(u16)]
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    pub connected: bool,
    pub connect_change: bool,
    pub enabled: bool,
    pub enable_change: bool,
    /// D+ is high.
    pub d_plus: bool,
    /// D- is high.
    pub d_minus: bool,
    pub resume: bool,
    /// Always 1: how software counts ports.
    pub one: bool,
    pub low_speed: bool,
    pub reset: bool,
    #[bits(2)]
    __: u8,
    pub suspend: bool,
    #[bits(3)]
    __: u8,
}

/// LEGSUP, configuration space C0h (82371SB, 2.4.16): USB interrupts go to PIRQD#. Its other bits are about SMI# for
/// a keyboard that DOS is to see at port 60h, and software's: none comes.
pub const LEGSUP: u8 = 0xc0;
/// LEGSUP, high byte: USBPIRQDEN.
pub const LEGSUP_PIRQ: u8 = 0x20;
