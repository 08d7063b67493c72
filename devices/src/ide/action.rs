//! Actions that a drive requests from its IDE channel, and their results.

use super::regs::AtaError;
use crate::{BlockError, VmTime};
use serde::{Deserialize, Serialize};

/// Bytes of a drive's buffer: the most per PIO or buffered DMA transfer.
pub const BUFFER_SIZE: usize = 64 << 10;

/// The next step of a command, which the channel performs. The channel then calls [`super::drive::Drive::resume`] with the result.
#[derive(Debug)]
pub enum DriveAction {
    /// Ends the command.
    Done {
        /// Raise the interrupt.
        irq: bool,
    },
    /// Ends the command with an error, which the channel puts into the Error register, and raises the interrupt.
    Failed(AtaError),
    /// Sends `data` to the guest by PIO. Result: [`ActionResult::Sent`].
    PioIn {
        /// The bytes: not empty, at most [`BUFFER_SIZE`].
        data: Vec<u8>,
        /// Bytes per DRQ block.
        block: usize,
    },
    /// Receives one DRQ block from the guest by PIO. Result: [`ActionResult::Received`].
    PioOut {
        /// Bytes: 1 to [`BUFFER_SIZE`].
        len: usize,
        /// Raise the interrupt when the block begins.
        irq: bool,
    },
    /// Writes the bytes to guest memory by DMA. Result: [`ActionResult::Sent`].
    DmaIn(Vec<u8>),
    /// Reads bytes from guest memory by DMA. Result: [`ActionResult::Received`].
    DmaOut {
        /// Bytes: 1 to [`BUFFER_SIZE`].
        len: usize,
    },
    /// Transfers an extent of the image to or from guest memory by DMA. Result: [`ActionResult::Completed`].
    Dma(ImageExtent),
    /// Reads from the image into the drive's buffer. Result: [`ActionResult::Read`], or [`ActionResult::Completed`]
    /// with an error.
    Read {
        /// Byte offset.
        offset: u64,
        /// Bytes: 1 to [`BUFFER_SIZE`].
        len: usize,
    },
    /// Writes the drive's buffer to the image. Result: [`ActionResult::Completed`].
    Write {
        /// Byte offset.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Flushes the image. Result: [`ActionResult::Completed`].
    Flush,
    /// Discards a range of the image. Result: [`ActionResult::Completed`].
    Discard {
        /// Byte offset.
        offset: u64,
        /// Bytes.
        len: u64,
    },
}

/// A range of the image that a DMA command transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageExtent {
    /// Guest memory to image; else image to guest memory.
    pub write: bool,
    /// Byte offset of the part not transferred yet.
    pub offset: u64,
    /// Bytes not transferred yet.
    pub remaining: u64,
    /// Bytes per sector: requests consist of whole sectors.
    pub sector_size: u32,
}

/// The result of a [`DriveAction`].
#[derive(Debug)]
pub enum ActionResult {
    /// The guest or the bus master has taken all bytes.
    Sent,
    /// The bytes that the guest wrote or the bus master read.
    Received(Vec<u8>),
    /// The bytes read from the image.
    Read(Vec<u8>),
    /// The block request completed, or failed.
    Completed(Result<(), BlockError>),
    /// The block request was lost: the machine was restored from a state in which it was in flight.
    Lost,
}

/// Inputs of a command besides the registers.
#[derive(Clone, Copy, Debug)]
pub struct CommandContext {
    /// Virtual machine time.
    pub now: VmTime,
    /// The drive is device 1 of its channel.
    pub device1: bool,
}
