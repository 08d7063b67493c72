//! The server's thread.

use super::listen::Listeners;
use super::picture::{Change, Damage, Picture};
use super::session::{Goodbye, Options, Request, Session};
use super::wire::{Over, Socket, Wire};
use crate::display::{Bell, Console, Feed, Pace, Waker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Clients at a time.
const CLIENTS: usize = 32;
/// How long a client may take until it is through with its authentication: a person types the password meanwhile.
const HANDSHAKE: Duration = Duration::from_secs(120);
/// How long a client that is let go may take to read why.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes that wait for a client at most while it is still listened to.
const PENDING_MAX: usize = 17 << 20;
/// After wrong passwords nobody is let in for so long: a second, then one more each time.
const DOUBT: Duration = Duration::from_secs(1);
const DOUBT_MAX: u32 = 10;
/// A VNC server that runs; it ends when it is dropped.
pub struct Server {
    quit: Bell,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the host has no more descriptors or threads.
    pub fn start(console: impl Console, name: &str, listeners: Listeners) -> io::Result<Self> {
        let (quit, touched) = (Bell::new()?, Bell::new()?);
        let options =
            Options { name: name.to_owned(), password: listeners.password.clone(), tls: listeners.tls.is_some() };
        let mut serving = Serving {
            console: Box::new(console),
            listeners,
            options: Arc::new(options),
            quit: quit.clone(),
            call: touched.call(),
            touched,
            clients: Vec::new(),
            picture: Picture::black(720, 400),
            leds: 0,
            pace: Pace::new(Instant::now()),
            feed: Feed::default(),
            failures: 0,
            deaf_until: None,
        };
        let thread = std::thread::Builder::new().name("vnc".to_owned()).spawn(move || serving.run())?;
        Ok(Self { quit, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.quit.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Client {
    wire: Wire,
    session: Session,
    received: Vec<u8>,
    /// It is let go when everything is sent, or then.
    goodbye: Option<Instant>,
    /// Until when it must be through with its authentication.
    deadline: Instant,
    gone: bool,
}

struct Serving {
    console: Box<dyn Console>,
    listeners: Listeners,
    options: Arc<Options>,
    quit: Bell,
    /// Something was written to the adapter.
    touched: Bell,
    call: Waker,
    clients: Vec<Client>,
    picture: Picture,
    leds: u8,
    pace: Pace,
    feed: Feed,
    /// Wrong passwords since the last right one.
    failures: u32,
    /// Nobody is let in until then.
    deaf_until: Option<Instant>,
}

impl Serving {
    fn run(&mut self) {
        loop {
            let now = Instant::now();
            self.deaf_until = self.deaf_until.filter(|&until| until > now);
            let wanted = |client: &Client| client.session.waits() || client.session.begins();
            if self.clients.iter().any(wanted) && now >= self.pace.next() {
                self.look(now);
            }
            for client in &mut self.clients {
                client.update(&self.picture, self.leds);
                client.check(now);
            }
            self.feed.deliver(&*self.console, now);
            self.let_go();
            if self.wait(now) {
                return;
            }
        }
    }

    /// Waits until there is something to do, and reads; true at the end.
    fn wait(&mut self, now: Instant) -> bool {
        let listens = self.clients.len() < CLIENTS && self.deaf_until.is_none();
        let timeout = self.timeout(now);
        let (tcp, unix, websocket) = (&self.listeners.tcp, &self.listeners.unix, &self.listeners.websocket);
        let mut fds = vec![PollFd::new(&self.quit, PollFlags::IN), PollFd::new(&self.touched, PollFlags::IN)];
        let mut add =
            |fd| fds.push(PollFd::from_borrowed_fd(fd, if listens { PollFlags::IN } else { PollFlags::empty() }));
        let listeners = [
            tcp.as_ref().map(AsFd::as_fd),
            unix.as_ref().map(|place| place.listener.as_fd()),
            websocket.as_ref().map(AsFd::as_fd),
        ];
        listeners.iter().flatten().for_each(|&fd| add(fd));
        let first_client = fds.len();
        for client in &self.clients {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, client.goodbye.is_none() && client.wire.pending() <= PENDING_MAX);
            flags.set(PollFlags::OUT, client.wire.pending() > 0);
            fds.push(PollFd::new(&client.wire.socket, flags));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if ready.first().is_some_and(|flags| !flags.is_empty()) {
            return true;
        }
        if ready.get(1).is_some_and(|flags| !flags.is_empty()) {
            self.touched.silence();
            self.pace.called(now);
        }
        if ready.iter().skip(first_client).any(|flags| flags.contains(PollFlags::IN)) {
            // What a pointer's position means, as of now.
            let absolute = self.console.absolute();
            self.clients.iter_mut().for_each(|client| client.session.set_absolute(absolute));
        }
        let mut next = ready.iter().skip(first_client);
        let mut alone = None;
        for (n, (client, flags)) in self.clients.iter_mut().zip(&mut next).enumerate() {
            if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                match client.receive(self.listeners.tls.as_ref()) {
                    Some(Told::WrongPassword) => {
                        self.failures = (self.failures + 1).min(DOUBT_MAX);
                        self.deaf_until = Some(now + DOUBT * self.failures);
                    }
                    Some(Told::Alone) => alone = Some(n),
                    None => {}
                }
            }
            if flags.contains(PollFlags::OUT) && client.wire.flush().is_err() {
                client.gone = true;
            }
            if !client.session.input.events.is_empty() || std::mem::take(&mut client.session.asks_anew) {
                self.pace.typed(now);
            }
            self.feed.push(client.session.input.events.drain(..));
        }
        if let Some(alone) = alone {
            self.failures = 0;
            let others =
                self.clients.iter_mut().enumerate().filter(|(n, client)| *n != alone && client.session.is_open());
            others.for_each(|(_, client)| client.gone = true);
        }
        let ready_listeners: Vec<bool> =
            ready.iter().take(first_client).skip(2).map(|flags| !flags.is_empty()).collect();
        self.accept(&ready_listeners);
        false
    }

    fn timeout(&self, now: Instant) -> Option<Timespec> {
        let looks = self.clients.iter().any(|client| client.session.waits()).then_some(self.pace.next());
        let types = self.feed.next(now);
        let clients = self.clients.iter().filter_map(|client| match client.goodbye {
            Some(until) => Some(until),
            None if client.session.is_open() => None,
            None => Some(client.deadline),
        });
        let next = looks.into_iter().chain(types).chain(clients).chain(self.deaf_until).min()?;
        let left = next.saturating_duration_since(now);
        Some(Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() })
    }

    fn accept(&mut self, ready: &[bool]) {
        let mut ready = ready.iter();
        let mut accepted = Vec::new();
        let mut is_ready = |exists: bool| exists && ready.next() == Some(&true);
        let Listeners { tcp, unix, websocket, tls, .. } = &self.listeners;
        if let Some(listener) = tcp.as_ref().filter(|_| is_ready(true)) {
            accepted.push(listener.accept().map(|(stream, _)| Wire::new(Socket::Tcp(stream))));
        }
        if let Some(place) = unix.as_ref().filter(|_| is_ready(true)) {
            accepted.push(place.listener.accept().map(|(stream, _)| Wire::new(Socket::Unix(stream))));
        }
        if let Some(listener) = websocket.as_ref().filter(|_| is_ready(true)) {
            accepted.push(listener.accept().map(|(stream, _)| Wire::websocket(Socket::Tcp(stream), tls.clone())));
        }
        for result in accepted {
            match result.and_then(|wire| self.greet(wire)) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => {
                    // No descriptors, say: it would be told again at once.
                    tracing::warn!("a VNC client cannot be accepted: {}", crate::error::host_error(&error));
                    self.deaf_until = Some(Instant::now() + DOUBT);
                }
            }
        }
    }

    fn greet(&mut self, mut wire: Wire) -> io::Result<()> {
        match &mut wire.socket {
            Socket::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
            }
            Socket::Unix(stream) => stream.set_nonblocking(true)?,
        }
        let mut challenge = [0; 16];
        if rustix::rand::getrandom(&mut challenge, rustix::rand::GetRandomFlags::empty())? != challenge.len() {
            return Err(io::Error::other("no random numbers"));
        }
        let session = Session::new(self.options.clone(), false, challenge, self.picture.size());
        let deadline = Instant::now() + HANDSHAKE;
        let mut client = Client { wire, session, received: Vec::new(), goodbye: None, deadline, gone: false };
        client.flush();
        self.clients.push(client);
        Ok(())
    }

    /// Looks at the screen.
    fn look(&mut self, now: Instant) {
        self.leds = self.console.leds();
        let absolute = self.console.absolute();
        self.clients.iter_mut().for_each(|client| client.session.set_absolute(absolute));
        let call = self.pace.wants_call(now).then_some(&self.call);
        let change = if self.console.look(call) { self.picture.follow(self.console.canvas()) } else { Change::None };
        self.pace.looked(now, change != Change::None);
        let size = self.picture.size();
        let (damage, scroll) = match change {
            Change::None => return,
            Change::Size => (Damage::none(size), None),
            Change::Parts(damage, scroll) => (damage, scroll),
        };
        for client in &mut self.clients {
            client.session.changed(size, &damage, scroll.as_ref());
        }
    }

    fn let_go(&mut self) {
        let mut left = Vec::new();
        for client in self.clients.iter_mut().filter(|client| client.gone) {
            client.session.input.release_all();
            left.append(&mut client.session.input.events);
        }
        self.feed.push_always(left);
        self.clients.retain(|client| !client.gone);
    }
}

/// What a client's message means for others.
enum Told {
    WrongPassword,
    Alone,
}

impl Client {
    /// Sends what the session has to say, as far as that goes.
    fn flush(&mut self) {
        if self.wire.is_ready() && !self.session.out.is_empty() {
            let out = std::mem::take(&mut self.session.out);
            self.wire.send(&out);
        }
        if self.wire.flush() == Err(Over) {
            self.gone = true;
        }
    }

    fn receive(&mut self, tls: Option<&Arc<rustls::ServerConfig>>) -> Option<Told> {
        if self.wire.receive(&mut self.received) == Err(Over) {
            // What it had sent before counts, and what it is to be told is tried.
            self.gone = true;
        }
        if self.goodbye.is_some() {
            return None;
        }
        if self.wire.is_encrypted() {
            self.session.tls_is_up();
        }
        let mut told = None;
        match self.session.receive(&mut self.received) {
            Ok(()) => {}
            Err(goodbye) => {
                tracing::debug!("a VNC client is let go: {goodbye:?}");
                if goodbye == Goodbye::Password {
                    told = Some(Told::WrongPassword);
                }
                self.received.clear();
                self.goodbye = Some(Instant::now() + FAREWELL);
            }
        }
        match self.session.request.take() {
            Some(Request::StartTls) => {
                // What goes before it goes without.
                self.flush();
                let started = tls.cloned().ok_or(Over).and_then(|config| self.wire.start_tls(config));
                self.gone |= started.is_err();
            }
            Some(Request::Alone) => told = Some(Told::Alone),
            None => {}
        }
        self.flush();
        told
    }

    fn update(&mut self, picture: &Picture, leds: u8) {
        if self.wire.pending() == 0 && self.goodbye.is_none() && self.session.waits() {
            self.session.update(picture, leds);
            self.flush();
        }
    }

    fn check(&mut self, now: Instant) {
        match self.goodbye {
            Some(until) => self.gone |= now >= until || self.wire.pending() == 0,
            None => self.gone |= !self.session.is_open() && now >= self.deadline,
        }
    }
}
