//! Tests of floppy disks made from a directory. Programs of other authors, mtools and fsck.fat, read and write the volumes.

use super::*;
use crate::block::sys::IoVecStorage;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use tempfile::{NamedTempFile, TempDir};

fn image(disk: &mut FatDir) -> Vec<u8> {
    let mut bytes = vec![0; disk.size() as usize];
    let mut storage = IoVecStorage::new();
    let mut iov = IoVec::new(&mut storage);
    iov.push_buffer(&mut bytes);
    assert_eq!(disk.transfer(&mut iov, 0, Direction::Read).unwrap() as u64, disk.size());
    bytes
}

/// Writes the whole disk, as a guest.
fn write(disk: &mut FatDir, bytes: &mut [u8]) {
    let len = bytes.len();
    let mut storage = IoVecStorage::new();
    let mut iov = IoVec::new(&mut storage);
    iov.push_buffer(bytes);
    assert_eq!(disk.transfer(&mut iov, 0, Direction::Write).unwrap(), len);
}

fn run(program: &str, args: &[&str]) -> (bool, String) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(program);
    command.env("PATH", path).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("MTOOLS_SKIP_CHECK", "1").args(args);
    let output = command.output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// A disk's image in a file, for mtools.
struct Image(NamedTempFile);

impl Image {
    fn of(disk: &mut FatDir) -> Self {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), image(disk)).unwrap();
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn mtool(&self, program: &str, args: &[&str]) -> String {
        let (ok, text) = run(program, &[&["-i", self.path()][..], args].concat());
        assert!(ok, "{program} {args:?}: {text}");
        text
    }

    fn check(&self) {
        let (ok, text) = run("fsck.fat", &["-n", self.path()]);
        assert!(ok, "{text}");
    }

    /// The guest's disk is now what mtools made of the image.
    fn write_to(&self, disk: &mut FatDir) {
        write(disk, &mut fs::read(self.0.path()).unwrap());
    }
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let tree = Tree::list(&HostDir::open(dir).unwrap(), dir).unwrap();
    let path = |n| tree.path(n).into_os_string().into_string().unwrap();
    let of = |n: usize| {
        if tree.nodes[n].is_dir() { b"directory".to_vec() } else { fs::read(dir.join(tree.path(n))).unwrap() }
    };
    (1..tree.nodes.len()).map(|n| (path(n), of(n))).collect()
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

#[test]
fn mtools_and_fsck_read_the_disk() {
    let dir = folder(&[
        ("AUTOEXEC.BAT", "echo on\r\n"),
        ("A long file name.text", "long"),
        ("Sub Directory/Ünï.txt", "unicode"),
        ("Sub Directory/empty", ""),
        (".profile", "hidden"),
    ]);
    fs::write(dir.path().join("big"), vec![b'b'; 100_000]).unwrap();
    fs::set_permissions(dir.path().join("big"), fs::Permissions::from_mode(0o444)).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::open(dir.path().join("AUTOEXEC.BAT")).unwrap().set_modified(time).unwrap();
    symlink("/etc/passwd", dir.path().join("link")).unwrap();
    let mut disk = FatDir::open(dir.path(), false).unwrap();
    assert_eq!(disk.size(), 1_474_560);
    let image = Image::of(&mut disk);
    image.check();
    let to = TempDir::new().unwrap();
    image.mtool("mcopy", &["-s", "-m", "-n", "::", to.path().to_str().unwrap()]);
    let mut expected = contents(dir.path());
    expected.remove("link");
    assert_eq!(contents(to.path()), expected);
    let listed = image.mtool("mdir", &["::"]);
    for part in ["AUTOEXEC BAT", "ALONGF~1 TEX", "SUBDIR~1 ", "PROFIL~1 ", "2001-09-09   1:46"] {
        assert!(listed.contains(part), "{part} is not in {listed}");
    }
    assert!(image.mtool("mattrib", &["::big"]).contains(" R "));
    let mut bytes = [0; 512];
    let mut storage = IoVecStorage::new();
    let mut iov = IoVec::new(&mut storage);
    iov.push_buffer(&mut bytes);
    assert!(disk.transfer(&mut iov, 0, Direction::Write).is_err(), "a write-protected disk was written");
}

#[test]
fn a_directory_that_does_not_fit_is_rejected_with_the_excess() {
    let dir = folder(&[("empty", "")]);
    let with = |len: usize| {
        fs::write(dir.path().join("big"), vec![1; len]).unwrap();
        FatDir::open(dir.path(), false)
    };
    assert_eq!(with(2847 * 512).unwrap().size(), 1_474_560);
    assert_eq!(with(2847 * 512 + 1).unwrap().size(), 2_949_120);
    let most = Volume::MB_2_88.clusters() as usize * 1024;
    assert_eq!(with(most).unwrap().size(), 2_949_120);
    Image::of(&mut with(most).unwrap()).check();
    assert_eq!(with(most + 1).unwrap_err().to_string(), "the files exceed a floppy disk of 2.88 MB by 1024 bytes");
    let many = TempDir::new().unwrap();
    for n in 0..300 {
        fs::write(many.path().join(format!("F{n}")), "").unwrap();
    }
    assert!(matches!(FatDir::open(many.path(), false), Err(FatError::TopEntries { entries: 301, most: 240 })));
    fs::create_dir(many.path().join("SUB")).unwrap();
    for n in 0..300 {
        fs::rename(many.path().join(format!("F{n}")), many.path().join(format!("SUB/F{n}"))).unwrap();
    }
    Image::of(&mut FatDir::open(many.path(), false).unwrap()).check();
}

use super::volume::Volume;

#[test]
fn what_the_guest_changes_goes_to_the_directory() {
    let dir =
        folder(&[("keep.txt", "kept"), ("change me please.txt", "old"), ("gone.txt", "x"), ("old dir/inner.txt", "y")]);
    fs::set_permissions(dir.path().join("change me please.txt"), fs::Permissions::from_mode(0o640)).unwrap();
    let mut disk = FatDir::open(dir.path(), true).unwrap();
    let image = Image::of(&mut disk);
    let new = folder(&[("n", "new content")]);
    let new = new.path().join("n");
    let new = new.to_str().unwrap();
    image.mtool("mcopy", &["-o", "-n", new, "::change me please.txt"]);
    image.mtool("mdel", &["::gone.txt"]);
    image.mtool("mdeltree", &["::old dir"]);
    image.mtool("mmd", &["::New Directory"]);
    image.mtool("mcopy", &[new, "::New Directory/A new file.txt"]);
    image.mtool("mcopy", &[new, "::SHORT.TXT"]);
    image.check();
    let kept = fs::metadata(dir.path().join("keep.txt")).unwrap();
    image.write_to(&mut disk);
    disk.write_back().unwrap();
    let expected: BTreeMap<String, Vec<u8>> = [
        ("keep.txt", "kept"),
        ("change me please.txt", "new content"),
        ("New Directory", "directory"),
        ("New Directory/A new file.txt", "new content"),
        ("SHORT.TXT", "new content"),
    ]
    .map(|(name, content)| (name.to_owned(), content.into()))
    .into();
    assert_eq!(contents(dir.path()), expected);
    let mode = fs::metadata(dir.path().join("change me please.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let now = fs::metadata(dir.path().join("keep.txt")).unwrap();
    assert_eq!(now.modified().unwrap(), kept.modified().unwrap(), "an unchanged file was written");

    // A second round, on what the first has left: rename, change, remove.
    image.mtool("mdel", &["::SHORT.TXT"]);
    image.mtool("mcopy", &[new, "::Renamed file.txt"]);
    image.mtool("mdel", &["::New Directory/A new file.txt"]);
    image.write_to(&mut disk);
    drop(disk);
    let expected: Vec<_> = contents(dir.path()).into_keys().collect();
    assert_eq!(expected, ["New Directory", "Renamed file.txt", "change me please.txt", "keep.txt"]);
    // A third disk of the same files has them all.
    let image = Image::of(&mut FatDir::open(dir.path(), true).unwrap());
    image.check();
}

#[test]
fn a_program_without_long_names_changes_the_file_with_the_long_name() {
    let dir = folder(&[("A long file name.text", "old"), ("other", "o")]);
    let mut disk = FatDir::open(dir.path(), true).unwrap();
    let image = Image::of(&mut disk);
    let mut bytes = fs::read(image.0.path()).unwrap();
    // DOS deletes the entry and makes one of the short name only.
    let volume = Volume::parse(&bytes).unwrap();
    let root = &mut bytes[volume.root_start()..][..224 * 32];
    for entry in root.chunks_mut(32).filter(|entry| entry[11] == entry::LONG) {
        entry[0] = 0xe5;
    }
    let entry = root.chunks_mut(32).find(|entry| entry.starts_with(b"ALONGF~1TEX")).unwrap();
    let cluster = u32::from(entry[26]);
    entry[28] = 2;
    let at = volume.cluster_start(cluster).unwrap();
    bytes[at..at + 2].copy_from_slice(b"AB");
    write(&mut disk, &mut bytes);
    drop(disk);
    let found = contents(dir.path());
    assert_eq!(found.keys().collect::<Vec<_>>(), ["A long file name.text", "other"]);
    assert_eq!(found["A long file name.text"], b"AB");
}

#[test]
fn changes_on_the_host_are_kept_beside_those_of_the_guest() {
    let dir = folder(&[("both.txt", "old"), ("removed.txt", "old"), ("host.txt", "old")]);
    let mut disk = FatDir::open(dir.path(), true).unwrap();
    let image = Image::of(&mut disk);
    let new = folder(&[("n", "guest")]);
    let new = new.path().join("n");
    for name in ["::both.txt", "::new.txt"] {
        image.mtool("mcopy", &["-o", "-n", new.to_str().unwrap(), name]);
    }
    image.mtool("mdel", &["::removed.txt"]);
    for name in ["both.txt", "removed.txt", "host.txt", "new.txt"] {
        fs::write(dir.path().join(name), "changed on the host").unwrap();
    }
    image.write_to(&mut disk);
    disk.write_back().unwrap();
    let found = contents(dir.path());
    let host = b"changed on the host".to_vec();
    for name in ["both.txt", "removed.txt", "host.txt", "new.txt"] {
        assert_eq!(found[name], host, "{name}");
    }
    assert_eq!((&found["both.txt.guest"], &found["new.txt.guest"]), (&b"guest".to_vec(), &b"guest".to_vec()));
    assert_eq!(found.len(), 6);
    // The next change goes to the same file.
    image.mtool("mcopy", &["-o", "-n", dir.path().join("host.txt").to_str().unwrap(), "::both.txt"]);
    image.write_to(&mut disk);
    disk.write_back().unwrap();
    assert_eq!(contents(dir.path())["both.txt.guest"], host);
    assert_eq!(contents(dir.path()).len(), 6);
}

#[test]
fn a_damaged_or_reformatted_volume_removes_only_what_it_should() {
    let files = [("a.txt", "a"), ("b.txt", "b"), ("d/c.txt", "c")];
    let dir = folder(&files);
    let before = contents(dir.path());
    let mut disk = FatDir::open(dir.path(), true).unwrap();
    let original = image(&mut disk);
    let volume = Volume::parse(&original).unwrap();
    let mut with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = original.clone();
        change(&mut bytes);
        write(&mut disk, &mut bytes);
        disk.write_back().unwrap();
        contents(dir.path())
    };
    // No file system; a loop in the directory's chain; two files with one cluster; a chain past the end.
    assert_eq!(with(&|bytes| bytes.fill(0xf6)), before);
    let cluster_of = |bytes: &[u8], name: &[u8]| {
        let root = &bytes[volume.root_start()..];
        let at = root.chunks(32).position(|entry| entry.starts_with(name)).unwrap();
        (u32::from(root[at * 32 + 26]), volume.root_start() + at * 32)
    };
    assert_eq!(
        with(&|bytes| {
            let (cluster, _) = cluster_of(bytes, b"D  ");
            volume.set_next(bytes, cluster, cluster);
        }),
        before
    );
    assert_eq!(
        with(&|bytes| {
            let ((cluster, _), (_, at)) = (cluster_of(bytes, b"A  "), cluster_of(bytes, b"B  "));
            bytes[at + 26] = cluster as u8;
        }),
        before
    );
    assert_eq!(
        with(&|bytes| {
            let (cluster, _) = cluster_of(bytes, b"B  ");
            volume.set_next(bytes, cluster, 0xff0);
        }),
        before
    );
    // The guest formats the disk.
    let image = Image::of(&mut disk);
    image.mtool("mformat", &["-f", "1440", "::"]);
    image.write_to(&mut disk);
    drop(disk);
    assert_eq!(contents(dir.path()), BTreeMap::new());
}

#[test]
fn names_that_would_leave_the_directory_are_refused() {
    let outer = TempDir::new().unwrap();
    let inner = outer.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("X.TXT"), "x").unwrap();
    let mut disk = FatDir::open(&inner, true).unwrap();
    let mut bytes = image(&mut disk);
    let root = Volume::parse(&bytes).unwrap().root_start();
    let mut at = root + 64;
    for (name, short) in [
        ("../escaped", b"ESCAPE~1   "),
        ("/tmp/escaped", b"ESCAPE~2   "),
        ("a\0b", b"A       B  "),
        ("..", b"DOTS       "),
    ] {
        let short = crate::block::folder::ShortName(*short);
        for part in entry::long_entries(name, &short) {
            bytes[at..at + 32].copy_from_slice(&part);
            at += 32;
        }
        let entry = entry::Entry { short, attributes: 0x20, case: 0, time: 0, date: 0, cluster: 0, size: 0 };
        bytes[at..at + 32].copy_from_slice(&entry.bytes());
        at += 32;
    }
    // A short name with a slash, two entries of one name, and the code page of DOS.
    for short in [b"A/B     TXT", b"X       TXT", b"TWICE      ", b"TWICE      ", b"\x8eRGER      "] {
        let short = crate::block::folder::ShortName(*short);
        let entry = entry::Entry { short, attributes: 0x20, case: 0x08, time: 0, date: 0, cluster: 0, size: 0 };
        bytes[at..at + 32].copy_from_slice(&entry.bytes());
        at += 32;
    }
    write(&mut disk, &mut bytes);
    disk.write_back().unwrap();
    let found: Vec<_> = contents(&inner).into_keys().collect();
    assert_eq!(found, ["X.TXT", "a", "twice", "ärger"]);
    assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
    assert!(!Path::new("/tmp/escaped").exists());
}

#[test]
fn a_disk_of_thousands_of_empty_files_is_bounded() {
    let dir = folder(&[("a", "a")]);
    let mut disk = FatDir::open(dir.path(), true).unwrap();
    let mut bytes = image(&mut disk);
    let volume = Volume::parse(&bytes).unwrap();
    // The root has one directory of all clusters, full of names.
    let entry = |short: &str, attributes, cluster| {
        let short = crate::block::folder::ShortName(short.as_bytes().try_into().unwrap());
        entry::Entry { short, attributes, case: 0, time: 0, date: 0, cluster, size: 0 }.bytes()
    };
    let at = volume.root_start();
    bytes[at + 64..at + 96].copy_from_slice(&entry("DIR        ", entry::DIRECTORY, 3));
    for cluster in 3..volume.clusters() + 2 {
        let next = if cluster + 1 == volume.clusters() + 2 { 0xfff } else { cluster + 1 };
        volume.set_next(&mut bytes, cluster, next);
        let at = volume.cluster_start(cluster).unwrap();
        for n in 0..16 {
            let name = format!("{:<11}", cluster as usize * 16 + n);
            bytes[at + n * 32..at + n * 32 + 32].copy_from_slice(&entry(&name, 0, 0));
        }
    }
    let listing = read::read(&bytes).unwrap();
    assert_eq!(listing.items.len(), read::ITEMS_MAX);
    assert_eq!(listing.damage.as_deref(), Some("it has too many files"));
}

#[test]
fn only_one_machine_writes_back_to_a_directory() {
    let dir = folder(&[("a", "a")]);
    let [first, second] = [true, true].map(|write| FatDir::open(dir.path(), write).unwrap());
    let reader = FatDir::open(dir.path(), false).unwrap();
    first.lock().unwrap();
    assert_eq!(second.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(reader.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(first);
    reader.lock().unwrap();
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ .a-cA-C~1äßЖ日😀+-]{1,30}",
        "(prefix|PREFIX)[a-b]{0,30}(\\.[a-b]{0,4})?",
        "[a-z]{1,8}(\\.[a-z]{1,3})?"
    ]
    .prop_filter("a name", |name| name != "." && name != ".." && !name.ends_with(['.', ' ']))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_directories_read_back_and_write_back_nothing(
        dirs in prop::collection::vec((any::<prop::sample::Index>(), any_name()), 0..6),
        files in prop::collection::vec((any::<prop::sample::Index>(), any_name(), 0usize..5000), 0..30),
    ) {
        let dir = TempDir::new().unwrap();
        let mut all = vec![dir.path().to_owned()];
        for (parent, name) in dirs {
            let path = parent.get(&all).join(name);
            if fs::create_dir(&path).is_ok() {
                all.push(path);
            }
        }
        for (parent, name, len) in files {
            let path = parent.get(&all).join(&name);
            if !path.exists() {
                fs::write(path, name.bytes().cycle().take(len).collect::<Vec<_>>()).unwrap();
            }
        }
        let mut disk = match FatDir::open(dir.path(), true) {
            Ok(disk) => disk,
            Err(FatError::TopEntries { .. }) => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        let image = Image::of(&mut disk);
        image.check();
        let before = contents(dir.path());
        let listing = read::read(&fs::read(image.0.path()).unwrap()).unwrap();
        prop_assert_eq!(&listing.damage, &None);
        prop_assert_eq!(listing.items.len(), before.len());
        let known: Vec<_> = disk.state.known.iter().map(|known| known.known.clone()).collect();
        let plan = plan::plan(&listing, &known);
        prop_assert_eq!(plan.changes, []);
        prop_assert_eq!(plan.refused.len(), 0);
        image.write_to(&mut disk);
        drop(disk);
        prop_assert_eq!(contents(dir.path()), before);
    }

    #[test]
    fn damaged_volumes_are_read_within_bounds(patches in prop::collection::vec((0u16..0x4600, any::<u8>()), 0..200)) {
        fuzz(&patches.iter().flat_map(|(at, value)| [*at as u8, (at >> 8) as u8, *value]).collect::<Vec<_>>());
    }
}
