//! Values of options.

use super::*;
use crate::config::{BootDevice, CharSpec, DriveConfig, Media, RtcBase};
use proptest::prelude::*;
use std::path::PathBuf;

fn os(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn memory_sizes() {
    for (text, mib) in [
        ("1M", 1),
        ("512", 512),
        ("512M", 512),
        ("512m", 512),
        ("1024K", 1),
        ("2G", 2048),
        ("2GiB", 2048),
        ("64g", 65536),
        ("1T", 1 << 20),
        ("007", 7),
    ] {
        assert_eq!(memory_size(text), Ok(mib << 20), "{text}");
    }
    for text in ["", "M", "-1", "+1", "1.5G", "1 G", "0x100", "12P", "1MM", "eins", "½"] {
        assert_eq!(memory_size(text), Err(OptionError::NotASize(text.to_owned())), "{text}");
    }
    for text in ["0", "1K", "1023K", "2T", "1025G", "1048577", "18446744073709551615", "99999999999999999999G"] {
        assert_eq!(memory_size(text), Err(OptionError::MemoryRange(text.to_owned())), "{text}");
    }
    assert_eq!(memory_size("1025K"), Err(OptionError::NotWholeMiB("1025K".to_owned())));
}

#[test]
fn processors_and_their_topology() {
    for (text, sockets, cores, threads) in [
        ("1", 1, 1, 1),
        ("4", 1, 4, 1),
        ("64", 1, 64, 1),
        ("4,sockets=2", 2, 2, 1),
        ("4,cores=2", 2, 2, 1),
        ("4,threads=2", 1, 2, 2),
        ("8,cores=2,threads=2", 2, 2, 2),
        ("8,sockets=2,cores=2", 2, 2, 2),
        ("8,threads=2,cores=2,sockets=2", 2, 2, 2),
        ("sockets=2,cores=3", 2, 3, 1),
        ("threads=2", 1, 1, 2),
    ] {
        let expect = CpuTopology { count: sockets * cores * threads, sockets, cores, threads };
        assert_eq!(cpus(text), Ok(expect), "{text}");
    }
    for (text, line) in [
        ("0", "number '0' is not from 1 to 64"),
        ("65", "number '65' is not from 1 to 64"),
        ("", "number '' is not from 1 to 64"),
        ("+2", "number '+2' is not from 1 to 64"),
        ("two", "number 'two' is not from 1 to 64"),
        ("4,cores=0", "cores '0' is not from 1 to 64"),
        ("4,cores=2,cores=2", "cores is given twice"),
        ("4,dies=2", "unknown option 'dies' (known: sockets, cores, threads)"),
        ("4,2", "unknown option '2' (known: sockets, cores, threads)"),
        ("4,sockets=3", "4 processors cannot be 3 sockets of 1 cores of 1 threads"),
        ("4,sockets=2,cores=2,threads=2", "4 processors cannot be 2 sockets of 2 cores of 2 threads"),
        ("2,cores=4", "2 processors cannot be 1 sockets of 4 cores of 1 threads"),
        ("sockets=64,cores=64,threads=64", "at most 64 processors"),
    ] {
        assert_eq!(cpus(text).unwrap_err().to_string(), line, "{text}");
    }
}

#[test]
fn drives() {
    let expect = |media, path: Option<&str>, read_only, serial: Option<&str>, unit| {
        let drive = DriveConfig { media, path: path.map(PathBuf::from), read_only, serial: serial.map(str::to_owned) };
        Ok(DriveOption { drive, unit })
    };
    use Media::{Cdrom, Disk};
    assert_eq!(disk(os("a.img")), expect(Disk, Some("a.img"), false, None, None));
    assert_eq!(disk(os("none")), expect(Disk, Some("none"), false, None, None));
    assert_eq!(disk(os("a=b,,c.img,unit=hdd")), expect(Disk, Some("a=b,c.img"), false, None, Some(3)));
    assert_eq!(disk(os("a,readonly")), expect(Disk, Some("a"), true, None, None));
    assert_eq!(disk(os("a,readonly=off,serial=A 1,,2")), expect(Disk, Some("a"), false, Some("A 1,2"), None));
    assert_eq!(cdrom(os("none")), expect(Cdrom, None, true, None, None));
    assert_eq!(cdrom(os("./none,unit=hda")), expect(Cdrom, Some("./none"), true, None, Some(0)));
    assert_eq!(cdrom(os("d.iso,readonly")), expect(Cdrom, Some("d.iso"), true, None, None));
    for (text, line) in [
        ("", "no file name given"),
        (",unit=hda", "no file name given"),
        ("a,unit=hde", "unit is 'hde', not hda, hdb, hdc or hdd"),
        ("a,unit", "unit is '', not hda, hdb, hdc or hdd"),
        ("a,unit=hda,unit=hdb", "unit is given twice"),
        ("a,readonly=yes", "readonly is 'yes', not on or off"),
        ("a,serial=", "serial is '', not 1 to 20 printable ASCII characters"),
        ("a,serial=123456789012345678901", "serial is '123456789012345678901', not 1 to 20 printable ASCII characters"),
        ("a,serial=\u{e4}", "serial is '\u{e4}', not 1 to 20 printable ASCII characters"),
        ("a,b", "unknown option 'b' (known: unit, readonly, serial)"),
        ("a,", "unknown option '' (known: unit, readonly, serial)"),
    ] {
        assert_eq!(disk(os(text)).unwrap_err().to_string(), line, "{text}");
    }
    assert_eq!(cdrom(os("a,readonly=off")), Err(OptionError::WritableCdrom));
}

#[test]
fn display_adapters() {
    for (text, vram) in [
        ("std", Some(16)),
        ("none", None),
        ("std,vram=1M", Some(1)),
        ("std,vram=64", Some(64)),
        ("std,vram=131072K", Some(128)),
        ("std,vram=256MiB", Some(256)),
    ] {
        assert_eq!(vga(text), Ok(vram.map(|mib: u32| mib << 20)), "{text}");
    }
    for (text, line) in [
        ("", "'' is not std or none"),
        ("std,vram=512M", "vram is '512M', not a power of two from 1M to 256M"),
        ("std,vram=512K", "vram is '512K', not a power of two from 1M to 256M"),
        ("std,vram=3M", "vram is '3M', not a power of two from 1M to 256M"),
        ("std,vram=99999999999999999T", "vram is '99999999999999999T', not a power of two from 1M to 256M"),
        ("std,vram=", "vram is '', not a power of two from 1M to 256M"),
        ("std,vram", "unknown option 'vram' (known: vram)"),
        ("std,vram=16M,vram=16M", "vram is given twice"),
        ("std,", "unknown option '' (known: vram)"),
        ("none,vram=16M", "without an adapter there is no vram=16M"),
        ("qxl,vram=16M", "'qxl' is not std or none"),
    ] {
        assert_eq!(vga(text).unwrap_err().to_string(), line, "{text}");
    }
    assert_eq!(display("terminal"), Ok(crate::config::Display::Terminal));
    assert_eq!(display("sdl"), Ok(crate::config::Display::Sdl));
    assert!(display("").is_err());
}

#[test]
fn a_file_name_that_is_no_text_survives() {
    let name = OsString::from_vec(b"\xff\xfe,,x,unit=hda".to_vec());
    assert_eq!(disk(&name).unwrap().drive.path, Some(PathBuf::from(OsString::from_vec(b"\xff\xfe,x".to_vec()))));
}

/// D or C (disk, CD-ROM) with the unit asked for, and what each unit gets (the position in the list).
#[test]
fn units_are_given_as_on_other_machines() {
    let units = |text: &str| {
        let options: Vec<DriveOption> = text
            .split_whitespace()
            .enumerate()
            .map(|(n, word)| {
                let (kind, unit) = word.split_at(1);
                let media = if kind == "C" { Media::Cdrom } else { Media::Disk };
                let path = Some(PathBuf::from(n.to_string()));
                let drive = DriveConfig { media, path, read_only: false, serial: None };
                DriveOption { drive, unit: unit.parse().ok() }
            })
            .collect();
        assign_units(&options).map(|units| {
            units
                .map(|unit| unit.and_then(|drive| drive.path))
                .map(|p| p.map_or("-".into(), |p| p.display().to_string()))
                .concat()
        })
    };
    for (given, expect) in [
        ("", "----"),
        ("D", "0---"),
        ("C", "--0-"),
        ("D C", "0-1-"),
        ("D D D C", "0132"),
        ("D D D D", "0123"),
        ("C C", "--01"),
        ("C C C C", "2301"),
        ("D2 C", "--01"),
        ("C0 D", "01--"),
        ("D D3 D1 D", "0231"),
    ] {
        assert_eq!(units(given).as_deref(), Ok(expect), "{given}");
    }
    assert_eq!(units("D D D D D"), Err((4, OptionError::NoUnitLeft)));
    assert_eq!(units("D D D D C"), Err((3, OptionError::NoUnitLeft)), "the CD-ROM has the first say about hdc");
    assert_eq!(units("D1 C1"), Err((1, OptionError::UnitTaken("hdb"))));
}

#[test]
fn boot_orders() {
    use BootDevice::{Cdrom, Disk, Floppy, Network};
    assert_eq!(boot_order("dc"), Ok(vec![Cdrom, Disk]));
    assert_eq!(boot_order("acdn"), Ok(vec![Floppy, Disk, Cdrom, Network]));
    assert_eq!(boot_order(""), Err(OptionError::Empty));
    assert_eq!(boot_order("cdc"), Err(OptionError::BootTwice('c')));
    assert_eq!(boot_order("C"), Err(OptionError::BootLetter('C')));
}

#[test]
fn serial_ports() {
    assert_eq!(serial_port(os("stdio")), Ok(Some(CharSpec::Stdio)));
    assert_eq!(serial_port(os("pty")), Ok(Some(CharSpec::Pty)));
    assert_eq!(serial_port(os("null")), Ok(Some(CharSpec::Null)));
    assert_eq!(serial_port(os("none")), Ok(None));
    assert_eq!(serial_port(os("file:a,b:c")), Ok(Some(CharSpec::File("a,b:c".into()))));
    assert_eq!(serial_port(os("file:")), Err(OptionError::NoFile));
    for text in ["", "tcp::4444", "STDIO", "file"] {
        assert!(matches!(serial_port(os(text)), Err(OptionError::NotOneOf { .. })), "{text}");
    }
}

#[test]
fn clocks() {
    for (text, expect) in [
        ("utc", RtcBase::Utc),
        ("localtime", RtcBase::LocalTime),
        ("1970-01-01", RtcBase::Date(0)),
        ("1970-01-01T00:00:59", RtcBase::Date(59)),
        ("2000-02-29", RtcBase::Date(951_782_400)),
        ("2006-06-17T16:01:21", RtcBase::Date(1_150_560_081)),
        ("2038-01-19T03:14:08", RtcBase::Date(1 << 31)),
        ("2099-12-31T23:59:59", RtcBase::Date(4_102_444_799)),
    ] {
        assert_eq!(rtc(text), Ok(expect), "{text}");
    }
    for text in [
        "",
        "UTC",
        "now",
        "2006",
        "2006-6-17",
        "2006-13-01",
        "2006-00-01",
        "2006-02-29",
        "2006-04-31",
        "2006-01-00",
        "2006-06-17T",
        "2006-06-17T24:00:00",
        "2006-06-17T16:60:00",
        "2006-06-17T16:01:60",
        "2006-06-17T16:01",
        "2006-06-17 16:01:21",
        "2006-06-17T16:01:21Z",
        "+006-06-17",
    ] {
        assert_eq!(rtc(text), Err(OptionError::NotADate(text.to_owned())), "{text}");
    }
    assert_eq!(rtc("1969-12-31"), Err(OptionError::Year(1969)));
    assert_eq!(rtc("2100-01-01"), Err(OptionError::Year(2100)));
}

#[test]
fn names() {
    assert_eq!(machine_name("Windows XP"), Ok("Windows XP".to_owned()));
    assert_eq!(machine_name(""), Err(OptionError::Empty));
    assert_eq!(machine_name("a\nb"), Err(OptionError::BadName));
    assert_eq!(machine_name(&"x".repeat(65)), Err(OptionError::BadName));
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,40}") {
        let _ = memory_size(&text);
        let _ = cpus(&text);
        let _ = disk(os(&text));
        let _ = cdrom(os(&text));
        let _ = boot_order(&text);
        let _ = serial_port(os(&text));
        let _ = rtc(&text);
    }

    #[test]
    fn any_file_name_can_be_given(name in prop::collection::vec(1u8.., 1..40)) {
        let doubled: Vec<u8> =
            name.iter().flat_map(|&b| if b == b',' { vec![b, b] } else { vec![b] }).chain(*b",readonly").collect();
        let option = disk(&OsString::from_vec(doubled)).unwrap();
        prop_assert_eq!(option.drive.path, Some(PathBuf::from(OsString::from_vec(name))));
        prop_assert!(option.drive.read_only);
    }

    #[test]
    fn every_topology_multiplies_to_its_count(sockets in 1u32..5, cores in 1u32..5, threads in 1u32..4) {
        let count = sockets * cores * threads;
        for text in [
            format!("{count}"),
            format!("{count},sockets={sockets}"),
            format!("{count},cores={cores}"),
            format!("{count},threads={threads}"),
            format!("{count},sockets={sockets},threads={threads}"),
            format!("{count},cores={cores},threads={threads}"),
            format!("{count},sockets={sockets},cores={cores}"),
        ] {
            let t = cpus(&text).unwrap();
            prop_assert_eq!(t.sockets * t.cores * t.threads, count);
            prop_assert_eq!(t.count, count);
        }
    }
}
