//! Machine configuration: plain values that name host files, devices and addresses but open none of them. The parser that
//! produced a value has checked its range; [`MachineConfig::minimal`] is the base for machines built in code.

pub mod cpu_features;
pub mod cpu_model;
mod drive;
pub mod firmware;
pub mod nbd;
pub mod parse;

pub use drive::{CacheMode, DriveConfig, ErrorAction, ImageFormat, Limits, Media, Rate, folder};
pub use firmware::{check_firmware, read_firmware};

use crate::keys::Keymap;
use pcvm_devices::DiskId;
use pcvm_devices::fdc::Timing;
use pcvm_devices::vga::Vga;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A whole machine.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// The machine's name: title of its windows, base of its control socket's name, MAC addresses and UUID.
    pub name: String,
    /// RAM in bytes: a whole number of MiB, 1 MiB to 1 TiB.
    pub memory: u64,
    /// vCPUs and their topology.
    pub cpus: CpuConfig,
    /// Drives by the unit that they occupy: [`DiskId`] 0 to 3 are IDE hda, hdb, hdc, hdd; 4 and 5 are the floppy drives fda
    /// and fdb.
    pub drives: BTreeMap<DiskId, DriveConfig>,
    /// Whether floppy drives take the time of real ones.
    pub floppy_timing: Timing,
    /// Boot order, first device first.
    pub boot: Vec<BootDevice>,
    /// A firmware image to use instead of the built-in one.
    pub firmware: Option<PathBuf>,
    /// A kernel that the firmware starts before any device of the boot order.
    pub kernel: Option<KernelConfig>,
    /// COM1 to COM4; `None` means that the port does not exist.
    pub serial: [Option<CharSpec>; 4],
    /// File for the firmware's debug output (ports 402h and E9h).
    pub debugcon: Option<PathBuf>,
    /// The RTC's time at power-on.
    pub rtc: RtcBase,
    /// A guest reset ends the machine.
    pub no_reboot: bool,
    /// The local display: terminal or window.
    pub display: Display,
    /// The display adapter; `None` for no adapter.
    pub vga: Option<Adapter>,
    /// The control (QMP) socket.
    pub control: ControlSpec,
    /// The VNC server.
    pub vnc: Option<VncConfig>,
    /// A UHCI USB controller with a tablet and a keyboard.
    pub tablet: bool,
    /// Network cards, in PCI slots 3 and up.
    pub nics: Vec<NicConfig>,
    /// Press a key when the boot loader of a CD asks "Press any key to boot from CD".
    pub press_key_for_cd: bool,
    /// The keyboard layout that the guest is set to. `None` is English (US), and a window then sends keys by their place.
    pub keymap: Option<Keymap>,
    /// Trace of device accesses.
    pub trace: Option<TraceConfig>,
}

/// A display adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// The standard VGA with Bochs VBE extensions.
    Std {
        /// Video memory in bytes, a power of two from 1 MiB to 256 MiB.
        vram: u32,
    },
    /// A Cirrus Logic CL-GD5446 with 4 MiB.
    Cirrus,
}

impl Adapter {
    /// Bytes of video memory.
    pub const fn vram(self) -> u32 {
        match self {
            Self::Std { vram } => vram,
            Self::Cirrus => Vga::CIRRUS_VRAM,
        }
    }
}

impl MachineConfig {
    /// A PC with one vCPU, 64 MiB of RAM, a VGA and the built-in firmware; no drives, NICs, serial ports, displays or
    /// control socket. Code that builds a machine by hand starts from it, so that a new option does not break that code:
    /// `MachineConfig { memory, ..MachineConfig::minimal() }`.
    pub fn minimal() -> Self {
        Self {
            name: "pcvm".to_owned(),
            memory: 64 << 20,
            cpus: CpuConfig::default(),
            drives: BTreeMap::new(),
            floppy_timing: Timing::Fast,
            boot: Vec::new(),
            firmware: None,
            kernel: None,
            serial: [const { None }; 4],
            debugcon: None,
            rtc: RtcBase::Utc,
            no_reboot: false,
            display: Display::None,
            vga: Some(Adapter::Std { vram: Vga::DEFAULT_VRAM }),
            control: ControlSpec::None,
            vnc: None,
            tablet: false,
            nics: Vec::new(),
            press_key_for_cd: false,
            keymap: None,
            trace: None,
        }
    }
}

/// vCPUs: how many, how they are grouped, and their CPU model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuConfig {
    /// vCPUs, 1 to 64: sockets x cores x threads.
    pub count: u32,
    /// Packages.
    pub sockets: u32,
    /// Cores per package.
    pub cores: u32,
    /// Threads per core.
    pub threads: u32,
    /// The CPU model that CPUID reports.
    pub model: cpu_model::CpuModel,
}

impl Default for CpuConfig {
    /// One vCPU of the host's model.
    fn default() -> Self {
        Self { count: 1, sockets: 1, cores: 1, threads: 1, model: Default::default() }
    }
}

/// A device class of the boot order, with the letter that Xen and QEMU use for it.
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

/// A kernel and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelConfig {
    /// A Linux, Multiboot or PVH kernel.
    pub kernel: PathBuf,
    /// Linux: the initial RAM disk. Multiboot and PVH: a list of modules, `FILE ARGUMENTS,FILE ARGUMENTS`.
    pub initrd: Option<PathBuf>,
    /// Command line.
    pub append: String,
}

/// Backend of a serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CharSpec {
    /// Standard input and output of pcvm.
    Stdio,
    /// A new pseudo-terminal; pcvm prints its name on standard error.
    Pty,
    /// A file, truncated when it is opened.
    File(PathBuf),
    /// Output is discarded and there is no input.
    Null,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicConfig {
    /// The host side of the card's cable.
    pub backend: NetBackend,
    /// The MAC address; `None` for one derived from the machine's name.
    pub mac: Option<[u8; 6]>,
    /// The chip.
    pub model: NicModel,
    /// Whether the link is up at power-on.
    pub link: bool,
    /// A pcap file that receives every frame, in both directions.
    pub dump: Option<PathBuf>,
    /// The expansion ROM image.
    pub rom: Option<PathBuf>,
}

/// Network chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NicModel {
    /// RTL8139C+.
    #[default]
    Rtl8139Cplus,
    /// RTL8139C, which has no descriptor rings.
    Rtl8139C,
}

/// Network backend: the host side of a card's cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetBackend {
    /// A tap device of the host.
    Tap(TapConfig),
    /// passt: a running one that listens at this socket, or `None` to start one.
    Passt(Option<PathBuf>),
    /// Another pcvm, connected through this Unix socket.
    Pair(PathBuf),
}

/// A tap device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TapConfig {
    /// How pcvm obtains the device.
    pub source: TapSource,
    /// The bridge that pcvm adds the device to.
    pub bridge: Option<String>,
    /// A program that pcvm runs with the interface's name once the device exists, instead of setting the interface up.
    pub script: Option<PathBuf>,
    /// A program that pcvm runs with the interface's name when the machine ends.
    pub downscript: Option<PathBuf>,
}

/// How pcvm obtains a tap device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapSource {
    /// By name, or `None` for a name that the host kernel chooses. The device is created if it does not exist.
    Name(Option<String>),
    /// A file descriptor that pcvm inherited.
    Fd(i32),
}

impl Default for TapSource {
    fn default() -> Self {
        Self::Name(None)
    }
}

/// VNC server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VncConfig {
    /// Listening address.
    pub address: VncAddress,
    /// Use the first free display number, starting with the one in `address`.
    pub unused: bool,
    /// A file whose first line is the password.
    pub password: Option<PathBuf>,
    /// Certificate and private key, in PEM; clients without TLS are refused.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Host and port of the WebSocket listener for browsers.
    pub websocket: Option<(String, u16)>,
}

/// Listening address of a VNC server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VncAddress {
    /// TCP port 5900 + `display`.
    Tcp {
        /// Host name or IP address.
        host: String,
        /// Display number, from 0.
        display: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// Location of a machine's control (QMP) socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlSpec {
    /// No control socket.
    None,
    /// `NAME.sock` in the directory of control sockets.
    ByName {
        /// The user chose the name, so a running machine with the same name is an error. Otherwise pcvm appends a number
        /// until the name is free.
        given: bool,
    },
    /// This path.
    Path(PathBuf),
}

/// The RTC's time at power-on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcBase {
    /// The host's UTC.
    Utc,
    /// The host's local time.
    LocalTime,
    /// A fixed time in seconds since 1970-01-01, as the guest reads it.
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

/// The local display, in addition to VNC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// No local display.
    None,
    /// The terminal that pcvm was started in.
    Terminal,
    /// An SDL window.
    Sdl,
}
