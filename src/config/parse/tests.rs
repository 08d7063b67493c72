//! Option values: accepted forms and the message for each invalid one.

use super::*;
use crate::config::{
    Adapter, BootDevice, CacheMode, CharSpec, DriveConfig, ErrorAction, ImageFormat, Limits, Media, Rate, RtcBase,
};
use pcvm_devices::DiskId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn os(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn memory_size_accepts_mib_and_suffixes_and_rejects_the_rest() {
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
        let line = format!("must be a number of MiB, or a number with K, M, G or T, not '{text}'");
        assert_eq!(memory_size(text).unwrap_err().to_string(), line);
    }
    for text in ["0", "1K", "1023K", "2T", "1025G", "1048577", "18446744073709551615", "99999999999999999999G"] {
        assert_eq!(memory_size(text), Err(OptionError::MemoryRange(text.to_owned())), "{text}");
    }
    assert_eq!(memory_size("1025K"), Err(OptionError::NotWholeMiB("1025K".to_owned())));
}

#[test]
fn cpus_infers_what_the_topology_leaves_open_and_rejects_contradictions() {
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
        ("0", "the number of vCPUs must be 1 to 64, not '0'"),
        ("65", "the number of vCPUs must be 1 to 64, not '65'"),
        ("", "the number of vCPUs must be 1 to 64, not ''"),
        ("+2", "the number of vCPUs must be 1 to 64, not '+2'"),
        ("two", "the number of vCPUs must be 1 to 64, not 'two'"),
        ("4,cores=0", "cores must be 1 to 64, not '0'"),
        ("4,cores=2,cores=2", "'cores' is given twice"),
        ("4,dies=2", "unknown key 'dies' (keys: sockets, cores, threads)"),
        ("4,2", "unknown key '2' (keys: sockets, cores, threads)"),
        ("4,", "nothing follows a comma (keys: sockets, cores, threads)"),
        ("4,sockets=3", "sockets=3 x cores=1 x threads=1 is 3, not 4 vCPUs"),
        ("4,sockets=2,cores=2,threads=2", "sockets=2 x cores=2 x threads=2 is 8, not 4 vCPUs"),
        ("2,cores=4", "sockets=1 x cores=4 x threads=1 is 4, not 2 vCPUs"),
        ("sockets=64,cores=64,threads=64", "262144 vCPUs are too many: at most 64 are supported"),
    ] {
        assert_eq!(cpus(text).unwrap_err().to_string(), line, "{text}");
    }
}

#[test]
fn drive_options_take_a_unit_readonly_and_a_serial_number() {
    let expect = |media, path: Option<&str>, read_only, serial: Option<&str>, unit| {
        let serial = serial.map(str::to_owned);
        let drive = DriveConfig { read_only, serial, ..DriveConfig::new(media, path.map(PathBuf::from)) };
        Ok(DriveOption { drive, unit })
    };
    use Media::{Cdrom, Disk};
    assert_eq!(disk(os("a.img")), expect(Disk, Some("a.img"), false, None, None));
    assert_eq!(disk(os("none")), expect(Disk, Some("none"), false, None, None));
    assert_eq!(disk(os("a=b,,c.img,unit=hdd")), expect(Disk, Some("a=b,c.img"), false, None, Some(DiskId(3))));
    assert_eq!(disk(os("a,readonly")), expect(Disk, Some("a"), true, None, None));
    assert_eq!(disk(os("a,readonly=off,serial=A 1,,2")), expect(Disk, Some("a"), false, Some("A 1,2"), None));
    assert_eq!(cdrom(os("none")), expect(Cdrom, None, true, None, None));
    assert_eq!(cdrom(os("./none,unit=hda")), expect(Cdrom, Some("./none"), true, None, Some(DiskId(0))));
    assert_eq!(cdrom(os("d.iso,readonly")), expect(Cdrom, Some("d.iso"), true, None, None));
    for (text, line) in [
        ("", "no file name given"),
        (",unit=hda", "no file name given"),
        ("a,unit=hde", "unit must be hda, hdb, hdc or hdd, not 'hde'"),
        ("a,unit", "unit must be hda, hdb, hdc or hdd, not ''"),
        ("a,unit=hda,unit=hdb", "'unit' is given twice"),
        ("a,readonly=yes", "readonly must be on or off, not 'yes'"),
    ] {
        assert_eq!(disk(os(text)).unwrap_err().to_string(), line, "{text}");
    }
    let keys = "unit, format, cache, readonly, snapshot, serial, discard, size, iops, iops-burst, bps, bps-burst, \
                limit-group, werror, rerror, backing-dir, reconnect, tls-ca";
    for (text, line) in [
        ("a,b", "unknown key 'b' (keys: KEYS); write a comma in a file name twice"),
        ("a,b=c", "unknown key 'b' (keys: KEYS)"),
        ("a,", "nothing follows a comma (keys: KEYS)"),
    ] {
        assert_eq!(disk(os(text)).unwrap_err().to_string(), line.replace("KEYS", keys), "{text}");
    }
    assert_eq!(
        cdrom(os("a,format=raw")).unwrap_err().to_string(),
        "unknown key 'format' (keys: unit, readonly, serial, reconnect, tls-ca)"
    );
    for serial in ["", "123456789012345678901", "\u{e4}", " 1", "1 "] {
        let line =
            format!("serial must be 1 to 20 printable ASCII characters without a space at either end, not '{serial}'");
        assert_eq!(disk(os(&format!("a,serial={serial}"))).unwrap_err().to_string(), line);
    }
    assert_eq!(cdrom(os("a,readonly=off")), Err(OptionError::WritableCdrom));
}

#[test]
fn disk_options_say_how_the_host_keeps_the_image() {
    let drive = |text: &str| disk(os(text)).map(|option| option.drive);
    let plain = DriveConfig::new(Media::Disk, Some("a".into()));
    let rate = |per_second, burst| Some(Rate { per_second, burst });
    for (text, expected) in [
        ("a,format=qcow2", DriveConfig { format: Some(ImageFormat::Qcow2), ..plain.clone() }),
        (
            "a,format=raw,cache=none",
            DriveConfig { format: Some(ImageFormat::Raw), cache: CacheMode::None, ..plain.clone() },
        ),
        (
            "a,cache=unsafe,snapshot,discard=off",
            DriveConfig { cache: CacheMode::Unsafe, snapshot: true, discard: false, ..plain.clone() },
        ),
        ("a,size=10G", DriveConfig { create_size: Some(10 << 30), ..plain.clone() }),
        (
            "a,iops=100,bps=20M,bps-burst=512",
            DriveConfig { limits: Limits { requests: rate(100, 100), bytes: rate(20 << 20, 512) }, ..plain.clone() },
        ),
        (
            "a,iops=100,iops-burst=1,limit-group=slow",
            DriveConfig {
                limits: Limits { requests: rate(100, 1), bytes: None },
                limit_group: Some("slow".into()),
                ..plain.clone()
            },
        ),
        (
            "a,werror=stop,rerror=ignore",
            DriveConfig { write_error: ErrorAction::Stop, read_error: ErrorAction::Ignore, ..plain.clone() },
        ),
        (
            "a,backing-dir=/b,backing-dir=c,,d",
            DriveConfig { backing_dirs: vec!["/b".into(), "c,d".into()], ..plain.clone() },
        ),
    ] {
        assert_eq!(drive(text), Ok(expected), "{text}");
    }
    for (text, line) in [
        ("a,format=vhd", "format must be raw, qcow2 or vmdk, not 'vhd'"),
        ("a,cache=directsync", "cache must be writeback, none, writethrough or unsafe, not 'directsync'"),
        ("a,readonly,snapshot", "'readonly' and 'snapshot' exclude each other"),
        ("a,readonly,size=1G", "'readonly' and 'size' exclude each other"),
        ("a,snapshot,cache=none", "'snapshot' and 'cache' exclude each other"),
        ("a,snapshot,cache=writethrough", "'snapshot' and 'cache' exclude each other"),
        ("a,format=raw,backing-dir=b", "'backing-dir' is valid only with 'format=qcow2 or format=vmdk'"),
        ("a,format=vmdk,size=1G", "format must be raw or qcow2 where 'size' is given, not 'vmdk'"),
        ("a,size=0", "size must be a multiple of 512 bytes such as 10G or 720K, up to 128P, not '0'"),
        ("a,size=1e9", "size must be a multiple of 512 bytes such as 10G or 720K, up to 128P, not '1e9'"),
        ("a,iops=0", "iops must be a number of requests per second, 1 to 1000000000, not '0'"),
        ("a,bps=5", "bps must be bytes per second from 512 to 1T, such as 1048576, 512K or 20M, not '5'"),
        ("a,bps-burst=1M", "'bps-burst' needs bps"),
        ("a,limit-group=x", "'limit-group' needs iops or bps"),
        ("a,limit-group=,iops=1", "limit-group must be a name of 1 to 64 bytes, not ''"),
        ("a,rerror=enospc", "rerror must be report, stop or ignore, not 'enospc'"),
        ("a,werror=x", "werror must be report, stop, enospc or ignore, not 'x'"),
        ("a,backing-dir", "backing-dir needs a value: write backing-dir=DIRECTORY"),
        ("a,backing-dir=", "backing-dir needs a value: write backing-dir=DIRECTORY"),
        ("a,cache=none,cache=none", "'cache' is given twice"),
    ] {
        assert_eq!(drive(text).unwrap_err().to_string(), line, "{text}");
    }
}

#[test]
fn vga_takes_a_power_of_two_of_video_memory() {
    for (text, vram) in [
        ("std", Some(16)),
        ("none", None),
        ("std,vram=1M", Some(1)),
        ("std,vram=64", Some(64)),
        ("std,vram=131072K", Some(128)),
        ("std,vram=256MiB", Some(256)),
    ] {
        assert_eq!(vga(text), Ok(vram.map(|mib: u32| Adapter::Std { vram: mib << 20 })), "{text}");
    }
    assert_eq!(vga("cirrus"), Ok(Some(Adapter::Cirrus)));
    for (text, line) in [
        ("", "must be std, cirrus or none, not ''"),
        ("std,vram=512M", "vram must be a power of two from 1M to 256M, not '512M'"),
        ("std,vram=512K", "vram must be a power of two from 1M to 256M, not '512K'"),
        ("std,vram=3M", "vram must be a power of two from 1M to 256M, not '3M'"),
        ("std,vram=99999999999999999T", "vram must be a power of two from 1M to 256M, not '99999999999999999T'"),
        ("std,vram=", "vram must be a power of two from 1M to 256M, not ''"),
        ("std,vram", "vram needs a value: write vram=SIZE"),
        ("std,vram=16M,vram=16M", "'vram' is given twice"),
        ("std,", "nothing follows a comma (keys: vram)"),
        ("std,memory=1", "unknown key 'memory' (keys: vram)"),
        ("none,vram=16M", "'none' has no keys: remove 'vram=16M'"),
        ("qxl,vram=16M", "must be std, cirrus or none, not 'qxl'"),
        ("cirrus,vram=4M", "'cirrus' has no keys, and 4M of video memory: remove 'vram=4M'"),
        ("cirrus,", "'cirrus' has no keys, and 4M of video memory: remove ''"),
    ] {
        assert_eq!(vga(text).unwrap_err().to_string(), line, "{text}");
    }
    assert_eq!(display("terminal"), Ok(crate::config::Display::Terminal));
    assert_eq!(display("sdl"), Ok(crate::config::Display::Sdl));
    assert!(display("").is_err());
}

#[test]
fn a_file_name_that_is_not_utf_8_is_kept() {
    let name = OsString::from_vec(b"\xff\xfe,,x,unit=hda".to_vec());
    assert_eq!(disk(&name).unwrap().drive.path, Some(PathBuf::from(OsString::from_vec(b"\xff\xfe,x".to_vec()))));
}

/// Input: D (disk) or C (CD-ROM), with the number of the unit that it names. Output: for each unit the position in the input
/// of its drive.
#[test]
fn drives_occupy_units_in_the_order_of_qemu_and_xen() {
    let units = |text: &str| {
        let options: Vec<DriveOption> = text
            .split_whitespace()
            .enumerate()
            .map(|(n, word)| {
                let (kind, unit) = word.split_at(1);
                let media = if kind == "C" { Media::Cdrom } else { Media::Disk };
                let path = Some(PathBuf::from(n.to_string()));
                let drive = DriveConfig::new(media, path);
                DriveOption { drive, unit: unit.parse().ok().map(DiskId) }
            })
            .collect();
        let position = |units: &BTreeMap<DiskId, DriveConfig>, id| {
            let drive = units.get(&DiskId(id));
            drive.map_or("-".to_owned(), |drive| drive.path.as_ref().unwrap().display().to_string())
        };
        assign_units(&options).map(|units| [0, 1, 2, 3].map(|id| position(&units, id)).concat())
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
    assert_eq!(units("D D D D C"), Err((3, OptionError::NoUnitLeft)), "CD-ROM drives are assigned before disks");
    assert_eq!(units("D1 C1"), Err((1, OptionError::UnitTaken("hdb"))));
}

#[test]
fn boot_order_accepts_each_known_letter_once() {
    use BootDevice::{Cdrom, Disk, Floppy, Network};
    assert_eq!(boot_order("dc"), Ok(vec![Cdrom, Disk]));
    assert_eq!(boot_order("acdn"), Ok(vec![Floppy, Disk, Cdrom, Network]));
    assert_eq!(boot_order(""), Err(OptionError::Empty));
    assert_eq!(boot_order("cdc"), Err(OptionError::BootTwice('c')));
    assert_eq!(boot_order("C"), Err(OptionError::BootLetter('C')));
}

#[test]
fn serial_ports_accept_the_known_backends_only() {
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
fn rtc_accepts_utc_localtime_and_valid_dates() {
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
        let line = format!("must be utc, localtime or a date such as 2006-06-17T16:01:21, not '{text}'");
        assert_eq!(rtc(text).unwrap_err().to_string(), line);
    }
    assert_eq!(rtc("1969-12-31"), Err(OptionError::Year(1969)));
    assert_eq!(rtc("2100-01-01"), Err(OptionError::Year(2100)));
}

#[test]
fn machine_names_have_no_slash_or_control_character() {
    assert_eq!(machine_name("Windows XP"), Ok("Windows XP".to_owned()));
    assert_eq!(machine_name(""), Err(OptionError::Empty));
    assert_eq!(machine_name("a\nb"), Err(OptionError::BadName));
    assert_eq!(machine_name(&"x".repeat(65)), Err(OptionError::BadName));
}

#[test]
fn net_accepts_a_backend_with_its_keys_and_names_each_mistake() {
    use crate::config::{NetBackend, NicModel, TapConfig, TapSource};
    let net = |text: &str| net(os(text));
    assert_eq!(net("none"), Ok(None));
    let nic = net("tap,bridge=br0,ifname=tap7,mac=00:16:3e:01:02:03,model=rtl8139c,link=down,script=no");
    let nic = nic.unwrap().unwrap();
    assert_eq!((nic.mac, nic.model, nic.link), (Some([0, 0x16, 0x3e, 1, 2, 3]), NicModel::Rtl8139C, false));
    let source = TapSource::Name(Some("tap7".into()));
    let tap = TapConfig { source, bridge: Some("br0".into()), script: None, downscript: None };
    assert_eq!(nic.backend, NetBackend::Tap(tap));
    assert_eq!(net("passt=/run/p").unwrap().unwrap().backend, NetBackend::Passt(Some("/run/p".into())));
    let backends = "must be tap, passt, passt=SOCKET, pair:unix:PATH or none, not";
    let keys = "(keys: bridge, ifname, fd, script, downscript, mac, model, link, dump, rom)";
    let interface = "must be the name of a network interface (1 to 15 characters), not";
    let mac = "mac must be a unicast address such as 00:16:3e:12:34:56, not";
    for (text, line) in [
        ("", format!("{backends} ''")),
        ("user", format!("{backends} 'user'")),
        ("passt=", format!("{backends} 'passt='")),
        ("pair:unix:", format!("{backends} 'pair:unix:'")),
        ("pair:tcp:1", format!("{backends} 'pair:tcp:1'")),
        ("none,mac=00:16:3e:01:02:03", "'none' has no keys: remove 'mac=00:16:3e:01:02:03'".into()),
        ("tap,", format!("nothing follows a comma {keys}")),
        ("tap,vhost=on", format!("unknown key 'vhost' {keys}")),
        ("tap,bridge=", format!("bridge {interface} ''")),
        ("tap,ifname=0123456789abcdef", format!("ifname {interface} '0123456789abcdef'")),
        ("tap,ifname=a/b", format!("ifname {interface} 'a/b'")),
        ("tap,fd=2", "fd must be the number of an inherited descriptor, 3 or more, not '2'".into()),
        ("tap,fd=3,ifname=t", "'fd' and 'ifname' exclude each other".into()),
        ("tap,mac=01:16:3e:01:02:03", format!("{mac} '01:16:3e:01:02:03'")),
        ("tap,mac=0:16:3e:1:2:3", format!("{mac} '0:16:3e:1:2:3'")),
        ("tap,mac=00:16:3e:01:02:03:04", format!("{mac} '00:16:3e:01:02:03:04'")),
        ("tap,mac=00:00:00:00:00:00", format!("{mac} '00:00:00:00:00:00'")),
        ("tap,model=e1000", "model must be rtl8139 (C+) or rtl8139c, not 'e1000'".into()),
        ("tap,link=on", "link must be up or down, not 'on'".into()),
        ("tap,link=up,link=up", "'link' is given twice".into()),
        ("tap,dump=", "dump needs a value: write dump=FILE".into()),
        ("tap,rom", "rom needs a value: write rom=FILE".into()),
        ("tap,script=", "script needs a value: write script=FILE".into()),
        ("tap,downscript", "downscript needs a value: write downscript=FILE".into()),
        ("passt,bridge=br0", "'bridge' is valid only with 'tap'".into()),
        ("passt,fd=5", "'fd' is valid only with 'tap'".into()),
        ("pair:unix:s,ifname=t", "'ifname' is valid only with 'tap'".into()),
        ("passt,script=no", "'script' is valid only with 'tap'".into()),
        ("passt,downscript=x", "'downscript' is valid only with 'tap'".into()),
    ] {
        assert_eq!(net(text).unwrap_err().to_string(), line, "{text}");
    }
}

proptest! {
    #[test]
    fn no_parser_panics_on_arbitrary_text(text in ".{0,40}") {
        let _ = memory_size(&text);
        let _ = cpus(&text);
        let _ = disk(os(&text));
        let _ = cdrom(os(&text));
        let _ = boot_order(&text);
        let _ = serial_port(os(&text));
        let _ = rtc(&text);
        let _ = net(os(&text));
        let _ = net(os(&format!("tap,{text}")));
        let _ = vga(&text);
        let _ = vnc(os(&text));
        let _ = websocket(&text);
        let _ = control(os(&text));
    }

    #[test]
    fn a_file_name_with_doubled_commas_is_parsed_back(name in prop::collection::vec(1u8.., 1..40)) {
        let doubled: Vec<u8> =
            name.iter().flat_map(|&b| if b == b',' { vec![b, b] } else { vec![b] }).chain(*b",readonly").collect();
        let option = disk(&OsString::from_vec(doubled)).unwrap();
        prop_assert_eq!(option.drive.path, Some(PathBuf::from(OsString::from_vec(name))));
        prop_assert!(option.drive.read_only);
    }

    #[test]
    fn a_partial_topology_is_completed_to_the_count(sockets in 1u32..5, cores in 1u32..5, threads in 1u32..4) {
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

#[test]
fn network_disks_have_keys_of_their_own_and_none_of_files() {
    let drive = |text: &str| disk(os(text)).map(|option| option.drive);
    let target = |text: &str| drive(text).unwrap().network.unwrap();
    assert_eq!(target("nbd://h/x").reconnect.as_secs(), 300);
    assert_eq!(target("nbd://h/x,reconnect=0,readonly").reconnect.as_secs(), 0);
    assert_eq!(target("nbds://h/x,tls-ca=/a,,b").tls.unwrap().ca, Some(PathBuf::from("/a,b")));
    assert!(drive("nbd://h/x,format=raw,cache=none,discard=off,iops=5,werror=stop").is_ok());
    assert!(cdrom(os("nbd://h/x,reconnect=5")).unwrap().drive.network.is_some());
    assert_eq!(drive("./nbd://h").unwrap().network, None);
    for (text, line) in [
        ("nbd://h/x,reconnect=soon", "reconnect must be 0 to 86400 seconds, not 'soon'"),
        ("nbd://h/x,reconnect=86401", "reconnect must be 0 to 86400 seconds, not '86401'"),
        ("nbd://h/x,reconnect=1,reconnect=2", "'reconnect' is given twice"),
        ("nbd://h/x,tls-ca=/a", "'tls-ca' needs nbds:// or nbds+unix://"),
        ("nbds://h/x,tls-ca", "tls-ca needs a value: write tls-ca=FILE"),
        ("a,reconnect=1", "'reconnect' is for network disks (nbd://...)"),
        ("a,tls-ca=b", "'tls-ca' is for network disks (nbd://...)"),
        ("nbd://h/x,snapshot", "'snapshot' is for images in files, not for network disks: let the server do it"),
        ("nbd://h/x,size=1G", "'size' is for images in files, not for network disks: let the server do it"),
        ("nbd://h/x,format=qcow2", "'format' is for images in files, not for network disks: let the server do it"),
        (
            "nbd://h/x,backing-dir=/",
            "'backing-dir' is for images in files, not for network disks: let the server do it",
        ),
        (
            "nbd:///x",
            "nbd:///x: no host: write nbd://HOST[:PORT]/EXPORT, nbds://..., nbd+unix:///EXPORT?socket=PATH or nbds+unix://...",
        ),
    ] {
        assert_eq!(drive(text).unwrap_err().to_string(), line, "{text}");
    }
}
