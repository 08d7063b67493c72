//! The board: what is where, what the firmware is told about it, and how a kernel is started without firmware.
//!
//! [`Machine`] is a whole machine; [`board`] dispatches accesses to the chips of [`pc`]; `processor` is a processor's
//! thread, `main_loop` the main one, [`control`] stops and resets them.

pub mod clock;
pub mod console;
pub mod host_files;
pub mod kernel;
pub mod limits;
mod local_time;
mod main_loop;
mod net_rx;
pub mod pc;
pub mod roms;
pub mod shared;
mod signals;
mod vcpu;
pub mod vcpus;

use crate::block::BlockEngine;
use crate::board::map::Rom;
use crate::board::{Board, MachineEvent};
use crate::config::{MachineConfig, Payload};
use crate::display::Waker;
use crate::kvm::cpuid::{apic_id, cpuid_for};
use crate::kvm::ring::CoalescedRing;
use crate::kvm::vcpu::{FlatEntry, Vcpu};
use crate::kvm::vm::Vm;
use crate::kvm::{KvmError, kick};
use crate::tables::fw_cfg;
use clock::VmClock;
use host_files::Inputs;
use kernel::KernelEntry;
use pcvm_devices::fw_cfg::FwCfgItems;
use pcvm_devices::vga::{Bitmap, Vga};
use pcvm_devices::{CharId, DirtyPages, InputEvent, Memory, NicId};
use roms::Roms;
use shared::{KvmWires, Shared};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use thiserror::Error;
use vcpus::VcpuGate;
use vmm_sys_util::eventfd::EventFd;

/// The machine could not be made.
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
    /// `--cpu` and this host.
    #[error(transparent)]
    Cpu(#[from] crate::kvm::cpuid::CpuidError),
    /// More processors than KVM has.
    #[error("--cpus: {wanted} processors are more than this host's KVM allows ({most})")]
    TooManyCpus {
        /// As configured.
        wanted: u32,
        /// As KVM says.
        most: usize,
    },
    /// The host refused something else.
    #[error("cannot {what}: {error}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// The host's answer.
        error: std::io::Error,
    },
}

/// The machine cannot go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// The processor or KVM: a report of several lines.
    #[error("{0}")]
    Broken(String),
    /// `--display`.
    #[error(transparent)]
    Display(#[from] crate::display::DisplayError),
    /// The kernel to boot.
    #[error(transparent)]
    Kernel(#[from] kernel::KernelError),
    /// KVM.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// The host.
    #[error("cannot {what}: {error}")]
    Host {
        /// What was being done.
        what: &'static str,
        /// The host's answer.
        error: String,
    },
}

/// A machine.
pub struct Machine {
    shared: Arc<Shared>,
    vm: Arc<Vm>,
    memory: Arc<Memory>,
    config: MachineConfig,
    timer: Arc<OwnedFd>,
    quit: Option<EventFd>,
    failure: Arc<OnceLock<KvmError>>,
    no_reboot: bool,
    threads: Vec<JoinHandle<()>>,
    /// Until the main loop takes it.
    control: Option<crate::control::Server>,
    /// Since the control clients were last told.
    happened: Vec<crate::control::Happened>,
    /// What the VNC server is to listen on, then the server.
    vnc: (Option<crate::vnc::Listeners>, Option<crate::vnc::Server>),
    /// The display that there is, then as it runs.
    display: (Option<crate::display::Prepared>, Option<crate::display::Running>),
}

/// Says things to a machine from other threads.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Machine {
    /// Makes the machine and its threads; it is not switched on yet.
    ///
    /// # Errors
    /// If something that the configuration names, or KVM, is not there or not enough.
    pub fn new(config: MachineConfig) -> Result<Self, BuildError> {
        // Host-side input first: a mistake in a file name is told even where there is no KVM.
        let mut config = config;
        let Inputs { images, serial, debugcon, control: control_place, vnc, display, ports, nic_roms } =
            Inputs::open(&mut config)?;
        let roms = Roms::new(&config)?;
        let host = |what| move |error| BuildError::Host { what, error };

        let vm = Arc::new(Vm::new()?);
        let wanted = config.cpus.count;
        if wanted as usize > vm.max_vcpus() {
            return Err(BuildError::TooManyCpus { wanted, most: vm.max_vcpus() });
        }
        let memory = Arc::new(Memory::new(config.memory, config.vga.map_or(0, Vga::memory_size))?);

        let mut fw_cfg = match config.payload {
            Payload::Firmware(_) => fw_cfg::fw_cfg_items(&config, &memory),
            Payload::Kernel { .. } => FwCfgItems::default(),
        };
        if !roms.vga.is_empty() {
            // Firmware copies it from here in one go; from the expansion ROM BAR it would be an exit per dword.
            fw_cfg.files.insert("pci1234,1111.rom".to_owned(), roms.vga.clone());
        }
        let sizes = [0, 1, 2, 3].map(|n: usize| images[n].as_ref().map(crate::block::Image::size));
        let rom = Rom::new(&roms.bios, &roms.vga)
            .map_err(|why| host("allocate the firmware's memory")(std::io::Error::other(why)))?;
        let (devices, roles) = pc::devices(&config, pc::BoardParts { fw_cfg, vga_rom: roms.vga, nic_roms, sizes });

        kick::prepare()?;
        let timer = rustix::time::timerfd_create(
            rustix::time::TimerfdClockId::Monotonic,
            rustix::time::TimerfdFlags::CLOEXEC | rustix::time::TimerfdFlags::NONBLOCK,
        )
        .map_err(|errno| host("make a timer")(errno.into()))?;
        let timer = Arc::new(timer);
        let clock = Arc::new(VmClock::new());
        let event_fd = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(host("make an eventfd"))?;
        let wake = event_fd.try_clone().map_err(host("make an eventfd"))?;
        let wires = KvmWires::new(vm.clone(), timer.clone(), clock.clone(), wake);
        let failure = wires.failure();
        let mut board = Board::new(devices, roles, memory.clone(), Box::new(clock.clone()), Box::new(wires), rom);
        for (n, _) in config.nics.iter().enumerate().filter(|(_, nic)| !nic.link) {
            // What the host sends until it is plugged in is not for later.
            board.set_link(NicId(n as u8), false);
        }
        let engine = BlockEngine::new(images, memory.clone())
            .map_err(|error| host("start the block engine")(std::io::Error::other(error.to_string())))?;

        let supported = vm.supported_cpuid()?;
        let mut vcpus = Vec::new();
        for index in 0..wanted {
            let id = u32::from(apic_id(index, &config.cpus));
            let made = cpuid_for(&supported, &config.cpus.model, index, &config.cpus)?;
            if index == 0 && !made.missing.is_empty() {
                tracing::warn!("--cpu: this host lacks {}", made.missing.join(", "));
            }
            vcpus.push(Vcpu::new(&vm, index, id, &made.entries)?);
        }
        let first = vcpus.first().ok_or(KvmError::Lacks("processors"))?;
        let ring = CoalescedRing::map(first.as_fd())?;

        let [com1, com2, com3, com4] = serial;
        let shared = Arc::new(Shared::new(
            board,
            ring,
            VcpuGate::new(wanted),
            clock,
            engine,
            ([com1, com2, com3, com4, debugcon], ports),
            event_fd,
        ));
        let mut threads = Vec::new();
        for vcpu in vcpus {
            let thread = vcpu::spawn(shared.clone(), vcpu).map_err(host("start a processor's thread"))?;
            threads.push(thread);
        }
        let no_reboot = config.no_reboot;
        let control = if control_place.is_some() || config.press_key_for_cd {
            let server = crate::control::Server::new(
                Handle(shared.clone()),
                &config.name,
                control_place,
                config.press_key_for_cd,
            );
            Some(server.map_err(host("serve the control socket"))?)
        } else {
            None
        };
        Ok(Self {
            shared,
            vm,
            memory,
            config,
            timer,
            quit: None,
            failure,
            no_reboot,
            threads,
            control,
            happened: Vec::new(),
            vnc: (vnc, None),
            display: (display, None),
        })
    }

    /// SIGTERM, SIGINT and SIGHUP end the machine from now on.
    ///
    /// # Errors
    /// If the host has no more descriptors.
    pub fn quit_on_signals(&mut self) -> std::io::Result<()> {
        self.quit = Some(signals::quit_event()?);
        Ok(())
    }

    /// For other threads.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// Shows the screen on this host.
    fn start_display(&mut self) -> Result<(), RunError> {
        if let Some(display) = self.display.0.take() {
            self.display.1 = Some(display.start(console::Display::new(self.handle()))?);
        }
        Ok(())
    }

    /// Lets clients in, and tells where.
    fn start_vnc(&mut self) -> Result<(), RunError> {
        let Some(listeners) = self.vnc.0.take() else { return Ok(()) };
        if let Some(address) = listeners.address() {
            let display = crate::vnc::Listeners::display(address).map(|n| format!(" (display {n})"));
            eprintln!("pcvm: VNC on {address}{}", display.unwrap_or_default());
        }
        let server =
            crate::vnc::Server::start(console::Display::new(self.handle()), &self.config.name, listeners).map_err(
                |error| RunError::Host { what: "start the VNC server", error: crate::error::host_error(&error) },
            )?;
        self.vnc.1 = Some(server);
        Ok(())
    }

    fn power_on(&mut self) -> Result<(), RunError> {
        self.shared.vcpus.park();
        self.reset()?;
        self.shared.clock.start();
        self.shared.vcpus.run();
        Ok(())
    }

    /// Hard reset, with the processors parked before and after.
    fn reset(&mut self) -> Result<(), RunError> {
        let elcr = if matches!(self.config.payload, Payload::Kernel { .. }) { kernel::ELCR } else { 0 };
        self.vm.reset_chips(elcr)?;
        let entry = {
            let mut board = self.shared.lock();
            board.reset();
            if let Payload::Kernel { .. } = self.config.payload {
                kernel::configure_chipset(&mut board);
                Some(kernel::load(&self.memory, &self.config, &self.config.payload)?)
            } else {
                None
            }
        };
        self.shared.with_board(|_| ());
        self.shared.vcpus.reset(entry.map(|entry| match entry {
            KernelEntry::Linux32 { entry, boot_params } => {
                FlatEntry { eip: entry.into(), esi: boot_params.into(), ebx: 0 }
            }
            KernelEntry::Pvh { entry, start_info } => FlatEntry { eip: entry.into(), esi: 0, ebx: start_info.into() },
        }));
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared.vcpus.exit();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Handle {
    /// A key or the pointer.
    pub fn input(&self, event: InputEvent) {
        self.0.with_board(|board| board.input(event));
    }

    /// Bytes to a serial port, 0 for COM1.
    pub fn serial_input(&self, port: u8, bytes: &[u8]) {
        self.0.with_board(|board| board.char_input(CharId(port), bytes));
    }

    /// A network card's cable, 0 for the first: plugged in, or out. False if there is no such card.
    pub fn set_link(&self, nic: u8, up: bool) -> bool {
        self.0.with_board(|board| board.set_link(NicId(nic), up))
    }

    /// The power button.
    pub fn power_button(&self) {
        self.0.with_board(Board::power_button);
    }

    /// Bytes of scan codes that the guest has not taken, of the sixteen that the keyboard has room for.
    pub fn keys_waiting(&self) -> usize {
        self.0.with_board(|board| board.keys_waiting())
    }

    /// The keyboard's LEDs: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub fn keyboard_leds(&self) -> u8 {
        self.0.with_board(|board| board.keyboard_leds())
    }

    /// Whether the guest listens to the tablet, so that [`InputEvent::Pointer`] says where its pointer is; none if there is
    /// no tablet.
    pub fn tablet_in_use(&self) -> Option<bool> {
        self.0.with_board(|board| board.tablet_in_use())
    }

    /// Columns and rows of pixels of the screen.
    pub fn screen_size(&self) -> Option<(u32, u32)> {
        self.shown().0.map(|vga| vga.size())
    }

    /// What the text screen shows, row by row; empty in a graphics mode. None if the machine has no screen.
    pub fn text_screen(&self) -> Option<Vec<String>> {
        let (vga, memory) = self.shown();
        vga.map(|vga| vga.text_screen(&memory))
    }

    /// A copy of what the picture depends on, and the memory with the pixels: the guest goes on while it is drawn.
    pub fn shown(&self) -> (Option<Vga>, Arc<Memory>) {
        self.0.with_board(|board| (board.vga().map(Vga::render_state), board.memory().clone()))
    }

    /// The same, and [`Board::video_changes`].
    pub fn shown_and_changes(&self, since: u64, call: Option<&Waker>) -> (Option<Vga>, Arc<Memory>, DirtyPages, u64) {
        self.0.with_board(|board| {
            let (touched, changes) = board.video_changes(since, call);
            (board.vga().map(Vga::render_state), board.memory().clone(), touched, changes)
        })
    }

    /// The screen as pixels. None if the machine has none.
    pub fn screen(&self) -> Option<Bitmap> {
        let (vga, memory) = self.shown();
        vga.map(|vga| vga.render(&memory))
    }

    /// Makes it stand still, or go on.
    pub fn pause(&self, pause: bool) {
        self.0.post(if pause { MachineEvent::Stop } else { MachineEvent::Continue });
    }

    /// Whether it was made to stand still.
    pub fn paused(&self) -> bool {
        self.0.paused()
    }

    /// Ends the machine.
    pub fn quit(&self) {
        self.0.post(MachineEvent::Quit);
    }

    /// Resets it.
    pub fn reset(&self) {
        self.0.post(MachineEvent::Reset(pcvm_devices::ResetKind::Hard));
    }
}

/// Runs a machine until it ends: the process's exit status.
///
/// # Errors
/// If it cannot be made or cannot go on.
pub fn run(config: MachineConfig) -> anyhow::Result<u8> {
    let mut machine = Machine::new(config)?;
    machine.quit_on_signals()?;
    machine.run()?;
    Ok(0)
}
