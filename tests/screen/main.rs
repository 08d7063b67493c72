//! Screen rendering tests: scenes drawn by register and memory accesses, rendered in three ways.
//!
//! Groups of scenes name their adapter. The model of the adapter alone renders each scene like its PNG in `tests/screen/golden`, and scenes that blink also like
//! `NAME.hidden.png` (dark phase). `PCVM_BLESS=1` writes the PNGs anew, for review. A pcvm machine must render the same
//! pictures, and so must QEMU with the same guest, except for the scenes in `differences.txt`.

mod adapter;
mod machines;
mod picture;

use machines::Machine;
use pcvm_test_guests::screen::scenes::{self, Group, groups};
use pcvm_test_guests::screen::{image, interpret};
use pcvm_test_host::{Host, Job};
use picture::Picture;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    pcvm_test_host::project().join("tests/screen/golden").join(format!("{name}.png"))
}

#[test]
fn the_vga_model_renders_every_scene_like_its_golden_png() {
    let bless = std::env::var_os("PCVM_BLESS").is_some();
    let mut wrong = Vec::new();
    for group in groups() {
        let drawn = adapter::draw(group.adapter, &group.program());
        assert_eq!(drawn.pictures.len(), group.scenes.len());
        for ((scene, picture), hidden) in group.scenes.iter().zip(drawn.pictures).zip(drawn.hidden) {
            let other = format!("{}.hidden", scene.name);
            for (name, picture) in [(scene.name.to_owned(), Some(picture)), (other, hidden)] {
                let path = golden(&name);
                match picture {
                    Some(picture) if bless => picture.write_png(&path),
                    picture if Picture::read_png(&path) == picture => {}
                    None => wrong.push(format!("{name} (the scene does not blink)")),
                    Some(picture) => {
                        picture.write_png(&std::env::temp_dir().join(format!("{name}.png")));
                        wrong.push(name);
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong:?} differ from tests/screen/golden; the rendered pictures are in {}",
        std::env::temp_dir().display()
    );
}

/// Runs a group's program on a VM; returns what the guest reports before each picture, and the picture.
fn run_scenes(machine: &mut Machine, group: &Group) -> Vec<(Vec<u8>, Picture)> {
    let reports = |program: &[_]| interpret(program, &mut adapter::NullAdapter).len();
    let mut expected = reports(&group.prologue);
    group
        .scenes
        .iter()
        .map(|scene| {
            expected += reports(&scene.program);
            let report = machine.report(std::mem::take(&mut expected));
            let picture = machine.picture();
            machine.next_scene();
            (report, picture)
        })
        .collect()
}

/// Masks the retrace and display enable bits of input status register 1, which depend on time.
fn without_time_bits(report: &[u8]) -> Vec<u8> {
    report.iter().map(|byte| byte & !9).collect()
}

fn guest(group: &Group) -> PathBuf {
    image(group.name, &group.program()).unwrap_or_else(|error| panic!("{error}"))
}

fn check_vm(name: &str) {
    pcvm_test_host::require_kvm();
    let group = groups().into_iter().find(|group| group.name == name).expect("a group has that name");
    let drawn = adapter::draw(group.adapter, &group.program());
    let mut reports = Vec::new();
    for ((scene, picture), (report, seen)) in group
        .scenes
        .iter()
        .zip(drawn.pictures)
        .zip(run_scenes(&mut Machine::pcvm(&guest(&group), group.adapter), &group))
    {
        reports.extend(report);
        if picture != seen {
            let path = std::env::temp_dir().join(format!("machine-{}.png", scene.name));
            seen.write_png(&path);
            panic!("{}: the VM renders another picture than the VGA model: see {}", scene.name, path.display());
        }
    }
    assert_eq!(
        without_time_bits(&reports),
        without_time_bits(&drawn.report),
        "the guest read other bytes than the VGA model returns"
    );
}

#[test]
fn software_a_vm_renders_text_like_the_vga_model() {
    check_vm("text");
}

#[test]
fn software_a_vm_renders_planes_like_the_vga_model() {
    check_vm("planes");
}

#[test]
fn software_a_vm_renders_bytes_like_the_vga_model() {
    check_vm("bytes");
}

#[test]
fn software_a_vm_renders_vbe_modes_like_the_vga_model() {
    check_vm("vbe");
}

#[test]
fn software_a_vm_renders_cirrus_modes_like_the_model() {
    check_vm("cirrus-modes");
}

#[test]
fn software_a_vm_renders_what_the_cirrus_blitter_draws_like_the_model() {
    check_vm("cirrus-blitter");
}

/// On a real KVM, which exits for each byte within such an instruction until the emulator takes it over.
#[test]
fn nested_repeated_copies_between_planes_move_every_byte_of_every_plane() {
    let program = scenes::copies();
    let image = image("copies", &program).unwrap_or_else(|error| panic!("{error}"));
    let command = "./pcvm run --memory 16M --firmware copies.bin --serial file:serial.out --display none --no-reboot";
    let job = Job::new("screen-copies", command).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let output = Host::pick().run(&job.file(image, "copies.bin")).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &[]);
    let sums = std::fs::read(output.dir.join("serial.out")).expect("the guest has sent its sums");
    assert_eq!(sums, adapter::draw("std", &program).report);
}

/// Scenes that QEMU renders differently, and why.
fn differences() -> BTreeMap<&'static str, &'static str> {
    include_str!("differences.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(": ").expect("NAME: REASON"))
        .collect()
}

#[test]
fn qemu_renders_every_scene_the_same_except_known_differences() {
    let mut differences = differences();
    let dump_dir = std::env::var_os("PCVM_SCREEN_DIR").map(PathBuf::from);
    let mut wrong = Vec::new();
    for group in groups() {
        let drawn = adapter::draw(group.adapter, &group.program());
        let mut ours = drawn.report.as_slice();
        let seen = run_scenes(&mut Machine::qemu(&guest(&group), group.adapter), &group);
        for ((scene, picture), (report, its)) in group.scenes.iter().zip(drawn.pictures).zip(seen) {
            if let Some(dir) = &dump_dir {
                its.write_png(&dir.join(format!("{}.qemu.png", scene.name)));
            }
            let (mine, rest) = ours.split_at(report.len());
            ours = rest;
            let same = picture.is_like(&its) && without_time_bits(mine) == without_time_bits(&report);
            match (same, differences.remove(scene.name)) {
                (true, None) | (false, Some(_)) => {}
                (true, Some(reason)) => {
                    wrong.push(format!("{}: no longer differs; remove it from differences.txt ({reason})", scene.name))
                }
                (false, None) if without_time_bits(mine) == without_time_bits(&report) => wrong.push(format!(
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
    wrong.extend(differences.keys().map(|name| format!("{name}: differences.txt names a scene that does not exist")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
