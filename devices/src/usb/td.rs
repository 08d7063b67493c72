//! What lies in guest memory: link pointers, transfer descriptors and queue heads (UHCI Design Guide 1.1, section 3).

use bitfield_struct::bitfield;

/// A link pointer, of the frame list (3.1), a TD (3.2.1) or a QH (3.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Link {
    /// It leads nowhere.
    pub terminate: bool,
    /// It leads to a QH, else to a TD.
    pub queue: bool,
    /// Vf: what it leads to comes next, before other queues.
    pub depth: bool,
    #[bits(29)]
    __: u32,
}

impl Link {
    /// Where it leads, 16-byte aligned.
    pub fn address(self) -> u32 {
        self.into_bits() & !0xf
    }
}

/// A TD's control and status dword (3.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Control {
    /// Bytes less one; 7FFh for none.
    #[bits(11)]
    pub actual: u16,
    #[bits(6)]
    __: u8,
    pub bit_stuff: bool,
    pub timeout: bool,
    pub nak: bool,
    pub babble: bool,
    pub data_buffer: bool,
    pub stalled: bool,
    pub active: bool,
    pub complete_interrupt: bool,
    pub isochronous: bool,
    pub low_speed: bool,
    /// Tries left; 0 for no limit.
    #[bits(2)]
    pub errors: u8,
    pub short_packet: bool,
    #[bits(2)]
    __: u8,
}

impl Control {
    /// Without what earlier tries left.
    pub fn cleared(self) -> Self {
        self.with_bit_stuff(false)
            .with_timeout(false)
            .with_nak(false)
            .with_babble(false)
            .with_data_buffer(false)
            .with_stalled(false)
    }

    /// With this many bytes transferred.
    pub fn with_bytes(self, bytes: usize) -> Self {
        self.with_actual((bytes as u16).wrapping_sub(1) & 0x7ff)
    }
}

/// A TD's token (3.2.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Token {
    pub pid: u8,
    #[bits(7)]
    pub address: u8,
    #[bits(4)]
    pub endpoint: u8,
    pub toggle: bool,
    __: bool,
    /// Bytes less one; 7FFh for none.
    #[bits(11)]
    max: u16,
}

/// The longest packet that a TD may be for, in bytes.
pub const MAX_PACKET: usize = 1280;

impl Token {
    /// Bytes at most; none if the value is not allowed.
    pub fn bytes(self) -> Option<usize> {
        let bytes = usize::from(self.max().wrapping_add(1) & 0x7ff);
        (bytes <= MAX_PACKET).then_some(bytes)
    }

    /// The same token for so many bytes.
    #[cfg(test)]
    pub fn with_bytes(self, bytes: usize) -> Self {
        self.with_max((bytes as u16).wrapping_sub(1) & 0x7ff)
    }

    /// What kind of transaction; none if there is no such token (USB 1.1, 8.3.1).
    pub fn kind(self) -> Option<TokenKind> {
        match self.pid() {
            0x69 => Some(TokenKind::In),
            0xe1 => Some(TokenKind::Out),
            0x2d => Some(TokenKind::Setup),
            _ => None,
        }
    }
}

/// What a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    In,
    Out,
    Setup,
}

/// A TD.
#[derive(Clone, Copy, Debug)]
pub struct Td {
    pub link: Link,
    pub control: Control,
    pub token: Token,
    pub buffer: u32,
}

impl Td {
    /// Its four dwords.
    pub fn parse(bytes: &[u8; 16]) -> Self {
        let dword = |n: usize| u32::from_le_bytes([bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]]);
        Self { link: dword(0).into(), control: dword(4).into(), token: dword(8).into(), buffer: dword(12) }
    }
}

/// Where a TD's control and status dword is.
pub const CONTROL_AT: u64 = 4;
/// Where a QH's element link pointer is.
pub const ELEMENT_AT: u64 = 4;
