//! ELF kernels (System V ABI, "Object Files" and "Program Loading"): the memory image of the loadable segments.

use super::{KernelError, Loading};
use elf::ElfBytes;
use elf::abi::{EM_386, EM_X86_64, PF_X, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::note::Note;

/// Whether the file is an ELF file.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// The segments in one piece, as they are in memory.
#[derive(Debug, PartialEq, Eq)]
pub struct ElfImage {
    /// Physical address of the first byte.
    pub address: u64,
    /// Content; what the file has not is zero.
    pub bytes: Vec<u8>,
    /// Physical address of the entry point.
    pub entry: u64,
    /// Entry point of the note XEN_ELFNOTE_PHYS32_ENTRY.
    pub pvh_entry: Option<u64>,
}

impl ElfImage {
    /// Reads an ELF file for x86, of 32 or 64 bits.
    pub fn new(loading: &Loading<'_>, bytes: &[u8]) -> Result<Self, KernelError> {
        let damaged = |why: elf::ParseError| loading.bad(format!("is a damaged ELF file: {why}"));
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(damaged)?;
        if !matches!(file.ehdr.e_machine, EM_386 | EM_X86_64) {
            return Err(loading.bad("is an ELF file, but not for x86"));
        }
        let segments: Vec<_> = file.segments().into_iter().flatten().collect();
        let loaded = || segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0);
        let Some(start) = loaded().map(|segment| segment.p_paddr).min() else {
            return Err(loading.bad("is an ELF file without a segment to load"));
        };
        let end = loaded().map(|segment| segment.p_paddr.saturating_add(segment.p_memsz)).max().unwrap_or(start);
        // Before it is allocated: this limits the size.
        loading.check_range(start, end)?;
        let mut image = vec![0; (end - start) as usize];
        let mut entry = file.ehdr.e_entry;
        for segment in loaded() {
            let data = file.segment_data(segment).map_err(damaged)?;
            let at = (segment.p_paddr - start) as usize;
            let length = data.len().min(segment.p_memsz as usize);
            image[at..at + length].copy_from_slice(&data[..length]);
            // The entry point is a virtual address.
            let within = file.ehdr.e_entry.checked_sub(segment.p_vaddr).filter(|within| *within < segment.p_memsz);
            if let Some(within) = within
                && segment.p_flags & PF_X != 0
            {
                entry = segment.p_paddr + within;
            }
        }
        let mut pvh_entry = None;
        for segment in segments.iter().filter(|segment| segment.p_type == PT_NOTE) {
            for note in file.segment_data_as_notes(segment).map_err(damaged)? {
                pvh_entry = pvh_entry.or(pvh_note(&note));
            }
        }
        Ok(Self { address: start, bytes: image, entry, pvh_entry })
    }

    /// First address behind the image.
    pub fn end(&self) -> u64 {
        self.address + self.bytes.len() as u64
    }
}

/// The address in the note XEN_ELFNOTE_PHYS32_ENTRY (Xen, `xen/include/public/elfnote.h`): 4 or 8 bytes.
fn pvh_note(note: &Note<'_>) -> Option<u64> {
    const PHYS32_ENTRY: u64 = 18;
    let Note::Unknown(note) = note else { return None };
    if note.n_type != PHYS32_ENTRY || note.name != b"Xen\0" {
        return None;
    }
    match *note.desc {
        [a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d]).into()),
        [a, b, c, d, e, f, g, h] => Some(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
        _ => None,
    }
}
