//! `pcvm image info`: what an image file is, from its header and tables.

use super::chain::{Depth, Disk, Layer};
use super::{Format, ImageError, files, snapshot};
use crate::block::qcow2::{self, Compression, Encryption, Header, LAZY_REFCOUNTS};
use crate::block::{self, Directories, Holder};
use serde_json::{Map, Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is known of an image file. The JSON fields are those of `qemu-img info --output=json` where it has them.
#[derive(Debug)]
pub struct Info {
    /// As an object.
    pub json: Value,
    /// As lines of text.
    pub text: String,
}

/// Describes an image. With `chain`, each backing file, too.
///
/// # Errors
/// If the image cannot be opened.
pub fn info(path: &Path, given: Option<Format>, dirs: &Directories, chain: bool) -> Result<Vec<Info>, ImageError> {
    let depth = if chain { Depth::Chain } else { Depth::Header };
    let disk = Disk::open(path, given, dirs, depth, false)?;
    disk.layers().iter().map(describe).collect()
}

fn describe(layer: &Layer) -> Result<Info, ImageError> {
    let mut json = Map::new();
    let mut text = String::new();
    let mut line = |name: &str, value: String| text.push_str(&format!("{name}: {value}\n"));
    let path = &layer.path;
    let metadata = std::fs::metadata(path).map_err(ImageError::host(path))?;
    let allocated = metadata.blocks() * 512;
    json.insert("filename".into(), json!(path));
    json.insert("format".into(), json!(layer.format.name()));
    json.insert("virtual-size".into(), json!(layer.size));
    json.insert("actual-size".into(), json!(allocated));
    line("image", path.display().to_string());
    line("file format", layer.format.name().to_owned());
    line("virtual size", format!("{} ({} bytes)", human(layer.size), layer.size));
    line("disk size", human(allocated));
    if let Some(header) = layer.header() {
        describe_qcow2(layer, header, &mut json, &mut line)?;
    }
    let index = snapshot::list(path)?;
    if !index.snapshots.is_empty() {
        line("snapshots (pcvm)", index.snapshots.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", "));
        json.insert("pcvm-snapshots".into(), json!(index.snapshots));
        json.insert("pcvm-parent".into(), json!(index.parent));
    }
    let holders = block::holders(&files::open(path, false)?);
    for Holder { pid, command, writes } in &holders {
        line("in use by", format!("{command} (process {pid}), {}", if *writes { "writing" } else { "reading" }));
    }
    let entry = |h: &Holder| json!({ "pid": h.pid, "command": h.command, "writes": h.writes });
    json.insert("in-use-by".into(), holders.iter().map(entry).collect());
    Ok(Info { json: Value::Object(json), text })
}

fn describe_qcow2(
    layer: &Layer,
    header: &Header,
    json: &mut Map<String, Value>,
    line: &mut impl FnMut(&str, String),
) -> Result<(), ImageError> {
    let path = &layer.path;
    let refused = |why: qcow2::ListError| ImageError::refused(path, why);
    json.insert("cluster-size".into(), json!(header.cluster_size()));
    json.insert("encrypted".into(), json!(header.encryption != Encryption::None));
    json.insert("dirty-flag".into(), json!(header.dirty()));
    line("cluster size", header.cluster_size().to_string());
    let compat = if header.version == 2 { "0.10" } else { "1.1" };
    let compression = match header.compression {
        Compression::Zlib => "zlib".to_owned(),
        Compression::Zstd => "zstd".to_owned(),
        Compression::Unknown(number) => number.to_string(),
    };
    let mut data = Map::new();
    data.insert("compat".into(), json!(compat));
    data.insert("compression-type".into(), json!(compression));
    data.insert("refcount-bits".into(), json!(1 << header.refcount_order));
    line("compatibility", format!("{compat} (version {})", header.version));
    line("refcount bits", (1 << header.refcount_order).to_string());
    line("compression", compression);
    if header.version == 3 {
        let lazy = header.compatible & LAZY_REFCOUNTS != 0;
        data.insert("lazy-refcounts".into(), json!(lazy));
        data.insert("corrupt".into(), json!(header.corrupt()));
        data.insert("extended-l2".into(), json!(header.extended_l2()));
        let flags = [
            (lazy, "lazy refcounts"),
            (header.extended_l2(), "extended L2 entries"),
            (header.dirty(), "dirty: not closed cleanly, 'pcvm image check --repair all' mends it"),
            (header.corrupt(), "corrupt: 'pcvm image check' shows the damage"),
        ];
        for (_, flag) in flags.iter().filter(|(set, _)| *set) {
            line("flag", (*flag).to_owned());
        }
    }
    if let Some(name) = &header.data_file {
        let name = name.to_string_lossy().into_owned();
        line("external data file", name.clone());
        data.insert("data-file".into(), json!(name));
        data.insert("data-file-raw".into(), json!(header.autoclear & qcow2::AUTOCLEAR_RAW_DATA != 0));
    }
    if let Some(name) = &header.backing_file {
        let name = name.to_string_lossy().into_owned();
        json.insert("backing-filename".into(), json!(name));
        line("backing file", name);
        if let Some(format) = &header.backing_format {
            json.insert("backing-filename-format".into(), json!(format));
            line("backing file format", format.clone());
        }
        match layer.backing() {
            Ok(Some((full, _))) => {
                line("backing file path", full.display().to_string());
                json.insert("full-backing-filename".into(), json!(full));
            }
            Ok(None) => {}
            Err(error) => line("backing file path", error.to_string()),
        }
    }
    if let Some(reason) = qcow2::unsupported(header, qcow2::Access::Write) {
        line("not usable as a disk", format!("it {reason}"));
        json.insert("unsupported".into(), json!(reason.to_string()));
    }
    let Some(file) = layer.file() else { return Ok(()) };
    let (snapshots, _) = qcow2::internal_snapshots(file, header).map_err(refused)?;
    if !snapshots.is_empty() {
        let entry = |s: &qcow2::InternalSnapshot| {
            json!({
                "id": s.id, "name": s.name, "vm-state-size": s.state_size, "date-sec": s.seconds, "date-nsec": s.nanoseconds,
                "vm-clock-sec": s.clock / 1_000_000_000, "vm-clock-nsec": s.clock % 1_000_000_000,
            })
        };
        json.insert("snapshots".into(), snapshots.iter().map(entry).collect());
        line("internal snapshots", snapshots.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", "));
    }
    let bitmaps = qcow2::bitmaps(file, header).map_err(refused)?;
    if !bitmaps.is_empty() {
        let entry = |b: &qcow2::Bitmap| {
            let mut flags = Vec::new();
            if b.in_use {
                flags.push("in-use");
            }
            if b.auto {
                flags.push("auto");
            }
            json!({ "name": b.name, "granularity": b.granularity, "flags": flags })
        };
        data.insert("bitmaps".into(), bitmaps.iter().map(entry).collect());
        line("bitmaps", bitmaps.iter().map(|b| b.name.as_str()).collect::<Vec<_>>().join(", "));
    }
    json.insert("format-specific".into(), json!({ "type": "qcow2", "data": data }));
    Ok(())
}

/// A number of bytes with a binary unit.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = (bytes.max(1).ilog2() / 10) as usize;
    if unit == 0 {
        return format!("{bytes} bytes");
    }
    let value = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    let digits = if value.fract() == 0.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", UNITS[unit])
}
