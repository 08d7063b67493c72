//! What a machine is to be, before anything is opened: plain values, checked by whoever parsed them.

pub mod firmware;
pub mod parse;

pub use firmware::{check_firmware, read_firmware};

use std::path::PathBuf;

/// A whole machine.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// Its name.
    pub name: String,
    /// RAM in bytes: a whole number of MiB, 1 MiB to 1 TiB.
    pub memory: u64,
    /// Processors.
    pub cpus: CpuConfig,
    /// hda, hdb, hdc, hdd.
    pub drives: [Option<DriveConfig>; 4],
    /// What to boot, in order.
    pub boot: Vec<BootDevice>,
    /// What boots.
    pub payload: Payload,
    /// COM1 to COM4; `None` means that the port does not exist.
    pub serial: [Option<CharSpec>; 4],
    /// Where the firmware's debug output (ports 402h and E9h) goes.
    pub debugcon: Option<PathBuf>,
    /// What the RTC shows.
    pub rtc: RtcBase,
    /// A reset ends the machine.
    pub no_reboot: bool,
    /// The screen.
    pub display: Display,
    /// The VGA's video memory in bytes, a power of two from 1 MiB to 256 MiB; none for no VGA.
    pub vga: Option<u32>,
    /// Where programs find the machine.
    pub control: ControlSpec,
    /// The screen over VNC.
    pub vnc: Option<VncConfig>,
    /// A USB controller with a tablet and a keyboard.
    pub tablet: bool,
    /// Network cards, in slots 3 and on.
    pub nics: Vec<NicConfig>,
    /// "Press any key to boot from CD" is answered.
    pub press_key_for_cd: bool,
    /// Trace of device accesses.
    pub trace: Option<TraceConfig>,
}

/// Processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuConfig {
    /// 1 to 64; sockets x cores x threads.
    pub count: u32,
    /// Packages.
    pub sockets: u32,
    /// Cores per package.
    pub cores: u32,
    /// Threads per core.
    pub threads: u32,
    /// As given to `--cpu`: `host`, `qemu64`, … with `,+feature,-feature`; checked when it is parsed.
    pub model: crate::kvm::cpu_model::CpuModel,
}

/// A drive on an IDE channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveConfig {
    /// Hard disk or CD-ROM.
    pub media: Media,
    /// The image. None only for a CD-ROM drive without a disc.
    pub path: Option<PathBuf>,
    /// The guest cannot write. Always so for CD-ROM.
    pub read_only: bool,
    /// The serial number that IDENTIFY gives, up to 20 printable ASCII characters.
    pub serial: Option<String>,
}

/// What kind of drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// ATA.
    Disk,
    /// ATAPI.
    Cdrom,
}

/// Xen's boot letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootDevice {
    /// a
    Floppy,
    /// c
    Disk,
    /// d
    Cdrom,
    /// n
    Network,
}

/// What the processor runs first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A firmware image: its path, or none for the default one.
    Firmware(Option<PathBuf>),
    /// A Linux kernel, directly.
    Kernel {
        /// bzImage or vmlinux.
        kernel: PathBuf,
        /// Initial RAM disk.
        initrd: Option<PathBuf>,
        /// Command line.
        append: String,
    },
}

/// A host character device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CharSpec {
    /// The terminal or pipes that pcvm was started with.
    Stdio,
    /// A new pseudo-terminal; its name is printed on standard error.
    Pty,
    /// A file, truncated.
    File(PathBuf),
    /// Connected to nothing.
    Null,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicConfig {
    /// What it is plugged into.
    pub backend: NetBackend,
    /// Its station address; none for one that follows from the machine's name.
    pub mac: Option<[u8; 6]>,
    /// Which chip.
    pub model: NicModel,
    /// The cable is plugged in.
    pub link: bool,
    /// A file for every frame, in pcap's format.
    pub dump: Option<PathBuf>,
    /// Its expansion ROM.
    pub rom: Option<PathBuf>,
}

/// Which network chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NicModel {
    /// RTL8139C+.
    #[default]
    Rtl8139Cplus,
    /// RTL8139C, which has no descriptor rings.
    Rtl8139C,
}

/// What a network card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetBackend {
    /// A tap device of the host.
    Tap(TapConfig),
    /// passt, at this socket, or one that we start.
    Passt(Option<PathBuf>),
    /// Another machine, by a Unix socket.
    Pair(PathBuf),
}

/// A tap device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapConfig {
    /// Which.
    pub source: TapSource,
    /// The bridge that it is put on.
    pub bridge: Option<String>,
    /// Run with its name when it is there, instead of switching it on.
    pub script: Option<PathBuf>,
    /// Run with its name at the end.
    pub downscript: Option<PathBuf>,
}

/// Where a tap device comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapSource {
    /// That name, or one that is free. It is made if it is not there.
    Name(Option<String>),
    /// An open descriptor.
    Fd(i32),
}

impl Default for TapSource {
    fn default() -> Self {
        Self::Name(None)
    }
}

/// How the screen is shown over VNC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VncConfig {
    /// Where it listens.
    pub address: VncAddress,
    /// The first display that is free, from that of the address on.
    pub unused: bool,
    /// A file whose first line is the password.
    pub password: Option<PathBuf>,
    /// Certificate and private key, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Host and port for browsers.
    pub websocket: Option<(String, u16)>,
}

/// Where a VNC server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VncAddress {
    /// A display of a host, which is port 5900 and so on.
    Tcp {
        /// Name or address.
        host: String,
        /// From 0.
        display: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// Where a machine's control socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlSpec {
    /// Nowhere.
    None,
    /// Where machines are found by their names.
    ByName {
        /// Somebody gave the name; else a number follows it if it is taken.
        given: bool,
    },
    /// There.
    Path(PathBuf),
}

/// What the RTC shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcBase {
    /// The host's UTC.
    Utc,
    /// The host's local time.
    LocalTime,
    /// From this time on, in seconds since 1970, as the guest reads it.
    Date(i64),
}

/// A trace of device accesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceConfig {
    /// The file, truncated.
    pub file: PathBuf,
    /// Classes and device kinds, separated by commas; empty for all.
    pub filter: String,
}

/// Where the screen is shown, besides VNC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// Nowhere.
    None,
    /// In the terminal that pcvm was started in.
    Terminal,
    /// In a window.
    Sdl,
}
