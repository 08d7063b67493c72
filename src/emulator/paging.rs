//! From linear to physical addresses, outside long mode (Intel SDM, volume 3, chapter "Paging").

use super::{Bus, Stop};

/// How a page is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    Fetch,
}

/// The registers that paging depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paging {
    /// CR0.PG; without it the two addresses are the same.
    pub on: bool,
    /// CR0.WP.
    pub write_protect: bool,
    /// CR4.PSE.
    pub large: bool,
    /// CR4.PAE: three levels, else two.
    pub pae: bool,
    /// EFER.NXE.
    pub no_execute: bool,
    /// CPL is 3.
    pub user: bool,
    /// CR3.
    pub directory: u32,
}

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

impl Paging {
    /// Where the page of a linear address begins. Whatever the processor would fault at, or would have to note in a table
    /// (that a page was accessed, or written), is left to it.
    pub(super) fn page(&self, bus: &mut impl Bus, linear: u32, access: Access) -> Result<u32, Stop> {
        if !self.on {
            return Ok(linear & !0xfff);
        }
        if self.pae { self.three_levels(bus, linear, access) } else { self.two_levels(bus, linear, access) }
    }

    fn two_levels(&self, bus: &mut impl Bus, linear: u32, access: Access) -> Result<u32, Stop> {
        let mut entry = |table: u32, index: u32| -> Result<u64, Stop> {
            let mut bytes = [0; 4];
            bus.read_table((table & !0xfff) + index * 4, &mut bytes)?;
            Ok(u32::from_le_bytes(bytes).into())
        };
        let directory = entry(self.directory, linear >> 22)?;
        if self.large && directory & LARGE != 0 {
            // Bits 13 to 20 are address bits 32 to 39.
            if directory & 0x001f_e000 != 0 {
                return Err(Stop);
            }
            self.check(&[directory], access)?;
            return Ok(directory as u32 & 0xffc0_0000 | linear & 0x003f_f000);
        }
        self.check_table(directory)?;
        let page = entry(directory as u32, linear >> 12 & 0x3ff)?;
        self.check(&[directory, page], access)?;
        Ok(page as u32 & !0xfff)
    }

    fn three_levels(&self, bus: &mut impl Bus, linear: u32, access: Access) -> Result<u32, Stop> {
        let mut entry = |table: u32, index: u32| -> Result<u64, Stop> {
            let mut bytes = [0; 8];
            bus.read_table(table + index * 8, &mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        };
        let below_4_gib = |entry: u64| {
            let address = entry & 0x000f_ffff_ffff_f000;
            u32::try_from(address).map_err(|_| Stop)
        };
        // These have no bits but the first.
        let pointer = entry(self.directory & !0x1f, linear >> 30)?;
        if pointer & PRESENT == 0 {
            return Err(Stop);
        }
        let directory = entry(below_4_gib(pointer)?, linear >> 21 & 0x1ff)?;
        if directory & LARGE != 0 {
            self.check(&[directory], access)?;
            return Ok(below_4_gib(directory)? & 0xffe0_0000 | linear & 0x001f_f000);
        }
        self.check_table(directory)?;
        let page = entry(below_4_gib(directory)?, linear >> 12 & 0x1ff)?;
        self.check(&[directory, page], access)?;
        below_4_gib(page)
    }

    fn check_table(&self, entry: u64) -> Result<(), Stop> {
        if entry & (PRESENT | ACCESSED) == PRESENT | ACCESSED { Ok(()) } else { Err(Stop) }
    }

    /// Whether all entries on the way allow it, the last of which is the page's.
    fn check(&self, entries: &[u64], access: Access) -> Result<(), Stop> {
        let all = entries.iter().fold(u64::MAX, |all, entry| all & entry);
        let any = entries.iter().fold(0, |any, entry| any | entry);
        let page = entries.last().copied().unwrap_or(0);
        let writes = access == Access::Write;
        let fine = all & (PRESENT | ACCESSED) == PRESENT | ACCESSED
            && (!self.user || all & USER != 0)
            && (!writes || page & DIRTY != 0)
            && (!writes || all & WRITABLE != 0 || !self.user && !self.write_protect)
            && (access != Access::Fetch || !self.no_execute || any & NO_EXECUTE == 0);
        if fine { Ok(()) } else { Err(Stop) }
    }
}
