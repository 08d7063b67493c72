//! libFuzzer target: a qcow2 image's header and tables, for `pcvm image` and for the disk of a machine. The image is in a
//! memory file; it may name no other file.
#![no_main]

use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, StorageOpenOptions};
use libfuzzer_sys::fuzz_target;
use pcvm::block::qcow2::{self, Access, Header};
use pcvm::image::{Depth, Directories, Disk, Format, check};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

fuzz_target!(|bytes: &[u8]| {
    let Ok(memory) = rustix::fs::memfd_create("image", rustix::fs::MemfdFlags::CLOEXEC) else { return };
    let file = File::from(memory);
    file.write_all_at(bytes, 0).expect("memory");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let Ok(header) = Header::read(&file) else { return };
    let _ = qcow2::internal_snapshots(&file, &header);
    let _ = qcow2::bitmaps(&file, &header);
    let _ = check(&file, &path, &header);
    let dirs = Directories::new(&path, &[]).expect("/proc");
    let _ = pcvm::image::info(&path, Some(Format::Qcow2), &dirs, false);
    let mut buffer = vec![0; 64 << 10];
    if let Ok(mut disk) = Disk::open(&path, Some(Format::Qcow2), &dirs, Depth::Chain, false) {
        let mut at = 0;
        for _ in 0..512 {
            if at >= disk.size() {
                break;
            }
            at += disk.map(at, u64::MAX).map_or(header.cluster_size(), |segment| segment.length);
        }
        let _ = disk.read(0, &mut buffer);
        let _ = disk.read(disk.size().saturating_sub(1000), &mut buffer);
    }
    if qcow2::unsupported(&header, Access::Write).is_some() || qcow2::check_for_writing(&file, &header).is_err() {
        return;
    }
    let options = StorageOpenOptions::new().write(true).filename(&path);
    let Ok(storage) = file.try_clone().and_then(|file| imago::file::File::from_open_file(file, options)) else {
        return;
    };
    let image = imago::qcow2::Qcow2::<imago::file::File>::builder(storage).write(true).backing(None).data_file(None);
    let Ok(image) = image.open(DenyImplicitOpenGate::default()) else { return };
    let mut image = FormatAccess::new(image);
    let _ = image.read(buffer.as_mut_slice(), 0);
    let end = header.size.min(buffer.len() as u64) as usize;
    let _ = image.write(&buffer[..end], 0);
    let _ = image.write_zeroes(0, end as u64 / 2);
    let _ = image.discard_to_zero(end as u64 / 2, end as u64 / 4);
    let _ = image.flush();
});
