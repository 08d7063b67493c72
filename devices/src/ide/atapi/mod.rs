//! An ATAPI CD-ROM and DVD-ROM drive (ATA/ATAPI-6, chapter 8.23 PACKET; MMC-3, T10 1363D; SPC-2 for what is common).
//!
//! The disc is one data track of mode 1, whatever its size; above 80 minutes it is a DVD-ROM. Deliberately missing:
//! audio and playing it, sub-channels in READ CD, changers, and copy protection.

mod identify;
mod inquiry;
mod medium;
mod mode;
mod read;
mod sector;
mod sense;
mod structure;
mod toc;
mod tray;

use super::ata::TransferMode;
use super::drive::{ActionResult, BUFFER_SIZE, CommandContext, DriveAction};
use super::regs::{AtaError, AtaStatus, CD_SECTOR_SIZE, REASON_CD, REASON_IO, TaskFile, op};
use crate::BlockError;
use mode::ModePages;
use read::ReadTransfer;
use sense::Sense;
use serde::{Deserialize, Serialize};
use tray::{MediaEvent, UnitAttention};

/// Bytes of a command packet.
const CDB_LEN: usize = 12;
/// Features register: the data of this command go by DMA.
const FEATURES_DMA: u8 = 0x01;

/// Features register: overlapped, which is not there.
const FEATURES_OVERLAP: u8 = 0x02;

/// A command packet.
type Cdb = [u8; CDB_LEN];

/// What a packet command wants, or why it fails.
type PacketResult = Result<DriveAction, Sense>;

/// A CD-ROM drive.
#[derive(Debug)]
pub struct Atapi {
    serial: String,
    model: String,
    /// Sectors of the disc that is in the drive.
    disc: Option<u32>,
    state: AtapiState,
}

/// What the guest can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtapiState {
    transfer_mode: TransferMode,
    power: super::ata::Power,
    /// The byte count limit of the command that is under way: even, 2 to FFFEh.
    byte_count_limit: u16,
    /// Its data go by DMA.
    dma: bool,
    active: ActiveCommand,
    sense: Sense,
    attention: Option<UnitAttention>,
    event: MediaEvent,
    tray_open: bool,
    removal_prevented: bool,
    pages: ModePages,
}

/// The command that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum ActiveCommand {
    #[default]
    None,
    /// IDENTIFY PACKET DEVICE: a reply as a disk gives it.
    Identify,
    /// The packet comes.
    Packet,
    /// The reply goes.
    Reply,
    /// Sectors go straight to guest memory.
    Dma,
    Read(ReadTransfer),
    /// The parameters of MODE SELECT come: which form, and how many bytes in all.
    ModeSelect {
        ten: bool,
        len: u16,
        data: Vec<u8>,
    },
}

impl AtapiState {
    fn power_on() -> Self {
        Self {
            transfer_mode: TransferMode::default(),
            power: super::ata::Power::default(),
            byte_count_limit: 0xfffe,
            dma: false,
            active: ActiveCommand::None,
            sense: Sense::NONE,
            attention: Some(UnitAttention::Reset),
            event: MediaEvent::None,
            tray_open: false,
            removal_prevented: false,
            pages: ModePages::default(),
        }
    }
}

/// A big-endian word of a packet.
fn be16(bytes: &[u8]) -> u16 {
    bytes.iter().take(2).fold(0, |n, &byte| n << 8 | u16::from(byte))
}

/// A big-endian dword of a packet.
fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |n, &byte| n << 8 | u32::from(byte))
}

impl Atapi {
    /// A drive; see [`super::DriveSpec::Cdrom`].
    pub fn new(size: Option<u64>, serial: &str, model: &str) -> Self {
        Self {
            serial: serial.into(),
            model: model.into(),
            disc: size.map(whole_sectors),
            state: AtapiState::power_on(),
        }
    }

    /// RESET#.
    pub fn hard_reset(&mut self) {
        self.state = AtapiState::power_on();
    }

    /// SRST.
    pub fn soft_reset(&mut self) {
        self.device_reset();
        self.state.attention.get_or_insert(UnitAttention::Reset);
    }

    /// DEVICE RESET: ends what is under way, keeps the settings.
    pub fn device_reset(&mut self) {
        self.state.active = ActiveCommand::None;
        self.state.power = super::ata::Power::default();
    }

    /// The command register is written.
    pub fn command(&mut self, task: &mut TaskFile, context: CommandContext, opcode: u8) -> DriveAction {
        self.state.active = ActiveCommand::None;
        match opcode {
            op::PACKET => {
                if task.features.current & FEATURES_OVERLAP != 0 {
                    return DriveAction::Failed(AtaError::ABORT);
                }
                self.state.dma = task.features.current & FEATURES_DMA != 0;
                let limit = u16::from_le_bytes([task.lba_mid.current, task.lba_high.current]) & !1;
                self.state.byte_count_limit = if limit == 0 { 0xfffe } else { limit };
                self.state.active = ActiveCommand::Packet;
                DriveAction::PioOut { len: CDB_LEN, irq: false }
            }
            op::IDENTIFY_PACKET_DEVICE => {
                self.state.active = ActiveCommand::Identify;
                DriveAction::PioIn { data: self.identify(context), block: 512 }
            }
            op::SET_FEATURES => match task.features.current {
                0x03 => match self.state.transfer_mode.set(task.sector_count.current) {
                    Ok(()) => DriveAction::Done { irq: true },
                    Err(error) => DriveAction::Failed(error),
                },
                0x66 | 0xcc => DriveAction::Done { irq: true },
                _ => DriveAction::Failed(AtaError::ABORT),
            },
            _ => match self.state.power.command(task, opcode) {
                Ok(action) => action,
                Err(error) => DriveAction::Failed(error),
            },
        }
    }

    /// A DRQ block begins: its size and direction are in the registers.
    pub fn begin_drq_block(&self, task: &mut TaskFile, len: usize, input: bool) {
        match self.state.active {
            ActiveCommand::Identify => return,
            ActiveCommand::Packet => task.sector_count.set(REASON_CD),
            _ => task.sector_count.set(if input { REASON_IO } else { 0 }),
        }
        if !matches!(self.state.active, ActiveCommand::Packet) {
            let [low, high, ..] = (len as u32).to_le_bytes();
            task.lba_mid.set(low);
            task.lba_high.set(high);
        }
    }

    /// What the drive asked for has happened.
    pub fn resume(&mut self, task: &mut TaskFile, result: ActionResult) -> DriveAction {
        let active = std::mem::take(&mut self.state.active);
        let result = match (active, result) {
            (ActiveCommand::Identify, ActionResult::Sent) => return DriveAction::Done { irq: false },
            (ActiveCommand::Packet, ActionResult::Received(packet)) => match <Cdb>::try_from(packet.as_slice()) {
                Ok(cdb) => self.packet(&cdb),
                Err(_) => Err(Sense::INVALID_OPCODE),
            },
            (ActiveCommand::Reply, ActionResult::Sent) | (ActiveCommand::Dma, ActionResult::Completed(Ok(()))) => {
                Ok(DriveAction::Done { irq: true })
            }
            (ActiveCommand::Dma, ActionResult::Completed(Err(error))) => Err(block_failure(error)),
            (ActiveCommand::Read(transfer), result) => self.continue_read(transfer, result),
            (ActiveCommand::ModeSelect { ten, len, data }, ActionResult::Received(more)) => {
                self.mode_select_data(ten, len, data, more)
            }
            _ => Err(Sense::ABORTED),
        };
        self.finish(task, result)
    }

    fn finish(&mut self, task: &mut TaskFile, result: PacketResult) -> DriveAction {
        let action = match result {
            Ok(action @ DriveAction::Done { .. }) => action,
            Ok(action) => return action,
            Err(sense) => {
                self.state.sense = sense;
                self.state.active = ActiveCommand::None;
                DriveAction::Failed(AtaError::from_bits(sense.key << 4).with_abrt(true))
            }
        };
        task.status = AtaStatus::new().with_drdy(true).with_dsc(true);
        task.sector_count.set(REASON_CD | REASON_IO);
        action
    }

    /// A command packet.
    fn packet(&mut self, cdb: &Cdb) -> PacketResult {
        let code = cdb[0];
        if !matches!(code, 0x03 | 0x12 | 0x46 | 0x4a)
            && let Some(attention) = self.state.attention.take()
        {
            return Err(attention.sense());
        }
        if code != 0x03 {
            self.state.sense = Sense::NONE;
        }
        match code {
            0x00 => self.ready().map(|_| DriveAction::Done { irq: true }),
            0x03 => self.request_sense(cdb),
            0x12 => self.inquiry(cdb),
            0x15 => self.mode_select(cdb, false),
            0x1a => self.mode_sense(cdb, false),
            0x1b => self.start_stop(cdb),
            0x1e => self.prevent_removal(cdb),
            0x25 => self.read_capacity(cdb),
            0x28 => self.read(be32(&cdb[2..]), be16(&cdb[7..]).into()),
            0x2b => self.seek(cdb),
            0x35 | 0x4e => self.ready().map(|_| DriveAction::Done { irq: true }),
            0x42 => self.read_sub_channel(cdb),
            0x43 => self.read_toc(cdb),
            0x44 => self.read_header(cdb),
            0x45 | 0x47 | 0x48 | 0xa5 => self.ready().and(Err(Sense::ILLEGAL_MODE)),
            0x46 => self.get_configuration(cdb),
            0x4a => self.get_event_status(cdb),
            0x51 => self.read_disc_information(cdb),
            0x52 => self.read_track_information(cdb),
            0x55 => self.mode_select(cdb, true),
            0x5a => self.mode_sense(cdb, true),
            0xa8 => self.read(be32(&cdb[2..]), be32(&cdb[6..])),
            0xad => self.read_dvd_structure(cdb),
            0xb9 => self.read_cd_msf(cdb),
            0xbb => Ok(DriveAction::Done { irq: true }),
            0xbd => self.mechanism_status(cdb),
            0xbe => self.read_cd(cdb),
            _ => Err(Sense::INVALID_OPCODE),
        }
    }

    /// The disc's sectors.
    ///
    /// # Errors
    /// If there is none.
    fn ready(&self) -> Result<u32, Sense> {
        match self.disc {
            _ if self.state.tray_open => Err(Sense::NO_MEDIUM_TRAY_OPEN),
            Some(sectors) => Ok(sectors),
            None => Err(Sense::NO_MEDIUM),
        }
    }

    /// Gives the guest a reply, cut to its allocation length.
    fn reply(&mut self, mut data: Vec<u8>, allocation: usize) -> PacketResult {
        data.truncate(allocation.min(BUFFER_SIZE));
        if data.is_empty() {
            return Ok(DriveAction::Done { irq: true });
        }
        self.state.active = ActiveCommand::Reply;
        Ok(self.send(data))
    }

    /// Sends bytes the way that the guest asked for.
    fn send(&self, data: Vec<u8>) -> DriveAction {
        if self.state.dma {
            return DriveAction::DmaIn(data);
        }
        let limit = usize::from(self.state.byte_count_limit);
        // Whole sectors per DRQ block where the limit has room for one.
        let sector = CD_SECTOR_SIZE as usize;
        let block = if limit > sector && data.len() > limit { limit - limit % sector } else { limit };
        DriveAction::PioIn { data, block }
    }

    /// For a saved state.
    pub fn save(&self) -> AtapiState {
        let Self { serial: _, model: _, disc: _, state } = self;
        state.clone()
    }

    /// Whether `state` is one that this drive can have.
    pub fn accepts(&self, state: &AtapiState) -> bool {
        let AtapiState {
            transfer_mode,
            power: _,
            byte_count_limit,
            dma: _,
            active,
            sense,
            attention: _,
            event: _,
            tray_open: _,
            removal_prevented: _,
            pages: _,
        } = state;
        transfer_mode.is_valid()
            && byte_count_limit & 1 == 0
            && *byte_count_limit >= 2
            && sense.key < 16
            && match active {
                ActiveCommand::None
                | ActiveCommand::Identify
                | ActiveCommand::Packet
                | ActiveCommand::Reply
                | ActiveCommand::Dma => true,
                ActiveCommand::Read(transfer) => transfer.is_valid(),
                ActiveCommand::ModeSelect { ten: _, len, data } => data.len() < usize::from(*len),
            }
    }

    /// Takes a state that [`Atapi::accepts`] accepts.
    pub fn load(&mut self, state: AtapiState) {
        self.state = state;
    }
}

/// Whole sectors of a disc of `size` bytes.
fn whole_sectors(size: u64) -> u32 {
    u32::try_from(size / CD_SECTOR_SIZE).unwrap_or(u32::MAX)
}

/// What a failure of the host looks like to the guest.
fn block_failure(error: BlockError) -> Sense {
    match error {
        BlockError::OutOfRange => Sense::OUT_OF_RANGE,
        BlockError::NoMedium => Sense::NO_MEDIUM,
        BlockError::ReadOnly | BlockError::NoSpace | BlockError::Io(_) => Sense::READ_ERROR,
    }
}
