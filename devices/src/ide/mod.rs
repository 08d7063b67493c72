//! PIIX3 IDE controller, 82371SB function 1 (data sheet 290550, section 2.4), with ATA disks and ATAPI CD-ROM drives.
//!
//! PCI function 00:01.1, 8086:7010. Two channels of two drives: ports 1F0h-1F7h and 3F6h with IRQ 14, 170h-177h and
//! 376h with IRQ 15; 16 bus master ports at BAR 4. The drives follow ATA/ATAPI-6 (T13 1410D), the CD-ROM also MMC-3
//! (T10 1363D).
//!
//! A channel's ports are decoded while PCICMD's I/O enable and the channel's decode enable (IDETIM bit 15) are set. The
//! real chip clears the decode enables at reset and firmware sets them. This device sets them at reset, because a
//! kernel that is booted without firmware expects firmware to have set them.
//!
//! Not implemented: timings (IDETIM and SIDETIM read back what the guest writes, and every transfer mode of a drive
//! works with any setting), devices that are both CD and disk, overlapped and queued commands, and the security feature
//! set except SECURITY FREEZE LOCK.
//!
//! The PIIX3 has no Ultra DMA timing registers, which the PIIX4 introduced. The drives offer Ultra DMA modes 0 to 5 and
//! accept any of them. Linux's `ata_piix` uses multiword DMA mode 2 on this chip.

mod action;
mod ata;
mod atapi;
mod busmaster;
mod channel;
mod drive;
mod regs;
#[cfg(test)]
mod tests;

use crate::chipset::{SUBSYSTEM_ID, SUBSYSTEM_VENDOR, VENDOR_INTEL};
use crate::pci::{COMMAND, ConfigSpace, ConfigState, RegisterNames, STATUS, config_register_name, register_name};
use crate::{Access, CONFIG_TAG, Ctx, Devfn, Device, Disc, DiskId, Effect, Owned, Region, RestoreError, Tray, Wake};
use ata::Ata;
pub use ata::reported_geometry;
use atapi::Atapi;
use channel::{Channel, ChannelState};
use drive::{Drive, DriveKind};
use serde::{Deserialize, Serialize};

/// PCI function.
pub const DEVFN: Devfn = Devfn::new(1, 1);

/// IDETIM of the primary channel; the secondary channel's follows at 42h.
const IDETIM: usize = 0x40;
/// SIDETIM, slave IDE timing.
const SIDETIM: usize = 0x44;
/// IDETIM bit 15, IDE decode enable, in the register's high byte.
const DECODE_ENABLE: u8 = 0x80;

/// The device's registers in configuration space (2.4).
const CONFIG_NAMES: &RegisterNames = &[(0x20..=0x23, "BMIBA"), (0x40..=0x43, "IDETIM"), (0x44..=0x44, "SIDETIM")];

// Region tags. Bit 0 is the channel, except for the bus master.
const TAG_DATA: u8 = 0;
const TAG_TASK: u8 = 2;
const TAG_TASK_SECONDARY: u8 = TAG_TASK + 1;
const TAG_CONTROL: u8 = 4;
const TAG_BUS_MASTER: u8 = 6;

/// A drive's configuration. Strings are truncated to their IDENTIFY fields (serial number 20, model 40 characters), and
/// characters other than printable ASCII are replaced by blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveSpec {
    /// An ATA disk.
    Disk {
        /// Sectors of 512 bytes; at least 1, at most 2^48 - 1 are used.
        sectors: u64,
        /// Write commands are aborted.
        read_only: bool,
        /// Serial number.
        serial: String,
        /// Model.
        model: String,
    },
    /// An ATAPI CD-ROM drive.
    Cdrom {
        /// The disc; `None` if the drive is empty.
        disc: Option<Disc>,
        /// Serial number.
        serial: String,
        /// Model.
        model: String,
    },
}

impl DriveSpec {
    /// A disk with the default model name.
    pub fn disk(sectors: u64, read_only: bool, serial: &str) -> Self {
        Self::Disk { sectors, read_only, serial: serial.into(), model: "PCVM HARDDISK".into() }
    }

    /// A CD-ROM drive with the default model name.
    pub fn cdrom(disc: Option<Disc>, serial: &str) -> Self {
        Self::Cdrom { disc, serial: serial.into(), model: "PCVM DVD-ROM".into() }
    }
}

/// The IDE function.
#[derive(Debug)]
pub struct Piix3Ide {
    config: ConfigSpace,
    channels: [Channel; 2],
    /// The last [`Effect::AwaitCoalesced`].
    awaits_writes: bool,
}

/// [`Piix3Ide`] in a saved state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Piix3IdeState {
    config: ConfigState,
    channels: [ChannelState; 2],
}

impl Piix3Ide {
    /// The function with drives hda to hdd ([`DiskId`] 0 to 3).
    pub fn new(drives: [Option<DriveSpec>; 4]) -> Self {
        let mut units = drives.map(|spec| {
            spec.map(|spec| {
                Drive::new(match spec {
                    DriveSpec::Disk { sectors, read_only, serial, model } => {
                        DriveKind::Ata(Box::new(Ata::new(sectors, read_only, &serial, &model)))
                    }
                    DriveSpec::Cdrom { disc, serial, model } => {
                        DriveKind::Atapi(Box::new(Atapi::new(disc, &serial, &model)))
                    }
                })
            })
        });
        let [hda, hdb, hdc, hdd] = &mut units;
        let channels = [Channel::new(0, [hda.take(), hdb.take()]), Channel::new(1, [hdc.take(), hdd.take()])];
        let config = ConfigSpace::new(VENDOR_INTEL, 0x7010, 0x01_0180, 0)
            .subsystem(SUBSYSTEM_VENDOR, SUBSYSTEM_ID)
            // PCICMD: the enables are writable; memory and SERR#, which the data sheet hardwires to 0, as in QEMU's
            // `pc`. PCISTS: fast back-to-back, medium DEVSEL#; the abort bits are write 1 to clear. MLT: the high nibble
            // is writable.
            .writable(COMMAND, &[0x07, 0x01])
            .preset(STATUS, &[0x80, 0x02])
            .write_1_to_clear(STATUS, &[0x00, 0x38])
            .writable(0x0c, &[0x00, 0xf0])
            .io_bar(4, 16)
            .preset(IDETIM, &[0, DECODE_ENABLE, 0, DECODE_ENABLE])
            .writable(IDETIM, &[0xff, 0xf3, 0xff, 0xf3])
            .writable(SIDETIM, &[0xff]);
        Self { config, channels, awaits_writes: false }
    }

    /// Asks the board to drain coalesced writes promptly while a PIO data-out phase is active: its last word may be in
    /// the ring, and the guest waits for the interrupt.
    #[inline]
    fn await_writes(&mut self, cx: &mut Ctx<'_>) {
        let [primary, secondary] = &self.channels;
        let waits = primary.pio_out_pending() || secondary.pio_out_pending();
        if waits != self.awaits_writes {
            self.awaits_writes = waits;
            cx.effect(Effect::AwaitCoalesced(waits));
        }
    }

    fn drive(&self, disk: DiskId) -> Option<&Drive> {
        self.channels.get(usize::from(disk.0 >> 1))?.drive(disk.0 & 1 == 1)
    }

    /// Whether the ports of a channel are decoded.
    fn decoded(&self, channel: usize) -> bool {
        let timing = self.config.byte((IDETIM + 1 + 2 * channel) as u8);
        self.config.io_enabled() && timing & DECODE_ENABLE != 0
    }

    fn write_config(&mut self, cx: &mut Ctx<'_>, offset: u64, data: &[u8]) {
        let before = [self.decoded(0), self.decoded(1)];
        let written = self.config.write(offset, data);
        if written.mapping {
            let bus_master_enabled = self.config.bus_master();
            for channel in &mut self.channels {
                channel.set_bus_master_enabled(cx, bus_master_enabled);
            }
        }
        if written.mapping || before != [self.decoded(0), self.decoded(1)] {
            cx.effect(Effect::Remap);
        }
    }

    /// Every write but those to latching task file registers.
    #[inline(never)]
    fn write_any(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        if at.tag == CONFIG_TAG {
            self.write_config(cx, at.offset, data);
            return self.await_writes(cx);
        }
        let n = usize::from(at.tag & 1);
        match at.tag & !1 {
            TAG_DATA => self.channels[n].write_data(cx, data),
            TAG_TASK => {
                for (&byte, offset) in data.iter().zip(at.offset..) {
                    self.channels[n].write_task(cx, offset, byte);
                }
            }
            TAG_CONTROL => {
                if let Some(&byte) = data.first() {
                    self.channels[n].write_control(cx, byte);
                }
            }
            TAG_BUS_MASTER => {
                for (&byte, offset) in data.iter().zip(at.offset..16) {
                    self.channels[(offset >> 3) as usize].write_bus_master(cx, offset & 7, byte);
                }
            }
            _ => {}
        }
        self.await_writes(cx);
    }
}

impl Device for Piix3Ide {
    type State = Piix3IdeState;
    const KIND: &'static str = "piix3-ide";
    const VERSION: u32 = 1;

    fn owns(&self) -> Owned {
        Owned { disks: (0..4).map(DiskId).collect(), ..Owned::default() }
    }

    fn regions(&self) -> Vec<Region> {
        let mut regions = Vec::new();
        for (n, base, control) in [(0, 0x1f0, 0x3f6), (1, 0x170, 0x376)] {
            if self.decoded(n.into()) {
                // Data register writes are coalesced: only the last word of a DRQ block has an effect, and the board
                // drains the ring while the function awaits writes.
                regions.push(Region::io(base, 1, TAG_DATA + n).with_fifo().with_coalesce(0..1));
                regions.push(Region::io(base + 1, 7, TAG_TASK + n).with_coalesce(0..regs::STATUS_COMMAND));
                regions.push(Region::io(control, 1, TAG_CONTROL + n));
            }
        }
        if let Some(base) = self.config.bar(4) {
            let mut region = Region::io(base as u16, 16, TAG_BUS_MASTER);
            for channel in [0, 8] {
                region = region
                    // BMISX, a reserved byte, and BMIDTPX.
                    .with_coalesce(channel + busmaster::BMISX..channel + 8);
            }
            regions.push(region);
        }
        regions
    }

    fn pci(&self) -> Option<Devfn> {
        Some(DEVFN)
    }

    fn tray(&self, disk: DiskId) -> Option<Tray> {
        self.drive(disk)?.tray()
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        if at.tag == CONFIG_TAG {
            return config_register_name(CONFIG_NAMES, at.offset);
        }
        match at.tag & !1 {
            TAG_DATA => Some("Data"),
            TAG_TASK => register_name(regs::TASK_FILE_NAMES, at.offset),
            TAG_CONTROL => Some("Alternate Status/Device Control"),
            TAG_BUS_MASTER => register_name(busmaster::NAMES, at.offset),
            _ => None,
        }
    }

    fn read(&mut self, cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        if at.tag == CONFIG_TAG {
            return self.config.read(at.offset, data);
        }
        let n = usize::from(at.tag & 1);
        match at.tag & !1 {
            TAG_DATA => {
                self.channels[n].read_data(cx, data);
                self.await_writes(cx);
            }
            TAG_TASK => {
                for (byte, offset) in data.iter_mut().zip(at.offset..) {
                    *byte = self.channels[n].read_task(cx, offset);
                }
            }
            TAG_CONTROL => data.fill(self.channels[n].read_control()),
            TAG_BUS_MASTER => {
                for (byte, offset) in data.iter_mut().zip(at.offset..16) {
                    *byte = self.channels[(offset >> 3) as usize].read_bus_master(offset & 7);
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        // Fast path: most writes only latch a parameter for the next command.
        if let (&[byte], TAG_TASK | TAG_TASK_SECONDARY) = (data, at.tag)
            && at.offset < regs::DEVICE
        {
            return self.channels[usize::from(at.tag & 1)].latch_parameter(at.offset, byte);
        }
        self.write_any(cx, at, data);
    }

    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        match why {
            Wake::Block(done) => {
                if let Some(channel) = self.channels.get_mut(usize::from(done.disk.0 >> 1)) {
                    channel.block_done(cx, done);
                    self.await_writes(cx);
                }
            }
            Wake::Medium(disk, medium) => {
                if let Some(channel) = self.channels.get_mut(usize::from(disk.0 >> 1)) {
                    channel.set_medium(cx, disk.0 & 1 == 1, medium);
                    self.await_writes(cx);
                }
            }
            Wake::Tray(disk, request) => {
                if let Some(channel) = self.channels.get_mut(usize::from(disk.0 >> 1)) {
                    channel.tray_request(cx, disk.0 & 1 == 1, request);
                }
            }
            _ => {}
        }
    }

    fn reset(&mut self, cx: &mut Ctx<'_>) {
        let Self { config, channels, awaits_writes: _ } = self;
        config.reset();
        for channel in channels.iter_mut() {
            channel.hard_reset(cx);
        }
        self.await_writes(cx);
        cx.effect(Effect::Remap);
    }

    fn save(&self) -> Piix3IdeState {
        // Whether it awaits writes follows from the channels.
        let Self { config, channels: [primary, secondary], awaits_writes: _ } = self;
        Piix3IdeState { config: config.save(), channels: [primary.save(), secondary.save()] }
    }

    fn load(&mut self, state: Piix3IdeState) -> Result<(), RestoreError> {
        let Piix3IdeState { config, channels } = state;
        if !self.channels.iter().zip(&channels).all(|(channel, state)| channel.accepts(state)) {
            return Err(RestoreError::Impossible { kind: Self::KIND, what: "channel" });
        }
        self.config.load(Self::KIND, &config, &[])?;
        let bus_master_enabled = self.config.bus_master();
        for (channel, state) in self.channels.iter_mut().zip(channels) {
            channel.load(state, bus_master_enabled);
        }
        Ok(())
    }

    fn resync(&mut self, cx: &mut Ctx<'_>) {
        for channel in &mut self.channels {
            channel.resync(cx);
        }
        // The board of a restored machine has not seen the effect.
        self.awaits_writes = false;
        self.await_writes(cx);
        cx.effect(Effect::Remap);
    }
}
