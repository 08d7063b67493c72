//! RIFF WAVE files with the samples of a CD (Microsoft, "Multimedia Programming Interface and Data Specifications 1.0").

use super::Source;

/// Chunks before the samples that are passed over.
const CHUNKS_MAX: usize = 64;
/// `wFormatTag` of PCM, and of the extensible form, whose sub-format begins with that tag.
const PCM: u16 = 1;
const EXTENSIBLE: u16 = 0xfffe;

/// Where the samples are in a file of `size` bytes; `read` fills a buffer from a byte offset, with zeros past the end.
///
/// # Errors
/// What is wrong, to follow the file's name.
pub fn pcm_data(size: u64, read: &dyn Fn(u64, &mut [u8])) -> Result<Source, String> {
    let mut start = [0; 12];
    read(0, &mut start);
    if !start.starts_with(b"RIFF") || !start.ends_with(b"WAVE") {
        return Err("is no WAVE file".to_owned());
    }
    let (mut at, mut is_cd) = (12u64, false);
    for _ in 0..CHUNKS_MAX {
        let mut header = [0; 8];
        if at + 8 > size {
            break;
        }
        read(at, &mut header);
        let [a, b, c, d, l0, l1, l2, l3] = header;
        let len = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        match &[a, b, c, d] {
            b"fmt " => {
                let mut format = [0; 26];
                let known = format.len().min(len as usize);
                read(at + 8, format.get_mut(..known).unwrap_or_default());
                let u16_at = |at: usize| format.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
                let tag = if u16_at(0) == EXTENSIBLE { u16_at(24) } else { u16_at(0) };
                let rate = u32::from(u16_at(4)) | u32::from(u16_at(6)) << 16;
                let (channels, bits) = (u16_at(2), u16_at(14));
                if (tag, channels, rate, bits) != (PCM, 2, 44_100, 16) {
                    return Err(format!(
                        "has {channels} channels of {bits} bits at {rate} Hz (format {tag}), but a CD has 2 channels of \
                         16 bits at 44100 Hz (format 1): convert it"
                    ));
                }
                is_cd = true;
            }
            b"data" if is_cd => {
                // Programs that write to a pipe give a length of FFFFFFFFh.
                return Ok(Source { offset: at + 8, len: len.min(size - at - 8) });
            }
            b"data" => break,
            _ => {}
        }
        at += 8 + len + len % 2;
    }
    Err("has no samples in a form that can be read".to_owned())
}
