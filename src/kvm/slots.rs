//! KVM memory slots: which guest-physical addresses are host memory, and the dirty log of video memory.
#![allow(unsafe_code)]

use super::{KvmError, request};
use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use pcvm_devices::DirtyPages;
use std::collections::BTreeMap;
use std::sync::Arc;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// A range of guest-physical addresses and the host memory that backs it.
#[derive(Clone, Debug)]
pub struct SlotSpec {
    /// First guest-physical address, page aligned.
    pub gpa: u64,
    /// Bytes, a multiple of the page size.
    pub len: u64,
    /// The memory that backs the slot.
    pub memory: GuestMemoryMmap,
    /// Address within `memory` of the slot's first byte, page aligned.
    pub at: u64,
    /// Whether writes exit.
    pub read_only: bool,
    /// Whether this is video memory, whose dirty pages are tracked.
    pub video: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Installed {
    number: u32,
    len: u64,
    /// Host virtual address.
    host: u64,
    /// As [`SlotSpec::at`].
    at: u64,
    read_only: bool,
    video: bool,
}

/// The memory slots of one virtual machine, by guest-physical address.
pub struct Slots {
    vm: Arc<VmFd>,
    installed: BTreeMap<u64, Installed>,
    /// Keeps the host memory of the slots mapped while the slots exist.
    owners: BTreeMap<u64, GuestMemoryMmap>,
    /// KVM logs the dirty pages of video memory.
    logging: bool,
    /// A slot of video memory was added or removed since the last collection, so its dirty pages are not known.
    video_changed: bool,
}

impl Slots {
    /// Starts without slots.
    pub fn new(vm: Arc<VmFd>) -> Self {
        Self { vm, installed: BTreeMap::new(), owners: BTreeMap::new(), logging: false, video_changed: false }
    }

    /// Replaces the memory map. Slots that do not change are left alone.
    ///
    /// # Errors
    /// If KVM refuses a slot.
    pub fn set(&mut self, wanted: &[SlotSpec]) -> Result<(), KvmError> {
        let mut target = BTreeMap::new();
        for spec in wanted.iter().filter(|spec| spec.len > 0) {
            let slice = spec
                .memory
                .get_slice(GuestAddress(spec.at), spec.len as usize)
                .map_err(|_| KvmError::Lacks("host memory for a slot"))?;
            let host = slice.ptr_guard().as_ptr() as u64;
            target.insert(spec.gpa, (spec, host));
        }
        let gone: Vec<u64> = self
            .installed
            .iter()
            .filter(|(gpa, old)| {
                target.get(gpa).is_none_or(|(spec, host)| {
                    (spec.len, *host, spec.read_only, spec.video) != (old.len, old.host, old.read_only, old.video)
                })
            })
            .map(|(gpa, _)| *gpa)
            .collect();
        for gpa in gone {
            if let Some(old) = self.installed.remove(&gpa) {
                self.region(gpa, Installed { len: 0, ..old })?;
                self.owners.remove(&gpa);
                self.video_changed |= old.video;
            }
        }
        for (gpa, (spec, host)) in target {
            if self.installed.contains_key(&gpa) {
                continue;
            }
            let used: Vec<u32> = self.installed.values().map(|slot| slot.number).collect();
            let number = (0..).find(|n| !used.contains(n)).unwrap_or(0);
            let slot =
                Installed { number, len: spec.len, host, at: spec.at, read_only: spec.read_only, video: spec.video };
            self.region(gpa, slot)?;
            self.video_changed |= spec.video;
            self.installed.insert(gpa, slot);
            self.owners.insert(gpa, spec.memory.clone());
        }
        Ok(())
    }

    /// Adds the pages of video memory that vCPUs have written through slots since the last call. The first call starts
    /// KVM's dirty log. All pages are dirty after the first call, after a change of the slots, and if KVM keeps no log.
    pub fn collect_dirty_video(&mut self, dirty: &mut DirtyPages) {
        let mut all = std::mem::take(&mut self.video_changed);
        let video: Vec<_> =
            self.installed.iter().filter(|(_, slot)| slot.video).map(|(gpa, slot)| (*gpa, *slot)).collect();
        if !self.logging {
            self.logging = true;
            all = true;
            for &(gpa, slot) in &video {
                if let Err(error) = self.region(gpa, slot) {
                    tracing::debug!("no dirty log of video memory: {error}");
                }
            }
        }
        for (_, slot) in video {
            // Reading the log clears it. Read every slot, even when all pages are dirty.
            match self.vm.get_dirty_log(slot.number, slot.len as usize) {
                Ok(log) => dirty.add_log(slot.at, &log),
                Err(_) => all = true,
            }
        }
        if all {
            *dirty = DirtyPages::all();
        }
    }

    fn region(&self, gpa: u64, slot: Installed) -> Result<(), KvmError> {
        let region = kvm_userspace_memory_region {
            slot: slot.number,
            flags: match (slot.read_only, slot.video && self.logging && slot.len > 0) {
                (true, _) => KVM_MEM_READONLY,
                (false, true) => KVM_MEM_LOG_DIRTY_PAGES,
                (false, false) => 0,
            },
            guest_phys_addr: gpa,
            memory_size: slot.len,
            userspace_addr: slot.host,
        };
        // SAFETY: the host range is within a mapping that `owners` keeps alive while the slot exists (get_slice has checked
        // the bounds, and a slot of length 0 refers to no memory). The process accesses that mapping only as volatile
        // memory.
        request("set a memory slot", unsafe { self.vm.set_user_memory_region(region) })
    }
}
