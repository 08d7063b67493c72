//! Page table walk for 32-bit and PAE paging (Intel SDM volume 3, chapter "Paging").

use super::{Bus, NotEmulated};

/// Kind of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    Fetch,
}

/// The control register bits that paging depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paging {
    /// CR0.PG. If clear, physical addresses equal linear ones.
    pub pg: bool,
    /// CR0.WP.
    pub wp: bool,
    /// CR4.PSE.
    pub pse: bool,
    /// CR4.PAE: three levels of tables instead of two.
    pub pae: bool,
    /// EFER.NXE.
    pub nxe: bool,
    /// CPL is 3.
    pub user: bool,
    /// CR3.
    pub cr3: u32,
}

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

impl Paging {
    /// Physical address of the page of a linear address. Fails where the CPU would raise a page fault, or would set an
    /// accessed or dirty bit.
    pub(super) fn translate(&self, bus: &mut impl Bus, linear: u32, access: Access) -> Result<u32, NotEmulated> {
        if !self.pg {
            return Ok(linear & !0xfff);
        }
        if self.pae { self.walk_pae(bus, linear, access) } else { self.walk_32_bit(bus, linear, access) }
    }

    fn walk_32_bit(&self, bus: &mut impl Bus, linear: u32, access: Access) -> Result<u32, NotEmulated> {
        let mut entry = |table: u32, index: u32| -> Result<u64, NotEmulated> {
            let mut bytes = [0; 4];
            bus.read_table((table & !0xfff) + index * 4, &mut bytes)?;
            Ok(u32::from_le_bytes(bytes).into())
        };
        let pde = entry(self.cr3, linear >> 22)?;
        if self.pse && pde & LARGE != 0 {
            // PSE-36: bits 13-20 are physical address bits 32-39.
            if pde & 0x001f_e000 != 0 {
                return Err(NotEmulated);
            }
            self.check(&[pde], access)?;
            return Ok(pde as u32 & 0xffc0_0000 | linear & 0x003f_f000);
        }
        self.check_table(pde)?;
        let pte = entry(pde as u32, linear >> 12 & 0x3ff)?;
        self.check(&[pde, pte], access)?;
        Ok(pte as u32 & !0xfff)
    }

    fn walk_pae(&self, bus: &mut impl Bus, linear: u32, access: Access) -> Result<u32, NotEmulated> {
        let mut entry = |table: u32, index: u32| -> Result<u64, NotEmulated> {
            let mut bytes = [0; 8];
            bus.read_table(table + index * 8, &mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        };
        let below_4_gib = |entry: u64| {
            let address = entry & 0x000f_ffff_ffff_f000;
            u32::try_from(address).map_err(|_| NotEmulated)
        };
        // A PDPTE has no permission bits, only PRESENT.
        let pdpte = entry(self.cr3 & !0x1f, linear >> 30)?;
        if pdpte & PRESENT == 0 {
            return Err(NotEmulated);
        }
        let pde = entry(below_4_gib(pdpte)?, linear >> 21 & 0x1ff)?;
        if pde & LARGE != 0 {
            self.check(&[pde], access)?;
            return Ok(below_4_gib(pde)? & 0xffe0_0000 | linear & 0x001f_f000);
        }
        self.check_table(pde)?;
        let pte = entry(below_4_gib(pde)?, linear >> 12 & 0x1ff)?;
        self.check(&[pde, pte], access)?;
        below_4_gib(pte)
    }

    /// Checks the entry of a page table before the walk reads it.
    fn check_table(&self, entry: u64) -> Result<(), NotEmulated> {
        if entry & (PRESENT | ACCESSED) == PRESENT | ACCESSED { Ok(()) } else { Err(NotEmulated) }
    }

    /// Checks that the entries of a walk allow the access. The last entry maps the page.
    fn check(&self, entries: &[u64], access: Access) -> Result<(), NotEmulated> {
        let all = entries.iter().fold(u64::MAX, |all, entry| all & entry);
        let any = entries.iter().fold(0, |any, entry| any | entry);
        let leaf = entries.last().copied().unwrap_or(0);
        let write = access == Access::Write;
        let allowed = all & (PRESENT | ACCESSED) == PRESENT | ACCESSED
            && (!self.user || all & USER != 0)
            && (!write || leaf & DIRTY != 0)
            && (!write || all & WRITABLE != 0 || !self.user && !self.wp)
            && (access != Access::Fetch || !self.nxe || any & NO_EXECUTE == 0);
        if allowed { Ok(()) } else { Err(NotEmulated) }
    }
}
