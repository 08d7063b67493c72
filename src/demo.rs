//! The self-test: a machine that boots the disk of `firmware/selftest`, and what it said.
//!
//! The disk is told what the machine should have ([`Expect`], in the block of parameters behind its boot sector), so that
//! a device that is missing is a failure. It prints on the screen and on COM1; what it says on port 402h comes back here.

use crate::config::{BootDevice, CharSpec, CpuConfig, Display, DriveConfig, MachineConfig, Media, Payload, RtcBase};
use crate::machine::{BuildError, Machine, RunError};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// The disk, as `firmware/build` makes it.
const IMAGE: &[u8] = include_bytes!("../firmware/prebuilt/selftest.img");
/// Where in it the parameters are: behind the boot sector and the first jump.
const PARAMETERS: usize = 512 + 8;
const MAGIC: &[u8; 8] = b"pcvmdemo";
/// Room behind the image, so that the drive has a few cylinders.
const DISK_SIZE: u64 = 4 << 20;
const CD_SECTOR: u64 = 2048;
/// The machine's memory.
const MEMORY: u64 = 64 << 20;
/// It takes a second, or four on a software KVM.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Files in memory.
    #[error("cannot make the self-test's disk: {}", crate::error::host_error(.0))]
    Files(#[from] io::Error),
    /// The machine cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It cannot go on.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It ended, or was ended, before the self-test did.
    #[error("the self-test did not come to its end{}", last.as_ref().map(|last| format!("; the last was: {last}")).unwrap_or_default())]
    NoEnd {
        /// The last test that said something.
        last: Option<String>,
    },
}

/// What a test found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The device does what it should.
    Pass,
    /// It does not.
    Fail,
    /// It is not there, and need not be.
    Absent,
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// The device.
    pub name: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen, or what is wrong.
    pub note: String,
}

/// What the self-test said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of the tests.
    pub results: Vec<TestResult>,
}

impl Report {
    /// How many tests failed.
    pub fn failures(&self) -> usize {
        self.results.iter().filter(|result| result.verdict == Verdict::Fail).count()
    }

    /// From the debug port's output, among which firmware's is too. `Err` has the last test of one that did not end.
    fn parse(log: &str) -> Result<Self, Option<String>> {
        let mut report = Self::default();
        for line in log.lines().filter_map(|line| line.strip_prefix("selftest: ")) {
            let Some((word, rest)) = line.split_once(' ') else { continue };
            let verdict = match word {
                "PASS" => Verdict::Pass,
                "FAIL" => Verdict::Fail,
                "absent" => Verdict::Absent,
                "end" => return Ok(report),
                _ => continue,
            };
            let (name, note) = rest.split_once(": ").unwrap_or((rest, ""));
            report.results.push(TestResult { name: name.to_owned(), verdict, note: note.to_owned() });
        }
        Err(report.results.pop().map(|last| last.name))
    }
}

/// What the self-test is told to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// Bytes of memory.
    pub memory: u64,
    /// hda to hdd.
    pub drives: [Option<Media>; 4],
    /// COM1 to COM4.
    pub serial: [bool; 4],
}

impl Expect {
    /// All that `config` has.
    pub fn all_of(config: &MachineConfig) -> Self {
        Self {
            memory: config.memory,
            drives: [0, 1, 2, 3].map(|n: usize| config.drives[n].as_ref().map(|drive| drive.media)),
            serial: [0, 1, 2, 3].map(|n: usize| config.serial[n].is_some()),
        }
    }

    fn parameters(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&((self.memory >> 20) as u32).to_le_bytes());
        for (byte, drive) in bytes[12..16].iter_mut().zip(self.drives) {
            *byte = match drive {
                None => 1,
                Some(Media::Disk) => 2,
                Some(Media::Cdrom) => 3,
            };
        }
        bytes[16] = self.serial.iter().enumerate().fold(0, |mask, (n, port)| mask | u8::from(*port) << n);
        bytes
    }
}

/// A machine to be tested: one processor, 64 MiB, the self-test's disk, a CD-ROM drive, COM1 and COM2.
pub struct Demo {
    /// The machine. The paths of its drives are ours.
    pub config: MachineConfig,
    /// What the self-test is told.
    pub expect: Expect,
    /// After this it is stopped.
    pub patience: Duration,
    disk: File,
    disc: File,
    log: File,
}

impl Demo {
    /// The machine with `firmware`, or with the default one; COM1 is connected to `console`.
    ///
    /// # Errors
    /// If the host has no memory for the disks.
    pub fn new(firmware: Option<PathBuf>, console: CharSpec) -> Result<Self, DemoError> {
        let [disk, disc, log] = ["disk", "disc", "log"]
            .map(|name| rustix::fs::memfd_create(format!("pcvm-demo-{name}"), MemfdFlags::CLOEXEC).map(File::from));
        let (disk, disc, log) =
            (disk.map_err(io::Error::from)?, disc.map_err(io::Error::from)?, log.map_err(io::Error::from)?);
        let drive =
            |media, file: &File| Some(DriveConfig { media, path: Some(path(file)), read_only: true, serial: None });
        let config = MachineConfig {
            nics: Vec::new(),
            name: "demo".to_owned(),
            memory: MEMORY,
            cpus: CpuConfig { count: 1, sockets: 1, cores: 1, threads: 1, model: Default::default() },
            drives: [drive(Media::Disk, &disk), None, drive(Media::Cdrom, &disc), None],
            boot: vec![BootDevice::Disk],
            payload: Payload::Firmware(firmware),
            serial: [Some(console), Some(CharSpec::Null), None, None],
            debugcon: Some(path(&log)),
            rtc: RtcBase::Utc,
            // A triple fault would start it all again.
            no_reboot: true,
            display: Display::None,
            vga: Some(pcvm_devices::vga::Vga::DEFAULT_VRAM),
            control: crate::config::ControlSpec::None,
            press_key_for_cd: false,
            trace: None,
            vnc: None,
            tablet: false,
        };
        let expect = Expect::all_of(&config);
        Ok(Self { config, expect, patience: PATIENCE, disk, disc, log })
    }

    /// Runs it until the machine switches itself off.
    ///
    /// # Errors
    /// If it cannot run or does not come to its end.
    pub fn run(self) -> Result<Report, DemoError> {
        let Self { config, expect, patience, disk, disc, log } = self;
        let mut image = IMAGE.to_vec();
        let parameters = expect.parameters();
        image[PARAMETERS..PARAMETERS + parameters.len()].copy_from_slice(&parameters);
        for (mut file, size) in [(&disk, DISK_SIZE), (&disc, (image.len() as u64).next_multiple_of(CD_SECTOR))] {
            file.write_all(&image)?;
            file.set_len(size)?;
        }

        let mut machine = Machine::new(config)?;
        machine.quit_on_signals()?;
        let handle = machine.handle();
        let (over, ended) = mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            if ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                handle.quit();
            }
        });
        let result = machine.run();
        drop(over);
        drop(machine);
        // It does not panic, and has nothing to say.
        let _ = watch.join();
        result?;

        let mut text = vec![0; usize::try_from(log.metadata()?.len()).unwrap_or(0).min(1 << 20)];
        log.read_exact_at(&mut text, 0)?;
        Report::parse(&String::from_utf8_lossy(&text)).map_err(|last| DemoError::NoEnd { last })
    }
}

/// Where a file of ours can be opened by name, by us.
fn path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_boots_and_has_room_for_parameters() {
        assert_eq!(IMAGE.len() % 512, 0);
        assert!(IMAGE.len() <= 64 << 10, "{}", IMAGE.len());
        assert_eq!(IMAGE[510..512], [0x55, 0xaa]);
        assert_eq!(IMAGE[PARAMETERS..PARAMETERS + 32], [0; 32]);
    }

    #[test]
    fn a_report_is_what_stands_between_other_messages() {
        let log = "SeaBIOS (version 1)\nselftest: PASS memory map: 7 ranges\nfirmware\nselftest: FAIL PCI: two windows \
                   overlap\nselftest: absent CD-ROM: \nselftest: end 1 1\n";
        let report = Report::parse(log).unwrap();
        let found: Vec<_> = report.results.iter().map(|r| (&*r.name, r.verdict, &*r.note)).collect();
        assert_eq!(
            found,
            [
                ("memory map", Verdict::Pass, "7 ranges"),
                ("PCI", Verdict::Fail, "two windows overlap"),
                ("CD-ROM", Verdict::Absent, "")
            ]
        );
        assert_eq!(report.failures(), 1);
    }

    #[test]
    fn a_report_without_an_end_is_none() {
        assert_eq!(Report::parse("selftest: PASS VBE: \nselft"), Err(Some("VBE".to_owned())));
        assert_eq!(Report::parse("No bootable device\n"), Err(None));
    }
}
