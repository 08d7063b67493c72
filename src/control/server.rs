//! QMP server: control clients on the main loop.

use super::command::{self, CommandReply};
use super::press_key;
use super::qmp::{self, Arguments, Class, Failure, Outcome, Reader};
use super::typist::Typist;
use crate::board::DriveError;
use crate::keys::Keymap;
use crate::machine::{Change, Handle, Service};
use crate::socket_path::SocketPath;
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use pcvm_devices::{BlockError, BlockOp};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;
use vmm_sys_util::eventfd::EventFd;

const LISTENER: u32 = 0;
const TYPIST: u32 = 1;
const WAKE: u32 = 2;
const SCREEN: u32 = 3;
/// Event ids of clients begin here.
const CLIENT: u32 = 16;

/// Clients that may be connected at a time.
const CLIENTS: usize = 16;
/// Bytes read from a client before the main loop serves others.
const PART: usize = 4096;
/// Reads of that size that empty a socket's receive buffer.
const PARTS_LEFT: usize = 256;
/// Unread reply and event bytes per client; the server disconnects a client that exceeds it.
const OUT_MAX: usize = 256 << 10;

/// The result of a command that ran on a thread, and its client.
type Answer = (u32, Outcome);

/// What the reply to a client's command waits for.
enum Waiting {
    /// The main loop handles the machine event.
    Events,
    /// The typist has typed the keys.
    Keys(u64),
    /// A thread executes the command.
    Thread,
}

struct Client {
    stream: UnixStream,
    reader: Reader,
    negotiated: bool,
    out: Vec<u8>,
    waiting: Option<(Waiting, Option<Value>)>,
    /// The client has closed its sending side.
    ended: bool,
    /// The client has disconnected or is to be disconnected.
    gone: bool,
    pointer: super::pointer::Pointer,
    watched: EventSet,
}

/// Control clients, the typist that types for them, and `--press-key-for-cd`.
pub struct Server {
    handle: Handle,
    machine: String,
    keymap: Keymap,
    socket: Option<SocketPath>,
    /// The listener is not polled, because accepting a client failed.
    accept_paused: bool,
    clients: BTreeMap<u32, Client>,
    /// A client has requested the next reset.
    reset_asked: bool,
    next: u32,
    typist: Typist,
    /// Results of threads.
    results: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    /// Signals results, and replies that waited for the main loop.
    wake: EventFd,
    /// The timer that polls the screen for the prompt, and the polls that are left.
    press_key: Option<(OwnedFd, u32)>,
}

impl MutEventSubscriber for Server {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        watch(ops, self.typist.timer().as_raw_fd(), TYPIST);
        watch(ops, self.wake.as_raw_fd(), WAKE);
        if let Some((timer, _)) = &self.press_key {
            watch(ops, timer.as_raw_fd(), SCREEN);
        }
        if let Some(socket) = &self.socket {
            watch(ops, socket.listener.as_raw_fd(), LISTENER);
        }
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        match events.data() {
            LISTENER => self.accept(ops),
            TYPIST => {
                self.typist.tick();
                let done = self.typist.done();
                self.reply_to_ready(ops, |waiting| matches!(waiting, Waiting::Keys(ticket) if *ticket <= done));
            }
            WAKE => {
                let _ = self.wake.read();
                while let Ok((number, outcome)) = self.results.1.try_recv() {
                    if let Some(client) = self.clients.get_mut(&number) {
                        client.answer(outcome);
                        self.advance(number, ops);
                    }
                }
                // Writes events, and serves clients whose command waited for the main loop.
                for number in self.clients.keys().copied().collect::<Vec<_>>() {
                    self.advance(number, ops);
                }
            }
            SCREEN => self.poll_prompt(ops),
            n => self.client(n - CLIENT, events.event_set(), ops),
        }
    }
}

impl Service for Server {
    fn changed(&mut self, changes: &[Change]) {
        let waits = |client: &Client| matches!(client.waiting, Some((Waiting::Events, _)));
        if self.clients.values().any(waits) {
            let _ = self.wake.write(1);
        }
        for client in self.clients.values_mut().filter(|client| waits(client)) {
            client.answer(Ok(json!({})));
        }
        let by = |guest, inside, outside| json!({ "guest": guest, "reason": if guest { inside } else { outside } });
        for change in changes {
            match change {
                Change::Paused => self.broadcast("STOP", &Value::Null),
                Change::DriveError(DriveError { drive, op, error }) => {
                    let data = json!({
                        "device": drive,
                        "node-name": drive,
                        "operation": if *op == BlockOp::Read { "read" } else { "write" },
                        "action": "stop",
                        "nospace": *error == BlockError::NoSpace,
                        "reason": error.to_string(),
                    });
                    self.broadcast("BLOCK_IO_ERROR", &data);
                }
                Change::TrayMoved { drive, open } => {
                    self.broadcast("DEVICE_TRAY_MOVED", &json!({ "device": drive, "id": drive, "tray-open": open }));
                }
                Change::Resumed => self.broadcast("RESUME", &Value::Null),
                Change::Reset => {
                    let guest = !std::mem::take(&mut self.reset_asked);
                    self.broadcast("RESET", &by(guest, "guest-reset", "host-qmp-system-reset"));
                }
                Change::Shutdown { guest } => {
                    self.broadcast("SHUTDOWN", &by(*guest, "guest-shutdown", "host-qmp-quit"))
                }
            }
        }
    }

    fn finish(&mut self) {
        self.clients.values_mut().for_each(Client::flush);
    }
}

impl Server {
    /// A server for the machine `name`, whose guest's keyboard has the layout `keymap`. It listens on `socket` if there is one.
    ///
    /// # Errors
    /// If the host has no more descriptors.
    pub fn new(
        handle: Handle,
        name: &str,
        keymap: Keymap,
        socket: Option<SocketPath>,
        press_key: bool,
    ) -> std::io::Result<Self> {
        let screen = || -> std::io::Result<OwnedFd> {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
            let each = Timespec { tv_sec: 0, tv_nsec: press_key::INTERVAL.subsec_nanos().into() };
            let set = Itimerspec { it_interval: each, it_value: each };
            rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &set)?;
            Ok(timer)
        };
        Ok(Self {
            typist: Typist::new(handle.clone())?,
            handle,
            machine: name.to_owned(),
            keymap,
            socket,
            accept_paused: false,
            clients: BTreeMap::new(),
            reset_asked: false,
            next: 0,
            results: mpsc::channel(),
            wake: EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?,
            press_key: if press_key { Some((screen()?, press_key::LOOKS)) } else { None },
        })
    }

    /// Sends an event to every client.
    fn broadcast(&mut self, name: &str, data: &Value) {
        for client in self.clients.values_mut().filter(|client| client.negotiated) {
            client.send(&qmp::event(name, data.clone()));
        }
        // The wake-up writes them.
        let _ = self.wake.write(1);
    }

    fn accept(&mut self, ops: &mut EventOps<'_>) {
        let Some(socket) = &self.socket else { return };
        let fd = socket.listener.as_raw_fd();
        match socket.listener.accept() {
            Ok((stream, _)) => {
                if self.clients.len() >= CLIENTS || stream.set_nonblocking(true).is_err() {
                    tracing::warn!("a control client was refused: {CLIENTS} clients are connected");
                    return;
                }
                let number = self.next;
                self.next = (self.next + 1) % (u32::MAX - CLIENT);
                let mut client = Client {
                    stream,
                    reader: Reader::default(),
                    negotiated: false,
                    out: Vec::new(),
                    waiting: None,
                    ended: false,
                    gone: false,
                    pointer: super::pointer::Pointer::default(),
                    watched: EventSet::IN,
                };
                watch(ops, client.stream.as_raw_fd(), CLIENT + number);
                client.send(&qmp::greeting());
                self.clients.insert(number, client);
                self.advance(number, ops);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // For example no free descriptor: polling the listener again at once would spin.
                tracing::warn!("a control client cannot be accepted: {}", crate::error::host_error(&error));
                let _ = ops.remove(Events::empty_raw(fd));
                self.accept_paused = true;
            }
        }
    }

    fn client(&mut self, number: u32, set: EventSet, ops: &mut EventOps<'_>) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        if set.contains(EventSet::IN) {
            client.receive();
        }
        if set.intersects(EventSet::HANG_UP | EventSet::ERROR) {
            // The client cannot receive replies any more. Commands that it has sent are executed all the same, except
            // those that wait.
            for _ in 0..PARTS_LEFT {
                while self.run(number).is_some() && self.clients.get(&number).is_some_and(|c| c.waiting.is_none()) {}
                let Some(client) = self.clients.get_mut(&number) else { return };
                client.out.clear();
                if client.ended || client.waiting.is_some() {
                    break;
                }
                client.receive();
            }
            if let Some(client) = self.clients.get_mut(&number) {
                client.gone = true;
            }
        }
        self.advance(number, ops);
    }

    /// Replies to the commands whose wait has ended.
    fn reply_to_ready(&mut self, ops: &mut EventOps<'_>, ready: impl Fn(&Waiting) -> bool) {
        let is_ready = |client: &Client| client.waiting.as_ref().is_some_and(|(waiting, _)| ready(waiting));
        let numbers: Vec<_> =
            self.clients.iter().filter(|(_, client)| is_ready(client)).map(|(number, _)| *number).collect();
        for number in numbers {
            if let Some(client) = self.clients.get_mut(&number) {
                client.answer(Ok(json!({})));
                self.advance(number, ops);
            }
        }
    }

    /// Serves a client as far as possible without waiting, and polls for what it waits for.
    fn advance(&mut self, number: u32, ops: &mut EventOps<'_>) {
        loop {
            let Some(client) = self.clients.get_mut(&number) else { return };
            client.flush();
            if client.gone || client.waiting.is_some() || !client.out.is_empty() || self.run(number).is_none() {
                break;
            }
        }
        let Some(client) = self.clients.get_mut(&number) else { return };
        let idle = client.waiting.is_none() && client.out.is_empty();
        if client.gone || client.ended && idle {
            let _ = ops.remove(Events::empty_raw(client.stream.as_raw_fd()));
            self.clients.remove(&number);
            if let Some(socket) = &self.socket
                && std::mem::take(&mut self.accept_paused)
            {
                watch(ops, socket.listener.as_raw_fd(), LISTENER);
            }
            return;
        }
        let mut wanted = EventSet::empty();
        if !client.out.is_empty() {
            wanted |= EventSet::OUT;
        }
        if idle && !client.ended {
            wanted |= EventSet::IN;
        }
        if wanted != client.watched {
            client.watched = wanted;
            let events = Events::with_data_raw(client.stream.as_raw_fd(), CLIENT + number, wanted);
            if ops.modify(events).is_err() {
                client.gone = true;
            }
        }
    }

    /// Executes a client's next command, if a complete one has arrived.
    fn run(&mut self, number: u32) -> Option<()> {
        let client = self.clients.get_mut(&number)?;
        let request = match client.reader.next(client.ended)? {
            Ok(request) => request,
            Err((failure, id)) => {
                client.send(&qmp::reply(Err(failure), id));
                return Some(());
            }
        };
        let not_now = |desc: &str| Failure { class: Class::CommandNotFound, desc: desc.to_owned() };
        let id = request.id;
        let reset = request.execute == "system_reset";
        let powerdown = client.negotiated && request.execute == "system_powerdown" && request.arguments.is_empty();
        let step = match (client.negotiated, request.execute.as_str()) {
            (false, "qmp_capabilities") => negotiate(Arguments(request.arguments)).map(|()| {
                client.negotiated = true;
                CommandReply::Done(Ok(json!({})))
            }),
            (false, _) => Err(not_now("Expecting capabilities negotiation with 'qmp_capabilities'")),
            (true, "qmp_capabilities") => Err(not_now("Capabilities negotiation is already complete, command ignored")),
            (true, name) => {
                let (arguments, machine) = (Arguments(request.arguments), &self.machine);
                command::run(name, arguments, &self.handle, machine, self.keymap, &mut client.pointer)
            }
        };
        match step.unwrap_or_else(|failure| CommandReply::Done(Err(failure))) {
            CommandReply::Done(outcome) => {
                client.send(&qmp::reply(outcome, id));
                if powerdown {
                    self.broadcast("POWERDOWN", &Value::Null);
                }
            }
            CommandReply::Events => {
                client.waiting = Some((Waiting::Events, id));
                self.reset_asked |= reset;
            }
            CommandReply::Type(keys, hold) => match self.typist.chord(&keys, hold) {
                Ok(ticket) => client.waiting = Some((Waiting::Keys(ticket), id)),
                Err(_) => client.send(&qmp::reply(Err(Failure::generic("too many keys wait to be typed")), id)),
            },
            CommandReply::Text(text) => match self.typist.text(&text) {
                Ok(ticket) => client.waiting = Some((Waiting::Keys(ticket), id)),
                Err(_) => client.send(&qmp::reply(Err(Failure::generic("too many keys wait to be typed")), id)),
            },
            CommandReply::Thread(job) => {
                let (handle, results) = (self.handle.clone(), self.results.0.clone());
                let spawned = self.wake.try_clone().and_then(|wake| {
                    std::thread::Builder::new().name(job.name.to_owned()).spawn(move || {
                        let _ = results.send((number, (job.work)(&handle)));
                        let _ = wake.write(1);
                    })
                });
                match spawned {
                    Ok(_) => client.waiting = Some((Waiting::Thread, id)),
                    Err(error) => {
                        let why = crate::error::host_error(&error);
                        client.send(&qmp::reply(Err(Failure::generic(why)), id));
                    }
                }
            }
        }
        Some(())
    }

    /// Polls the screen for the prompt to press a key.
    fn poll_prompt(&mut self, ops: &mut EventOps<'_>) {
        let Some((timer, left)) = &mut self.press_key else { return };
        let _ = rustix::io::read(&*timer, &mut [0; 8]);
        *left = left.saturating_sub(1);
        let asked = press_key::asks(&self.handle.text_screen().unwrap_or_default());
        if asked {
            let _ = self.typist.chord(&[press_key::ANSWER], Duration::from_millis(50));
        }
        if asked || *left == 0 {
            let _ = ops.remove(Events::empty_raw(timer.as_raw_fd()));
            self.press_key = None;
        }
    }
}

fn watch(ops: &mut EventOps<'_>, fd: RawFd, data: u32) {
    if let Err(error) = ops.add(Events::with_data_raw(fd, data, EventSet::IN)) {
        tracing::warn!("descriptor {fd} cannot be polled: {error}");
    }
}

/// Checks the capabilities that a client enables. The server has none.
fn negotiate(mut arguments: Arguments) -> Result<(), Failure> {
    if arguments.0.contains_key("enable")
        && let Some(wanted) = arguments.list("enable")?.first()
    {
        let name = wanted.as_str().unwrap_or("?").escape_debug().to_string();
        return Err(Failure::generic(format!("Capability {name} not available")));
    }
    arguments.end()
}

impl Client {
    fn send(&mut self, value: &Value) {
        self.out.extend_from_slice(value.to_string().as_bytes());
        self.out.extend_from_slice(b"\r\n");
        if self.out.len() > OUT_MAX {
            self.gone = true;
        }
    }

    fn answer(&mut self, outcome: Outcome) {
        if let Some((_, id)) = self.waiting.take() {
            self.send(&qmp::reply(outcome, id));
        }
    }

    fn receive(&mut self) {
        let mut part = [0; PART];
        match self.stream.read(&mut part) {
            Ok(0) => self.ended = true,
            Ok(count) => self.reader.feed(part.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => (self.ended, self.gone) = (true, true),
        }
    }

    fn flush(&mut self) {
        while !self.out.is_empty() && !self.gone {
            match self.stream.write(&self.out) {
                Ok(count @ 1..) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The client does not read any more. Commands that it sent before are still executed; the server sees the end
                // of the stream when it reads on.
                _ => self.out.clear(),
            }
        }
    }
}
