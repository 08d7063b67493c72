//! A whole machine: built from a configuration, run, paused and reset.
//!
//! [`pc`] lists the devices and their slots, `build` opens what the configuration names and creates the machine, `vcpu` is a
//! vCPU's thread, `main_loop` the main one. [`vcpus`] parks, resets and restarts the vCPU threads; [`shared`] is what all
//! threads share.

mod build;
pub mod clock;
pub mod console;
pub mod exits;
mod handle;
pub mod host_files;
mod input_sources;
pub mod kernel;
pub mod limits;
mod local_time;
mod main_loop;
pub mod media;
mod outputs;
pub mod pc;
pub mod roms;
pub mod service;
pub mod shared;
mod signals;
pub mod snapshots;
pub mod statistics;
mod vcpu;
pub mod vcpus;

pub use build::BuildError;
pub use handle::Handle;
pub use service::{Change, Service};

use crate::config::MachineConfig;
use crate::kvm::KvmError;
use crate::kvm::vm::Vm;
use shared::Shared;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use thiserror::Error;
use vmm_sys_util::eventfd::EventFd;

/// The machine cannot continue.
#[derive(Debug, Error)]
pub enum RunError {
    /// A vCPU or KVM failed: a report of several lines.
    #[error("{0}")]
    Failed(String),
    /// `--display`.
    #[error(transparent)]
    Display(#[from] crate::display::DisplayError),
    /// KVM.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// The host.
    #[error("cannot {what}: {error}")]
    Host {
        /// The operation.
        what: &'static str,
        /// The host's answer.
        error: String,
    },
}

/// A front end of the screen: absent, opened before the machine was built, or running.
enum FrontEnd<P, R> {
    Absent,
    Prepared(P),
    /// Ends when it is dropped.
    Running(R),
}

impl<P, R> FrontEnd<P, R> {
    fn new(prepared: Option<P>) -> Self {
        prepared.map_or(Self::Absent, Self::Prepared)
    }

    /// Starts what was prepared.
    fn start<E>(&mut self, start: impl FnOnce(P) -> Result<R, E>) -> Result<(), E> {
        if let Self::Prepared(prepared) = std::mem::replace(self, Self::Absent) {
            *self = Self::Running(start(prepared)?);
        }
        Ok(())
    }
}

/// A machine.
pub struct Machine {
    shared: Arc<Shared>,
    vm: Arc<Vm>,
    config: MachineConfig,
    timer: Arc<OwnedFd>,
    quit: Option<EventFd>,
    failure: Arc<OnceLock<KvmError>>,
    threads: Vec<JoinHandle<()>>,
    /// Until the main loop takes them.
    services: Vec<Box<dyn Service>>,
    /// Since the services were last informed.
    changes: Vec<Change>,
    vnc: FrontEnd<crate::vnc::Listeners, crate::vnc::Server>,
    display: FrontEnd<crate::display::Prepared, crate::display::Running>,
}

impl Machine {
    /// SIGTERM, SIGINT and SIGHUP end the machine from now on.
    ///
    /// # Errors
    /// If the host has no more descriptors.
    pub fn quit_on_signals(&mut self) -> std::io::Result<()> {
        self.quit = Some(signals::quit_event()?);
        Ok(())
    }

    /// Adds a service to the main loop.
    pub fn add_service(&mut self, service: Box<dyn Service>) {
        self.services.push(service);
    }

    /// A reference for other threads and for services.
    pub fn handle(&self) -> Handle {
        Handle::new(self.shared.clone())
    }

    /// Starts the display on this host.
    fn start_display(&mut self) -> Result<(), RunError> {
        let screen = console::Display::new(self.handle());
        Ok(self.display.start(|prepared| prepared.start(screen))?)
    }

    /// Starts the VNC server and prints its address.
    fn start_vnc(&mut self) -> Result<(), RunError> {
        let screen = console::Display::new(self.handle());
        let (name, keymap) = (&self.config.name, self.config.keymap.unwrap_or_default());
        self.vnc.start(|listeners| {
            if let Some(address) = listeners.address() {
                let display = crate::vnc::Listeners::display(address).map(|n| format!(" (display {n})"));
                eprintln!("pcvm: VNC on {address}{}", display.unwrap_or_default());
            }
            crate::vnc::Server::start(screen, name, keymap, listeners).map_err(|error| RunError::Host {
                what: "start the VNC server",
                error: crate::error::host_error(&error),
            })
        })
    }

    fn power_on(&mut self) -> Result<(), RunError> {
        self.shared.vcpus.park();
        self.reset()?;
        self.shared.clock.start();
        self.shared.run_vcpus();
        Ok(())
    }

    /// Hard reset, with the vCPUs parked before and after.
    fn reset(&mut self) -> Result<(), RunError> {
        self.vm.reset_chips()?;
        self.shared.lock().reset();
        self.shared.with_board(|_| ());
        self.shared.vcpus.reset();
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Dropped outside the lock: this waits until the trace is written.
        let tracer = self.shared.with_board(|board| board.set_tracer(None));
        drop(tracer);
        self.shared.vcpus.exit();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
