//! NBD wire format: magic numbers, options, commands and replies (NetworkBlockDevice/nbd, doc/proto.md). All big-endian.

use super::error::NbdError;
use std::io;
use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Starts every handshake: "NBDMAGIC".
pub const INIT_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// The second magic number of newstyle negotiation, and the first of every option: "IHAVEOPT".
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// The second magic number of oldstyle negotiation.
pub const OLDSTYLE_MAGIC: u64 = 0x0000_4202_8186_1253;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
pub const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// Handshake flags, and the client flags with the same bits.
pub const FIXED_NEWSTYLE: u16 = 1 << 0;
pub const NO_ZEROES: u16 = 1 << 1;

/// Options.
pub const OPT_EXPORT_NAME: u32 = 1;
pub const OPT_ABORT: u32 = 2;
pub const OPT_LIST: u32 = 3;
pub const OPT_STARTTLS: u32 = 5;
pub const OPT_GO: u32 = 7;
pub const OPT_STRUCTURED_REPLY: u32 = 8;

/// Option reply types.
pub const REP_ACK: u32 = 1;
pub const REP_SERVER: u32 = 2;
pub const REP_INFO: u32 = 3;
const REP_ERROR: u32 = 1 << 31;
pub const REP_ERR_UNSUP: u32 = REP_ERROR + 1;
pub const REP_ERR_POLICY: u32 = REP_ERROR + 2;
pub const REP_ERR_INVALID: u32 = REP_ERROR + 3;
pub const REP_ERR_PLATFORM: u32 = REP_ERROR + 4;
pub const REP_ERR_TLS_REQD: u32 = REP_ERROR + 5;
pub const REP_ERR_UNKNOWN: u32 = REP_ERROR + 6;
pub const REP_ERR_SHUTDOWN: u32 = REP_ERROR + 7;
pub const REP_ERR_TOO_BIG: u32 = REP_ERROR + 9;

/// Information types.
pub const INFO_EXPORT: u16 = 0;
pub const INFO_BLOCK_SIZE: u16 = 3;

/// Commands.
pub const CMD_READ: u16 = 0;
pub const CMD_WRITE: u16 = 1;
pub const CMD_DISC: u16 = 2;
pub const CMD_FLUSH: u16 = 3;
pub const CMD_TRIM: u16 = 4;
pub const CMD_WRITE_ZEROES: u16 = 6;

/// Command flags.
pub const FLAG_FUA: u16 = 1 << 0;
pub const FLAG_NO_HOLE: u16 = 1 << 1;
pub const FLAG_DF: u16 = 1 << 2;

/// The last chunk of a structured reply.
pub const CHUNK_DONE: u16 = 1 << 0;
/// Structured reply types.
pub const CHUNK_NONE: u16 = 0;
pub const CHUNK_OFFSET_DATA: u16 = 1;
pub const CHUNK_OFFSET_HOLE: u16 = 2;
pub const CHUNK_ERROR_BIT: u16 = 1 << 15;

/// Error values with a meaning of their own.
pub const ESHUTDOWN: u32 = 108;

/// Bytes in the longest string.
pub const STRING_MAX: u32 = 4096;
/// The largest payload that every server takes, and the largest that this client sends or accepts.
pub const PAYLOAD_MAX: u32 = 32 << 20;
/// The largest minimum block size that a server may have.
pub const MIN_BLOCK_MAX: u32 = 64 << 10;

/// A fixed part of a message.
pub trait Wire: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned {}
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned> Wire for T {}

/// Reads a message's fixed part from the start of `bytes`. None if there are too few.
pub fn parse<T: Wire>(bytes: &[u8]) -> Option<T> {
    T::read_from_prefix(bytes).ok().map(|(message, _)| message)
}

/// The server's greeting.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Greeting {
    pub init: U64,
    pub style: U64,
    pub flags: U16,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct OptionHeader {
    pub magic: U64,
    pub option: U32,
    pub length: U32,
}

impl OptionHeader {
    pub fn new(option: u32, length: usize) -> Self {
        Self { magic: OPTION_MAGIC.into(), option: option.into(), length: (length as u32).into() }
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct OptionReply {
    magic: U64,
    option: U32,
    pub kind: U32,
    pub length: U32,
}

impl OptionReply {
    /// Whether this is a reply to `option`.
    pub fn check(&self, option: u32) -> Result<(), NbdError> {
        if self.magic.get() != OPTION_REPLY_MAGIC {
            return Err(NbdError::protocol("an option's reply without its magic number"));
        }
        if self.option.get() != option {
            return Err(NbdError::protocol("a reply to an option that was not sent"));
        }
        Ok(())
    }

    /// Whether it is the last reply to the option, and an error.
    pub fn is_error(&self) -> bool {
        self.kind.get() & REP_ERROR != 0
    }
}

/// The payload of REP_INFO with INFO_EXPORT, after the type; also the reply to OPT_EXPORT_NAME.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct InfoExport {
    pub size: U64,
    pub flags: U16,
}

/// The payload of REP_INFO with INFO_BLOCK_SIZE, after the type.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct InfoBlockSize {
    pub min: U32,
    pub preferred: U32,
    pub max: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Request {
    magic: U32,
    flags: U16,
    command: U16,
    cookie: U64,
    offset: U64,
    length: U32,
}

impl Request {
    pub fn new(command: u16, flags: u16, cookie: u64, offset: u64, length: u32) -> Self {
        Self {
            magic: REQUEST_MAGIC.into(),
            flags: flags.into(),
            command: command.into(),
            cookie: cookie.into(),
            offset: offset.into(),
            length: length.into(),
        }
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SimpleReply {
    pub magic: U32,
    pub error: U32,
    pub cookie: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Chunk {
    pub magic: U32,
    pub flags: U16,
    pub kind: U16,
    pub cookie: U64,
    pub length: U32,
}

/// The payload of CHUNK_OFFSET_HOLE.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Hole {
    pub offset: U64,
    pub size: U32,
}

/// The start of the payload of an error chunk.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ChunkError {
    pub error: U32,
    pub message: U16,
}

pub const SIMPLE_REPLY_LEN: usize = size_of::<SimpleReply>();
pub const CHUNK_LEN: usize = size_of::<Chunk>();
/// A chunk's header and the offset of CHUNK_OFFSET_DATA.
pub const DATA_CHUNK_LEN: usize = CHUNK_LEN + 8;

/// Transmission flags of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportFlags(pub u16);

impl ExportFlags {
    pub const HAS_FLAGS: u16 = 1 << 0;
    pub const READ_ONLY: u16 = 1 << 1;
    pub const SEND_FLUSH: u16 = 1 << 2;
    pub const SEND_FUA: u16 = 1 << 3;
    pub const SEND_TRIM: u16 = 1 << 5;
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    pub const SEND_DF: u16 = 1 << 7;
    pub const CAN_MULTI_CONN: u16 = 1 << 8;

    pub fn has(self, flag: u16) -> bool {
        // Without HAS_FLAGS the other bits have no meaning.
        self.0 & Self::HAS_FLAGS != 0 && self.0 & flag == flag
    }
}

/// The host's error for a reply's error value (doc/proto.md, "Error values"). A value that the protocol does not have is
/// EINVAL.
pub fn host_errno(error: u32) -> i32 {
    match error {
        1 => libc::EPERM,
        5 => libc::EIO,
        12 => libc::ENOMEM,
        28 => libc::ENOSPC,
        75 => libc::EOVERFLOW,
        95 => libc::ENOTSUP,
        ESHUTDOWN => libc::ESHUTDOWN,
        _ => libc::EINVAL,
    }
}

/// An error value as an [`io::Error`].
pub fn host_io_error(error: u32) -> io::Error {
    io::Error::from_raw_os_error(host_errno(error))
}
