//! UHCI transfer descriptors, queue heads and link pointers in guest memory (UHCI Design Guide 1.1, section 3).

use bitfield_struct::bitfield;

/// A link pointer in the frame list (3.1), a TD (3.2.1) or a QH (3.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LinkPointer {
    /// T: the pointer is invalid; the list ends here.
    pub terminate: bool,
    /// Q: the pointer refers to a QH, else to a TD.
    pub qh: bool,
    /// Vf: depth first, the referenced TD is processed next; else breadth first.
    pub vf: bool,
    #[bits(29)]
    __: u32,
}

impl LinkPointer {
    /// The address of the TD or QH, a multiple of 16.
    pub fn address(self) -> u32 {
        self.into_bits() & !0xf
    }
}

/// TD Control and Status (3.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TdStatus {
    /// ActLen: bytes transferred minus one; 7FFh for 0 bytes.
    #[bits(11)]
    pub act_len: u16,
    #[bits(6)]
    __: u8,
    pub bitstuff_error: bool,
    pub crc_timeout: bool,
    pub nak: bool,
    pub babble: bool,
    pub data_buffer_error: bool,
    pub stalled: bool,
    pub active: bool,
    pub ioc: bool,
    pub ios: bool,
    pub ls: bool,
    /// C_ERR: error retries left; 0 for no limit.
    #[bits(2)]
    pub c_err: u8,
    pub spd: bool,
    #[bits(2)]
    __: u8,
}

impl TdStatus {
    /// The same with the error and NAK bits of earlier attempts cleared.
    pub fn with_errors_cleared(self) -> Self {
        self.with_bitstuff_error(false)
            .with_crc_timeout(false)
            .with_nak(false)
            .with_babble(false)
            .with_data_buffer_error(false)
            .with_stalled(false)
    }

    /// The same with ActLen set to `bytes`.
    pub fn with_transferred(self, bytes: usize) -> Self {
        self.with_act_len((bytes as u16).wrapping_sub(1) & 0x7ff)
    }
}

/// TD Token (3.2.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Token {
    pub pid_code: u8,
    #[bits(7)]
    pub device_address: u8,
    #[bits(4)]
    pub endpt: u8,
    pub data_toggle: bool,
    __: bool,
    /// MaxLen: maximum bytes minus one; 7FFh for 0 bytes.
    #[bits(11)]
    max_len_code: u16,
}

/// The largest MaxLen that a TD may have, in bytes.
pub const MAX_LEN_LIMIT: usize = 1280;

impl Token {
    /// MaxLen in bytes; `None` if the encoded value is illegal.
    pub fn max_len(self) -> Option<usize> {
        let bytes = usize::from(self.max_len_code().wrapping_add(1) & 0x7ff);
        (bytes <= MAX_LEN_LIMIT).then_some(bytes)
    }

    /// The same token with MaxLen set to `bytes`.
    #[cfg(test)]
    pub fn with_max_len(self, bytes: usize) -> Self {
        self.with_max_len_code((bytes as u16).wrapping_sub(1) & 0x7ff)
    }

    /// The token's packet ID; `None` if it is no token PID (USB 1.1, 8.3.1).
    pub fn pid(self) -> Option<Pid> {
        match self.pid_code() {
            0x69 => Some(Pid::In),
            0xe1 => Some(Pid::Out),
            0x2d => Some(Pid::Setup),
            _ => None,
        }
    }
}

/// Token packet IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pid {
    In,
    Out,
    Setup,
}

/// A transfer descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Td {
    pub link: LinkPointer,
    pub status: TdStatus,
    pub token: Token,
    pub buffer: u32,
}

impl Td {
    /// Decodes the four dwords of a TD.
    pub fn parse(bytes: &[u8; 16]) -> Self {
        let dword = |n: usize| u32::from_le_bytes([bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]]);
        Self { link: dword(0).into(), status: dword(4).into(), token: dword(8).into(), buffer: dword(12) }
    }
}

/// Offset of Control and Status in a TD.
pub const TD_STATUS_OFFSET: u64 = 4;
/// Offset of the element link pointer in a QH.
pub const QH_ELEMENT_OFFSET: u64 = 4;
