//! The virtual machine: in-kernel PIC, IOAPIC, LAPIC and PIT, interrupt lines, coalesced ranges.

use super::cpuid::offer_tsc_deadline;
use super::exit::set_elcr;
use super::{KvmError, ask};
use kvm_bindings::*;
use kvm_ioctls::{Cap, IoEventAddress, Kvm, VmFd};
use pcvm_devices::Space;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where Intel processors keep three pages for real mode that the guest must not use; in the hole below the firmware.
const TSS_ADDRESS: usize = 0xfeff_d000;
const IDENTITY_MAP_ADDRESS: u64 = 0xfeff_c000;

/// A virtual machine.
pub struct Vm {
    kvm: Kvm,
    fd: Arc<VmFd>,
    chips: ChipsAtPowerOn,
}

/// The interrupt controllers and timer as they were made, for reset.
struct ChipsAtPowerOn {
    irqchips: [kvm_irqchip; 3],
    pit: kvm_pit_state2,
}

impl Vm {
    /// Opens /dev/kvm and makes a machine without processors and memory.
    ///
    /// # Errors
    /// If there is no KVM, no permission, or it lacks something.
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
        let fd = Arc::new(ask("create a virtual machine", kvm.create_vm())?);
        ask("reserve the task state pages", fd.set_tss_address(TSS_ADDRESS))?;
        ask("reserve the identity map page", fd.set_identity_map_address(IDENTITY_MAP_ADDRESS))?;
        ask("make the interrupt controllers", fd.create_irq_chip())?;
        // The speaker port (61h) reads the PIT's channel 2, which is in the kernel, so the kernel has it too.
        let pit = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
        ask("make the PIT", fd.create_pit2(pit))?;
        let chips = ChipsAtPowerOn::read(&fd)?;
        let vm = Self { kvm, fd, chips };
        vm.route()?;
        Ok(vm)
    }

    /// ISA IRQs go to both PICs and the IOAPIC, with IRQ 0 on the IOAPIC's pin 2, as the MADT says.
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
        ask("route interrupts", self.fd.set_gsi_routing(&table))
    }

    /// The descriptor, for memory slots.
    pub fn fd(&self) -> &Arc<VmFd> {
        &self.fd
    }

    /// /dev/kvm itself, for CPUID and MSR lists.
    pub fn kvm(&self) -> &Kvm {
        &self.kvm
    }

    /// The CPUID leaves that KVM can give a guest here.
    ///
    /// # Errors
    /// If KVM does not tell.
    pub fn supported_cpuid(&self) -> Result<Vec<kvm_cpuid_entry2>, KvmError> {
        let supported = self.kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
        let mut supported = ask("tell what CPUID it supports", supported)?.as_slice().to_vec();
        if self.kvm.check_extension(Cap::TscDeadlineTimer) {
            offer_tsc_deadline(&mut supported);
        }
        Ok(supported)
    }

    /// How many processors KVM allows.
    pub fn max_vcpus(&self) -> usize {
        self.kvm.get_max_vcpus()
    }

    /// Drives an interrupt line, 0 to 23.
    ///
    /// # Errors
    /// If KVM refuses.
    pub fn irq_line(&self, gsi: u32, level: bool) -> Result<(), KvmError> {
        ask("drive an interrupt line", self.fd.set_irq_line(gsi, level))
    }

    /// Interrupt controllers and timer as at power-on, but for the ELCR (ports 4D0h and 4D1h, in the kernel's PICs):
    /// which IRQs are level-triggered. All processors must be stopped.
    ///
    /// # Errors
    /// If KVM refuses.
    pub fn reset_chips(&self, elcr: u16) -> Result<(), KvmError> {
        for chip in &self.chips.irqchips {
            let mut chip = *chip;
            set_elcr(&mut chip, elcr);
            ask("reset an interrupt controller", self.fd.set_irqchip(&chip))?;
        }
        ask("reset the PIT", self.fd.set_pit2(&self.chips.pit))
    }
}

/// The ranges whose writes KVM keeps back.
pub struct Coalesced {
    fd: Arc<VmFd>,
    ranges: BTreeSet<(bool, u64, u64)>,
}

impl Coalesced {
    /// None yet.
    pub fn new(vm: &Vm) -> Self {
        Self { fd: vm.fd.clone(), ranges: BTreeSet::new() }
    }

    /// Makes KVM keep back writes to these ranges (start, length), and to no others.
    ///
    /// # Errors
    /// If KVM refuses; ports without KVM_CAP_COALESCED_PIO are passed over silently: they exit, which is slower and as
    /// right.
    pub fn set(&mut self, ranges: &[(Space, u64, u64)]) -> Result<(), KvmError> {
        let pio = self.fd.check_extension_raw(u64::from(KVM_CAP_COALESCED_PIO)) > 0;
        let wanted: BTreeSet<_> = ranges
            .iter()
            .filter(|(space, ..)| pio || *space == Space::Mem)
            .map(|&(space, at, len)| (space == Space::Io, at, len))
            .collect();
        let address = |io, at| if io { IoEventAddress::Pio(at) } else { IoEventAddress::Mmio(at) };
        for &(io, at, len) in self.ranges.difference(&wanted) {
            ask("stop keeping writes back", self.fd.unregister_coalesced_mmio(address(io, at), len as u32))?;
        }
        for &(io, at, len) in wanted.difference(&self.ranges) {
            ask("keep writes back", self.fd.register_coalesced_mmio(address(io, at), len as u32))?;
        }
        self.ranges = wanted;
        Ok(())
    }
}

impl ChipsAtPowerOn {
    fn read(fd: &VmFd) -> Result<Self, KvmError> {
        let read = |chip_id| {
            let mut chip = kvm_irqchip { chip_id, ..Default::default() };
            ask("read an interrupt controller", fd.get_irqchip(&mut chip)).map(|()| chip)
        };
        Ok(Self {
            irqchips: [read(KVM_IRQCHIP_PIC_MASTER)?, read(KVM_IRQCHIP_PIC_SLAVE)?, read(KVM_IRQCHIP_IOAPIC)?],
            pit: ask("read the PIT", fd.get_pit2())?,
        })
    }
}
