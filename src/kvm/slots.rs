//! Memory slots: which guest-physical addresses are host memory.
#![allow(unsafe_code)]

use super::{KvmError, ask};
use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use pcvm_devices::DirtyPages;
use std::collections::BTreeMap;
use std::sync::Arc;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// A run of guest-physical addresses and the memory behind it.
#[derive(Clone, Debug)]
pub struct SlotSpec {
    /// First guest-physical address, page aligned.
    pub gpa: u64,
    /// Bytes, whole pages.
    pub len: u64,
    /// Whose memory.
    pub memory: GuestMemoryMmap,
    /// Where in it (an address of that memory), page aligned.
    pub at: u64,
    /// Writes exit.
    pub read_only: bool,
    /// What is written there may be seen on the screen.
    pub video: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Installed {
    number: u32,
    len: u64,
    host: u64,
    /// Where in its memory it begins.
    at: u64,
    read_only: bool,
    video: bool,
}

/// The slots of one machine.
pub struct Slots {
    vm: Arc<VmFd>,
    installed: BTreeMap<u64, Installed>,
    /// Keeps what the slots point to mapped for as long as they do.
    owners: BTreeMap<u64, GuestMemoryMmap>,
    /// Somebody wants to know what is written into video memory.
    logging: bool,
    /// A slot of video memory went or came: what was written into it is not known.
    video_changed: bool,
}

impl Slots {
    /// No slots yet.
    pub fn new(vm: Arc<VmFd>) -> Self {
        Self { vm, installed: BTreeMap::new(), owners: BTreeMap::new(), logging: false, video_changed: false }
    }

    /// Makes the machine's memory this, and nothing else. What stays the same is not touched.
    ///
    /// # Errors
    /// If KVM refuses a slot.
    pub fn set(&mut self, wanted: &[SlotSpec]) -> Result<(), KvmError> {
        let mut target = BTreeMap::new();
        for spec in wanted.iter().filter(|spec| spec.len > 0) {
            let slice = spec
                .memory
                .get_slice(GuestAddress(spec.at), spec.len as usize)
                .map_err(|_| KvmError::Lacks("memory behind a slot"))?;
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

    /// Tells what processors wrote into slots of video memory since this was asked for the last time: whole pages, as
    /// bytes of video memory. From the first time on KVM keeps a log of it. Where it cannot, and where slots went or
    /// came, it is all.
    pub fn video_touched(&mut self, touched: &mut DirtyPages) {
        let mut all = std::mem::take(&mut self.video_changed);
        let video: Vec<_> =
            self.installed.iter().filter(|(_, slot)| slot.video).map(|(gpa, slot)| (*gpa, *slot)).collect();
        if !self.logging {
            self.logging = true;
            all = true;
            for &(gpa, slot) in &video {
                if let Err(error) = self.region(gpa, slot) {
                    tracing::debug!("video memory cannot be logged: {error}");
                }
            }
        }
        for (_, slot) in video {
            // Asking clears the log: every slot must be asked.
            match self.vm.get_dirty_log(slot.number, slot.len as usize) {
                Ok(log) => touched.add_log(slot.at, &log),
                Err(_) => all = true,
            }
        }
        if all {
            *touched = DirtyPages::all();
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
        // SAFETY: the host range lies within a mapping that `owners` keeps alive for as long as the slot exists (it was
        // bounds-checked by get_slice, and a slot of length 0 refers to nothing), and that the process only ever
        // accesses as volatile memory.
        ask("set a memory slot", unsafe { self.vm.set_user_memory_region(region) })
    }
}
