//! `pcvm run` options to a machine configuration, and the definition of the command line.

use super::*;
use crate::config::{Adapter, BootDevice, CharSpec, Display, KernelConfig, MachineConfig, Media, RtcBase};
use pcvm_devices::fdc::{DriveType, Timing};
use std::path::PathBuf;

fn config(line: &str) -> Result<MachineConfig, String> {
    let args: Vec<_> = ["pcvm", "run"].into_iter().chain(line.split_whitespace()).map(OsString::from).collect();
    let Command::Run(run) = Cli::try_parse_from(&args).map_err(|error| usage_line(&error, &args))?.command else {
        panic!("not the command run");
    };
    run.into_config().map_err(|error| error.to_string())
}

#[test]
fn the_clap_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_machine_without_options_has_the_documented_defaults() {
    let machine = config("").unwrap();
    assert_eq!(machine.name, "pcvm");
    assert_eq!(machine.memory, 512 << 20);
    assert_eq!(machine.cpus.count, 1);
    let drives: Vec<_> =
        machine.drives.iter().map(|(disk, drive)| (disk.0, drive.media, drive.path.as_ref())).collect();
    assert_eq!(drives, [(4, Media::Floppy(None), None)]);
    assert_eq!(machine.boot, [BootDevice::Disk, BootDevice::Cdrom]);
    assert_eq!((machine.firmware, machine.kernel), (None, None));
    assert_eq!(machine.serial, [Some(CharSpec::Stdio), None, None, None]);
    assert_eq!(machine.rtc, RtcBase::Utc);
    assert!(!machine.no_reboot && !machine.tablet);
}

#[test]
fn every_option_reaches_the_configuration() {
    let machine = config(
        "--name xp --memory 1G --cpus 4,sockets=2 --disk a --disk b,unit=hdd,readonly --cdrom c --boot dc --floppy f,unit=fdb,drive=2.88,readonly --floppy-timing real \
         --firmware bios.bin --serial file:log --serial none --serial pty --rtc 2001-10-25 --debugcon dbg --no-reboot \
         --display none --tablet",
    )
    .unwrap();
    assert!(machine.tablet);
    assert_eq!((machine.cpus.sockets, machine.cpus.cores), (2, 2));
    let drives: Vec<_> = machine.drives.iter().map(|(disk, drive)| (disk.0, drive.media, drive.read_only)).collect();
    let floppies = [(4, Media::Floppy(None), false), (5, Media::Floppy(Some(DriveType::D2880)), true)];
    assert_eq!(drives[..3], [(0, Media::Disk, false), (2, Media::Cdrom, true), (3, Media::Disk, true)]);
    assert_eq!(drives[3..], floppies);
    assert_eq!(machine.floppy_timing, Timing::Real);
    assert!(config("--floppy none").unwrap().drives.is_empty());
    assert_eq!(machine.firmware, Some(PathBuf::from("bios.bin")));
    assert_eq!(machine.serial, [Some(CharSpec::File("log".into())), None, Some(CharSpec::Pty), None]);
    assert_eq!(machine.debugcon, Some(PathBuf::from("dbg")));
    assert!(machine.no_reboot);
    let linux = config("--kernel k --initrd i --append -v").unwrap();
    let expect = KernelConfig { kernel: "k".into(), initrd: Some("i".into()), append: "-v".to_owned() };
    assert_eq!(linux.kernel, Some(expect));
    // The firmware starts the kernel, so both may be given.
    assert!(config("--kernel k --firmware f").is_ok());
}

#[test]
fn com1_does_not_share_the_terminal_with_the_display() {
    let machine = config("--display terminal").unwrap();
    assert_eq!((machine.display, machine.vga), (Display::Terminal, Some(Adapter::Std { vram: 16 << 20 })));
    assert_eq!(machine.serial, [Some(CharSpec::Null), None, None, None]);
    let machine = config("--display terminal --serial pty --vga std,vram=64M").unwrap();
    assert_eq!(
        (machine.serial[0].as_ref(), machine.vga),
        (Some(&CharSpec::Pty), Some(Adapter::Std { vram: 64 << 20 }))
    );
    assert!(config("--display terminal --serial none --serial stdio").is_err());
    assert_eq!(config("--vga none").unwrap().vga, None);
    assert_eq!(config("--vga cirrus").unwrap().vga, Some(Adapter::Cirrus));
}

#[test]
fn mouse_takes_a_relative_or_an_absolute_position() {
    for (line, good) in [
        ("xp 10 -20", true),
        ("xp --to 10 20", true),
        ("xp --to 10 20 --click left", true),
        ("xp", false),
        ("xp 10", false),
        ("xp --to 10", false),
        ("xp --to -1 0", false),
        ("xp --to 65536 0", false),
        ("xp 10 20 --to 10 20", false),
        ("xp --click left", false),
    ] {
        let args = ["pcvm", "mouse"].into_iter().chain(line.split_whitespace());
        assert_eq!(Cli::try_parse_from(args).is_ok(), good, "{line}");
    }
}

#[test]
fn an_error_message_is_one_line_without_control_characters() {
    assert_eq!(one_line("a\nb\tc\u{1b}[0m\n"), "a\\nb\\tc\\u{1b}[0m");
    let error = config("--kernel k --firmware").unwrap_err();
    assert!(!error.contains('\n') && error.contains("--firmware"), "{error}");
}
