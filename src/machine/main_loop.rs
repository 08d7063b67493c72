//! The main loop: timers, disk completions, input from the host, and what happens to the machine as a whole.

use super::net_rx::Net;
use super::shared::Shared;
use super::{Machine, RunError};
use crate::board::MachineEvent;
use crate::control::{self, Happened};
use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use pcvm_devices::{CharId, ResetKind};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

const EVENT: u32 = 0;
const TIMER: u32 = 1;
const BLOCK: u32 = 2;
const QUIT: u32 = 3;
/// Plus the number of the character device.
const CHAR: u32 = 16;
/// Plus the number of the network card.
const NET: u32 = 32;
/// Plus the number of the network card: its port can write pending bytes.
const NET_TX: u32 = 48;

/// Bytes that wait for a serial port before its host side is not read any more; a terminal's are lost then.
const INPUT_HIGH: usize = 4096;
/// How often a full port is looked at again, in milliseconds.
const INPUT_RETRY: i32 = 10;

/// What the main loop serves.
enum Part {
    /// The machine itself.
    Machine(Subscriber),
    /// Control clients.
    Control(Box<control::Server>),
}

impl MutEventSubscriber for Part {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        match self {
            Self::Machine(subscriber) => subscriber.init(ops),
            Self::Control(server) => server.init(ops),
        }
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match self {
            Self::Machine(subscriber) => subscriber.process(events, ops),
            Self::Control(server) => server.process(events, ops),
        }
    }
}

impl Part {
    fn machine(&mut self) -> Option<&mut Subscriber> {
        match self {
            Self::Machine(subscriber) => Some(subscriber),
            Self::Control(_) => None,
        }
    }

    fn control(&mut self) -> Option<&mut control::Server> {
        match self {
            Self::Machine(_) => None,
            Self::Control(server) => Some(server),
        }
    }
}

struct Subscriber {
    shared: Arc<Shared>,
    timer: Arc<OwnedFd>,
    quit: Option<EventFd>,
    /// Character devices that are not read because the guest does not take their bytes.
    full: [bool; CharId::COUNT],
    net: Net,
}

impl MutEventSubscriber for Subscriber {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        let mut add = |fd: &dyn AsRawFd, data| {
            if let Err(error) = ops.add(Events::with_data_raw(fd.as_raw_fd(), data, EventSet::IN)) {
                tracing::warn!("a descriptor cannot be watched: {error}");
            }
        };
        add(&self.shared.event_fd, EVENT);
        add(&self.timer, TIMER);
        add(self.shared.engine.completion_event(), BLOCK);
        if let Some(quit) = &self.quit {
            add(quit, QUIT);
        }
        for n in 0..CharId::COUNT {
            if let Some(chardev) = self.shared.chardev(n)
                && let Some(fd) = chardev.input_fd()
            {
                add(&fd, CHAR + n as u32);
            }
        }
        for (n, port) in self.shared.ports.iter().enumerate() {
            add(&port.rx_fd(), NET + n as u32);
            if let Some(fd) = port.tx_fd() {
                add(&fd, NET_TX + n as u32);
            }
        }
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match events.data() {
            EVENT => {
                let _ = self.shared.event_fd.read();
                self.net.look_again(&self.shared, ops);
            }
            TIMER => {
                let mut count = [0; 8];
                let _ = rustix::io::read(&*self.timer, &mut count);
                // While time stands still the alarm would be set again and again; going on looks at the timers.
                if !self.shared.paused() {
                    self.shared.with_board(|board| board.fire_timers());
                }
            }
            BLOCK => {
                let _ = self.shared.engine.completion_event().read();
                self.completions();
            }
            QUIT => {
                if let Some(quit) = &self.quit {
                    let _ = quit.read();
                }
                self.shared.post(MachineEvent::Quit);
            }
            n @ NET_TX.. => {
                if let Some(port) = self.shared.ports.get((n - NET_TX) as usize) {
                    port.flush_tx();
                }
            }
            n @ NET.. => self.net.receive(&self.shared, (n - NET) as usize, &events, ops),
            n => self.input((n - CHAR) as usize, &events, ops),
        }
    }
}

impl Subscriber {
    fn completions(&self) {
        for done in self.shared.engine.take_completions() {
            self.shared.with_board(|board| board.block_done(done));
        }
    }

    fn input(&mut self, n: usize, events: &Events, ops: &mut EventOps<'_>) {
        let Some(input) = self.shared.chardev(n).map(|chardev| chardev.read_input()) else { return };
        if input.quit {
            self.shared.post(MachineEvent::Quit);
        }
        if input.closed {
            let _ = ops.remove(Events::empty_raw(events.fd()));
        }
        if input.bytes.is_empty() {
            return;
        }
        let port = CharId(n as u8);
        if self.shared.chardev(n).is_some_and(|chardev| chardev.is_terminal()) {
            self.shared.with_board(|board| {
                let room = INPUT_HIGH.saturating_sub(board.char_input(port, &[]));
                board.char_input(port, input.bytes.get(..room).unwrap_or(&input.bytes));
            });
            return;
        }
        let waiting = self.shared.with_board(|board| board.char_input(port, &input.bytes));
        if waiting >= INPUT_HIGH && !input.closed {
            let _ = ops.remove(Events::empty_raw(events.fd()));
            self.full[n] = true;
        }
    }

    /// The character devices that were not read and whose ports have room again.
    fn has_room(&mut self) -> Vec<(u32, RawFd)> {
        let mut again = Vec::new();
        for n in 0..CharId::COUNT {
            if !self.full[n] {
                continue;
            }
            let waiting = self.shared.with_board(|board| board.char_input(CharId(n as u8), &[]));
            if waiting < INPUT_HIGH / 2
                && let Some(chardev) = self.shared.chardev(n)
                && let Some(fd) = chardev.input_fd()
            {
                self.full[n] = false;
                again.push((n as u32, fd.as_raw_fd()));
            }
        }
        again
    }
}

impl Machine {
    /// Switches the machine on and runs it until it is switched off, reset (with `no_reboot`) or told to end.
    ///
    /// # Errors
    /// If the processor or KVM cannot go on: a report.
    pub fn run(&mut self) -> Result<(), RunError> {
        let host = |what| move |error: event_manager::Error| RunError::Host { what, error: error.to_string() };
        let mut manager: EventManager<Part> = EventManager::new().map_err(host("make the main loop"))?;
        let id = manager.add_subscriber(Part::Machine(Subscriber {
            shared: self.shared.clone(),
            timer: self.timer.clone(),
            quit: self.quit.take(),
            full: [false; CharId::COUNT],
            net: Net::default(),
        }));
        let control = self.control.take().map(|server| manager.add_subscriber(Part::Control(Box::new(server))));
        self.start_display()?;
        self.start_vnc()?;
        self.power_on()?;
        let result = loop {
            let ended = self.events();
            if let Some(control) = control.and_then(|id| manager.subscriber_mut(id).ok()?.control()) {
                control.happened(&std::mem::take(&mut self.happened));
                if ended.is_some() {
                    control.farewell();
                }
            }
            if let Some(result) = ended {
                break result;
            }
            if let Some(error) = self.failure.get() {
                break Err(RunError::Broken(error.to_string()));
            }
            let subscriber = |manager: &mut EventManager<Part>, f: &mut dyn FnMut(&mut Subscriber)| {
                if let Some(subscriber) = manager.subscriber_mut(id).ok().and_then(Part::machine) {
                    f(subscriber);
                }
            };
            let mut again = Vec::new();
            subscriber(&mut manager, &mut |subscriber| again = subscriber.has_room());
            for (n, fd) in again {
                if let Ok(mut ops) = manager.event_ops(id) {
                    let _ = ops.add(Events::with_data_raw(fd, CHAR + n, EventSet::IN));
                }
            }
            let mut full = false;
            subscriber(&mut manager, &mut |subscriber| full = subscriber.full.contains(&true));
            let waited = manager.run_with_timeout(if full { INPUT_RETRY } else { -1 });
            // A signal is no failure.
            if let Err(event_manager::Error::Epoll(error)) = waited
                && error.errno() != libc::EINTR
            {
                break Err(RunError::Host { what: "wait for events", error: error.to_string() });
            }
        };
        self.shared.vcpus.exit();
        result
    }

    /// Answers all events that there are; `Some` ends the run.
    fn events(&mut self) -> Option<Result<(), RunError>> {
        while let Some(event) = self.shared.take_event() {
            match self.on_event(event) {
                Ok(None) => {}
                Ok(Some(result)) => return Some(result),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    /// Answers an event; `Some` ends the run.
    fn on_event(&mut self, event: MachineEvent) -> Result<Option<Result<(), RunError>>, RunError> {
        self.shared.vcpus.park();
        match event {
            MachineEvent::PowerOff | MachineEvent::Quit => {
                self.happened.push(Happened::Shutdown(event == MachineEvent::PowerOff));
                return Ok(Some(Ok(())));
            }
            MachineEvent::Broken(report) => return Ok(Some(Err(RunError::Broken(report)))),
            MachineEvent::Reset(ResetKind::Hard) if self.no_reboot => {
                self.happened.push(Happened::Shutdown(true));
                return Ok(Some(Ok(())));
            }
            MachineEvent::Reset(ResetKind::Hard) => {
                tracing::info!("reset");
                self.shared.forget_resets();
                // What the drives were doing goes its way, to the sectors it was for, before they forget it.
                self.drain();
                self.reset()?;
                self.happened.push(Happened::Reset);
            }
            MachineEvent::Reset(ResetKind::Init) => self.shared.vcpus.reset(None),
            MachineEvent::Stop if !self.shared.paused() => {
                self.shared.set_paused(true);
                self.shared.clock.stop();
                self.happened.push(Happened::Stopped);
            }
            MachineEvent::Continue if self.shared.paused() => {
                self.shared.clock.start();
                self.shared.set_paused(false);
                // The alarm was for a time that has been put off.
                self.shared.with_board(|board| board.fire_timers());
                self.happened.push(Happened::Resumed);
            }
            MachineEvent::Stop | MachineEvent::Continue => {}
        }
        if !self.shared.paused() {
            self.shared.vcpus.run();
        }
        Ok(None)
    }

    /// Waits for disk requests under way and lets the devices have their ends, while the processors are parked.
    fn drain(&self) {
        loop {
            self.shared.engine.wait_idle();
            let ended = self.shared.engine.take_completions();
            if ended.is_empty() {
                return;
            }
            for done in ended {
                // This may start the next part of a command, for which the loop goes round again.
                self.shared.with_board(|board| board.block_done(done));
            }
        }
    }
}
