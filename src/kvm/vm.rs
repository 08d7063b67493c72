//! KVM virtual machine: in-kernel PIC, IOAPIC, LAPIC and PIT, IRQ lines, coalesced ranges.

use super::cpuid::offer_tsc_deadline;
use super::{KvmError, request};
use kvm_bindings::*;
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VmFd};
use pcvm_devices::Space;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Guest-physical address of the three-page real-mode TSS that KVM needs on Intel hosts without unrestricted guest mode
/// (KVM API, KVM_SET_TSS_ADDR). It lies in the hole below the firmware.
const TSS_ADDRESS: usize = 0xfeff_d000;
/// Guest-physical address of the one-page identity map for the same purpose (KVM_SET_IDENTITY_MAP_ADDR).
const IDENTITY_MAP_ADDRESS: u64 = 0xfeff_c000;

/// A virtual machine.
pub struct Vm {
    kvm: Kvm,
    fd: Arc<VmFd>,
    chips: ChipsAtPowerOn,
}

/// State of the interrupt controllers and the PIT right after their creation. A reset restores it.
struct ChipsAtPowerOn {
    irqchips: [kvm_irqchip; 3],
    pit: kvm_pit_state2,
}

impl Vm {
    /// Opens /dev/kvm and creates a virtual machine without vCPUs and memory.
    ///
    /// # Errors
    /// If /dev/kvm cannot be opened, or KVM lacks a capability.
    pub fn new() -> Result<Self, KvmError> {
        let kvm = Kvm::new().map_err(|errno| match errno.errno() {
            libc::ENOENT | libc::ENODEV | libc::ENXIO => KvmError::Absent,
            libc::EACCES | libc::EPERM => KvmError::Forbidden,
            _ => KvmError::Open(errno),
        })?;
        if kvm.get_api_version() != KVM_API_VERSION as i32 {
            return Err(KvmError::Lacks("version 12 of the API"));
        }
        for (cap, name) in [
            (Cap::Irqchip, "in-kernel interrupt controllers"),
            (Cap::Pit2, "the in-kernel PIT"),
            (Cap::IrqRouting, "interrupt routing"),
            (Cap::ImmediateExit, "immediate exit"),
            (Cap::CoalescedMmio, "coalesced I/O"),
            (Cap::ReadonlyMem, "read-only memory slots"),
        ] {
            if !kvm.check_extension(cap) {
                return Err(KvmError::Lacks(name));
            }
        }
        let fd = Arc::new(request("create a virtual machine", kvm.create_vm())?);
        request("reserve the task state pages", fd.set_tss_address(TSS_ADDRESS))?;
        request("reserve the identity map page", fd.set_identity_map_address(IDENTITY_MAP_ADDRESS))?;
        request("create the interrupt controllers", fd.create_irq_chip())?;
        // Port 61h shows the output of PIT channel 2. The PIT is in the kernel, so KVM emulates this port as well.
        let pit = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
        request("create the PIT", fd.create_pit2(pit))?;
        let chips = ChipsAtPowerOn::read(&fd)?;
        let vm = Self { kvm, fd, chips };
        vm.route()?;
        Ok(vm)
    }

    /// Routes GSIs 0-15 to the PICs and GSIs 0-23 to the IOAPIC. IRQ 0 is IOAPIC pin 2, as the MADT declares.
    fn route(&self) -> Result<(), KvmError> {
        let entry = |gsi: u32, chip: u32, pin: u32| kvm_irq_routing_entry {
            gsi,
            type_: KVM_IRQ_ROUTING_IRQCHIP,
            u: kvm_irq_routing_entry__bindgen_ty_1 { irqchip: kvm_irq_routing_irqchip { irqchip: chip, pin } },
            ..Default::default()
        };
        let mut entries = Vec::new();
        for irq in 0..16 {
            let pic = if irq < 8 { KVM_IRQCHIP_PIC_MASTER } else { KVM_IRQCHIP_PIC_SLAVE };
            entries.push(entry(irq, pic, irq % 8));
        }
        for gsi in (0..24).filter(|&gsi| gsi != 2) {
            entries.push(entry(gsi, KVM_IRQCHIP_IOAPIC, if gsi == 0 { 2 } else { gsi }));
        }
        let table = KvmIrqRouting::from_entries(&entries).map_err(|_| KvmError::Lacks("routing entries"))?;
        request("route interrupts", self.fd.set_gsi_routing(&table))
    }

    /// The VM's descriptor, for memory slots.
    pub fn fd(&self) -> &Arc<VmFd> {
        &self.fd
    }

    /// /dev/kvm, for the lists of CPUID leaves and MSRs.
    pub fn kvm(&self) -> &Kvm {
        &self.kvm
    }

    /// The CPUID leaves that KVM supports on this host.
    ///
    /// # Errors
    /// If KVM refuses.
    pub fn supported_cpuid(&self) -> Result<Vec<kvm_cpuid_entry2>, KvmError> {
        let supported = self.kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
        let mut supported = request("list the supported CPUID leaves", supported)?.as_slice().to_vec();
        if self.kvm.check_extension(Cap::TscDeadlineTimer) {
            offer_tsc_deadline(&mut supported);
        }
        Ok(supported)
    }

    /// The largest number of vCPUs that KVM allows.
    pub fn max_vcpus(&self) -> usize {
        self.kvm.get_max_vcpus()
    }

    /// Sets the level of a GSI, 0 to 23.
    ///
    /// # Errors
    /// If KVM refuses.
    pub fn irq_line(&self, gsi: u32, level: bool) -> Result<(), KvmError> {
        request("set the level of an IRQ line", self.fd.set_irq_line(gsi, level))
    }

    /// Resets the interrupt controllers and the PIT to their state at power-on. All vCPUs must be parked.
    ///
    /// # Errors
    /// If KVM refuses.
    pub fn reset_chips(&self) -> Result<(), KvmError> {
        for chip in &self.chips.irqchips {
            request("reset an interrupt controller", self.fd.set_irqchip(chip))?;
        }
        request("reset the PIT", self.fd.set_pit2(&self.chips.pit))
    }
}

/// The ranges to which KVM coalesces writes.
pub struct CoalescedRanges {
    fd: Arc<VmFd>,
    ranges: BTreeSet<(bool, u64, u64)>,
}

impl CoalescedRanges {
    /// Starts without ranges.
    pub fn new(vm: &Vm) -> Self {
        Self { fd: vm.fd.clone(), ranges: BTreeSet::new() }
    }

    /// Makes KVM coalesce writes to these ranges (start, length in bytes) and to no others.
    ///
    /// # Errors
    /// If KVM refuses. Without KVM_CAP_COALESCED_PIO (Linux before 4.20) port ranges are skipped: their writes exit, which
    /// is slower but equivalent.
    pub fn set(&mut self, ranges: &[(Space, u64, u64)]) -> Result<(), KvmError> {
        let pio = self.fd.check_extension_raw(u64::from(KVM_CAP_COALESCED_PIO)) > 0;
        let wanted: BTreeSet<_> = ranges
            .iter()
            .filter(|(space, ..)| pio || *space == Space::Mem)
            .map(|&(space, at, len)| (space == Space::Io, at, len))
            .collect();
        let address = |io, at| if io { IoEventAddress::Pio(at) } else { IoEventAddress::Mmio(at) };
        for &(io, at, len) in self.ranges.difference(&wanted) {
            request("unregister a coalesced range", self.fd.unregister_coalesced_mmio(address(io, at), len as u32))?;
        }
        for &(io, at, len) in wanted.difference(&self.ranges) {
            request("register a coalesced range", self.fd.register_coalesced_mmio(address(io, at), len as u32))?;
        }
        self.ranges = wanted;
        Ok(())
    }
}

impl ChipsAtPowerOn {
    fn read(fd: &VmFd) -> Result<Self, KvmError> {
        let read = |chip_id| {
            let mut chip = kvm_irqchip { chip_id, ..Default::default() };
            request("read an interrupt controller", fd.get_irqchip(&mut chip)).map(|()| chip)
        };
        Ok(Self {
            irqchips: [read(KVM_IRQCHIP_PIC_MASTER)?, read(KVM_IRQCHIP_PIC_SLAVE)?, read(KVM_IRQCHIP_IOAPIC)?],
            pit: request("read the PIT", fd.get_pit2())?,
        })
    }
}
