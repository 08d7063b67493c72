//! ATAPI CD-ROM and DVD-ROM drive (PACKET: ATA/ATAPI-6, 8.23; packet commands: MMC-3, T10 1363D, and SPC-2).
//!
//! A disc has the layout that [`crate::disc`] describes. One of a single track and more than 80 minutes is a DVD-ROM.
//! Audio plays without sound, in virtual machine time. Not implemented: CD-TEXT, de-interleaved R to W sub-channels,
//! changers, and copy protection.

mod audio;
mod identify;
mod inquiry;
mod medium;
mod mode;
pub(super) mod opcode;
mod read;
mod sector;
mod sense;
mod structure;
mod toc;
mod tray;

use super::action::{ActionResult, BUFFER_SIZE, CommandContext, DriveAction};
use super::ata::{TransferMode, subcommand};
use super::regs::{AtaError, AtaStatus, CD_SECTOR_SIZE, REASON_CD, REASON_IO, TaskFile, op};
use crate::{BlockError, Disc, VmTime};
use audio::Audio;
use mode::ModePages;
use read::ReadTransfer;
use sense::Sense;
use serde::{Deserialize, Serialize};
use tray::{MediaEvent, Prevention, UnitAttention};

/// Bytes of a command packet.
const CDB_LEN: usize = 12;
/// Features register of PACKET: the command's data is transferred by DMA.
const FEATURES_DMA: u8 = 0x01;

/// Features register of PACKET: overlapped execution, which is not implemented.
const FEATURES_OVERLAP: u8 = 0x02;

/// A command packet (command descriptor block).
type Cdb = [u8; CDB_LEN];

/// The next action of a packet command, or the sense data of its failure.
type PacketResult = Result<DriveAction, Sense>;

/// A CD-ROM drive.
#[derive(Debug)]
pub struct Atapi {
    serial: String,
    model: String,
    /// The disc in the drive.
    disc: Option<Disc>,
    /// Virtual machine time of the current call.
    now: VmTime,
    state: AtapiState,
}

/// The drive's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtapiState {
    transfer_mode: TransferMode,
    power: super::ata::Power,
    /// The byte count limit of the active command: even, 2 to FFFEh.
    byte_count_limit: u16,
    /// The active command's data is transferred by DMA.
    dma: bool,
    active: ActiveCommand,
    sense: Sense,
    attention: Option<UnitAttention>,
    event: MediaEvent,
    tray_open: bool,
    prevention: Prevention,
    /// The host wants the guest to eject the disc, and GET EVENT STATUS NOTIFICATION has not reported it yet.
    eject_requested: bool,
    pages: ModePages,
    audio: Audio,
    /// The LBA of the pick-up.
    position: u32,
}

/// The command in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum ActiveCommand {
    #[default]
    None,
    /// IDENTIFY PACKET DEVICE: PIO data-in as on a disk.
    Identify,
    /// PACKET: the guest writes the command packet.
    Packet,
    /// The guest reads a reply.
    Reply,
    /// Sectors are read from the image directly into guest memory.
    Dma,
    Read(ReadTransfer),
    /// A read from a disc that is no longer in the drive.
    Interrupted,
    /// MODE SELECT (10) or (6): the guest writes `len` bytes of parameters, of which `data` has arrived.
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
            prevention: Prevention::default(),
            eject_requested: false,
            pages: ModePages::default(),
            audio: Audio::Idle,
            position: 0,
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
    pub fn new(disc: Option<Disc>, serial: &str, model: &str) -> Self {
        let disc = disc.filter(|disc| disc.validate().is_ok());
        Self { serial: serial.into(), model: model.into(), disc, now: VmTime::ZERO, state: AtapiState::power_on() }
    }

    /// RESET#. The tray stays as it is.
    pub fn hard_reset(&mut self) {
        self.state = AtapiState { tray_open: self.state.tray_open, ..AtapiState::power_on() };
    }

    /// SRST.
    pub fn soft_reset(&mut self) {
        self.device_reset();
        self.state.attention.get_or_insert(UnitAttention::Reset);
    }

    /// DEVICE RESET: aborts the active command and keeps the settings.
    pub fn device_reset(&mut self) {
        self.state.active = ActiveCommand::None;
        self.state.power = super::ata::Power::default();
        self.state.audio = Audio::Idle;
    }

    /// Starts a command.
    pub fn command(&mut self, task: &mut TaskFile, context: CommandContext, opcode: u8) -> DriveAction {
        self.now = context.now;
        self.state.active = ActiveCommand::None;
        match opcode {
            op::PACKET => {
                if task.features.current & FEATURES_OVERLAP != 0 {
                    task.sector_count.set(REASON_CD | REASON_IO);
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
                subcommand::SET_TRANSFER_MODE => match self.state.transfer_mode.set(task.sector_count.current) {
                    Ok(()) => DriveAction::Done { irq: true },
                    Err(error) => DriveAction::Failed(error),
                },
                subcommand::DISABLE_REVERTING_TO_DEFAULTS | subcommand::ENABLE_REVERTING_TO_DEFAULTS => {
                    DriveAction::Done { irq: true }
                }
                _ => DriveAction::Failed(AtaError::ABORT),
            },
            _ => match self.state.power.command(task, opcode) {
                Ok(action) => action,
                Err(error) => DriveAction::Failed(error),
            },
        }
    }

    /// Sets Interrupt Reason and Byte Count for a DRQ block of `len` bytes. Data to the host is I/O without C/D, also that
    /// of IDENTIFY PACKET DEVICE, whose 512 bytes a driver may read by the same routine as a packet command's data
    /// (SFF-8020i, 5.8 and 5.10; ATA/ATAPI-4, 9.7).
    pub fn begin_drq_block(&self, task: &mut TaskFile, len: usize, input: bool) {
        if matches!(self.state.active, ActiveCommand::Packet) {
            return task.sector_count.set(REASON_CD);
        }
        self.begin_dma(task, input);
        let [low, high, ..] = (len as u32).to_le_bytes();
        task.lba_mid.set(low);
        task.lba_high.set(high);
    }

    /// Sets Interrupt Reason for a DMA data phase. The byte count registers keep their contents.
    pub fn begin_dma(&self, task: &mut TaskFile, input: bool) {
        task.sector_count.set(if input { REASON_IO } else { 0 });
    }

    /// Continues the active command with the result of its last action.
    pub fn resume(&mut self, task: &mut TaskFile, now: VmTime, result: ActionResult) -> DriveAction {
        self.now = now;
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
            (ActiveCommand::Interrupted, _) => Err(self.ready().err().unwrap_or(Sense::ABORTED)),
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

    /// Executes a command packet.
    fn packet(&mut self, cdb: &Cdb) -> PacketResult {
        self.advance_audio();
        // These commands do not report a pending unit attention; all others fail with it.
        if !matches!(
            cdb[0],
            opcode::REQUEST_SENSE | opcode::INQUIRY | opcode::GET_CONFIGURATION | opcode::GET_EVENT_STATUS_NOTIFICATION
        ) && let Some(attention) = self.state.attention.take()
        {
            return Err(attention.sense());
        }
        if cdb[0] != opcode::REQUEST_SENSE {
            self.state.sense = Sense::NONE;
        }
        match cdb[0] {
            opcode::TEST_UNIT_READY => self.ready().map(|_| DriveAction::Done { irq: true }),
            opcode::REQUEST_SENSE => self.request_sense(cdb),
            opcode::INQUIRY => self.inquiry(cdb),
            opcode::MODE_SELECT_6 => self.mode_select(cdb, false),
            opcode::MODE_SENSE_6 => self.mode_sense(cdb, false),
            opcode::START_STOP_UNIT => self.start_stop(cdb),
            opcode::PREVENT_ALLOW_MEDIUM_REMOVAL => self.prevent_removal(cdb),
            opcode::READ_CAPACITY => self.read_capacity(cdb),
            opcode::READ_10 => self.read(be32(&cdb[2..]), be16(&cdb[7..]).into()),
            opcode::SEEK_10 => self.seek(cdb),
            opcode::SYNCHRONIZE_CACHE => self.ready().map(|_| DriveAction::Done { irq: true }),
            opcode::STOP_PLAY_SCAN => self.stop_play(),
            opcode::READ_SUB_CHANNEL => self.read_sub_channel(cdb),
            opcode::READ_TOC => self.read_toc(cdb),
            opcode::READ_HEADER => self.read_header(cdb),
            opcode::PLAY_AUDIO_10 => self.play_audio(be32(&cdb[2..]), be16(&cdb[7..]).into()),
            opcode::PLAY_AUDIO_MSF => self.play_audio_msf(cdb),
            opcode::PLAY_AUDIO_TRACK_INDEX => self.play_audio_track_index(cdb),
            opcode::PLAY_AUDIO_12 => self.play_audio(be32(&cdb[2..]), be32(&cdb[6..])),
            opcode::PAUSE_RESUME => self.pause_resume(cdb),
            opcode::SCAN => self.scan(cdb),
            opcode::GET_CONFIGURATION => self.get_configuration(cdb),
            opcode::GET_EVENT_STATUS_NOTIFICATION => self.get_event_status(cdb),
            opcode::READ_DISC_INFORMATION => self.read_disc_information(cdb),
            opcode::READ_TRACK_INFORMATION => self.read_track_information(cdb),
            opcode::MODE_SELECT_10 => self.mode_select(cdb, true),
            opcode::MODE_SENSE_10 => self.mode_sense(cdb, true),
            opcode::READ_12 => self.read(be32(&cdb[2..]), be32(&cdb[6..])),
            opcode::READ_DVD_STRUCTURE => self.read_dvd_structure(cdb),
            opcode::READ_CD_MSF => self.read_cd_msf(cdb),
            opcode::SET_CD_SPEED => Ok(DriveAction::Done { irq: true }),
            opcode::MECHANISM_STATUS => self.mechanism_status(cdb),
            opcode::READ_CD => self.read_cd(cdb),
            _ => Err(Sense::INVALID_OPCODE),
        }
    }

    /// The disc.
    ///
    /// # Errors
    /// If the drive is empty or its tray is open.
    fn ready(&self) -> Result<&Disc, Sense> {
        match &self.disc {
            _ if self.state.tray_open => Err(Sense::NO_MEDIUM_TRAY_OPEN),
            Some(disc) => Ok(disc),
            None => Err(Sense::NO_MEDIUM),
        }
    }

    /// Sends a reply to the guest, truncated to the allocation length.
    fn reply(&mut self, mut data: Vec<u8>, allocation: usize) -> PacketResult {
        data.truncate(allocation.min(BUFFER_SIZE));
        if data.is_empty() {
            return Ok(DriveAction::Done { irq: true });
        }
        self.state.active = ActiveCommand::Reply;
        Ok(self.send(data))
    }

    /// Sends bytes by DMA or PIO, as the PACKET command requested.
    fn send(&self, data: Vec<u8>) -> DriveAction {
        if self.state.dma {
            return DriveAction::DmaIn(data);
        }
        let limit = usize::from(self.state.byte_count_limit);
        // DRQ blocks of whole sectors, if the byte count limit allows it.
        let sector = CD_SECTOR_SIZE as usize;
        let block = if limit > sector && data.len() > limit { limit - limit % sector } else { limit };
        DriveAction::PioIn { data, block }
    }

    /// For a saved state.
    pub fn save(&self) -> AtapiState {
        let Self { serial: _, model: _, disc: _, now: _, state } = self;
        state.clone()
    }

    /// Whether `state` is valid for this drive.
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
            prevention: _,
            eject_requested: _,
            pages: _,
            audio: _,
            position: _,
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
                | ActiveCommand::Dma
                | ActiveCommand::Interrupted => true,
                ActiveCommand::Read(transfer) => transfer.is_valid(),
                ActiveCommand::ModeSelect { ten: _, len, data } => data.len() < usize::from(*len),
            }
    }

    /// Restores a state that [`Atapi::accepts`] has accepted.
    pub fn load(&mut self, state: AtapiState) {
        self.state = state;
    }
}

/// The sense data of a failed block request.
fn block_failure(error: BlockError) -> Sense {
    match error {
        BlockError::OutOfRange => Sense::OUT_OF_RANGE,
        BlockError::NoMedium => Sense::NO_MEDIUM,
        BlockError::ReadOnly | BlockError::NoSpace | BlockError::Io(_) => Sense::READ_ERROR,
    }
}
