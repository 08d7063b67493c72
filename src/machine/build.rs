//! Builds a machine: opens what the configuration names, then creates KVM's objects, the board and the threads.

use super::clock::VmClock;
use super::host_files::{self, HostFiles};
use super::media::Drives;
use super::outputs::KvmOutputs;
use super::roms::Roms;
use super::shared::{Shared, SharedParts};
use super::{FrontEnd, Handle, Machine, pc, vcpu};
use crate::block::BlockEngine;
use crate::board::Board;
use crate::board::map::Rom;
use crate::config::{Adapter, MachineConfig, Media};
use crate::kvm::cpuid::{apic_id, cpuid_for};
use crate::kvm::ring::CoalescedRing;
use crate::kvm::vcpu::Vcpu;
use crate::kvm::vm::Vm;
use crate::kvm::{KvmError, kick};
use crate::tables::fw_cfg;
use pcvm_devices::vga::Vga;
use pcvm_devices::{Memory, NicId};
use std::sync::Arc;
use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

/// The machine could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A file or device that the configuration names.
    #[error(transparent)]
    Input(#[from] host_files::InputError),
    /// The firmware.
    #[error(transparent)]
    Firmware(#[from] crate::config::firmware::FirmwareError),
    /// KVM.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// Guest memory.
    #[error("--memory: {0}")]
    Memory(#[from] pcvm_devices::memory::AllocateError),
    /// This host cannot provide the CPU of `--cpu`.
    #[error(transparent)]
    Cpu(#[from] crate::kvm::cpuid::CpuidError),
    /// More vCPUs than KVM has.
    #[error("--cpus: {wanted} vCPUs are more than this host's KVM allows ({most})")]
    TooManyCpus {
        /// As configured.
        wanted: u32,
        /// KVM's limit.
        most: usize,
    },
    /// `--trace`.
    #[error("--trace: {0}")]
    Trace(crate::board::trace::TraceError),
    /// The host refused something else.
    #[error("cannot {what}: {error}")]
    Host {
        /// The operation.
        what: &'static str,
        /// The host's answer.
        error: std::io::Error,
    },
}

impl Machine {
    /// Builds the machine and its threads. It is not switched on yet.
    ///
    /// # Errors
    /// If the host or KVM lacks something that the configuration names.
    pub fn new(mut config: MachineConfig) -> Result<Self, BuildError> {
        // Host files first: a wrong file name is reported even on a host without KVM.
        let HostFiles { drives, chardevs, vnc, display, ports, nic_roms, kernel } = HostFiles::open(&config)?;
        for (disk, drive) in &mut config.drives {
            let size = drives.get(disk).and_then(|parts| parts.image.as_ref()).map(crate::block::Image::size);
            if let Some(kind) = drive.media.floppy_drive(size) {
                drive.media = Media::Floppy(Some(kind));
            }
        }
        let roms = Roms::new(&config)?;
        let host = |what| move |error| BuildError::Host { what, error };

        let vm = Arc::new(Vm::new()?);
        let wanted = config.cpus.count;
        if wanted as usize > vm.max_vcpus() {
            return Err(BuildError::TooManyCpus { wanted, most: vm.max_vcpus() });
        }
        let memory =
            Arc::new(Memory::new(config.memory, config.vga.map_or(0, |adapter| Vga::memory_size(adapter.vram())))?);

        let mut fw_cfg = fw_cfg::fw_cfg_items(&config, &memory);
        if let Some(kernel) = kernel {
            fw_cfg.keys.extend(kernel.keys);
            fw_cfg.files.insert(fw_cfg::KERNEL_ROM_FILE.to_owned(), kernel.rom);
        }
        if !roms.vga.is_empty() {
            // Firmware copies it from fw_cfg in one access; from the expansion ROM BAR each dword would exit.
            let name = match config.vga {
                Some(Adapter::Cirrus) => "pci1013,00b8.rom",
                _ => "pci1234,1111.rom",
            };
            fw_cfg.files.insert(name.to_owned(), roms.vga.clone());
        }
        let media = drives.iter().filter_map(|(&disk, drive)| Some((disk, drive.image.as_ref()?.medium()))).collect();
        let rom = Rom::new(&roms.bios, &roms.vga)
            .map_err(|why| host("allocate the firmware's memory")(std::io::Error::other(why)))?;
        let devices = pc::devices(&config, pc::BoardParts { fw_cfg, vga_rom: roms.vga, nic_roms, media });

        kick::install_signal_handler()?;
        let timer = rustix::time::timerfd_create(
            rustix::time::TimerfdClockId::Monotonic,
            rustix::time::TimerfdFlags::CLOEXEC | rustix::time::TimerfdFlags::NONBLOCK,
        )
        .map_err(|errno| host("create a timer")(errno.into()))?;
        let timer = Arc::new(timer);
        let clock = Arc::new(VmClock::new());
        let event_fd = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(host("create an eventfd"))?;
        let wake = event_fd.try_clone().map_err(host("create an eventfd"))?;
        let outputs = KvmOutputs::new(vm.clone(), timer.clone(), clock.clone(), wake);
        let failure = outputs.failure();
        let mut board = Board::new(devices, memory.clone(), Box::new(clock.clone()), Box::new(outputs), rom);
        for (n, _) in config.nics.iter().enumerate().filter(|(_, nic)| !nic.link) {
            // Frames that arrive before the cable is plugged in are dropped, not queued.
            board.set_link(NicId(n as u8), false);
        }
        let known = drives.iter().filter_map(|(disk, parts)| {
            let size = parts.image.as_ref().map(crate::block::Image::size);
            Some((*disk, parts.name.clone(), config.drives.get(disk)?.clone(), size))
        });
        let known = Drives::new(known);
        let engine = BlockEngine::new(drives, memory.clone())
            .map_err(|error| host("start the block engine")(std::io::Error::other(error.to_string())))?;

        let vcpus = create_vcpus(&vm, &config)?;
        let first = vcpus.first().ok_or(KvmError::Lacks("vCPUs"))?;
        let ring = CoalescedRing::map(first.as_fd())?;
        let shared =
            SharedParts { board, ring, vcpus: wanted, clock, engine, drives: known, chardevs, ports, event_fd };
        let shared = Arc::new(Shared::new(shared));
        if let Some(trace) = &config.trace {
            let filter = trace.filter.parse().unwrap_or_default();
            Handle::new(shared.clone()).start_trace(&trace.file, &filter).map_err(BuildError::Trace)?;
        }
        let threads = vcpus
            .into_iter()
            .map(|vcpu| vcpu::spawn(shared.clone(), vcpu).map_err(host("start a vCPU thread")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            shared,
            vm,
            config,
            timer,
            quit: None,
            failure,
            threads,
            services: Vec::new(),
            changes: Vec::new(),
            vnc: FrontEnd::new(vnc),
            display: FrontEnd::new(display),
        })
    }
}

/// Creates the vCPUs with the CPUID of the configured model.
fn create_vcpus(vm: &Vm, config: &MachineConfig) -> Result<Vec<Vcpu>, BuildError> {
    let supported = vm.supported_cpuid()?;
    let mut vcpus = Vec::new();
    for index in 0..config.cpus.count {
        let id = u32::from(apic_id(index, &config.cpus));
        let cpuid = cpuid_for(&supported, &config.cpus.model, index, &config.cpus)?;
        if index == 0 && !cpuid.missing.is_empty() {
            tracing::warn!("--cpu: this host lacks {}", cpuid.missing.join(", "));
        }
        vcpus.push(Vcpu::new(vm, index, id, &cpuid.entries)?);
    }
    Ok(vcpus)
}
