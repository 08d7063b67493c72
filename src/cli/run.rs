//! `pcvm run`: the options of a machine.

use crate::config::parse::{self, DriveOption, OptionError};
use crate::config::{
    CharSpec, ControlSpec, CpuConfig, Display, DriveConfig, KernelConfig, MachineConfig, NetBackend, NicConfig,
    TapSource, VncAddress, VncConfig,
};
use clap::Args;
use pcvm_devices::{DiskId, NicId};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  Install from a CD image onto a disk, with the console in this terminal:
      truncate -s 8G disk.img
      pcvm run --memory 1G --disk disk.img --cdrom debian.iso --boot dc

  A machine with two vCPUs and its clock in local time (for Windows):
      pcvm run --memory 512M --cpus 2 --disk xp.img --rtc localtime

  DOS from a floppy, with a second one in drive B:
      pcvm run --memory 16M --floppy dos.img --floppy data.img --boot a --rtc localtime

  Two disks, one of them read-only, and an empty CD-ROM drive:
      pcvm run --disk system.img --disk data.img,readonly --cdrom none

  A directory of the host as a CD, for any guest:
      pcvm run --disk xp.img --cdrom dir:drivers

  A Linux kernel without a disk:
      pcvm run --kernel bzImage --initrd initrd.img --append console=ttyS0

  Windows from its CD, with VNC on display 1 and Enter pressed at the CD's prompt:
      pcvm run --name xp --memory 512M --disk xp.img --cdrom xp.iso --boot cd --rtc localtime \\
        --vnc 127.0.0.1:1 --press-key-for-cd

  A network card on the host's bridge br0, with every frame in a file for Wireshark:
      pcvm run --disk xp.img --net tap,bridge=br0,dump=frames.pcap

  The screen in this terminal, or in a window (build with '--features sdl'):
      pcvm run --disk xp.img --display terminal
      pcvm run --disk xp.img --display sdl

Keys:
  In the terminal of '--serial stdio' all keys go to the guest, except:
    Ctrl-A x       ends the machine at once
    Ctrl-A h       lists these keys
    Ctrl-A Ctrl-A  sends one Ctrl-A

  In the terminal of '--display terminal' all keys go to the guest, except:
    Ctrl-] q       ends the machine at once
    Ctrl-] d       presses Ctrl-Alt-Del
    Ctrl-] p       presses the power button
    Ctrl-] 1 to =  presses F1 to F12
    Ctrl-] r       redraws the screen
    Ctrl-] ]       sends one Ctrl-]

  In the window of '--display sdl' all keys go to the guest, except:
    Ctrl-Alt-G     grabs mouse and keyboard (as a click does), or releases them
    Ctrl-Alt-F     enters or leaves full screen
    Ctrl-Alt-U     resizes the window to the size of the picture
  Closing the window ends the machine at once.

Exit status:
  0  the guest powered off, or the machine was ended by a key, a signal or a command
  1  an error, reported in one line on standard error
  2  a mistake in the command line";

/// The description in the help text and the man page.
pub(super) const LONG_ABOUT: &str = "\
Builds a PC from the options and runs it until its guest powers off. Without options it is a machine with one vCPU, 512 \
MiB of RAM, a VGA, PS/2 keyboard and mouse, an empty floppy drive A, and COM1 on standard input and output.";

/// Options of `pcvm run`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, next_line_help = true)]
pub struct RunArgs {
    /// Machine name, by which 'pcvm screen' and the other commands find it [default: pcvm, or pcvm-2, pcvm-3 ... if that
    /// is in use]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Guest RAM, 1M to 1T: a number with K, M, G or T; a plain number is in MiB
    #[arg(long, value_name = "SIZE", default_value = "512M", allow_negative_numbers = true)]
    memory: String,

    /// Number of vCPUs, 1 to 64, and their topology (N = S x C x T); by default one socket and one thread per core
    #[arg(
        long,
        value_name = "N[,sockets=S][,cores=C][,threads=T]",
        default_value = "1",
        allow_negative_numbers = true
    )]
    cpus: String,

    /// CPU model, such as host, qemu64, kvm64, pentium3 or 486, and CPUID features to add or remove [default: host]
    #[arg(long, value_name = "MODEL[,+FEATURE][,-FEATURE]")]
    cpu: Option<String>,

    /// Hard disk: an image, a block device or a network disk [repeatable]
    ///
    /// Up to four drives; disks are hda, hdb ... unless 'unit' names another unit. A comma in the file name is written
    /// twice. Keys:
    ///   format=raw|qcow2|vmdk      raw if not given; never guessed from the content; vmdk is only read
    ///   size=SIZE                  create the image if it does not exist, such as size=10G
    ///   readonly                   the guest cannot write
    ///   snapshot                   the guest's writes are dropped when the machine ends; never flushed, cached by the host
    ///   cache=writeback            through the host's page cache; the guest's flush reaches stable storage (the default)
    ///   cache=none                 past the page cache (O_DIRECT)
    ///   cache=writethrough         every write reaches stable storage before it completes
    ///   cache=unsafe               flushes do nothing: fast, and lost with the host
    ///   discard=on|off             whether the guest's TRIM frees space on the host (on)
    ///   iops=N, bps=SIZE           limits per second; iops-burst=N, bps-burst=SIZE after a pause (one second's worth)
    ///   limit-group=NAME           drives with the same name share one set of limits
    ///   werror=report|stop|enospc|ignore, rerror=report|stop|ignore
    ///                              when the host fails a write or a read: tell the guest, pause the machine until 'pcvm
    ///                              resume', pause only if the host is full (the default of werror), or ignore it
    ///   backing-dir=DIRECTORY      the image may name files in this directory, not only in its own [repeatable]
    ///   serial=TEXT                the serial number that the guest sees
    ///
    /// A network disk (NBD) is named by its URI; an empty EXPORT is the server's default:
    ///   nbd://HOST[:PORT]/EXPORT                TCP, unencrypted, port 10809 if none is given
    ///   nbds://HOST[:PORT]/EXPORT               TCP with TLS
    ///   nbd+unix:///EXPORT?socket=PATH          a Unix socket; nbds+unix:// with TLS
    ///   ...?tls-certificates=DIRECTORY          trust its ca-cert.pem, show its client-cert.pem with client-key.pem
    ///   ...?tls-hostname=NAME                   the name in the server's certificate, if it is not HOST
    ///   ...?tls-verify-peer=0                   accept any certificate
    /// and has these keys besides:
    ///   reconnect=SECONDS          how long requests wait for a lost server before they fail (300)
    ///   tls-ca=FILE                trust these authorities instead of the system's
    #[arg(long, value_name = "FILE[,KEY=VALUE...]", verbatim_doc_comment)]
    disk: Vec<OsString>,

    /// CD-ROM drive with this disc, or 'none' for an empty drive; hdc if that is free [repeatable]. A disc is:
    ///
    ///   FILE.iso       an image with 2048 bytes per sector
    ///   FILE.cue       a cue sheet: tracks of data and audio, several sessions, in .bin, .img, .iso and .wav files beside it
    ///   FILE.bin|img   an image with 2352 bytes per sector is recognised by its first bytes
    ///   dir:DIRECTORY  a directory as ISO 9660 with Joliet and Rock Ridge names: the guest sees the names and sizes of now
    ///
    /// Keys: unit=hda|hdb|hdc|hdd, serial=TEXT
    #[arg(long, value_name = "DISC|none[,KEY=VALUE...]", verbatim_doc_comment)]
    cdrom: Vec<OsString>,

    /// Floppy drive with this image, or 'empty', or 'none' for a machine without floppy drives [default: an empty 1.44 MB
    /// drive A] [repeatable]
    ///
    /// Up to two drives, fda and fdb. An image has the size of a floppy: 160K, 180K, 320K, 360K, 720K, 1200K, 1440K, 1680K
    /// (DMF), 1840K (XDF), 2880K, or one of these with more tracks or sectors. dir:DIRECTORY is a FAT disk of 1.44 or 2.88 MB
    /// made from a directory; it is write-protected, or with 'readonly=off' the guest's changes go back to the directory at
    /// each flush, when the disk is ejected and when the machine ends (file attributes and the label do not). Keys:
    ///   unit=fda|fdb               drive A or B
    ///   drive=360|720|1.2|1.44|2.88   type of the drive; by default the one for the image
    ///   readonly[=on|off]          write-protected
    ///   snapshot, format, cache, size, werror, rerror   as for --disk
    #[arg(
        long,
        value_name = "FILE|empty|none[,unit=fda|fdb][,drive=TYPE][,readonly][,KEY=VALUE...]",
        verbatim_doc_comment
    )]
    floppy: Vec<OsString>,

    /// Speed of floppy drives: as fast as the host, or with the times of real steps, rotation and motors
    #[arg(long, value_name = "fast|real", default_value = "fast")]
    floppy_timing: String,

    /// Boot order: a floppy, c hard disk, d CD-ROM, n network
    #[arg(long, value_name = "LETTERS", default_value = "cd")]
    boot: String,

    /// Firmware image to use instead of the built-in BIOS: a multiple of 64 KiB, up to 16 MiB
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,

    /// Kernel that the firmware starts before any drive: Linux (bzImage or zImage, and programs with its boot protocol such
    /// as memdisk, iPXE's .lkrn and Memtest86+), a Multiboot kernel, or an ELF file with a PVH entry (vmlinux)
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,

    /// Initial RAM disk for --kernel; for a Multiboot or PVH kernel a list of modules, each a file and after a space its
    /// arguments, where a comma in a name is written twice
    #[arg(long, value_name = "FILE[,FILE...]")]
    initrd: Option<PathBuf>,

    /// Kernel command line for --kernel; for Linux vga=ask|normal|ext|MODE (such as vga=0x314) sets the video mode
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    append: Option<String>,

    /// Network card (RTL8139C+) and its backend: a tap device of the host, user-mode networking by passt (without
    /// root), another pcvm through a Unix socket, or 'none' for no card. Keys for tap: bridge=BRIDGE, ifname=TAP,
    /// fd=NUMBER, script=FILE, downscript=FILE. Keys for every backend: mac=MAC, model=rtl8139|rtl8139c, link=up|down,
    /// dump=FILE.pcap, rom=FILE [default: no card] [repeatable]
    #[arg(long, value_name = "tap|passt[=SOCKET]|pair:unix:PATH|none[,KEY=VALUE...]", action = clap::ArgAction::Append)]
    net: Vec<OsString>,

    /// USB controller (UHCI) with a tablet and a keyboard: an absolute pointer for guests that have USB drivers. The
    /// PS/2 keyboard and mouse stay, and are used until a guest driver has started the USB devices
    #[arg(long)]
    tablet: bool,

    /// Backend of COM1, and when given again of COM2 to COM4: standard input and output, a new pseudo-terminal, a file,
    /// 'null' to discard output, or 'none' for no port [default: stdio; null with --display terminal] [repeatable]
    #[arg(long, value_name = "stdio|pty|file:PATH|null|none")]
    serial: Vec<OsString>,

    /// Local display: this terminal, or a window (needs the cargo feature 'sdl'); VNC is independent of it
    #[arg(long, value_name = "none|terminal|sdl", default_value = "none")]
    display: String,

    /// Display adapter: a VGA with SIZE of video memory, a power of two from 1M to 256M, a Cirrus Logic GD5446, or none
    #[arg(long, value_name = "std[,vram=SIZE]|cirrus|none", default_value = "std,vram=16M")]
    vga: String,

    /// VNC server on a display number (0 is port 5900) or a Unix socket
    #[arg(long, value_name = "HOST:DISPLAY|unix:PATH")]
    vnc: Option<OsString>,

    /// Use the first free display, counting up from that of --vnc [default: from 127.0.0.1:0], and print it on standard
    /// error
    #[arg(long)]
    vnc_unused: bool,

    /// File whose first line is the VNC password, of up to eight characters
    #[arg(long, value_name = "FILE")]
    vnc_password: Option<PathBuf>,

    /// Require TLS (VeNCrypt) from VNC clients: the server's certificate, in PEM
    #[arg(long, value_name = "FILE")]
    vnc_cert: Option<PathBuf>,

    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE")]
    vnc_key: Option<PathBuf>,

    /// WebSocket listener for VNC from browsers (noVNC); wss with --vnc-cert
    #[arg(long, value_name = "[HOST:]PORT")]
    vnc_websocket: Option<String>,

    /// Control socket (QMP) [default: NAME.sock in $XDG_RUNTIME_DIR/pcvm, or in /run/pcvm for root]
    #[arg(long, value_name = "none|unix:PATH")]
    control: Option<OsString>,

    /// Press Enter when a CD first asks "Press any key to boot from CD", in any of Windows' languages
    #[arg(long)]
    press_key_for_cd: bool,

    /// Keyboard layout that the guest is set to: characters from VNC, the window, the terminal and 'pcvm type' are typed with
    /// its keys [default: en-us; the window sends keys by their place]
    #[arg(long, value_name = "LAYOUT")]
    keymap: Option<String>,

    /// Time of the real-time clock at power-on: UTC, local time (for Windows and DOS), or a date such as
    /// 2006-06-17T16:01:21
    #[arg(long, value_name = "utc|localtime|DATE", default_value = "utc")]
    rtc: String,

    /// File for the firmware's debug output (ports 402h and E9h)
    #[arg(long, value_name = "FILE")]
    debugcon: Option<PathBuf>,

    /// Trace file: every device access, IRQ change, reset and guest error. FILTER selects classes (access, unclaimed, irq,
    /// reset, work, guest-error) and device kinds, separated by commas
    #[arg(long, value_name = "FILE[,FILTER]")]
    trace: Option<OsString>,

    /// End the machine when the guest resets it
    #[arg(long)]
    no_reboot: bool,
}

/// A usage error in the options of a machine.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The value of an option that is given once.
    #[error("{flag}: {why}")]
    Option {
        /// The option.
        flag: &'static str,
        /// What is wrong.
        why: OptionError,
    },
    /// One of several values of a repeatable option.
    #[error("{flag} {}: {why}", quoted(value))]
    OneOf {
        /// The option.
        flag: &'static str,
        /// As given.
        value: String,
        /// What is wrong.
        why: OptionError,
    },
    /// The CPU model.
    #[error("--cpu: {0}")]
    Cpu(String),
    /// An option without one that it needs.
    #[error("{flag} needs {needed}")]
    Needs {
        /// The option.
        flag: &'static str,
        /// The missing option.
        needed: &'static str,
    },
    /// A Unix socket has no display number.
    #[error("--vnc-unused needs --vnc HOST:DISPLAY: a Unix socket has no display number")]
    UnusedSocket,
    /// Two tap devices from one descriptor.
    #[error("--net {value}: descriptor {fd} is already used by another --net")]
    DescriptorTwice {
        /// As given.
        value: String,
        /// The descriptor.
        fd: i32,
    },
    /// More network cards than PCI slots for them.
    #[error("--net {}: at most {} network cards are supported", quoted(.0), NicId::COUNT)]
    TooManyNics(String),
    /// A fifth serial port.
    #[error("--serial {}: at most four serial ports (COM1 to COM4) are supported", quoted(.0))]
    TooManyPorts(String),
    /// Two serial ports on standard input.
    #[error("--serial stdio: another port already uses standard input and output; use pty, file:PATH or null")]
    StdioTwice,
    /// A serial port on standard input, which the display uses.
    #[error("--serial stdio: --display terminal uses the terminal; use --serial pty")]
    StdioAndTerminal,
    /// The cargo feature is not enabled.
    #[error("--display sdl: this pcvm is built without windows; build it with 'cargo build --features sdl'")]
    NoSdl,
    /// A display without a VGA.
    #[error("{0} needs a display adapter: remove --vga none")]
    NoVga(&'static str),
}

/// `value`, visible also when it is empty.
fn quoted(value: &str) -> &str {
    if value.is_empty() { "''" } else { value }
}

impl RunArgs {
    /// Converts the options to a machine configuration. It accesses no file.
    ///
    /// # Errors
    /// The first invalid option.
    pub fn into_config(self) -> Result<MachineConfig, UsageError> {
        let option = |flag| move |why| UsageError::Option { flag, why };
        let topology = parse::cpus(&self.cpus).map_err(option("--cpus"))?;
        let model = match self.cpu.as_deref() {
            Some(text) => text.parse().map_err(|why| UsageError::Cpu(format!("{why}")))?,
            None => Default::default(),
        };
        if self.kernel.is_none() {
            for (flag, given) in [("--initrd", self.initrd.is_some()), ("--append", self.append.is_some())] {
                if given {
                    return Err(UsageError::Needs { flag, needed: "--kernel" });
                }
            }
        }
        let append = self.append.unwrap_or_default();
        let kernel = self.kernel.map(|kernel| KernelConfig { kernel, initrd: self.initrd, append });
        let display = parse::display(&self.display).map_err(option("--display"))?;
        if display == Display::Sdl && !crate::display::HAS_SDL {
            return Err(UsageError::NoSdl);
        }
        let vga = parse::vga(&self.vga).map_err(option("--vga"))?;
        let vnc = match &self.vnc {
            Some(address) => Some(parse::vnc(address).map_err(option("--vnc"))?),
            None if self.vnc_unused => Some(VncAddress::Tcp { host: "127.0.0.1".to_owned(), display: 0 }),
            None => None,
        };
        for (flag, given) in [
            ("--vnc-password", self.vnc_password.is_some()),
            ("--vnc-cert", self.vnc_cert.is_some()),
            ("--vnc-key", self.vnc_key.is_some()),
            ("--vnc-websocket", self.vnc_websocket.is_some()),
        ] {
            if given && vnc.is_none() {
                return Err(UsageError::Needs { flag, needed: "--vnc or --vnc-unused" });
            }
        }
        match (&self.vnc_cert, &self.vnc_key) {
            (Some(_), None) => return Err(UsageError::Needs { flag: "--vnc-cert", needed: "--vnc-key" }),
            (None, Some(_)) => return Err(UsageError::Needs { flag: "--vnc-key", needed: "--vnc-cert" }),
            _ => {}
        }
        if self.vnc_unused && matches!(vnc, Some(VncAddress::Unix(_))) {
            return Err(UsageError::UnusedSocket);
        }
        if vga.is_none() && vnc.is_some() {
            return Err(UsageError::NoVga(if self.vnc.is_some() { "--vnc" } else { "--vnc-unused" }));
        }
        if vga.is_none() && display != Display::None {
            return Err(UsageError::NoVga("--display"));
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
            keymap: self.keymap.as_deref().map(parse::keymap).transpose().map_err(option("--keymap"))?,
            memory: parse::memory_size(&self.memory).map_err(option("--memory"))?,
            cpus: CpuConfig {
                count: topology.count,
                sockets: topology.sockets,
                cores: topology.cores,
                threads: topology.threads,
                model,
            },
            drives: drives(&self.disk, &self.cdrom, &self.floppy)?,
            floppy_timing: parse::floppy_timing(&self.floppy_timing).map_err(option("--floppy-timing"))?,
            boot: parse::boot_order(&self.boot).map_err(option("--boot"))?,
            firmware: self.firmware,
            kernel,
            serial: serial_ports(&self.serial, display)?,
            nics: nics(&self.net)?,
            tablet: self.tablet,
            debugcon: self.debugcon,
            rtc: parse::rtc(&self.rtc).map_err(option("--rtc"))?,
            no_reboot: self.no_reboot,
            trace: self.trace.as_deref().map(parse::trace).transpose().map_err(option("--trace"))?,
            display,
            vga,
        })
    }
}

fn drives(
    disks: &[OsString],
    cdroms: &[OsString],
    floppies: &[OsString],
) -> Result<BTreeMap<DiskId, DriveConfig>, UsageError> {
    type Parser = fn(&OsStr) -> Result<DriveOption, OptionError>;
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
    let mut units = parse::assign_units(&options).map_err(|(index, why)| {
        let (flag, value) = names.swap_remove(index);
        UsageError::OneOf { flag, value, why }
    })?;
    let wrong = |value: &OsString, why| UsageError::OneOf {
        flag: "--floppy",
        value: value.to_string_lossy().into_owned(),
        why,
    };
    let options = floppies.iter().map(|value| parse::floppy(value).map_err(|why| wrong(value, why)));
    let options = options.collect::<Result<Vec<_>, _>>()?;
    units.extend(parse::assign_floppies(&options).map_err(|(index, why)| wrong(&floppies[index], why))?);
    Ok(units)
}

fn nics(values: &[OsString]) -> Result<Vec<NicConfig>, UsageError> {
    let mut nics = Vec::new();
    let mut descriptors = Vec::new();
    for value in values {
        let text = || value.to_string_lossy().into_owned();
        let invalid = |why| UsageError::OneOf { flag: "--net", value: text(), why };
        let Some(nic) = parse::net(value).map_err(invalid)? else { continue };
        if let NetBackend::Tap(tap) = &nic.backend
            && let TapSource::Fd(number) = tap.source
        {
            if descriptors.contains(&number) {
                return Err(UsageError::DescriptorTwice { value: text(), fd: number });
            }
            descriptors.push(number);
        }
        if nics.len() == NicId::COUNT {
            return Err(UsageError::TooManyNics(text()));
        }
        nics.push(nic);
    }
    Ok(nics)
}

fn serial_ports(values: &[OsString], display: Display) -> Result<[Option<CharSpec>; 4], UsageError> {
    let mut ports = [const { None }; 4];
    if values.is_empty() {
        ports[0] = Some(if display == Display::Terminal { CharSpec::Null } else { CharSpec::Stdio });
    }
    for (index, value) in values.iter().enumerate() {
        let text = || value.to_string_lossy().into_owned();
        let port =
            parse::serial_port(value).map_err(|why| UsageError::OneOf { flag: "--serial", value: text(), why })?;
        if port == Some(CharSpec::Stdio) && ports.contains(&port) {
            return Err(UsageError::StdioTwice);
        }
        if port == Some(CharSpec::Stdio) && display == Display::Terminal {
            return Err(UsageError::StdioAndTerminal);
        }
        *ports.get_mut(index).ok_or_else(|| UsageError::TooManyPorts(text()))? = port;
    }
    Ok(ports)
}
