//! Tests of ISO 9660 images, read back by programs of other authors: isoinfo, isovfy, xorriso and bsdtar.

use super::*;
use crate::block::folder::{HostDir, Node};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;
use tempfile::{NamedTempFile, TempDir};

/// Writes the image of a directory to a file, as a guest would read it.
fn image_of(dir: &Path) -> NamedTempFile {
    let host = HostDir::open(dir).unwrap();
    let tree = Tree::list(&host, dir).unwrap();
    let iso = Iso::new(&tree, "My folder", 1_700_000_000).unwrap();
    assert_eq!(iso.metadata.len() % 2048, 0);
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(iso.size).unwrap();
    file.as_file().write_all_at(&iso.metadata, 0).unwrap();
    for extent in &iso.files {
        let content = fs::read(dir.join(tree.path(extent.node))).unwrap();
        assert_eq!(content.len() as u64, extent.len);
        assert!(extent.start >= iso.metadata.len() as u64 && extent.start + extent.len <= iso.size);
        file.as_file().write_all_at(&content, extent.start).unwrap();
    }
    file
}

fn run(program: &str, args: &[&str]) -> (bool, String) {
    let output =
        Command::new(program).env("LC_ALL", "C.UTF-8").args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// The lines of `isoinfo -f` with these options.
fn isoinfo(image: &NamedTempFile, options: &[&str]) -> BTreeSet<String> {
    let args = [&["-i", image.path().to_str().unwrap(), "-f"][..], options].concat();
    let (ok, text) = run("isoinfo", &args);
    assert!(ok, "{text}");
    text.lines().map(str::to_owned).collect()
}

/// The names of the Joliet hierarchy.
fn joliet(image: &NamedTempFile) -> BTreeSet<String> {
    let (ok, text) = run("bsdtar", &["-t", "--options", "!rockridge", "-f", image.path().to_str().unwrap()]);
    assert!(ok, "{text}");
    text.lines().filter(|line| *line != ".").map(|line| line.trim_end_matches('/').to_owned()).collect()
}

fn strings(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Files and links below a directory with their contents and targets.
fn contents(dir: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let host = HostDir::open(dir).unwrap();
    let tree = Tree::list(&host, dir).unwrap();
    let of = |n: usize, node: &Node| match &node.content {
        Content::Dir(_) => b"directory".to_vec(),
        Content::File(_) => fs::read(dir.join(tree.path(n))).unwrap(),
        Content::Symlink(target) => target.as_bytes().to_vec(),
    };
    tree.nodes.iter().enumerate().map(|(n, node)| (tree.path(n).into_os_string(), of(n, node))).collect()
}

/// xorriso extracts the image by its Rock Ridge names.
fn extract(image: &NamedTempFile) -> TempDir {
    let to = TempDir::new().unwrap();
    let (from, into) = (image.path().to_str().unwrap(), to.path().to_str().unwrap());
    let (ok, text) = run("xorriso", &["-osirrox", "on", "-indev", from, "-extract", "/", into]);
    assert!(ok, "{text}");
    // What was extracted cannot be written, and could not be removed.
    run("chmod", &["-R", "u+w", into]);
    to
}

fn verify(image: &NamedTempFile) {
    let (ok, text) = run("isovfy", &[image.path().to_str().unwrap()]);
    assert!(ok && text.ends_with("No errors found\n"), "{text}");
    inspect(image);
}

/// xorriso reads the image without a warning.
fn inspect(image: &NamedTempFile) {
    let path = image.path().to_str().unwrap();
    let (ok, text) = run("xorriso", &["-indev", path, "-report_about", "WARNING", "-find", "/", "-exec", "lsdl"]);
    assert!(ok && !text.contains("WARNING") && !text.contains("SORRY") && !text.contains("FAILURE"), "{text}");
}

#[test]
fn strangers_tools_read_the_three_kinds_of_names() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("Some Folder/inner")).unwrap();
    fs::write(at("Some Folder/inner/Long file name with spaces.text"), "deep").unwrap();
    fs::write(at("README.TXT"), "read me").unwrap();
    fs::write(at("Ünï çödé.txt"), "unicode").unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("a:b?c*.txt"), "odd").unwrap();
    symlink("Some Folder/../README.TXT", at("link")).unwrap();
    symlink("/etc/./x", at("absolute")).unwrap();
    let image = image_of(dir.path());
    verify(&image);
    assert_eq!(
        isoinfo(&image, &[]),
        strings(&[
            "/ABSOLUTE.;1",
            "/A_B_C_.TXT;1",
            "/EMPTY.;1",
            "/LINK.;1",
            "/README.TXT;1",
            "/SOME_FOL",
            "/SOME_FOL/INNER",
            "/SOME_FOL/INNER/LONG_FIL.TEX;1",
            "/_N____D_.TXT;1",
        ])
    );
    assert_eq!(
        joliet(&image),
        strings(&[
            "README.TXT",
            "Some Folder",
            "Some Folder/inner",
            "Some Folder/inner/Long file name with spaces.text",
            "a_b_c_.txt",
            "empty",
            "Ünï çödé.txt",
        ])
    );
    let (ok, text) = run("isoinfo", &["-J", "-f", "-i", image.path().to_str().unwrap()]);
    assert!(ok && text.contains("/Some Folder/inner/Long file name with spaces.text"), "{text}");
    assert_eq!(contents(extract(&image).path()), contents(dir.path()));
}

#[test]
fn an_empty_directory_makes_a_valid_disc() {
    let dir = TempDir::new().unwrap();
    let image = image_of(dir.path());
    verify(&image);
    assert_eq!(isoinfo(&image, &[]), strings(&[]));
}

#[test]
fn directories_of_several_sectors_and_names_of_255_bytes_read_back() {
    let dir = TempDir::new().unwrap();
    for n in 0..700 {
        let name = format!("{}{n}", "long name ".repeat(1 + n % 25));
        fs::write(dir.path().join(&name), &name).unwrap();
    }
    for length in 240..=255 {
        fs::write(dir.path().join("x".repeat(length)), length.to_string()).unwrap();
    }
    let deep: std::path::PathBuf = (0..20).map(|n| format!("level {n}")).collect();
    fs::create_dir_all(dir.path().join(&deep)).unwrap();
    fs::write(dir.path().join(&deep).join("file"), "deep").unwrap();
    symlink("/very/long/target/".repeat(28), dir.path().join("link")).unwrap();
    let image = image_of(dir.path());
    verify(&image);
    let (mut expected, mut found) = (contents(dir.path()), contents(extract(&image).path()));
    // A link's target has no slash at its end and no two in a row on the disc.
    for link in [&mut expected, &mut found].map(|all| all.get_mut(OsStr::new("link")).unwrap()) {
        *link = String::from_utf8(link.clone()).unwrap().replace("//", "/").trim_end_matches('/').into();
    }
    assert_eq!(found, expected);
}

#[test]
fn slow_a_file_of_5_gib_has_two_extents() {
    let mut tree = Tree::new(0);
    let file =
        |name: &str, size| Node { parent: 0, name: name.into(), content: Content::File(size), modified: 0, mode: 0 };
    tree.push(file("big", 5 << 30));
    tree.push(file("small", 5));
    let iso = Iso::new(&tree, "x", 0).unwrap();
    assert_eq!(iso.files[0].len, 5 << 30);
    assert_eq!(iso.files[1].start, iso.files[0].start + (5 << 30));
    let image = NamedTempFile::new().unwrap();
    image.as_file().set_len(iso.size).unwrap();
    image.as_file().write_all_at(&iso.metadata, 0).unwrap();
    image.as_file().write_all_at(b"12345", iso.files[1].start).unwrap();
    // isovfy takes each extent for a file.
    inspect(&image);
    let (ok, text) = run("bsdtar", &["-t", "-v", "-f", image.path().to_str().unwrap()]);
    assert!(ok && text.contains(" 5368709120 ") && text.contains(" 5 "), "{text}");
    let mut huge = Tree::new(0);
    huge.push(file("huge", u64::MAX));
    assert_eq!(Iso::new(&huge, "x", 0).unwrap_err(), IsoError::TooLarge);
}

#[test]
fn the_label_is_the_directorys_name() {
    let dir = TempDir::new().unwrap();
    let image = image_of(dir.path());
    let path = image.path().to_str().unwrap();
    assert!(run("isoinfo", &["-d", "-i", path]).1.contains("Volume id: MY_FOLDER\n"));
    let bytes = fs::read(path).unwrap();
    let joliet: Vec<u8> = "My folder".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(bytes[17 * 2048 + 40..][..18], joliet);
    // Creation date of 1700000000, and UTC.
    assert_eq!(&bytes[16 * 2048 + 813..][..17], b"2023111422132000\0");
}

#[test]
fn dates_outside_of_the_formats_range_become_the_nearest() {
    assert_eq!(record::date(0), [70, 1, 1, 0, 0, 0, 0]);
    assert_eq!(record::date(i64::MIN), [0, 1, 1, 0, 0, 0, 0]);
    assert_eq!(record::date(i64::MAX), [255, 12, 31, 23, 59, 59, 0]);
}

#[test]
fn too_many_directories_are_rejected() {
    let mut tree = Tree::new(0);
    for n in 0..DIRECTORIES_MAX {
        let name = format!("{n}").into();
        tree.push(Node { parent: 0, name, content: Content::Dir(Vec::new()), modified: 0, mode: 0 });
    }
    assert_eq!(Iso::new(&tree, "x", 0).unwrap_err(), IsoError::Directories);
    tree.nodes.pop();
    if let Content::Dir(entries) = &mut tree.nodes[0].content {
        entries.pop();
    }
    assert!(Iso::new(&tree, "x", 0).is_ok());
}

/// Names with what file systems find difficult: cases, dots, spaces, other scripts, lengths.
fn any_name() -> impl Strategy<Value = String> {
    let odd = "[ .a-cA-C~1äßЖ日😀\u{301};:?*\\\\+-]{1,40}";
    let long = "(prefix|PREFIX|Prefix)[a-b]{0,60}(\\.[a-b]{0,4})?";
    prop_oneof![odd, long, "[a-z]{1,8}(\\.[a-z]{1,3})?"].prop_filter("a name", |name| name != "." && name != "..")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_read_back(
        dirs in prop::collection::vec((any::<prop::sample::Index>(), any_name()), 0..12),
        files in prop::collection::vec((any::<prop::sample::Index>(), any_name(), 0usize..5000), 0..60),
    ) {
        let dir = TempDir::new().unwrap();
        let mut all = vec![dir.path().to_owned()];
        for (parent, name) in dirs {
            let path = parent.get(&all).join(name);
            if path.as_os_str().len() < 1000 && fs::create_dir(&path).is_ok() {
                all.push(path);
            }
        }
        for (parent, name, len) in files {
            let path = parent.get(&all).join(&name);
            if path.as_os_str().len() < 1000 && !path.exists() {
                fs::write(path, name.bytes().cycle().take(len).collect::<Vec<_>>()).unwrap();
            }
        }
        let image = image_of(dir.path());
        verify(&image);
        let expected = contents(dir.path());
        prop_assert_eq!(&contents(extract(&image).path()), &expected);
        // The other hierarchies have as many entries, each with another name.
        prop_assert_eq!(isoinfo(&image, &[]).len(), expected.len() - 1);
        prop_assert_eq!(joliet(&image).len(), expected.len() - 1);
    }
}
