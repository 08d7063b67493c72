//! Tests of listings, short names and access below a directory.

use super::*;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

fn iso(names: &[(&str, bool)]) -> Vec<String> {
    texts(ShortNames::iso(), names)
}

fn fat(names: &[&str]) -> Vec<String> {
    texts(ShortNames::fat(), &names.iter().map(|name| (*name, false)).collect::<Vec<_>>())
}

fn texts(names: ShortNames, entries: &[(&str, bool)]) -> Vec<String> {
    let assigned = names.assign(entries.iter().map(|(name, is_dir)| (name.as_bytes(), *is_dir))).unwrap();
    let part = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assigned.iter().map(|(name, _)| format!("{}.{}", part(name.base()), part(name.extension()))).collect()
}

#[test]
fn a_short_name_keeps_the_name_that_fits_and_numbers_the_others() {
    assert_eq!(
        iso(&[("Readme", false), ("README", false), (".profile", false), ("a.b.tar.gz", false), ("name.dir", true)]),
        ["README.", "README1.", "PROFILE.", "A_B_TAR.GZ", "NAME_DIR."]
    );
    assert_eq!(iso(&[("setup-a.exe", false), ("SETUP_A.EXE", false)]), ["SETUP_A1.EXE", "SETUP_A.EXE"]);
    assert_eq!(iso(&[("...", false), ("é.ü", false), ("", true)]), ["_.", "_._", "_1."]);
    assert_eq!(
        fat(&["longname1.text", "longname2.text", "Plain.TXT", "a b.c.txt", "con", "nul.txt", ".x", "ok$.txt"]),
        ["LONGNA~1.TEX", "LONGNA~2.TEX", "PLAIN.TXT", "ABC~1.TXT", "CON~1.", "NUL~1.TXT", "X~1.", "OK$.TXT"]
    );
}

#[test]
fn thousands_of_similar_names_stay_unique() {
    let names: Vec<String> = (0..30_000).map(|n| format!("photo of the holiday {n}.jpeg")).collect();
    for kind in [ShortNames::iso(), ShortNames::fat()] {
        let assigned = kind.assign(names.iter().map(|name| (name.as_bytes(), false))).unwrap();
        assert_eq!(assigned.iter().map(|(name, _)| name).collect::<HashSet<_>>().len(), names.len());
    }
}

#[test]
fn a_listing_has_files_links_and_directories_and_skips_special_files() {
    let dir = TempDir::new().unwrap();
    std::fs::create_dir_all(dir.path().join("b/c")).unwrap();
    std::fs::write(dir.path().join("b/c/file"), "12345").unwrap();
    std::fs::write(dir.path().join("a"), "").unwrap();
    symlink("/etc/passwd", dir.path().join("link")).unwrap();
    symlink("/etc", dir.path().join("b/etc")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::RUSR).unwrap();
    let host = HostDir::open(dir.path()).unwrap();
    let tree = Tree::list(&host, dir.path()).unwrap();
    let found: Vec<_> = (0..tree.nodes.len()).map(|n| tree.path(n).to_str().unwrap().to_owned()).collect();
    assert_eq!(found, ["", "a", "b", "link", "b/c", "b/etc", "b/c/file"]);
    assert_eq!(tree.nodes[6].content, Content::File(5));
    assert_eq!(tree.nodes[3].content, Content::Symlink("/etc/passwd".into()));
}

#[test]
fn a_listing_is_bounded_in_depth() {
    let dir = TempDir::new().unwrap();
    let deep = |levels: usize| (0..levels).map(|_| "d").collect::<std::path::PathBuf>();
    std::fs::create_dir_all(dir.path().join(deep(Tree::DEPTH_MAX))).unwrap();
    let host = HostDir::open(dir.path()).unwrap();
    assert_eq!(Tree::list(&host, dir.path()).unwrap().nodes.len(), Tree::DEPTH_MAX + 1);
    std::fs::create_dir(dir.path().join(deep(Tree::DEPTH_MAX + 1))).unwrap();
    assert!(matches!(Tree::list(&host, dir.path()), Err(TreeError::TooDeep(_))));
}

#[test]
fn access_never_leaves_the_directory() {
    let outer = TempDir::new().unwrap();
    let inner = outer.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(outer.path().join("secret"), "s").unwrap();
    symlink("../secret", inner.join("link")).unwrap();
    symlink("..", inner.join("up")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, inner.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
    let host = HostDir::open(&inner).unwrap();
    for path in ["../secret", "link", "up/secret", "up", "fifo", "/etc/passwd", "", ".", ".."] {
        let path = Path::new(path);
        assert!(host.open_file(path).is_err(), "{path:?} was opened");
        assert!(path == Path::new("") || path == Path::new(".") || host.open_dir(path).is_err(), "{path:?}");
    }
    for path in ["../new", "up/new", "link/new", "..", "/tmp/new", "a/../../new"] {
        let path = Path::new(path);
        assert!(host.replace_file(path, b"x", None, None).is_err(), "{path:?} was written");
        assert!(host.create_dir(path).is_err() && host.remove_file(path).is_err(), "{path:?}");
    }
    assert!(host.remove_file(Path::new("up/secret")).is_err());
    host.replace_file(Path::new("link"), b"mine", None, None).unwrap();
    assert_eq!(std::fs::read(outer.path().join("secret")).unwrap(), b"s", "the link was followed");
    assert_eq!(std::fs::read(inner.join("link")).unwrap(), b"mine");
}

#[test]
fn a_replaced_file_keeps_its_mode_and_leaves_no_temporary_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join(".pcvm-1-0.tmp"), "").unwrap();
    let host = HostDir::open(dir.path()).unwrap();
    host.create_dir(Path::new("d")).unwrap();
    host.create_dir(Path::new("d")).unwrap();
    host.replace_file(Path::new("d/f"), b"content", Some(0o640), Some(1_000_000_000)).unwrap();
    host.sync_dir(Path::new("d")).unwrap();
    let metadata = std::fs::metadata(dir.path().join("d/f")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    let age = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(age.as_secs(), 1_000_000_000);
    assert!(host.replace_file(Path::new("d"), b"", None, None).is_err(), "a directory was replaced");
    let names: Vec<_> = std::fs::read_dir(dir.path().join("d")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [OsStr::new("f")]);
    assert!(host.remove_dir(Path::new("d")).is_err());
    host.remove_file(Path::new("d/f")).unwrap();
    host.remove_file(Path::new("d/f")).unwrap();
    host.remove_dir(Path::new("d")).unwrap();
}
