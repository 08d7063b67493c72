//! The main loop: timers, disk completions, input from the host, and machine events.

use super::input_sources::InputSources;
use super::service::{Change, Service};
use super::shared::Shared;
use super::{Machine, RunError};
use crate::block::StoppedDrive;
use crate::board::{DriveError, MachineEvent};
use crate::error::host_error;
use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberId, SubscriberOps};
use pcvm_devices::{BlockError, ResetKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

const EVENT: u32 = 0;
const TIMER: u32 = 1;
const BLOCK: u32 = 2;
const QUIT: u32 = 3;

/// A subscriber of the main loop.
enum Part {
    /// The machine.
    Machine(MachineEvents),
    /// A service of the machine, such as the control socket.
    Service(Box<dyn Service>),
}

impl MutEventSubscriber for Part {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        match self {
            Self::Machine(machine) => machine.init(ops),
            Self::Service(service) => service.init(ops),
        }
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match self {
            Self::Machine(machine) => machine.process(events, ops),
            Self::Service(service) => service.process(events, ops),
        }
    }
}

/// The machine's own descriptors.
struct MachineEvents {
    shared: Arc<Shared>,
    timer: Arc<OwnedFd>,
    quit: Option<EventFd>,
    sources: InputSources,
}

impl MutEventSubscriber for MachineEvents {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        let mut poll = |fd: &dyn AsRawFd, data| {
            if let Err(error) = ops.add(Events::with_data_raw(fd.as_raw_fd(), data, EventSet::IN)) {
                tracing::warn!("descriptor {} cannot be polled: {error}", fd.as_raw_fd());
            }
        };
        poll(&self.shared.event_fd, EVENT);
        poll(&self.timer, TIMER);
        poll(self.shared.engine.completion_event(), BLOCK);
        if let Some(quit) = &self.quit {
            poll(quit, QUIT);
        }
        self.sources.init(&self.shared, ops);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match events.data() {
            EVENT => {
                let _ = self.shared.event_fd.read();
                self.sources.resume(&self.shared, ops);
            }
            TIMER => {
                let mut count = [0; 8];
                let _ = rustix::io::read(&*self.timer, &mut count);
                // While time stands still the alarm would be set again at once; resuming fires the timers.
                if !self.shared.paused() {
                    self.shared.with_board(|board| board.fire_timers());
                }
            }
            BLOCK => {
                let _ = self.shared.engine.completion_event().read();
                for done in self.shared.engine.take_completions() {
                    self.shared.with_board(|board| board.block_done(done));
                }
                for StoppedDrive { drive, op, error } in self.shared.engine.take_stopped() {
                    self.shared.post(MachineEvent::DriveError(DriveError { drive, op, error }));
                }
            }
            QUIT => {
                if let Some(quit) = &self.quit {
                    let _ = quit.read();
                }
                self.shared.post(MachineEvent::Quit);
            }
            id => self.sources.process(&self.shared, id, &events, ops),
        }
    }
}

impl Machine {
    /// Switches the machine on and runs it until the guest powers off, resets it (with `no_reboot`) or a client ends it.
    ///
    /// # Errors
    /// If KVM or the host fails: a report.
    pub fn run(&mut self) -> Result<(), RunError> {
        let host = |what| move |error: event_manager::Error| RunError::Host { what, error: error.to_string() };
        let mut manager: EventManager<Part> = EventManager::new().map_err(host("create the main loop"))?;
        manager.add_subscriber(Part::Machine(MachineEvents {
            shared: self.shared.clone(),
            timer: self.timer.clone(),
            quit: self.quit.take(),
            sources: InputSources::default(),
        }));
        let services: Vec<_> =
            self.services.drain(..).map(|service| manager.add_subscriber(Part::Service(service))).collect();
        self.start_display()?;
        self.start_vnc()?;
        self.power_on()?;
        let result = loop {
            let ended = self.handle_events();
            let changes = std::mem::take(&mut self.changes);
            for_each_service(&mut manager, &services, |service| {
                service.changed(&changes);
                if ended.is_some() {
                    service.finish();
                }
            });
            if let Some(result) = ended {
                break result;
            }
            if let Some(error) = self.failure.get() {
                break Err(RunError::Failed(error.to_string()));
            }
            // A signal interrupts the wait and is no failure.
            if let Err(event_manager::Error::Epoll(error)) = manager.run()
                && error.errno() != libc::EINTR
            {
                break Err(RunError::Host { what: "wait for events", error: error.to_string() });
            }
        };
        self.shared.vcpus.exit();
        result
    }

    /// Handles all pending machine events; `Some` ends the run.
    fn handle_events(&mut self) -> Option<Result<(), RunError>> {
        loop {
            let event = self.shared.pending().take()?;
            match self.handle_event(event) {
                Ok(None) => {}
                Ok(Some(result)) => return Some(result),
                Err(error) => return Some(Err(error)),
            }
            self.shared.run_vcpus();
        }
    }

    /// Handles a machine event with all vCPUs parked; `Some` ends the run.
    fn handle_event(&mut self, event: MachineEvent) -> Result<Option<Result<(), RunError>>, RunError> {
        self.shared.vcpus.park();
        match event {
            MachineEvent::PowerOff | MachineEvent::Quit => {
                self.changes.push(Change::Shutdown { guest: event == MachineEvent::PowerOff });
                return Ok(Some(Ok(())));
            }
            MachineEvent::Failed(report) => return Ok(Some(Err(RunError::Failed(report)))),
            MachineEvent::Reset(ResetKind::Hard) if self.config.no_reboot => {
                self.changes.push(Change::Shutdown { guest: true });
                return Ok(Some(Ok(())));
            }
            MachineEvent::Reset(ResetKind::Hard) => {
                tracing::info!("hard reset");
                self.shared.pending().discard_resets();
                // Requests in flight complete, at the sectors they were for, before the drives forget them.
                self.drain();
                self.reset()?;
                self.changes.push(Change::Reset);
            }
            MachineEvent::TrayMoved { disk, open } => {
                self.changes.extend(self.shared.drives.name(disk).map(|drive| Change::TrayMoved { drive, open }));
            }
            MachineEvent::Reset(ResetKind::Init) => self.shared.vcpus.reset(),
            MachineEvent::Stop if !self.shared.paused() => self.pause(),
            MachineEvent::DriveError(error) => {
                let what = match error.error {
                    BlockError::NoSpace => "no space left on the host".to_owned(),
                    BlockError::Io(errno) => host_error(&std::io::Error::from_raw_os_error(errno)),
                    other => other.to_string(),
                };
                let (drive, name) = (&error.drive, &self.config.name);
                eprintln!(
                    "pcvm: drive {drive}: {what}; the machine is paused: mend the cause, then 'pcvm resume {name}'"
                );
                self.shared.set_drive_error();
                self.shared.drives.set_error(&error.drive, error.error);
                self.changes.push(Change::DriveError(error));
                if !self.shared.paused() {
                    self.pause();
                }
            }
            MachineEvent::Continue if self.shared.paused() => {
                self.shared.engine.resume();
                self.shared.drives.clear_errors();
                self.shared.clock.start();
                self.shared.set_paused(false);
                // The alarm was set for a time that the pause has moved.
                self.shared.with_board(|board| board.fire_timers());
                self.changes.push(Change::Resumed);
            }
            MachineEvent::Stop | MachineEvent::Continue => {}
        }
        Ok(None)
    }

    fn pause(&mut self) {
        self.shared.set_paused(true);
        self.shared.clock.stop();
        self.changes.push(Change::Paused);
    }

    /// Waits for disk requests in flight and delivers their completions, while the vCPUs are parked.
    fn drain(&self) {
        loop {
            self.shared.engine.wait_idle();
            let completions = self.shared.engine.take_completions();
            if completions.is_empty() {
                return;
            }
            for done in completions {
                // This may start the next part of a command, which the next turn waits for.
                self.shared.with_board(|board| board.block_done(done));
            }
        }
    }
}

fn for_each_service(manager: &mut EventManager<Part>, ids: &[SubscriberId], mut f: impl FnMut(&mut dyn Service)) {
    for &id in ids {
        if let Ok(Part::Service(service)) = manager.subscriber_mut(id) {
            f(&mut **service);
        }
    }
}
