//! Hints for command lines of other programs: QEMU's options with the pcvm option to write instead, and an image file
//! without an option.

use super::Cli;
use crate::config::parse;
use clap::CommandFactory;
use std::ffi::OsString;

/// What to write instead of a QEMU option.
#[derive(Debug, PartialEq, Eq)]
enum Instead {
    /// This pcvm option.
    Write(String),
    /// Nothing, for this reason.
    Omit(&'static str),
    /// pcvm has no equivalent, for this reason.
    Unsupported(&'static str),
}

use Instead::{Omit, Unsupported, Write};

/// The error line for a command line that clap has rejected, if it looks like that of another program.
pub(super) fn hint(args: &[OsString]) -> Option<String> {
    let words: Vec<_> = args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (first, rest) = words.split_first()?;
    if first == "run" {
        return run_hint(rest);
    }
    if let Some(image) = image_option(first) {
        return Some(format!("unknown command '{first}'; did you mean 'pcvm run {image}'?"));
    }
    // `pcvm -m 512`: QEMU has no subcommands.
    let option = first.starts_with('-') && !matches!(first.as_str(), "-h" | "-V" | "--help" | "--version");
    if !option {
        return None;
    }
    let (name, value) = split(first, rest.first());
    let is_run_option =
        first.starts_with("--") && run_options().get_arguments().any(|arg| arg.get_long() == Some(name));
    let option = if is_run_option {
        Write(value.map_or(format!("--{name}"), |value| format!("--{name} {}", word(Some(value), "VALUE"))))
    } else {
        instead(name, value)?
    };
    match option {
        Write(option) => Some(format!("no command given; did you mean 'pcvm run {option}'?")),
        other => Some(message(first, other)),
    }
}

/// The first argument of `pcvm run` that clap rejects and that is a QEMU option or an image file.
fn run_hint(words: &[String]) -> Option<String> {
    let run = run_options();
    let mut words = words.iter().peekable();
    while let Some(argument) = words.next() {
        if matches!(argument.as_str(), "-h" | "--help" | "--") {
            return None;
        }
        let (name, value) = split(argument, words.peek().copied());
        if let Some(known) = run.get_arguments().find(|arg| argument.starts_with("--") && arg.get_long() == Some(name))
        {
            let hyphen = |next: &String| next.starts_with('-') && !known.is_allow_hyphen_values_set();
            if known.get_action().takes_values() && !argument.contains('=') {
                words.next_if(|next| !hyphen(next));
            }
        } else if argument.starts_with('-') {
            // Everything after an unknown argument may be its value.
            let number = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            return match instead(name, value) {
                Some(option) => Some(message(argument, option)),
                // clap would report the first letter only.
                None if !argument.starts_with("--") && !number => {
                    Some(format!("unexpected argument '{argument}'; try 'pcvm run --help'"))
                }
                None => None,
            };
        } else {
            let image = image_option(argument)?;
            return Some(format!("unexpected argument '{argument}'; did you mean 'pcvm run {image}'?"));
        }
    }
    None
}

fn run_options() -> clap::Command {
    let mut cli = Cli::command();
    cli.build();
    cli.find_subcommand("run").cloned().unwrap_or_default()
}

/// An option's name without dashes, and its value: after `=`, or the next argument unless that is an option.
fn split<'a>(argument: &'a str, next: Option<&'a String>) -> (&'a str, Option<&'a str>) {
    let name = argument.trim_start_matches('-');
    match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, next.map(String::as_str).filter(|next| !next.starts_with('-'))),
    }
}

fn message(argument: &str, option: Instead) -> String {
    match option {
        Write(option) => format!("unexpected argument '{argument}'; did you mean '{option}'?"),
        Omit(why) => format!("unexpected argument '{argument}'; leave it out: {why}"),
        Unsupported(why) => format!("unexpected argument '{argument}'; {why}"),
    }
}

/// The option for a bare image file: a word with a slash or a dot.
fn image_option(word: &str) -> Option<String> {
    if word.starts_with('-') || !word.contains(['/', '.']) {
        return None;
    }
    let option = if word.to_ascii_lowercase().ends_with(".iso") { "--cdrom" } else { "--disk" };
    Some(format!("{option} {}", file(Some(word))))
}

/// `value` where it can be written as one shell word, else the placeholder.
fn word(value: Option<&str>, placeholder: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%~".contains(c);
    value.filter(|value| !value.is_empty() && value.chars().all(plain)).unwrap_or(placeholder).to_owned()
}

/// A file name of a drive, with commas doubled.
fn file(value: Option<&str>) -> String {
    word(value.map(|value| value.replace(',', ",,")).as_deref(), "FILE")
}

/// `value` if the option's parser accepts it, else the placeholder.
fn valid<T, E>(value: Option<&str>, parse: impl Fn(&str) -> Result<T, E>, placeholder: &str) -> String {
    word(value.filter(|value| parse(value).is_ok()), placeholder)
}

/// The value of a key in a list of QEMU's.
fn key<'a>(value: Option<&'a str>, key: &str) -> Option<&'a str> {
    value?.split(',').find_map(|item| item.strip_prefix(key)?.strip_prefix('='))
}

/// What to write instead of the QEMU option `name`; `None` if it is unknown.
fn instead(name: &str, value: Option<&str>) -> Option<Instead> {
    let first = value.and_then(|value| value.split(',').next());
    let name_of_first = |name: &str| key(value, name).or(first);
    let usual_net = "--net tap|passt|pair:unix:PATH";
    Some(match name {
        "m" => Write(format!("--memory {}", valid(name_of_first("size"), parse::memory_size, "SIZE"))),
        "smp" => Write(format!(
            "--cpus {}",
            valid(value.filter(|value| parse::cpus(value).is_ok()).or(name_of_first("cpus")), parse::cpus, "N")
        )),
        "hda" => Write(format!("--disk {}", file(value))),
        "hdb" | "hdc" | "hdd" => Write(format!("--disk {},unit={name}", file(value))),
        "cdrom" => Write(format!("--cdrom {}", file(value))),
        "drive" | "blockdev" => {
            let option = match key(value, "if") {
                Some("floppy") => "--floppy",
                _ if key(value, "media") == Some("cdrom") => "--cdrom",
                _ => "--disk",
            };
            Write(format!("{option} {}", file(key(value, "file").or(key(value, "filename")))))
        }
        "fda" => Write(format!("--floppy {}", file(value))),
        "fdb" => Write(format!("--floppy {},unit=fdb", file(value))),
        "boot" if key(value, "menu").is_some() => Omit("F12 or Esc opens the BIOS boot menu"),
        "boot" => Write(format!("--boot {}", valid(name_of_first("order"), parse::boot_order, "LETTERS"))),
        "bios" | "pflash" => Write(format!("--firmware {}", file(key(value, "file").or(value)))),
        "kernel" | "initrd" => Write(format!("--{name} {}", word(value, "FILE"))),
        "append" => Write(format!("--append {}", word(value, "TEXT"))),
        "dtb" => Omit("a PC has no device tree"),
        "shim" => Unsupported("start a signed kernel from a disk: pcvm has no UEFI Secure Boot"),
        "cpu" => Write(format!("--cpu {}", word(value, "MODEL"))),
        "name" => Write(format!("--name {}", word(name_of_first("guest"), "NAME"))),
        "vnc" if first == Some("none") => Omit("pcvm has no VNC server by default"),
        "vnc" => Write(format!("--vnc {}", valid(first, |value| parse::vnc(value.as_ref()), "HOST:DISPLAY"))),
        "display" => match first {
            Some("gtk" | "sdl" | "spice-app") => Write("--display sdl".to_owned()),
            Some("curses") => Write("--display terminal".to_owned()),
            Some("none") => Write("--display none".to_owned()),
            Some(vnc) if vnc.starts_with("vnc=") => Write(format!("--vnc {}", word(vnc.strip_prefix("vnc="), ""))),
            _ => Write("--display none|terminal|sdl".to_owned()),
        },
        "sdl" | "gtk" => Write("--display sdl".to_owned()),
        "curses" => Write("--display terminal".to_owned()),
        "nographic" => Omit("without --display pcvm shows no screen, and COM1 is on standard input and output"),
        "net" | "netdev" | "nic" => match first {
            Some("none") => Write("--net none".to_owned()),
            Some("user" | "passt") => Write("--net passt".to_owned()),
            Some("tap") => {
                let keys = ["ifname", "fd", "script", "downscript"];
                let keys = keys.into_iter().filter_map(|name| Some(format!(",{name}={}", key(value, name)?)));
                Write(format!("--net {}", word(Some(&format!("tap{}", keys.collect::<String>())), "tap")))
            }
            Some("bridge") => Write(format!("--net tap,bridge={}", word(key(value, "br"), "br0"))),
            _ => Write(usual_net.to_owned()),
        },
        "enable-kvm" | "accel" => Omit("pcvm always uses KVM"),
        "machine" | "M" => Omit("the machine is always an i440FX PC"),
        "nodefaults" | "no-user-config" => {
            Omit("pcvm adds no device by default but a floppy drive, which --floppy none removes")
        }
        "serial" => Write(format!(
            "--serial {}",
            valid(
                value.map(|value| value.strip_prefix("mon:").unwrap_or(value)),
                |value| parse::serial_port(value.as_ref()),
                "stdio|pty|file:PATH|null|none"
            )
        )),
        "chardev" => Write("--serial stdio|pty|file:PATH|null|none".to_owned()),
        "monitor" | "qmp" | "mon" => {
            Write(format!("--control {}", valid(first, |value| parse::control(value.as_ref()), "unix:PATH")))
        }
        "rtc" => Write(format!("--rtc {}", valid(name_of_first("base"), parse::rtc, "utc|localtime|DATE"))),
        "localtime" => Write("--rtc localtime".to_owned()),
        "k" => Write(format!("--keymap {}", valid(first, parse::keymap, "LAYOUT"))),
        "vga" if first == Some("none") => Write("--vga none".to_owned()),
        "vga" if first == Some("cirrus") => Write("--vga cirrus".to_owned()),
        "vga" => Write("--vga std".to_owned()),
        "usb" => Omit("--tablet adds a USB controller"),
        "usbdevice" if first == Some("tablet") => Write("--tablet".to_owned()),
        "device" => match first {
            Some("usb-tablet") => Write("--tablet".to_owned()),
            Some("rtl8139") => Write(usual_net.to_owned()),
            Some("cirrus-vga") => Write("--vga cirrus".to_owned()),
            Some("VGA") => Write("--vga std".to_owned()),
            Some("ide-hd") => Write("--disk FILE".to_owned()),
            Some("ide-cd") => Write("--cdrom FILE".to_owned()),
            Some("floppy") => Write("--floppy FILE".to_owned()),
            _ => Unsupported("choose devices with --disk, --cdrom, --floppy, --net, --vga, --serial and --tablet"),
        },
        "debugcon" => {
            Write(format!("--debugcon {}", word(value.and_then(|value| value.strip_prefix("file:")), "FILE")))
        }
        "no-reboot" => Write("--no-reboot".to_owned()),
        _ => {
            // One dash instead of two.
            let run = run_options();
            let known = run.get_arguments().find(|arg| arg.get_long() == Some(name))?;
            let value = known.get_action().takes_values().then(|| format!(" {}", word(value, "VALUE")));
            Write(format!("--{name}{}", value.unwrap_or_default()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<String> {
        let args: Vec<OsString> = ["pcvm"].into_iter().chain(line.split_whitespace()).map(OsString::from).collect();
        hint(&args)
    }

    #[test]
    fn a_qemu_option_is_answered_with_the_option_to_write() {
        for (line, option) in [
            ("-m 512", "--memory 512"),
            ("-m 2G,slots=3", "--memory 2G"),
            ("-m size=1G", "--memory 1G"),
            ("-m", "--memory SIZE"),
            ("-m -1", "--memory SIZE"),
            ("-smp 4", "--cpus 4"),
            ("-smp 4,sockets=2", "--cpus 4,sockets=2"),
            ("-smp cpus=2,maxcpus=4", "--cpus 2"),
            ("-smp 1000", "--cpus N"),
            ("-cpu qemu64", "--cpu qemu64"),
            ("-k de", "--keymap de"),
            ("-k xx", "--keymap LAYOUT"),
            ("-hda x", "--disk x"),
            ("-hdb a,b", "--disk a,,b,unit=hdb"),
            ("-hdd x", "--disk x,unit=hdd"),
            ("-cdrom x.iso", "--cdrom x.iso"),
            ("-fda a.img", "--floppy a.img"),
            ("-fdb a.img", "--floppy a.img,unit=fdb"),
            ("-drive if=floppy,file=a", "--floppy a"),
            ("-drive file=a.img,format=raw", "--disk a.img"),
            ("-drive media=cdrom,file=a", "--cdrom a"),
            ("-drive if=none", "--disk FILE"),
            ("-boot d", "--boot d"),
            ("-boot order=dc", "--boot dc"),
            ("-boot once=d", "--boot LETTERS"),
            ("-bios b.bin", "--firmware b.bin"),
            ("-kernel k", "--kernel k"),
            ("-initrd i", "--initrd i"),
            ("-append quiet", "--append quiet"),
            ("-name xp,process=x", "--name xp"),
            ("-vnc :1", "--vnc :1"),
            ("-vnc 127.0.0.1:1,password=on", "--vnc 127.0.0.1:1"),
            ("-vnc x", "--vnc HOST:DISPLAY"),
            ("-display gtk", "--display sdl"),
            ("-display curses", "--display terminal"),
            ("-display none", "--display none"),
            ("-display vnc=:3", "--vnc :3"),
            ("-curses", "--display terminal"),
            ("-net user", "--net passt"),
            ("-netdev tap,id=n0,ifname=tap1,script=no", "--net tap,ifname=tap1,script=no"),
            ("-netdev bridge,id=n0,br=br1", "--net tap,bridge=br1"),
            ("-net nic,model=rtl8139", "--net tap|passt|pair:unix:PATH"),
            ("-nic none", "--net none"),
            ("-serial mon:stdio", "--serial stdio"),
            ("-serial tcp::4444", "--serial stdio|pty|file:PATH|null|none"),
            ("-qmp unix:q,server,nowait", "--control unix:q"),
            ("-monitor stdio", "--control unix:PATH"),
            ("-rtc base=localtime", "--rtc localtime"),
            ("-localtime", "--rtc localtime"),
            ("-vga cirrus", "--vga cirrus"),
            ("-vga qxl", "--vga std"),
            ("-device cirrus-vga", "--vga cirrus"),
            ("-vga none", "--vga none"),
            ("-usbdevice tablet", "--tablet"),
            ("-device usb-tablet", "--tablet"),
            ("-debugcon file:log", "--debugcon log"),
            ("-no-reboot", "--no-reboot"),
            ("-tablet", "--tablet"),
            ("-disk x", "--disk x"),
            ("-firmware", "--firmware VALUE"),
            ("--smp 2", "--cpus 2"),
            ("--hda=x", "--disk x"),
        ] {
            let argument = line.split(' ').next().unwrap();
            let expect = format!("unexpected argument '{argument}'; did you mean '{option}'?");
            assert_eq!(of(&format!("run {line}")), Some(expect.clone()), "{line}");
            assert_eq!(of(&format!("run --memory 1G --append -x --tablet {line}")), Some(expect), "{line}");
            let expect = format!("no command given; did you mean 'pcvm run {option}'?");
            assert_eq!(of(line), Some(expect), "{line}");
        }
    }

    #[test]
    fn a_qemu_option_without_equivalent_is_explained() {
        for (line, reason) in [
            ("-enable-kvm", "leave it out: pcvm always uses KVM"),
            ("-accel kvm", "leave it out: pcvm always uses KVM"),
            ("-machine pc", "leave it out: the machine is always an i440FX PC"),
            ("-M pc", "leave it out: the machine is always an i440FX PC"),
            (
                "-nodefaults",
                "leave it out: pcvm adds no device by default but a floppy drive, which --floppy none removes",
            ),
            ("-usb", "leave it out: --tablet adds a USB controller"),
            ("-dtb x.dtb", "leave it out: a PC has no device tree"),
            ("-shim shim.efi", "start a signed kernel from a disk: pcvm has no UEFI Secure Boot"),
            ("-boot menu=on", "leave it out: F12 or Esc opens the BIOS boot menu"),
            ("-vnc none", "leave it out: pcvm has no VNC server by default"),
            (
                "-nographic",
                "leave it out: without --display pcvm shows no screen, and COM1 is on standard input and output",
            ),
            ("-device e1000", "choose devices with --disk, --cdrom, --floppy, --net, --vga, --serial and --tablet"),
        ] {
            let argument = line.split(' ').next().unwrap();
            let expect = Some(format!("unexpected argument '{argument}'; {reason}"));
            assert_eq!(of(&format!("run {line}")), expect, "{line}");
            assert_eq!(of(line), expect, "{line}");
        }
    }

    #[test]
    fn a_misplaced_image_file_or_option_is_answered_with_the_command_line() {
        for (line, expect) in [
            ("disk.img", "unknown command 'disk.img'; did you mean 'pcvm run --disk disk.img'?"),
            ("run disk.img", "unexpected argument 'disk.img'; did you mean 'pcvm run --disk disk.img'?"),
            ("run --tablet ./disk", "unexpected argument './disk'; did you mean 'pcvm run --disk ./disk'?"),
            ("run a,b.img", "unexpected argument 'a,b.img'; did you mean 'pcvm run --disk a,,b.img'?"),
            ("XP.ISO", "unknown command 'XP.ISO'; did you mean 'pcvm run --cdrom XP.ISO'?"),
            ("--memory 1G", "no command given; did you mean 'pcvm run --memory 1G'?"),
            ("--tablet", "no command given; did you mean 'pcvm run --tablet'?"),
            ("run --disk -x", "unexpected argument '-x'; try 'pcvm run --help'"),
            ("run -S", "unexpected argument '-S'; try 'pcvm run --help'"),
            ("run -hello", "unexpected argument '-hello'; try 'pcvm run --help'"),
        ] {
            assert_eq!(of(line).as_deref(), Some(expect), "{line}");
        }
    }

    #[test]
    fn other_mistakes_are_left_to_clap() {
        for line in [
            "",
            "walk",
            "--help",
            "-h",
            "-V",
            "--version",
            "--frobnicate",
            "run",
            "run --help -m 1",
            "run -h -m 1",
            "run -- -m 1",
            "run stray",
            "run --memory",
            "run --memory -1",
            "run --frobnicate a.img",
            "run --append -m",
            "run --append=x.img",
            "run --disk a.img --cdrom b.iso --net tap",
            "key xp -m",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
