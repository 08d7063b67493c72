//! What the screen shows: scenes, drawn by register and memory accesses, and looked at in three ways.
//!
//! The adapter by itself draws each as its PNG in `tests/screen/golden` (`PCVM_BLESS=1` writes them anew, to be looked
//! at), and where something blinks as another one while that is not seen. A whole machine draws it the same, and QEMU, with
//! the same guest, but for what `differences.txt` says.

mod adapter;
mod machines;
mod picture;

use machines::Machine;
use pcvm_test_guests::screen::scenes::{Group, groups};
use pcvm_test_guests::screen::{image, play};
use picture::Picture;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    pcvm_test_host::project().join("tests/screen/golden").join(format!("{name}.png"))
}

#[test]
fn the_adapter_draws_every_scene_as_it_was_looked_at() {
    let bless = std::env::var_os("PCVM_BLESS").is_some();
    let mut wrong = Vec::new();
    for group in groups() {
        let drawn = adapter::draw(&group.program());
        assert_eq!(drawn.pictures.len(), group.scenes.len());
        for ((scene, picture), hidden) in group.scenes.iter().zip(drawn.pictures).zip(drawn.hidden) {
            let other = format!("{}.hidden", scene.name);
            for (name, picture) in [(scene.name.to_owned(), Some(picture)), (other, hidden)] {
                let path = golden(&name);
                match picture {
                    Some(picture) if bless => picture.write_png(&path),
                    picture if Picture::read_png(&path) == picture => {}
                    None => wrong.push(format!("{name} (nothing blinks)")),
                    Some(picture) => {
                        picture.write_png(&std::env::temp_dir().join(format!("{name}.png")));
                        wrong.push(name);
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not as in tests/screen/golden, but as in {}: {wrong:?}", std::env::temp_dir().display());
}

/// Plays a group's program on a machine: what it reports before each picture, and the picture.
fn watch(machine: &mut Machine, group: &Group) -> Vec<(Vec<u8>, Picture)> {
    let reports = |program: &[_]| play(program, &mut adapter::Silent).len();
    let mut expected = reports(&group.prologue);
    group
        .scenes
        .iter()
        .map(|scene| {
            expected += reports(&scene.program);
            let report = machine.report(std::mem::take(&mut expected));
            let picture = machine.picture();
            machine.go_on();
            (report, picture)
        })
        .collect()
}

/// Without what input status register 1 says of the time.
fn timeless(report: &[u8]) -> Vec<u8> {
    report.iter().map(|byte| byte & !9).collect()
}

fn guest(group: &Group) -> PathBuf {
    image(group.name, &group.program()).unwrap_or_else(|error| panic!("{error}"))
}

fn a_machine_draws(name: &str) {
    pcvm_test_host::require_kvm();
    let group = groups().into_iter().find(|group| group.name == name).expect("a group of that name");
    let drawn = adapter::draw(&group.program());
    let mut reports = Vec::new();
    for ((scene, picture), (report, seen)) in
        group.scenes.iter().zip(drawn.pictures).zip(watch(&mut Machine::pcvm(&guest(&group)), &group))
    {
        reports.extend(report);
        if picture != seen {
            let path = std::env::temp_dir().join(format!("machine-{}.png", scene.name));
            seen.write_png(&path);
            panic!("{} is not what the adapter draws by itself, but {}", scene.name, path.display());
        }
    }
    assert_eq!(timeless(&reports), timeless(&drawn.report), "what the guest read");
}

#[test]
fn software_a_machine_draws_text_as_the_adapter_does() {
    a_machine_draws("text");
}

#[test]
fn software_a_machine_draws_planes_as_the_adapter_does() {
    a_machine_draws("planes");
}

#[test]
fn software_a_machine_draws_bytes_as_the_adapter_does() {
    a_machine_draws("bytes");
}

#[test]
fn software_a_machine_draws_vbe_modes_as_the_adapter_does() {
    a_machine_draws("vbe");
}

/// Scenes that QEMU shows differently, and why.
fn differences() -> BTreeMap<&'static str, &'static str> {
    include_str!("differences.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(": ").expect("NAME: REASON"))
        .collect()
}

#[test]
fn qemu_draws_every_scene_the_same_but_for_what_is_explained() {
    let mut differences = differences();
    let keep = std::env::var_os("PCVM_SCREEN_DIR").map(PathBuf::from);
    let mut wrong = Vec::new();
    for group in groups() {
        let drawn = adapter::draw(&group.program());
        let mut ours = drawn.report.as_slice();
        let seen = watch(&mut Machine::qemu(&guest(&group)), &group);
        for ((scene, picture), (report, its)) in group.scenes.iter().zip(drawn.pictures).zip(seen) {
            if let Some(dir) = &keep {
                its.write_png(&dir.join(format!("{}.qemu.png", scene.name)));
            }
            let (mine, rest) = ours.split_at(report.len());
            ours = rest;
            let same = picture.is_like(&its) && timeless(mine) == timeless(&report);
            match (same, differences.remove(scene.name)) {
                (true, None) | (false, Some(_)) => {}
                (true, Some(reason)) => wrong.push(format!("{}: the same, but explained as: {reason}", scene.name)),
                (false, None) if timeless(mine) == timeless(&report) => wrong.push(format!(
                    "{}: {}x{} here, {}x{} on QEMU: {}",
                    scene.name,
                    picture.width,
                    picture.height,
                    its.width,
                    its.height,
                    picture.difference(&its)
                )),
                (false, None) => {
                    wrong.push(format!("{}: the guest read other bytes: {mine:x?} {report:x?}", scene.name))
                }
            }
        }
    }
    wrong.extend(differences.keys().map(|name| format!("{name}: no such scene")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
