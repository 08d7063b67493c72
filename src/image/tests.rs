//! Damaged qcow2 images: no panic, no hang, bounded memory, whatever the header and tables say.

use super::chain::{Depth, Disk};
use super::create::{CreateOptions, format_file};
use super::write::Target;
use super::{Format, check};
use crate::block::Directories;
use crate::block::qcow2::{self, Header};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A small image with data, zero clusters and 512-byte clusters, so that one byte of damage matters.
fn image(dir: &Path, options: &CreateOptions) -> Vec<u8> {
    let path = dir.join("a.qcow2");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    format_file(&file, &path, 96 << 10, options).unwrap();
    let mut target = Target::open(&file, &path, Format::Qcow2).unwrap();
    target.write(0, &[1; 4096], true).unwrap();
    target.write_zeros(8192, 2048).unwrap();
    target.write(40 << 10, &[2; 1024], true).unwrap();
    target.finish().unwrap();
    std::fs::read(&path).unwrap()
}

/// Everything that pcvm does with an image: describe, check, map, read, and if it is let through, write by `imago`.
fn use_all(path: &Path, file: &File) {
    let Ok(header) = Header::read(file) else { return };
    let _ = qcow2::internal_snapshots(file, &header);
    let _ = qcow2::bitmaps(file, &header);
    let _ = super::info(path, Some(Format::Qcow2), &Directories::new(path, &[]).unwrap(), false);
    let _ = check(file, path, &header);
    let dirs = Directories::new(path, &[]).unwrap();
    if let Ok(mut disk) = Disk::open(path, Some(Format::Qcow2), &dirs, Depth::Chain, false) {
        let (mut at, mut turns) = (0, 0);
        while at < disk.size() && turns < 4096 {
            match disk.map(at, u64::MAX) {
                Ok(segment) => {
                    assert!(segment.length > 0);
                    at += segment.length;
                }
                Err(_) => at += header.cluster_size(),
            }
            turns += 1;
        }
        let mut buffer = vec![0; 64 << 10];
        let _ = disk.read(0, &mut buffer);
        let _ = disk.read(disk.size().saturating_sub(1000), &mut buffer);
    }
    // What passes the checks must not make imago panic or search for long.
    if let Ok(mut target) = Target::open(file, path, Format::Qcow2) {
        let end = header.size.min(90 << 10);
        let _ = target.write(0, &vec![3; end as usize / 2], false);
        let _ = target.write_zeros(0, end / 3);
        let _ = target.write(end / 2 / 512 * 512, &[4; 512], false);
        let _ = target.grow_zeroed(header.size, header.size.saturating_add(4096), false);
        let _ = target.finish();
    }
}

#[test]
fn damaged_images_neither_panic_nor_hang() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.qcow2");
    let rounds = std::env::var("PCVM_DAMAGE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3000);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |end: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    };
    for refcount_bits in [1, 16, 64] {
        let options = CreateOptions { cluster_size: 512, refcount_bits, ..CreateOptions::default() };
        let sound = image(dir.path(), &options);
        for round in 0..rounds / 3 {
            let mut bytes = sound.clone();
            for _ in 0..1 + random(4) {
                let at = match random(3) {
                    0 => random(112),
                    // Tables are in the first clusters.
                    1 => 512 + random(5 * 512),
                    _ => random(bytes.len()),
                };
                bytes[at] = match random(4) {
                    0 => 0xff,
                    1 => bytes[at] ^ 1 << random(8),
                    2 => bytes[random(sound.len())],
                    _ => random(256) as u8,
                };
            }
            bytes.truncate(if random(8) == 0 { random(bytes.len()) } else { bytes.len() });
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            let start = std::time::Instant::now();
            if let Err(panic) = std::panic::catch_unwind(|| use_all(&path, &file)) {
                let kept = std::env::temp_dir().join(format!("damaged-{refcount_bits}-{round}.qcow2"));
                std::fs::write(&kept, &bytes).unwrap();
                eprintln!("{} makes it panic", kept.display());
                std::panic::resume_unwind(panic);
            }
            assert!(start.elapsed() < std::time::Duration::from_secs(20), "{refcount_bits} bits, round {round}");
        }
    }
}
