//! Self-test (`pcvm demo`): a machine that boots the disk of `firmware/selftest`, and the test results that it reports.
//!
//! pcvm writes the devices that the machine should have ([`Expect`]) into the parameter block behind the disk's boot sector,
//! so that the self-test reports a missing device as a failure. The self-test prints on the screen and on COM1; pcvm reads
//! the results from the debug port (402h).

use crate::config::{BootDevice, CharSpec, DriveConfig, MachineConfig, Media};
use crate::machine::{BuildError, Machine, RunError};
use pcvm_devices::DiskId;
use rustix::fs::MemfdFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// The disk image that `firmware/build` makes.
const IMAGE: &[u8] = include_bytes!("../firmware/prebuilt/selftest.img");
/// Offset of the parameter block in the image, in bytes: after the boot sector and an 8-byte jump.
const PARAMETERS: usize = 512 + 8;
const MAGIC: &[u8; 8] = b"pcvmdemo";
/// Size of the disk in bytes. It is larger than the image, so that the drive has a few cylinders.
const DISK_SIZE: u64 = 4 << 20;
const CD_SECTOR: u64 = 2048;
/// RAM in bytes.
const MEMORY: u64 = 64 << 20;
/// Time limit. The self-test takes 1 s, or 4 s on a software KVM.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Why the self-test gave no report.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The host kernel refused a memory file or its use.
    #[error("cannot make the self-test's disk: {}", crate::error::host_error(.0))]
    Files(#[from] io::Error),
    /// The machine cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The machine failed while it ran.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The machine ended, or ran into the time limit, before the self-test finished.
    #[error("the self-test did not finish{}", last.as_ref().map(|last| format!("; its last result was: {last}")).unwrap_or_default())]
    Unfinished {
        /// The last test that reported a result.
        last: Option<String>,
    },
}

/// Result of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The device works.
    Pass,
    /// The device does not work, or is missing.
    Fail,
    /// The machine does not have the device, as configured.
    Absent,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// The device or function under test.
    pub name: String,
    /// The result.
    pub verdict: Verdict,
    /// Details of what the test saw or what failed.
    pub note: String,
}

/// The results of a self-test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The results in the order of the tests.
    pub results: Vec<TestResult>,
}

impl Report {
    /// Number of tests that failed.
    pub fn failures(&self) -> usize {
        self.results.iter().filter(|result| result.verdict == Verdict::Fail).count()
    }

    /// Parses the debug port's output, which also contains the firmware's messages.
    ///
    /// # Errors
    /// If the self-test did not finish: the name of the last test that reported a result.
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

/// The devices that the self-test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// RAM in bytes.
    pub memory: u64,
    /// hda to hdd.
    pub drives: [Option<Media>; 4],
    /// COM1 to COM4.
    pub serial: [bool; 4],
}

impl Expect {
    /// Everything that `config` has.
    pub fn all_of(config: &MachineConfig) -> Self {
        Self {
            memory: config.memory,
            drives: [0, 1, 2, 3].map(|unit| config.drives.get(&DiskId(unit)).map(|drive| drive.media)),
            serial: [0, 1, 2, 3].map(|n: usize| config.serial[n].is_some()),
        }
    }

    /// The parameter block.
    fn parameters(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&((self.memory >> 20) as u32).to_le_bytes());
        for (byte, drive) in bytes[12..16].iter_mut().zip(self.drives) {
            *byte = match drive {
                None => 1,
                Some(Media::Disk) => 2,
                Some(Media::Cdrom) => 3,
                // IDE units have no floppy drives.
                Some(Media::Floppy(_)) => 0,
            };
        }
        bytes[16] = self.serial.iter().enumerate().fold(0, |mask, (n, port)| mask | u8::from(*port) << n);
        bytes
    }
}

/// The machine under test: one vCPU, 64 MiB of RAM, the self-test's disk, a CD-ROM drive, COM1 and COM2.
pub struct Demo {
    /// The machine. Its drives and debug output are memory files that this struct holds open.
    pub config: MachineConfig,
    /// The devices that the self-test expects.
    pub expect: Expect,
    /// The machine is stopped after this time.
    pub timeout: Duration,
    disk: File,
    disc: File,
    log: File,
}

impl Demo {
    /// The machine with `firmware`, or with the built-in one; COM1 is connected to `console`.
    ///
    /// # Errors
    /// If the host kernel refuses a memory file.
    pub fn new(firmware: Option<PathBuf>, console: CharSpec) -> Result<Self, DemoError> {
        let [disk, disc, log] = ["disk", "disc", "log"]
            .map(|name| rustix::fs::memfd_create(format!("pcvm-demo-{name}"), MemfdFlags::CLOEXEC).map(File::from));
        let (disk, disc, log) =
            (disk.map_err(io::Error::from)?, disc.map_err(io::Error::from)?, log.map_err(io::Error::from)?);
        let drive = |media, file: &File| DriveConfig { read_only: true, ..DriveConfig::new(media, Some(path(file))) };
        let config = MachineConfig {
            name: "demo".to_owned(),
            memory: MEMORY,
            drives: BTreeMap::from([(DiskId(0), drive(Media::Disk, &disk)), (DiskId(2), drive(Media::Cdrom, &disc))]),
            boot: vec![BootDevice::Disk],
            firmware,
            serial: [Some(console), Some(CharSpec::Null), None, None],
            debugcon: Some(path(&log)),
            // After a triple fault the self-test would otherwise start again and never end.
            no_reboot: true,
            ..MachineConfig::minimal()
        };
        let expect = Expect::all_of(&config);
        Ok(Self { config, expect, timeout: TIMEOUT, disk, disc, log })
    }

    /// Runs the machine until the self-test powers it off.
    ///
    /// # Errors
    /// If the machine cannot run, or the self-test does not finish.
    pub fn run(self) -> Result<Report, DemoError> {
        let Self { config, expect, timeout, disk, disc, log } = self;
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
        let (running, ended) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if ended.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout) {
                handle.quit();
            }
        });
        let result = machine.run();
        drop(running);
        drop(machine);
        // The thread returns nothing and does not panic.
        let _ = watchdog.join();
        result?;

        let mut text = vec![0; usize::try_from(log.metadata()?.len()).unwrap_or(0).min(1 << 20)];
        log.read_exact_at(&mut text, 0)?;
        Report::parse(&String::from_utf8_lossy(&text)).map_err(|last| DemoError::Unfinished { last })
    }
}

/// A path by which this process can open one of its memory files.
fn path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_a_boot_signature_and_an_empty_parameter_block() {
        assert_eq!(IMAGE.len() % 512, 0);
        assert!(IMAGE.len() <= 64 << 10, "{}", IMAGE.len());
        assert_eq!(IMAGE[510..512], [0x55, 0xaa]);
        assert_eq!(IMAGE[PARAMETERS..PARAMETERS + 32], [0; 32]);
    }

    #[test]
    fn results_are_found_among_firmware_messages() {
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
    fn a_report_without_an_end_line_is_an_error() {
        assert_eq!(Report::parse("selftest: PASS VBE: \nselft"), Err(Some("VBE".to_owned())));
        assert_eq!(Report::parse("No bootable device\n"), Err(None));
    }
}
