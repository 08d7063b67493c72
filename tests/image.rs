//! Image files against qemu-img: each reads and checks what the other writes, with every odd but legal feature.

mod image_tools;

use image_tools::{Dir, PATTERNS, Random, SIZE, odd_images, served};
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, StorageOpenOptions};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The entries of a map with the fields that qemu-img has.
fn map_of(text: &str) -> Vec<Value> {
    let mut entries = Vec::new();
    for entry in json(text).as_array().unwrap() {
        let fields = ["start", "length", "depth", "present", "zero", "data", "offset"];
        entries.push(fields.iter().map(|name| (*name, entry[*name].clone())).collect());
    }
    entries
}

#[test]
fn images_of_qemu_img_with_odd_features_are_read_right() {
    let dir = Dir::new();
    for name in odd_images(&dir) {
        for format in ["raw", "qcow2"] {
            let target = format!("copy.{format}");
            dir.image(&["convert", "--force", "-f", "qcow2", "-O", format, &name, &target]);
            dir.same(&name, "qcow2", &target, format);
        }
        dir.qemu_img(&["check", "copy.qcow2"]);
    }
}

#[test]
fn images_of_qemu_img_are_checked_as_qemu_img_checks_them() {
    let dir = Dir::new();
    for name in odd_images(&dir) {
        let (ours, theirs) =
            (dir.image_output(&["check", "--json", &name]), dir.output("qemu-img", &["check", "--output=json", &name]));
        assert_eq!(ours.status.code(), theirs.status.code(), "{name}: {ours:?}");
        if name == "dirty.qcow2" {
            // qemu-img repairs the image before it counts.
            continue;
        }
        let (ours, theirs) =
            (json(&String::from_utf8_lossy(&ours.stdout)), json(&String::from_utf8_lossy(&theirs.stdout)));
        for field in [
            "corruptions",
            "leaks",
            "allocated-clusters",
            "total-clusters",
            "fragmented-clusters",
            "compressed-clusters",
            "image-end-offset",
        ] {
            let number = |value: &Value| value[field].as_u64().unwrap_or(0);
            assert_eq!(number(&ours), number(&theirs), "{name}: {field}");
        }
    }
}

#[test]
fn images_of_qemu_img_are_described_as_qemu_img_describes_them() {
    fn compare(name: &str, ours: &Value, theirs: &Value) {
        match theirs {
            Value::Object(fields) => {
                fields.iter().filter(|(field, _)| *field != "icount").for_each(|(field, value)| {
                    compare(&format!("{name}: {field}"), &ours[field], value);
                })
            }
            Value::Array(values) => {
                values.iter().enumerate().for_each(|(i, value)| compare(&format!("{name}: {i}"), &ours[i], value));
            }
            value => assert_eq!(ours, value, "{name}"),
        }
    }
    let dir = Dir::new();
    let mut names = odd_images(&dir);
    dir.qemu_img(&["convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "c64k.qcow2", "zstd.qcow2"]);
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "c4k.qcow2", "-F", "qcow2", "top.qcow2", "20M"]);
    names.extend(["zstd.qcow2".to_owned(), "top.qcow2".to_owned()]);
    for name in names {
        let theirs = json(&dir.qemu_img(&["info", "-U", "--output=json", &name]));
        let mut ours = json(&dir.image(&["info", "--json", &name]));
        let full = ours["full-backing-filename"].as_str().map(str::to_owned);
        if let Some(full) = full {
            ours["full-backing-filename"] = full.trim_start_matches("./").into();
        }
        compare(&name, &ours, &theirs);
    }
}

#[test]
fn maps_agree_with_qemu_img_through_a_chain() {
    let dir = Dir::new();
    dir.qemu_img(&["create", "-q", "-f", "raw", "base.raw", "12M"]);
    dir.qemu_io("base.raw", &["write -P 1 0 1M", "write -P 2 4M 1M"]);
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "mid.qcow2", "14M"]);
    dir.qemu_io("mid.qcow2", &["write -P 3 512k 64k", "write -z 4M 512k", "write -P 4 13M 64k"]);
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2", "16M"]);
    dir.qemu_io("top.qcow2", &["write -P 5 640k 64k", "write -P 6 15M 64k"]);
    let (ours, theirs) =
        (dir.image(&["map", "--json", "top.qcow2"]), dir.qemu_img(&["map", "--output=json", "top.qcow2"]));
    assert_eq!(map_of(&ours), map_of(&theirs));
}

/// Opens an image with the crate that serves machines' disks.
fn open_imago(path: &std::path::Path) -> FormatAccess<imago::file::File> {
    let storage = |path: &std::path::Path| {
        let file = File::options().read(true).write(true).open(path).unwrap();
        imago::file::File::from_open_file(file, StorageOpenOptions::new().write(true).filename(path)).unwrap()
    };
    let header = pcvm::block::qcow2::Header::read(&File::open(path).unwrap()).unwrap();
    let data = header.data_file.map(|name| storage(&path.with_file_name(name)));
    let image = imago::qcow2::Qcow2::<imago::file::File>::builder(storage(path))
        .write(true)
        .backing(None)
        .data_file(data)
        .open(DenyImplicitOpenGate::default());
    FormatAccess::new(image.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Reads and writes each image that [`served`] lets through `imago`, at random places, and lets qemu-img judge.
#[test]
fn every_image_that_is_not_refused_is_read_and_written_right() {
    let dir = Dir::new();
    let mut refused = Vec::new();
    for name in odd_images(&dir) {
        if !served(&dir.path(&name)) {
            refused.push(name);
            continue;
        }
        let mut model = dir.content(&name, "qcow2");
        let inner = |snapshot: &str| {
            dir.qemu_img(&["convert", "-l", snapshot, "-f", "qcow2", "-O", "raw", &name, "inner.raw"]);
            fs::read(dir.path("inner.raw")).unwrap()
        };
        let snapshots =
            if name == "inside.qcow2" { vec![("one", inner("one")), ("two", inner("two"))] } else { vec![] };
        {
            let header = pcvm::block::qcow2::Header::read(&File::open(dir.path(&name)).unwrap()).unwrap();
            pcvm::block::qcow2::check_for_writing(&File::open(dir.path(&name)).unwrap(), &header).unwrap();
            let mut image = open_imago(&dir.path(&name));
            let mut random = Random(0x1234_5678_9abc_def0);
            let mut buffer = vec![0; 1 << 20];
            for round in 0..400_u64 {
                let bits = 9 + random.below(9);
                let length = 1 + random.below(1 << bits);
                let offset = random.below(SIZE - length);
                let range = offset as usize..(offset + length) as usize;
                match random.below(8) {
                    0..=3 => {
                        let part = &mut buffer[..length as usize];
                        part.fill(round as u8 | 1);
                        image.write(&*part, offset).unwrap();
                        model[range].fill(round as u8 | 1);
                    }
                    4 if header.version == 3 => {
                        image.write_zeroes(offset, length).unwrap();
                        model[range].fill(0);
                    }
                    5 if header.version == 3 => {
                        image.discard_to_zero(offset, length).unwrap();
                        model[range].fill(0);
                    }
                    _ => {
                        let part = &mut buffer[..length as usize];
                        image.read(&mut *part, offset).unwrap();
                        assert!(*part == model[range], "{name}: read of {length} bytes at {offset}, round {round}");
                    }
                }
                if round % 97 == 0 {
                    image.flush().unwrap();
                }
            }
            image.flush().unwrap();
        }
        let check = dir.output("qemu-img", &["check", &name]);
        // Bitmaps are dropped, which leaks their clusters (3).
        let allowed: &[i32] = if name == "bitmaps.qcow2" { &[0, 3] } else { &[0] };
        assert!(allowed.contains(&check.status.code().unwrap()), "{name}: {check:?}");
        assert!(dir.content(&name, "qcow2") == model, "{name}: content");
        for (snapshot, before) in snapshots {
            assert!(inner(snapshot) == before, "{name}: snapshot {snapshot}");
        }
    }
    assert_eq!(refused, ["sub.qcow2", "corrupt.qcow2", "dirty.qcow2"]);
}

#[test]
fn images_made_here_pass_qemu_img() {
    let dir = Dir::new();
    for cluster in ["512", "4K", "64K", "2M"] {
        for bits in ["1", "8", "16", "64"] {
            let options = format!("cluster_size={cluster},refcount_bits={bits}");
            dir.image(&["create", "--force", "-o", &options, "new.qcow2", "1.5G"]);
            dir.qemu_img(&["check", "new.qcow2"]);
            dir.qemu_io("new.qcow2", &["write -P 1 1G 1M", "read -P 1 1G 1M", "read -P 0 0 1M"]);
            dir.qemu_img(&["check", "new.qcow2"]);
        }
    }
    for mode in ["metadata", "falloc", "full"] {
        dir.image(&["create", "--force", "--preallocate", mode, "new.qcow2", "10M"]);
        dir.qemu_img(&["check", "new.qcow2"]);
        dir.qemu_io("new.qcow2", &["read -P 0 0 10M"]);
        let space = fs::metadata(dir.path("new.qcow2")).unwrap().blocks() * 512;
        assert_eq!(space >= 10 << 20, mode != "metadata", "{mode}: {space}");
    }
    dir.image_fails(&["create", "odd.qcow2", "1000"], 1, "1000 bytes is not a whole number of 512-byte sectors");
    for mode in ["falloc", "full"] {
        dir.image(&["create", "--force", "--preallocate", mode, "new.raw", "10M"]);
        assert!(fs::metadata(dir.path("new.raw")).unwrap().blocks() * 512 >= 10 << 20, "{mode}");
    }
    let names = dir.names();
    assert_eq!(names, ["new.qcow2", "new.raw"], "no temporary file stays");
}

#[test]
fn a_chain_of_fifty_is_read_right() {
    let dir = Dir::new();
    dir.qemu_img(&["create", "-q", "-f", "raw", "0.raw", "16M"]);
    dir.qemu_io("0.raw", &PATTERNS);
    let mut below = "0.raw".to_owned();
    for n in 1..=50 {
        let name = format!("{n}.qcow2");
        dir.image(&["create", "--backing", &below, "--backing-format", if n == 1 { "raw" } else { "qcow2" }, &name]);
        dir.qemu_io(&name, &[&format!("write -P {n} {}k 7k", n * 300)]);
        below = name;
    }
    dir.image(&["convert", "50.qcow2", "flat.raw"]);
    dir.same("50.qcow2", "qcow2", "flat.raw", "raw");
    assert_eq!(json(&dir.image(&["info", "--json", "--backing-chain", "50.qcow2"])).as_array().unwrap().len(), 51);
}

#[test]
fn a_conversion_keeps_holes_and_unaligned_sizes() {
    let dir = Dir::new();
    let file = File::create(dir.path("odd.raw")).unwrap();
    file.set_len((3 << 30) + 700).unwrap();
    file.write_all_at(&[7; 300], (3 << 30) + 400).unwrap();
    file.write_all_at(&[9; 5000], 1 << 30).unwrap();
    dir.image(&["convert", "odd.raw", "copy.img"]);
    let copy = fs::metadata(dir.path("copy.img")).unwrap();
    assert_eq!(copy.len(), (3 << 30) + 700);
    assert!(copy.blocks() * 512 < 64 << 10, "{} blocks", copy.blocks());
    dir.image(&["convert", "odd.raw", "copy.qcow2"]);
    dir.qemu_img(&["check", "copy.qcow2"]);
    dir.same("odd.raw", "raw", "copy.qcow2", "qcow2");
    // Above a backing file, only what differs is copied.
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "copy.qcow2", "-F", "qcow2", "top.qcow2"]);
    dir.qemu_io("top.qcow2", &["write -P 3 2G 100k", "write -z 1G 4k"]);
    let backing = ["--backing", "copy.qcow2", "--backing-format", "qcow2"];
    dir.image(&[&["convert"], &backing[..], &["top.qcow2", "difference.qcow2"]].concat());
    dir.qemu_img(&["check", "difference.qcow2"]);
    dir.same("top.qcow2", "qcow2", "difference.qcow2", "qcow2");
    assert!(fs::metadata(dir.path("difference.qcow2")).unwrap().len() < 1 << 20);
    // Clusters of zeros that are in the source as data do not reach the target.
    dir.qemu_img(&["create", "-q", "-f", "raw", "-o", "preallocation=full", "full.raw", "8M"]);
    dir.image(&["convert", "full.raw", "sparse.img"]);
    assert_eq!(fs::metadata(dir.path("sparse.img")).unwrap().blocks(), 0);
}

#[test]
fn a_failed_conversion_leaves_nothing() {
    let dir = Dir::new();
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "a.qcow2", "16M"]);
    dir.qemu_io("a.qcow2", &PATTERNS);
    // An L2 entry with a reserved bit, behind what is read first.
    let file = File::options().read(true).write(true).open(dir.path("a.qcow2")).unwrap();
    let mut entry = [0; 8];
    file.read_exact_at(&mut entry, 0x30000).unwrap();
    let l2 = u64::from_be_bytes(entry) & 0x00ff_ffff_ffff_fe00;
    file.write_all_at(&[0x20], l2 + 240 * 8).unwrap();
    dir.image_fails(&["convert", "a.qcow2", "b.raw"], 1, "L2 entry for offset 0xf00000");
    fs::write(dir.path("b.raw"), b"precious").unwrap();
    dir.image_fails(&["convert", "--force", "a.qcow2", "b.raw"], 1, "reserved bits");
    assert_eq!(fs::read(dir.path("b.raw")).unwrap(), b"precious");
    dir.image_fails(&["convert", "-f", "raw", "b.raw", "b.raw"], 1, "exists: give --force");
    assert_eq!(dir.names(), ["a.qcow2", "b.raw"]);
    let output = dir.image_output(&["check", "a.qcow2"]);
    assert_eq!(output.status.code(), Some(2));
    dir.image_fails(&["check", "--repair", "all", "a.qcow2"], 1, "cannot be repaired");
}

#[test]
fn a_dirty_image_is_repaired() {
    let dir = Dir::new();
    let name = image_tools::dirty_image(&dir);
    let before = {
        dir.image(&["convert", &name, "before.raw"]);
        fs::read(dir.path("before.raw")).unwrap()
    };
    assert_eq!(before[5 << 20], 0x99, "what was flushed");
    dir.image_fails(&["resize", &name, "20M"], 1, "was not closed cleanly");
    dir.image_fails(&["check", "--repair", "leaks", &name], 1, "give '--repair all'");
    dir.image(&["check", "--repair", "all", &name]);
    dir.image(&["check", &name]);
    dir.qemu_img(&["check", &name]);
    assert!(dir.content(&name, "qcow2") == before);
    assert!(served(&dir.path(&name)));
}

#[test]
fn leaks_and_wrong_refcounts_of_every_width_are_repaired() {
    let dir = Dir::new();
    for bits in [1, 2, 4, 8, 16, 32, 64] {
        let options = format!("refcount_bits={bits},cluster_size=4k");
        dir.qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options, "a.qcow2", "16M"]);
        dir.qemu_io("a.qcow2", &PATTERNS);
        let before = dir.content("a.qcow2", "qcow2");
        let file = File::options().read(true).write(true).open(dir.path("a.qcow2")).unwrap();
        let field = |at: u64| {
            let mut field = [0; 8];
            file.read_exact_at(&mut field, at).unwrap();
            u64::from_be_bytes(field)
        };
        let first_block = || field(field(48));
        let block = first_block();
        // Ones where nothing is: leaks.
        file.write_all_at(&[0xff], block + 3000).unwrap();
        assert_eq!(dir.image_output(&["check", "a.qcow2"]).status.code(), Some(3), "{bits}");
        dir.image(&["check", "--repair", "leaks", "a.qcow2"]);
        dir.qemu_img(&["check", "a.qcow2"]);
        // Zeros where all is.
        file.write_all_at(&[0; 8], first_block()).unwrap();
        assert_eq!(dir.image_output(&["check", "a.qcow2"]).status.code(), Some(2), "{bits}");
        dir.image_fails(&["resize", "a.qcow2", "20M"], 1, "has a refcount of 0");
        dir.image(&["check", "--repair", "all", "a.qcow2"]);
        dir.qemu_img(&["check", "a.qcow2"]);
        assert!(dir.content("a.qcow2", "qcow2") == before, "{bits}");
    }
}

#[test]
fn resized_images_show_zeros_behind_their_old_end() {
    let dir = Dir::new();
    // The base is longer than the overlay, whose end is within a cluster.
    dir.qemu_img(&["create", "-q", "-f", "raw", "base.raw", "4M"]);
    dir.qemu_io("base.raw", &["write -P 0xbb 0 4M"]);
    for overlay_data in [false, true] {
        let arguments = ["create", "--force", "--backing", "base.raw", "--backing-format", "raw", "o.qcow2"];
        dir.image(&[&arguments[..], &["1025K"]].concat());
        if overlay_data {
            dir.qemu_io("o.qcow2", &["write -P 0xcc 1024k 1k"]);
        }
        dir.image(&["resize", "o.qcow2", "+7M"]);
        dir.qemu_img(&["check", "o.qcow2"]);
        let content = dir.content("o.qcow2", "qcow2");
        let end = 1025 << 10;
        let tail = if overlay_data { 0xcc } else { 0xbb };
        assert!(content[..1 << 20].iter().all(|byte| *byte == 0xbb));
        assert!(content[1 << 20..end].iter().all(|byte| *byte == tail), "the last cluster keeps its beginning");
        assert!(content[end..].iter().all(|byte| *byte == 0));
        assert_eq!(content.len(), end + (7 << 20));
    }
    for name in ["a.qcow2", "a.img"] {
        dir.image(&["create", name, "3M"]);
        let image = if name == "a.img" { "a.raw" } else { name };
        if image != name {
            fs::rename(dir.path(name), dir.path(image)).unwrap();
        }
        dir.qemu_io(image, &["write -P 0xdd 0 3M"]);
        dir.image_fails(&["resize", image, "-2047K"], 1, "give --shrink");
        dir.image(&["resize", "--shrink", image, "-2047K"]);
        dir.image(&["resize", image, "3M"]);
        let content = dir.content(image, if image == name { "qcow2" } else { "raw" });
        assert!(content[..1025 << 10].iter().all(|byte| *byte == 0xdd));
        assert!(content[1025 << 10..].iter().all(|byte| *byte == 0), "{image}: old data must not come back");
        dir.image_fails(&["resize", image, "1000"], 1, "not a whole number of 512-byte sectors");
    }
    dir.qemu_img(&["check", "a.qcow2"]);
}

#[test]
fn a_commit_moves_the_overlay_into_its_base() {
    let dir = Dir::new();
    for (base, format, cluster) in [("base.raw", "raw", ""), ("base.qcow2", "qcow2", "2M"), ("b4.qcow2", "qcow2", "4k")]
    {
        if format == "raw" {
            dir.qemu_img(&["create", "-q", "-f", "raw", base, "10M"]);
        } else {
            // With a base of its own.
            dir.qemu_img(&["create", "-q", "-f", "raw", "lowest.raw", "9M"]);
            dir.qemu_io("lowest.raw", &["write -P 0x10 0 9M"]);
            let options = format!("cluster_size={cluster}");
            let arguments = ["create", "-q", "-f", "qcow2", "-o", &options, "-b", "lowest.raw", "-F", "raw", base];
            dir.qemu_img(&[&arguments[..], &["10M"]].concat());
        }
        dir.qemu_io(base, &["write -P 0xaa 512k 5M"]);
        dir.image(&["create", "--force", "--backing", base, "--backing-format", format, "top.qcow2", "16M"]);
        dir.qemu_io("top.qcow2", &PATTERNS);
        let content = dir.content("top.qcow2", "qcow2");
        dir.image(&["commit", "top.qcow2"]);
        assert!(dir.content("top.qcow2", "qcow2") == content, "{base}: the overlay");
        assert!(dir.content(base, format) == content, "{base}: the base");
        if format == "qcow2" {
            dir.qemu_img(&["check", base]);
        }
        dir.qemu_img(&["check", "top.qcow2"]);
        let map = dir.image(&["map", "--json", "top.qcow2"]);
        assert!(!map.contains("\"depth\":0,\"present\":true"), "the overlay is empty: {map}");
    }
}

#[test]
fn a_rebase_keeps_the_content() {
    let dir = Dir::new();
    dir.qemu_img(&["create", "-q", "-f", "raw", "old.raw", "10M"]);
    dir.qemu_io("old.raw", &["write -P 0xaa 512k 5M", "write -P 0xab 9M 1M"]);
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "new.qcow2", "20M"]);
    dir.qemu_io("new.qcow2", &["write -P 0xaa 1M 1M", "write -P 0xcc 7M 512k", "write -P 0xcd 14M 1M"]);
    for to in ["new.qcow2", ""] {
        dir.image(&["create", "--force", "--backing", "old.raw", "--backing-format", "raw", "top.qcow2", "16M"]);
        dir.qemu_io("top.qcow2", &PATTERNS);
        let content = dir.content("top.qcow2", "qcow2");
        dir.image(&["rebase", "-b", to, "-F", "qcow2", "top.qcow2"]);
        assert!(dir.content("top.qcow2", "qcow2") == content, "'{to}'");
        dir.qemu_img(&["check", "top.qcow2"]);
        let info = json(&dir.qemu_img(&["info", "--output=json", "top.qcow2"]));
        assert_eq!(info["backing-filename"].as_str().unwrap_or(""), to);
    }
    // By name only.
    dir.image(&["create", "--force", "--backing", "old.raw", "--backing-format", "raw", "top.qcow2", "16M"]);
    fs::rename(dir.path("old.raw"), dir.path("moved.raw")).unwrap();
    dir.image(&["rebase", "-u", "-b", "moved.raw", "-F", "raw", "top.qcow2"]);
    dir.qemu_img(&["check", "top.qcow2"]);
    dir.qemu_io("top.qcow2", &["read -P 0xab 9M 1M"]);
    dir.image_fails(&["rebase", "-b", "top.qcow2", "-F", "qcow2", "top.qcow2"], 1, "in use by");
}

#[test]
fn files_outside_are_not_opened() {
    let dir = Dir::new();
    fs::create_dir(dir.path("in")).unwrap();
    fs::write(dir.path("secret"), vec![b's'; 1 << 20]).unwrap();
    let cases: [(&str, &str); 6] = [
        ("../secret", "is outside its directory: allow that with --backing-dir"),
        ("link", "is outside its directory"),
        ("json:{}", "which is not a file name"),
        ("nbd://host/x", "which is not a file name"),
        ("/dev/zero", "is outside its directory"),
        ("fifo", "is not a file or a block device"),
    ];
    std::os::unix::fs::symlink("../secret", dir.path("in/link")).unwrap();
    dir.run("mkfifo", &["in/fifo"]);
    for (backing, text) in cases {
        dir.qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", "raw", "in/a.qcow2", "1M"]);
        dir.image_fails(&["convert", "--force", "in/a.qcow2", "copy.raw"], 1, text);
    }
    dir.qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-b", "../secret", "-F", "raw", "in/a.qcow2", "1M"]);
    dir.image(&["convert", "--backing-dir", ".", "in/a.qcow2", "copy.raw"]);
    assert_eq!(fs::read(dir.path("copy.raw")).unwrap()[0], b's');
    dir.qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-b", "b.qcow2", "-F", "qcow2", "in/a.qcow2", "1M"]);
    dir.qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "in/b.qcow2", "1M"]);
    dir.image_fails(&["convert", "in/a.qcow2", "c.raw"], 1, "is its own backing file");
}

#[test]
fn a_format_is_not_guessed_from_content() {
    let dir = Dir::new();
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "guest.img", "1M"]);
    dir.image_fails(&["info", "guest.img"], 1, "starts with a qcow2 header: give -f qcow2, or -f raw if");
    dir.image(&["info", "-f", "raw", "guest.img"]);
    dir.image(&["info", "-f", "qcow2", "guest.img"]);
    for (bytes, name) in [(&b"KDMV"[..], "vmdk"), (b"vhdxfile", "VHDX"), (b"conectix", "VHD")] {
        fs::write(dir.path("x.img"), bytes).unwrap();
        dir.image_fails(&["info", "x.img"], 1, &format!("starts with a {name} header"));
    }
    dir.image_fails(&["info", "-f", "vhdx", "x.img"], 2, "format 'vhdx' is not supported");
}

#[test]
fn images_of_other_programs_are_read_or_refused_by_name() {
    let dir = Dir::new();
    dir.qemu_img(&["create", "-q", "-f", "raw", "a.raw", "16M"]);
    dir.qemu_io("a.raw", &PATTERNS);
    for (name, format, options) in [
        ("fixed.vhd", "vpc", "subformat=fixed,force_size=on"),
        ("dynamic.vhd", "vpc", "subformat=dynamic,force_size=on"),
        ("chs.vhd", "vpc", "subformat=dynamic"),
        ("flat.vmdk", "vmdk", "subformat=monolithicFlat"),
        ("split.vmdk", "vmdk", "subformat=twoGbMaxExtentFlat"),
    ] {
        dir.qemu_img(&["convert", "-f", "raw", "-O", format, "-o", options, "a.raw", name]);
        dir.image(&["convert", "--force", name, "copy.img"]);
        dir.same(name, format, "copy.img", "raw");
    }
    for subformat in ["monolithicSparse", "streamOptimized"] {
        let options = format!("subformat={subformat}");
        dir.qemu_img(&["convert", "-f", "raw", "-O", "vmdk", "-o", &options, "a.raw", "s.vmdk"]);
        dir.image_fails(&["convert", "s.vmdk", "copy2.img"], 1, "is a sparse VMDK, which is not supported");
    }
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "compression_type=zstd", "z.qcow2", "1M"]);
    dir.image_fails(&["convert", "z.qcow2", "copy2.img"], 1, "compressed with zstd");
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "data_file=d.raw", "d.qcow2", "1M"]);
    dir.image_fails(&["resize", "d.qcow2", "2M"], 1, "keeps its data in an external file");
    let secret =
        ["--object", "secret,id=s,data=abc", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"];
    let create = [&["create", "-q", "-f", "qcow2"], &secret[..], &["luks.qcow2", "1M"]].concat();
    // qemu-img measures its key derivation by the thread's CPU time, and fails when a busy host gives it none.
    if !(0..10).any(|_| dir.output("qemu-img", &create).status.success()) {
        dir.qemu_img(&create);
    }
    dir.image_fails(&["convert", "luks.qcow2", "copy2.img"], 1, "is encrypted (LUKS)");
    dir.image(&["info", "luks.qcow2"]);
}

#[test]
fn an_image_in_use_is_named_with_its_process() {
    let dir = Dir::new();
    dir.qemu_img(&["create", "-q", "-f", "qcow2", "a.qcow2", "1M"]);
    let mut child = dir
        .command("qemu-io", &["a.qcow2"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("qemu-io");
    let text = format!("is in use by qemu-io (process {})", child.id());
    let mut info = String::new();
    for _ in 0..500 {
        info = dir.image(&["info", "a.qcow2"]);
        if info.contains("in use by") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(info.contains(&format!("in use by: qemu-io (process {}), writing", child.id())), "{info}");
    for arguments in [
        &["resize", "a.qcow2", "2M"][..],
        &["check", "a.qcow2"],
        &["check", "--repair", "all", "a.qcow2"],
        &["snapshot", "a.qcow2", "x"],
        &["convert", "a.qcow2", "b.raw"],
        &["create", "--force", "a.qcow2", "1M"],
    ] {
        dir.image_fails(arguments, 1, &text);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(dir.names(), ["a.qcow2"]);
}

/// Kills commits and rebases at random moments: the overlay keeps its content, neither image is damaged, and the next attempt
/// completes.
#[test]
fn slow_a_kill_during_a_commit_or_rebase_loses_nothing() {
    let dir = Dir::new();
    dir.qemu_img(&["create", "-q", "-f", "raw", "other.raw", "16M"]);
    let mut random = Random(0x0123_4567_89ab_cdef);
    let mut killed = 0;
    for round in 0..40 {
        let options = "cluster_size=4k";
        dir.qemu_img(&["create", "-q", "-f", "qcow2", "-o", options, "base.qcow2", "16M"]);
        dir.qemu_io("base.qcow2", &["write -P 0xaa 512k 5M"]);
        dir.image(&["create", "--force", "--backing", "base.qcow2", "--backing-format", "qcow2", "top.qcow2"]);
        dir.qemu_io("top.qcow2", &PATTERNS);
        dir.qemu_io("top.qcow2", &["write -P 0x66 6M 4M"]);
        let content = dir.content("top.qcow2", "qcow2");
        let arguments: &[&str] = if round % 2 == 0 {
            &["image", "commit", "top.qcow2"]
        } else {
            &["image", "rebase", "-b", "other.raw", "-F", "raw", "top.qcow2"]
        };
        let mut child = dir.command(env!("CARGO_BIN_EXE_pcvm"), arguments).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(random.below(60_000)));
        child.kill().unwrap();
        killed += i32::from(!child.wait().unwrap().success());
        assert!(dir.content("top.qcow2", "qcow2") == content, "round {round}");
        for name in ["top.qcow2", "base.qcow2"] {
            // Leaks (3) are allowed.
            let status = dir.output("qemu-img", &["check", name]).status.code();
            assert!(matches!(status, Some(0 | 3)), "round {round}: {name}: {status:?}");
        }
        dir.image(&arguments[1..]);
        assert!(dir.content("top.qcow2", "qcow2") == content, "round {round}: again");
        if round % 2 == 0 {
            assert!(dir.content("base.qcow2", "qcow2") == content, "round {round}: base");
        }
    }
    assert!(killed > 10, "{killed}");
}
