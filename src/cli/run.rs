//! `pcvm run`.

use crate::config::parse::{self, DriveOption, OptionError};
use crate::config::{ControlSpec, CpuConfig, Display, MachineConfig, Payload, VncAddress, VncConfig};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  Install from a CD image onto a disk, with the console in this terminal:
      truncate -s 8G disk.img
      pcvm run --memory 1G --disk disk.img --cdrom debian.iso --boot dc

  A machine with two processors, its clock in local time (as Windows wants it):
      pcvm run --memory 512M --cpus 2 --disk xp.img --rtc localtime

  Two disks, one of them not writable, and an empty CD-ROM drive:
      pcvm run --disk system.img --disk data.img,readonly --cdrom none

  A Linux kernel without firmware or disk:
      pcvm run --kernel bzImage --initrd initrd.img --append console=ttyS0

  Windows from its CD, the screen over VNC on this host's display 1, setup's question about the CD answered:
      pcvm run --name xp --memory 512M --disk xp.img --cdrom xp.iso --boot cd --rtc localtime \\
        --vnc 127.0.0.1:1 --press-key-for-cd

  A network card on this host's bridge br0, every frame of it in a file for Wireshark:
      pcvm run --disk xp.img --net tap,bridge=br0,dump=frames.pcap

  The screen in this terminal, by a pcvm that is built with '--features sdl' in a window:
      pcvm run --disk xp.img --display terminal
      pcvm run --disk xp.img --display sdl

A comma in the name of a disk image is written twice: --disk a,,b.img

In the terminal of '--serial stdio' all keys go to the guest, but:
  Ctrl-A x       ends the machine at once
  Ctrl-A h       lists these keys
  Ctrl-A Ctrl-A  sends one Ctrl-A

In the terminal of '--display terminal' all keys go to the guest, but:
  Ctrl-] q       ends the machine at once
  Ctrl-] d       presses Ctrl-Alt-Del
  Ctrl-] p       presses the power button
  Ctrl-] 1 to =  presses F1 to F12
  Ctrl-] r       draws the screen again
  Ctrl-] ]       sends one Ctrl-]

In the window of '--display sdl' all keys go to the guest, but:
  Ctrl-Alt-G     grabs mouse and keyboard, as a click does, and lets them go
  Ctrl-Alt-F     fills the screen, and gives the window back
  Ctrl-Alt-U     gives the window the size of the picture
Closing the window ends the machine at once.

Exit status:
  0  the guest powered off, or the machine was ended from here
  1  something failed; one line on standard error says what
  2  a mistake in the command line";

/// Run a machine until its guest powers off.
#[derive(Debug, Args)]
#[command(
    about = "Run a machine until its guest powers off",
    long_about = "Builds a PC from the options and runs it until its guest powers off.",
    after_help = EXAMPLES,
    next_line_help = true
)]
pub struct RunArgs {
    /// Name of the machine, by which 'pcvm screen' and the like find it [default: pcvm, or pcvm-2 and so on while
    /// that is taken]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Memory: 1M to 1T; K, M, G or T may follow the number, a plain number is MiB
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    memory: String,

    /// Processors, 1 to 64, and how they are grouped (N = S x C x T); what is left open is one socket, one thread
    /// per core
    #[arg(long, value_name = "N[,sockets=S][,cores=C][,threads=T]", default_value = "1")]
    cpus: String,

    /// Processor model, such as host, qemu64, kvm64, pentium3 or 486, and features to add or remove
    #[arg(long, value_name = "MODEL[,+FEATURE][,-FEATURE]")]
    cpu: Option<String>,

    /// Hard disk: a raw image or a block device; up to four drives, hda first [repeatable]
    #[arg(long, value_name = "FILE[,unit=hda|hdb|hdc|hdd][,readonly][,serial=TEXT]")]
    disk: Vec<OsString>,

    /// CD-ROM drive with this ISO image, or 'none' for no disc; hdc if that is free [repeatable]
    #[arg(long, value_name = "FILE|none[,unit=hda|hdb|hdc|hdd][,serial=TEXT]")]
    cdrom: Vec<OsString>,

    /// What to boot from, in this order: a floppy, c hard disk, d CD-ROM, n network
    #[arg(long, value_name = "LETTERS", default_value = "cd")]
    boot: String,

    /// Firmware image instead of the built-in choice: a multiple of 64 KiB, up to 16 MiB
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    firmware: Option<PathBuf>,

    /// Linux kernel (bzImage or vmlinux) to start directly, without firmware
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,

    /// Initial RAM disk for --kernel
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,

    /// Command line for --kernel
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    append: Option<String>,

    /// Network card (RTL8139C+), and what it is plugged into: a tap device, the outside world by passt (without root),
    /// another machine, or 'none' for no card. For a tap: bridge=BRIDGE, ifname=TAP, fd=NUMBER, script=FILE,
    /// downscript=FILE. For all: mac=MAC, model=rtl8139|rtl8139c, link=up|down, dump=FILE.pcap, rom=FILE [default: no
    /// card] [repeatable]
    #[arg(long, value_name = "tap|passt[=SOCKET]|pair:unix:PATH|none[,KEY=VALUE...]", action = clap::ArgAction::Append)]
    net: Vec<OsString>,

    /// USB controller (UHCI) with a tablet and a keyboard: with a system that knows USB the pointer is where the
    /// viewer's is. Until that system drives them, and besides, there are PS/2 keyboard and mouse
    #[arg(long)]
    tablet: bool,

    /// What COM1 is connected to, given again for COM2 to COM4: this terminal, a new pseudo-terminal, a file,
    /// nothing ('null'), or 'none' for no such port [default: stdio; null with --display terminal] [repeatable]
    #[arg(long, value_name = "stdio|pty|file:PATH|null|none")]
    serial: Vec<OsString>,

    /// Show the screen in this terminal, or in a window (of a pcvm that was built with the feature 'sdl'), besides VNC
    #[arg(long, value_name = "none|terminal|sdl", default_value = "none")]
    display: String,

    /// Display adapter: a VGA with so much video memory, a power of two from 1M to 256M, or none at all
    #[arg(long, value_name = "std[,vram=SIZE]|none", default_value = "std,vram=16M")]
    vga: String,

    /// Show the screen over VNC, on a display number (0 is port 5900) or a Unix socket
    #[arg(long, value_name = "HOST:DISPLAY|unix:PATH")]
    vnc: Option<OsString>,

    /// Take the first display that is free, from that of --vnc on, or from 127.0.0.1:0 on; which one is told on
    /// standard error
    #[arg(long)]
    vnc_unused: bool,

    /// File whose first line is the password for VNC, of up to eight characters
    #[arg(long, value_name = "FILE")]
    vnc_password: Option<PathBuf>,

    /// Let nobody use VNC without TLS (VeNCrypt): the server's certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "vnc_key")]
    vnc_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "vnc_cert")]
    vnc_key: Option<PathBuf>,

    /// Show the screen to browsers too (noVNC), over WebSocket on this port; over wss with --vnc-cert
    #[arg(long, value_name = "[HOST:]PORT")]
    vnc_websocket: Option<String>,

    /// Where programs control the machine, in QMP's format [default: a socket NAME.sock in $XDG_RUNTIME_DIR/pcvm, or
    /// in /run/pcvm for root]
    #[arg(long, value_name = "none|unix:PATH")]
    control: Option<OsString>,

    /// Answer "Press any key to boot from CD", the first time that it is asked
    #[arg(long)]
    press_key_for_cd: bool,

    /// What the clock shows when the machine starts: UTC, local time (for Windows and DOS), or a date such as
    /// 2006-06-17T16:01:21
    #[arg(long, value_name = "utc|localtime|DATE", default_value = "utc")]
    rtc: String,

    /// File for the firmware's debug output (ports 402h and E9h)
    #[arg(long, value_name = "FILE")]
    debugcon: Option<PathBuf>,

    /// End the machine when the guest resets it
    #[arg(long)]
    no_reboot: bool,
}

/// A flag whose value is wrong.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// A single value.
    #[error("{flag}: {why}")]
    Option {
        /// With its dashes.
        flag: &'static str,
        /// What is wrong.
        why: OptionError,
    },
    /// One of several values of a flag.
    #[error("{flag} {value}: {why}")]
    OneOf {
        /// With its dashes.
        flag: &'static str,
        /// As given.
        value: String,
        /// What is wrong.
        why: OptionError,
    },
    /// A processor model.
    #[error("--cpu: {0}")]
    Cpu(String),
    /// Options for a server that is not asked for.
    #[error("--vnc-password, --vnc-cert and --vnc-websocket need --vnc or --vnc-unused")]
    NoVnc,
    /// A Unix socket has no number.
    #[error("--vnc-unused: a Unix socket has no display number")]
    UnusedSocket,
    /// More network cards than there are slots for.
    #[error("--net: at most {} network cards", pcvm_devices::NicId::COUNT)]
    NinthNic,
    /// A fifth serial port.
    #[error("--serial {0}: there are four serial ports, COM1 to COM4")]
    FifthPort(String),
    /// Two ports want the terminal.
    #[error("--serial stdio: only one port can have the terminal")]
    StdioTwice,
    /// A port and the screen do.
    #[error("--serial stdio: --display terminal has the terminal; try --serial pty")]
    StdioShown,
    /// The feature is not compiled in.
    #[error("--display sdl: this pcvm was built without it (cargo build --features sdl)")]
    NoSdl,
    /// Nothing to show.
    #[error("--vga none: the machine has no screen for {0}")]
    NoScreen(&'static str),
}

impl RunArgs {
    /// The machine that is asked for. No file has been looked at yet.
    ///
    /// # Errors
    /// The first value that makes no sense.
    pub fn into_config(self) -> Result<MachineConfig, UsageError> {
        let option = |flag| move |why| UsageError::Option { flag, why };
        let topology = parse::cpus(&self.cpus).map_err(option("--cpus"))?;
        let model = match self.cpu.as_deref() {
            Some(text) => text.parse().map_err(|why| UsageError::Cpu(format!("{why}")))?,
            None => Default::default(),
        };
        let payload = match self.kernel {
            Some(kernel) => Payload::Kernel { kernel, initrd: self.initrd, append: self.append.unwrap_or_default() },
            None => Payload::Firmware(self.firmware),
        };
        let display = parse::display(&self.display).map_err(option("--display"))?;
        if display == Display::Sdl && !crate::display::HAS_SDL {
            return Err(UsageError::NoSdl);
        }
        let vga = parse::vga(&self.vga).map_err(option("--vga"))?;
        let asked =
            self.vnc_unused || self.vnc_password.is_some() || self.vnc_cert.is_some() || self.vnc_websocket.is_some();
        let vnc = match &self.vnc {
            Some(address) => Some(parse::vnc(address).map_err(option("--vnc"))?),
            None if self.vnc_unused => Some(VncAddress::Tcp { host: "127.0.0.1".to_owned(), display: 0 }),
            None if asked => return Err(UsageError::NoVnc),
            None => None,
        };
        if self.vnc_unused && matches!(vnc, Some(VncAddress::Unix(_))) {
            return Err(UsageError::UnusedSocket);
        }
        if vga.is_none() && vnc.is_some() {
            return Err(UsageError::NoScreen("VNC"));
        }
        if vga.is_none() && display != Display::None {
            return Err(UsageError::NoScreen("--display"));
        }
        let websocket = self.vnc_websocket.as_deref().map(parse::websocket).transpose();
        let websocket = websocket.map_err(option("--vnc-websocket"))?;
        let vnc = vnc.map(|address| VncConfig {
            address,
            unused: self.vnc_unused,
            password: self.vnc_password,
            tls: self.vnc_cert.zip(self.vnc_key),
            websocket,
        });
        Ok(MachineConfig {
            control: match &self.control {
                Some(value) => parse::control(value).map_err(option("--control"))?,
                None => ControlSpec::ByName { given: self.name.is_some() },
            },
            name: parse::machine_name(self.name.as_deref().unwrap_or("pcvm")).map_err(option("--name"))?,
            vnc,
            press_key_for_cd: self.press_key_for_cd,
            memory: parse::memory_size(&self.memory).map_err(option("--memory"))?,
            cpus: CpuConfig {
                count: topology.count,
                sockets: topology.sockets,
                cores: topology.cores,
                threads: topology.threads,
                model,
            },
            drives: drives(&self.disk, &self.cdrom)?,
            boot: parse::boot_order(&self.boot).map_err(option("--boot"))?,
            payload,
            serial: serial_ports(&self.serial, display)?,
            nics: nics(&self.net)?,
            tablet: self.tablet,
            debugcon: self.debugcon,
            rtc: parse::rtc(&self.rtc).map_err(option("--rtc"))?,
            no_reboot: self.no_reboot,
            trace: None,
            display,
            vga,
        })
    }
}

fn drives(disks: &[OsString], cdroms: &[OsString]) -> Result<[Option<crate::config::DriveConfig>; 4], UsageError> {
    type Parser = fn(&std::ffi::OsStr) -> Result<DriveOption, OptionError>;
    let given = disks
        .iter()
        .map(|value| ("--disk", parse::disk as Parser, value))
        .chain(cdroms.iter().map(|value| ("--cdrom", parse::cdrom as Parser, value)));
    let mut names = Vec::new();
    let mut options = Vec::new();
    for (flag, parser, value) in given {
        let text = value.to_string_lossy().into_owned();
        match parser(value) {
            Ok(option) => options.push(option),
            Err(why) => return Err(UsageError::OneOf { flag, value: text, why }),
        }
        names.push((flag, text));
    }
    parse::assign_units(&options).map_err(|(index, why)| {
        let (flag, value) = names.swap_remove(index);
        UsageError::OneOf { flag, value, why }
    })
}

fn nics(values: &[OsString]) -> Result<Vec<crate::config::NicConfig>, UsageError> {
    use crate::config::{NetBackend, TapSource};
    let mut nics = Vec::new();
    let mut descriptors = Vec::new();
    for value in values {
        let fail = |why| UsageError::OneOf { flag: "--net", value: value.to_string_lossy().into_owned(), why };
        let Some(nic) = parse::net(value).map_err(fail)? else { continue };
        if let NetBackend::Tap(tap) = &nic.backend
            && let TapSource::Fd(number) = tap.source
        {
            if descriptors.contains(&number) {
                return Err(fail(OptionError::Twice("fd")));
            }
            descriptors.push(number);
        }
        if nics.len() == pcvm_devices::NicId::COUNT {
            return Err(UsageError::NinthNic);
        }
        nics.push(nic);
    }
    Ok(nics)
}

fn serial_ports(values: &[OsString], display: Display) -> Result<[Option<crate::config::CharSpec>; 4], UsageError> {
    use crate::config::CharSpec;
    let mut ports = [const { None }; 4];
    if values.is_empty() {
        ports[0] = Some(if display == Display::Terminal { CharSpec::Null } else { CharSpec::Stdio });
    }
    for (index, value) in values.iter().enumerate() {
        let text = || value.to_string_lossy().into_owned();
        let port = parse::serial_port(value).map_err(|why| UsageError::Option { flag: "--serial", why })?;
        if port == Some(CharSpec::Stdio) && ports.contains(&port) {
            return Err(UsageError::StdioTwice);
        }
        if port == Some(CharSpec::Stdio) && display == Display::Terminal {
            return Err(UsageError::StdioShown);
        }
        *ports.get_mut(index).ok_or_else(|| UsageError::FifthPort(text()))? = port;
    }
    Ok(ports)
}
