//! VNC server thread: an event loop on poll(2) over the listeners, the clients and the guest's screen.

use super::connection::{ClientSocket, Connection, ConnectionClosed};
use super::listen::Listeners;
use super::picture::{Damage, Picture, PictureChange};
use super::session::{Disconnect, Session, SessionOptions, SessionRequest};
use crate::keys::Keymap;
use crate::screen::Feed;
use crate::screen::{GuestScreen, PollPace, WakeFd, Waker};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Clients at a time; further ones wait in the listen backlog.
const CLIENTS_MAX: usize = 32;
/// Time for a client's handshake, in which the user may have to type the password.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(120);
/// Time for a client that is disconnected to read the reason.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A client with more unsent bytes than this is not read from (back-pressure).
const UNSENT_MAX: usize = 17 << 20;
/// After a wrong password no client is accepted for this time, multiplied by the number of wrong passwords in a row.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// Limit of that factor.
const WRONG_PASSWORDS_MAX: u32 = 10;

/// A running VNC server; dropping it stops its thread.
pub struct Server {
    quit: WakeFd,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the server's thread. `keymap` is the keyboard layout that the guest is set to.
    ///
    /// # Errors
    /// If the host has no free descriptor or thread.
    pub fn start(screen: impl GuestScreen, name: &str, keymap: Keymap, listeners: Listeners) -> io::Result<Self> {
        let mut event_loop = EventLoop::new(screen, name, keymap, listeners, Box::new(Instant::now))?;
        let quit = event_loop.quit.clone();
        let thread = std::thread::Builder::new().name("vnc".to_owned()).spawn(move || event_loop.run())?;
        Ok(Self { quit, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.quit.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Client {
    connection: Connection,
    session: Session,
    /// Received bytes that are not a complete message yet.
    received: Vec<u8>,
    /// The client is disconnected when everything is sent, or at this time.
    disconnect_at: Option<Instant>,
    /// When the handshake must be done.
    handshake_deadline: Instant,
    closed: bool,
}

/// Gives the current time. Tests substitute a clock that they set.
pub(super) type Clock = Box<dyn Fn() -> Instant + Send>;

/// The server without its thread.
pub(super) struct EventLoop {
    clock: Clock,
    screen: Box<dyn GuestScreen>,
    listeners: Listeners,
    options: Arc<SessionOptions>,
    quit: WakeFd,
    /// Woken by the guest's writes to the display adapter.
    adapter_written: WakeFd,
    waker: Waker,
    clients: Vec<Client>,
    picture: Picture,
    leds: u8,
    pace: PollPace,
    feed: Feed,
    /// Wrong passwords in a row.
    wrong_passwords: u32,
    /// No client is accepted until this time.
    accept_paused_until: Option<Instant>,
}

impl EventLoop {
    pub(super) fn new(
        screen: impl GuestScreen,
        name: &str,
        keymap: Keymap,
        listeners: Listeners,
        clock: Clock,
    ) -> io::Result<Self> {
        let (quit, adapter_written) = (WakeFd::new()?, WakeFd::new()?);
        let options = SessionOptions {
            name: name.to_owned(),
            password: listeners.password.clone(),
            tls: listeners.tls.is_some(),
            keymap,
        };
        Ok(Self {
            screen: Box::new(screen),
            listeners,
            options: Arc::new(options),
            quit,
            waker: adapter_written.waker(),
            adapter_written,
            clients: Vec::new(),
            picture: Picture::black(720, 400),
            leds: 0,
            pace: PollPace::new(clock()),
            feed: Feed::default(),
            wrong_passwords: 0,
            accept_paused_until: None,
            clock,
        })
    }

    fn run(&mut self) {
        loop {
            let now = (self.clock)();
            let timeout = self.work(now);
            if self.wait(now, timeout) {
                return;
            }
        }
    }

    /// Does what is due at `now`; gives the time until the next deadline, if there is one.
    pub(super) fn work(&mut self, now: Instant) -> Option<Duration> {
        self.accept_paused_until = self.accept_paused_until.filter(|&until| until > now);
        let needs_screen = |client: &Client| client.session.update_requested() || client.session.awaits_client_init();
        if self.clients.iter().any(needs_screen) && now >= self.pace.next_poll() {
            self.poll_screen(now);
        }
        for client in &mut self.clients {
            client.send_update(&self.picture, self.leds);
            client.check_deadlines(now);
        }
        self.feed.deliver(&*self.screen, now);
        self.remove_closed();
        self.timeout(now)
    }

    /// Waits for events, at most until `timeout`, and handles them; true if the thread must end. `now` is the time before
    /// the wait.
    pub(super) fn wait(&mut self, now: Instant, timeout: Option<Duration>) -> bool {
        let timeout =
            timeout.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let accepts = self.clients.len() < CLIENTS_MAX && self.accept_paused_until.is_none();
        let (tcp, unix, websocket) = (&self.listeners.tcp, &self.listeners.unix, &self.listeners.websocket);
        let mut fds = vec![PollFd::new(&self.quit, PollFlags::IN), PollFd::new(&self.adapter_written, PollFlags::IN)];
        let mut add =
            |fd| fds.push(PollFd::from_borrowed_fd(fd, if accepts { PollFlags::IN } else { PollFlags::empty() }));
        let listeners = [
            tcp.as_ref().map(AsFd::as_fd),
            unix.as_ref().map(|socket| socket.listener.as_fd()),
            websocket.as_ref().map(AsFd::as_fd),
        ];
        listeners.iter().flatten().for_each(|&fd| add(fd));
        let first_client = fds.len();
        for client in &self.clients {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, client.disconnect_at.is_none() && client.connection.pending() <= UNSENT_MAX);
            flags.set(PollFlags::OUT, client.connection.pending() > 0);
            fds.push(PollFd::new(&client.connection.socket, flags));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        let after = (self.clock)();
        if ready.first().is_some_and(|flags| !flags.is_empty()) {
            return true;
        }
        if ready.get(1).is_some_and(|flags| !flags.is_empty()) {
            self.adapter_written.clear();
            self.pace.woken(now);
        }
        if ready.iter().skip(first_client).any(|flags| flags.contains(PollFlags::IN)) {
            // PointerEvents are interpreted by the guest's current pointing device.
            let absolute = self.screen.absolute();
            self.clients.iter_mut().for_each(|client| client.session.set_absolute(absolute));
        }
        let mut next = ready.iter().skip(first_client);
        let mut exclusive = None;
        for (n, (client, flags)) in self.clients.iter_mut().zip(&mut next).enumerate() {
            if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                client.session.input.set_locks(self.feed.locks(&*self.screen));
                let handshake_done = client.session.handshake_done();
                let event = client.receive(self.listeners.tls.as_ref(), after);
                if client.session.handshake_done() && !handshake_done {
                    self.wrong_passwords = 0;
                }
                match event {
                    Some(ClientEvent::WrongPassword) => {
                        self.wrong_passwords = (self.wrong_passwords + 1).min(WRONG_PASSWORDS_MAX);
                        self.accept_paused_until = Some(after + ACCEPT_PAUSE * self.wrong_passwords);
                    }
                    Some(ClientEvent::ExclusiveAccess) => exclusive = Some(n),
                    None => {}
                }
            }
            if flags.contains(PollFlags::OUT) && client.connection.flush().is_err() {
                client.closed = true;
            }
            if !client.session.input.events.is_empty() || std::mem::take(&mut client.session.full_update_requested) {
                // Counted from before the wait, so that a stream of pointer events keeps 60 polls a second.
                self.pace.expedite(now);
            }
            self.feed.push(client.session.input.events.drain(..));
        }
        if let Some(exclusive) = exclusive {
            for (n, client) in self.clients.iter_mut().enumerate() {
                client.closed |= n != exclusive && client.session.handshake_done();
            }
        }
        let ready_listeners: Vec<bool> =
            ready.iter().take(first_client).skip(2).map(|flags| !flags.is_empty()).collect();
        self.accept(&ready_listeners, after);
        false
    }

    fn timeout(&self, now: Instant) -> Option<Duration> {
        let screen =
            self.clients.iter().any(|client| client.session.update_requested()).then_some(self.pace.next_poll());
        let feed = self.feed.next(now);
        let clients = self.clients.iter().filter_map(|client| match client.disconnect_at {
            Some(at) => Some(at),
            None if client.session.handshake_done() => None,
            None => Some(client.handshake_deadline),
        });
        let next = screen.into_iter().chain(feed).chain(clients).chain(self.accept_paused_until).min()?;
        Some(next.saturating_duration_since(now))
    }

    fn accept(&mut self, ready: &[bool], now: Instant) {
        let mut ready = ready.iter();
        let mut accepted = Vec::new();
        let mut is_ready = |exists: bool| exists && ready.next() == Some(&true);
        let Listeners { tcp, unix, websocket, tls, .. } = &self.listeners;
        if let Some(listener) = tcp.as_ref().filter(|_| is_ready(true)) {
            accepted.push(listener.accept().map(|(stream, _)| Connection::new(ClientSocket::Tcp(stream))));
        }
        if let Some(socket) = unix.as_ref().filter(|_| is_ready(true)) {
            accepted.push(socket.listener.accept().map(|(stream, _)| Connection::new(ClientSocket::Unix(stream))));
        }
        if let Some(listener) = websocket.as_ref().filter(|_| is_ready(true)) {
            accepted.push(
                listener.accept().map(|(stream, _)| Connection::websocket(ClientSocket::Tcp(stream), tls.clone())),
            );
        }
        for result in accepted {
            match result.and_then(|connection| self.add_client(connection, now)) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => {
                    // An error such as EMFILE persists, and the listener stays readable: pause instead of spinning.
                    tracing::warn!("cannot accept a VNC client: {}", crate::error::host_error(&error));
                    self.accept_paused_until = Some(now + ACCEPT_PAUSE);
                }
            }
        }
    }

    fn add_client(&mut self, mut connection: Connection, now: Instant) -> io::Result<()> {
        match &mut connection.socket {
            ClientSocket::Tcp(stream) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
            }
            ClientSocket::Unix(stream) => stream.set_nonblocking(true)?,
        }
        let mut challenge = [0; 16];
        if rustix::rand::getrandom(&mut challenge, rustix::rand::GetRandomFlags::empty())? != challenge.len() {
            return Err(io::Error::other("getrandom returned too few bytes"));
        }
        let session = Session::new(self.options.clone(), false, challenge, self.picture.size());
        let handshake_deadline = now + HANDSHAKE_TIMEOUT;
        let received = Vec::new();
        let mut client =
            Client { connection, session, received, disconnect_at: None, handshake_deadline, closed: false };
        client.flush();
        self.clients.push(client);
        Ok(())
    }

    /// Polls the guest's screen and passes its changes to the sessions.
    fn poll_screen(&mut self, now: Instant) {
        self.leds = self.screen.leds();
        let absolute = self.screen.absolute();
        self.clients.iter_mut().for_each(|client| client.session.set_absolute(absolute));
        let waker = self.pace.wants_waker(now).then_some(&self.waker);
        let change = match self.screen.poll(waker) {
            true => self.picture.follow(self.screen.canvas()),
            false => PictureChange::Unchanged,
        };
        self.pace.polled(now, change != PictureChange::Unchanged);
        let size = self.picture.size();
        let (damage, scroll) = match change {
            PictureChange::Unchanged => return,
            PictureChange::Resized => (Damage::none(size), None),
            PictureChange::Damaged(damage, scroll) => (damage, scroll),
        };
        for client in &mut self.clients {
            client.session.screen_changed(size, &damage, scroll.as_ref());
        }
    }

    /// Removes closed clients and releases the keys and buttons that they held.
    fn remove_closed(&mut self) {
        let mut releases = Vec::new();
        for client in self.clients.iter_mut().filter(|client| client.closed) {
            client.session.input.release_all();
            releases.append(&mut client.session.input.events);
        }
        self.feed.push_always(releases);
        self.clients.retain(|client| !client.closed);
    }
}

/// An event of one client that concerns the whole server.
enum ClientEvent {
    /// VNC Authentication failed.
    WrongPassword,
    /// The other clients must be disconnected.
    ExclusiveAccess,
}

impl Client {
    /// Passes the session's output to the connection and writes what the socket takes.
    fn flush(&mut self) {
        if self.connection.is_ready() && !self.session.out.is_empty() {
            let out = std::mem::take(&mut self.session.out);
            self.connection.send(&out);
        }
        if self.connection.flush() == Err(ConnectionClosed) {
            self.closed = true;
        }
    }

    fn receive(&mut self, tls: Option<&Arc<rustls::ServerConfig>>, now: Instant) -> Option<ClientEvent> {
        if self.connection.receive(&mut self.received) == Err(ConnectionClosed) {
            // Messages received before the end are still handled, and the replies sent if possible.
            self.closed = true;
        }
        if self.disconnect_at.is_some() {
            return None;
        }
        if self.connection.is_encrypted() {
            self.session.tls_established();
        }
        let mut event = None;
        match self.session.receive(&mut self.received) {
            Ok(()) => {}
            Err(disconnect) => {
                tracing::debug!("a VNC client is disconnected: {disconnect:?}");
                if disconnect == Disconnect::WrongPassword {
                    event = Some(ClientEvent::WrongPassword);
                }
                self.received.clear();
                self.disconnect_at = Some(now + DISCONNECT_TIMEOUT);
            }
        }
        match self.session.request.take() {
            Some(SessionRequest::StartTls) => {
                // The output until now goes in the clear.
                self.flush();
                let started = tls.cloned().ok_or(ConnectionClosed).and_then(|config| self.connection.start_tls(config));
                self.closed |= started.is_err();
            }
            Some(SessionRequest::ExclusiveAccess) => event = Some(ClientEvent::ExclusiveAccess),
            None => {}
        }
        self.flush();
        event
    }

    /// Sends a requested update if the one before is sent completely.
    fn send_update(&mut self, picture: &Picture, leds: u8) {
        if self.connection.pending() == 0 && self.disconnect_at.is_none() && self.session.update_requested() {
            self.session.update(picture, leds);
            self.flush();
        }
    }

    fn check_deadlines(&mut self, now: Instant) {
        match self.disconnect_at {
            Some(at) => self.closed |= now >= at || self.connection.pending() == 0,
            None => self.closed |= !self.session.handshake_done() && now >= self.handshake_deadline,
        }
    }
}
