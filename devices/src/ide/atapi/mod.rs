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
use super::drive::{BUFFER, Env, Event, Step};
use super::regs::{CD_SECTOR, Error, REASON_COMMAND, REASON_INPUT, Status, TaskFile, op};
use crate::BlockError;
use mode::Pages;
use read::Reading;
use sense::Sense;
use serde::{Deserialize, Serialize};
use tray::{Attention, MediaEvent};

/// Bytes of a command packet.
const CDB: usize = 12;
/// Features register: the data of this command go by DMA.
const FEATURES_DMA: u8 = 0x01;

/// A command packet.
type Cdb = [u8; CDB];

/// What a packet command wants, or why it fails.
type Outcome = Result<Step, Sense>;

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
    mode: TransferMode,
    power: super::ata::Power,
    /// The byte count limit of the command that is under way: even, 2 to FFFEh.
    limit: u16,
    /// Its data go by DMA.
    dma: bool,
    job: Job,
    sense: Sense,
    attention: Option<Attention>,
    event: MediaEvent,
    tray_open: bool,
    locked: bool,
    pages: Pages,
}

/// The command that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Job {
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
    Read(Reading),
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
            mode: TransferMode::default(),
            power: super::ata::Power::default(),
            limit: 0xfffe,
            dma: false,
            job: Job::None,
            sense: Sense::NONE,
            attention: Some(Attention::Reset),
            event: MediaEvent::None,
            tray_open: false,
            locked: false,
            pages: Pages::default(),
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
        Self { serial: serial.into(), model: model.into(), disc: size.map(sectors), state: AtapiState::power_on() }
    }

    /// RESET#.
    pub fn hard_reset(&mut self) {
        self.state = AtapiState::power_on();
    }

    /// SRST.
    pub fn soft_reset(&mut self) {
        self.device_reset();
        self.state.attention.get_or_insert(Attention::Reset);
    }

    /// DEVICE RESET: ends what is under way, keeps the settings.
    pub fn device_reset(&mut self) {
        self.state.job = Job::None;
        self.state.power = super::ata::Power::default();
    }

    /// The command register is written.
    pub fn command(&mut self, task: &mut TaskFile, env: Env, opcode: u8) -> Step {
        self.state.job = Job::None;
        match opcode {
            op::PACKET => {
                // Overlapped operation is not there.
                if task.features.now & !FEATURES_DMA & 0x02 != 0 {
                    return Step::Failed(Error::ABORT);
                }
                self.state.dma = task.features.now & FEATURES_DMA != 0;
                let limit = u16::from_le_bytes([task.mid.now, task.high.now]) & !1;
                self.state.limit = if limit == 0 { 0xfffe } else { limit };
                self.state.job = Job::Packet;
                Step::PioOut { len: CDB, irq: false }
            }
            op::IDENTIFY_PACKET => {
                self.state.job = Job::Identify;
                Step::PioIn { data: self.identify(env), block: 512 }
            }
            op::SET_FEATURES => match task.features.now {
                0x03 => match self.state.mode.set(task.count.now) {
                    Ok(()) => Step::Done { irq: true },
                    Err(error) => Step::Failed(error),
                },
                0x66 | 0xcc => Step::Done { irq: true },
                _ => Step::Failed(Error::ABORT),
            },
            _ => match self.state.power.command(task, opcode) {
                Ok(step) => step,
                Err(error) => Step::Failed(error),
            },
        }
    }

    /// A DRQ block begins: its size and direction are in the registers.
    pub fn block_begins(&self, task: &mut TaskFile, len: usize, input: bool) {
        match self.state.job {
            Job::Identify => return,
            Job::Packet => task.count.set(REASON_COMMAND),
            _ => task.count.set(if input { REASON_INPUT } else { 0 }),
        }
        if !matches!(self.state.job, Job::Packet) {
            let [low, high, ..] = (len as u32).to_le_bytes();
            task.mid.set(low);
            task.high.set(high);
        }
    }

    /// What the drive asked for has happened.
    pub fn event(&mut self, task: &mut TaskFile, env: Env, event: Event) -> Step {
        let job = std::mem::take(&mut self.state.job);
        let outcome = match (job, event) {
            (Job::Identify, Event::Sent) => return Step::Done { irq: false },
            (Job::Packet, Event::Received(packet)) => match <Cdb>::try_from(packet.as_slice()) {
                Ok(cdb) => self.packet(env, &cdb),
                Err(_) => Err(Sense::INVALID_OPCODE),
            },
            (Job::Reply, Event::Sent) | (Job::Dma, Event::Host(Ok(()))) => Ok(Step::Done { irq: true }),
            (Job::Dma, Event::Host(Err(error))) => Err(failure(error)),
            (Job::Read(reading), event) => self.read_goes_on(reading, event),
            (Job::ModeSelect { ten, len, data }, Event::Received(more)) => self.mode_select_data(ten, len, data, more),
            _ => Err(Sense::ABORTED),
        };
        self.finish(task, outcome)
    }

    fn finish(&mut self, task: &mut TaskFile, outcome: Outcome) -> Step {
        let step = match outcome {
            Ok(step @ Step::Done { .. }) => step,
            Ok(step) => return step,
            Err(sense) => {
                self.state.sense = sense;
                self.state.job = Job::None;
                Step::Failed(Error::from_bits(sense.key << 4).with_abrt(true))
            }
        };
        task.status = Status::new().with_drdy(true).with_dsc(true);
        task.count.set(REASON_COMMAND | REASON_INPUT);
        step
    }

    /// A command packet.
    fn packet(&mut self, env: Env, cdb: &Cdb) -> Outcome {
        let _ = env;
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
            0x00 => self.ready().map(|_| Step::Done { irq: true }),
            0x03 => self.request_sense(cdb),
            0x12 => self.inquiry(cdb),
            0x15 => self.mode_select(cdb, false),
            0x1a => self.mode_sense(cdb, false),
            0x1b => self.start_stop(cdb),
            0x1e => self.prevent_removal(cdb),
            0x25 => self.read_capacity(cdb),
            0x28 => self.read(be32(&cdb[2..]), be16(&cdb[7..]).into()),
            0x2b => self.seek(cdb),
            0x35 | 0x4e => self.ready().map(|_| Step::Done { irq: true }),
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
            0xbb => Ok(Step::Done { irq: true }),
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
    fn reply(&mut self, mut data: Vec<u8>, allocation: usize) -> Outcome {
        data.truncate(allocation.min(BUFFER));
        if data.is_empty() {
            return Ok(Step::Done { irq: true });
        }
        self.state.job = Job::Reply;
        Ok(self.send(data))
    }

    /// Sends bytes the way that the guest asked for.
    fn send(&self, data: Vec<u8>) -> Step {
        if self.state.dma {
            return Step::DmaIn(data);
        }
        let limit = usize::from(self.state.limit);
        // Whole sectors per DRQ block where the limit has room for one.
        let sector = CD_SECTOR as usize;
        let block = if limit > sector && data.len() > limit { limit - limit % sector } else { limit };
        Step::PioIn { data, block }
    }

    /// For a saved state.
    pub fn save(&self) -> AtapiState {
        let Self { serial: _, model: _, disc: _, state } = self;
        state.clone()
    }

    /// Whether `state` is one that this drive can have.
    pub fn accepts(&self, state: &AtapiState) -> bool {
        let AtapiState {
            mode,
            power: _,
            limit,
            dma: _,
            job,
            sense,
            attention: _,
            event: _,
            tray_open: _,
            locked: _,
            pages: _,
        } = state;
        mode.is_possible()
            && limit & 1 == 0
            && *limit >= 2
            && sense.key < 16
            && match job {
                Job::None | Job::Identify | Job::Packet | Job::Reply | Job::Dma => true,
                Job::Read(reading) => reading.is_possible(),
                Job::ModeSelect { ten: _, len, data } => data.len() < usize::from(*len),
            }
    }

    /// Takes a state that [`Atapi::accepts`] accepts.
    pub fn load(&mut self, state: AtapiState) {
        self.state = state;
    }
}

/// Whole sectors of a disc of `size` bytes.
fn sectors(size: u64) -> u32 {
    u32::try_from(size / CD_SECTOR).unwrap_or(u32::MAX)
}

/// What a failure of the host looks like to the guest.
fn failure(error: BlockError) -> Sense {
    match error {
        BlockError::OutOfRange => Sense::OUT_OF_RANGE,
        BlockError::NoMedium => Sense::NO_MEDIUM,
        BlockError::ReadOnly | BlockError::NoSpace | BlockError::Io(_) => Sense::READ_ERROR,
    }
}
