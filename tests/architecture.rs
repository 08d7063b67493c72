//! The documents agree with the tree: files and functions that they name exist, and `unsafe` is where they say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_architecture_page_is_short() {
    let size = text("ARCHITECTURE.md").len();
    assert!(size <= 12 << 10, "{size} bytes; 12 KiB is what a newcomer reads");
}

#[test]
fn files_and_functions_that_documents_name_exist() {
    let mut missing = Vec::new();
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "SPECIFICATION.md", "README.md"] {
        for name in quoted(&text(document)) {
            let (path, function) = name.split_once(".rs:").map_or((name, None), |(path, f)| (path, Some(f)));
            let path = if function.is_some() { format!("{path}.rs") } else { path.to_owned() };
            let local = ["src/", "devices/", "firmware/", "tests/", "benches/", ".ci/"];
            if !local.iter().any(|start| path.starts_with(start)) {
                continue;
            }
            let path = path.split(' ').next().unwrap_or_default();
            let Ok(metadata) = fs::metadata(root().join(path)) else {
                missing.push(format!("{document}: {name}"));
                continue;
            };
            if let Some(function) = function {
                let source = if metadata.is_file() { text(path) } else { String::new() };
                let defined = ["(", "<"].iter().any(|end| source.contains(&format!("fn {function}{end}")));
                if !defined {
                    missing.push(format!("{document}: {name}"));
                }
            }
        }
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn unsafe_code_is_only_in_the_files_that_the_architecture_page_names() {
    let page = text("ARCHITECTURE.md");
    let start = page.find("**`unsafe` stays in a few files**").expect("the invariant");
    let end = page[start..].find("\n- **").map_or(page.len(), |end| start + end);
    let named: BTreeSet<&str> = quoted(&page[start..end]).into_iter().filter(|name| name.starts_with("src/")).collect();
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    let mut used = BTreeSet::new();
    for file in files {
        let relative = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if !fs::read_to_string(&file).unwrap().contains("allow(unsafe_code)") {
            continue;
        }
        let place = named.iter().find(|name| **name == relative || relative.starts_with(&format!("{name}/")));
        used.insert(
            *place.unwrap_or_else(|| panic!("{relative} may have unsafe code, and ARCHITECTURE.md does not say so")),
        );
    }
    assert_eq!(used, named, "files that ARCHITECTURE.md names and that have no unsafe code");
}

/// The modules below `crate::` that a file imports, without its unit tests.
fn imports(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let name =
        |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_' || c.is_ascii_digit()).collect();
    code.split("crate::").skip(1).map(name).filter(|name: &String| !name.is_empty()).collect()
}

#[test]
fn no_two_rooms_import_each_other() {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut rooms = std::collections::BTreeMap::<String, BTreeSet<String>>::new();
    for file in files.iter().filter(|file| !file.to_str().unwrap().contains("tests")) {
        let first = file.strip_prefix(&src).unwrap().components().next().unwrap();
        let room = first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        rooms.entry(room).or_default().extend(imports(&fs::read_to_string(file).unwrap()));
    }
    let imports = |a: &String, b: &String| rooms.get(a).is_some_and(|imported| imported.contains(b));
    let circles: Vec<_> = rooms
        .keys()
        .flat_map(|a| rooms.keys().map(move |b| (a, b)))
        .filter(|(a, b)| a < b && imports(a, b) && imports(b, a))
        .collect();
    assert_eq!(circles, []);
    assert!(!imports(&"machine".to_owned(), &"control".to_owned()), "services are added, not imported");
}
