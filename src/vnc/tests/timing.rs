//! Poll rate, time-outs and pauses of the VNC server's event loop, which these tests run with a clock that they set.

use super::*;
use crate::vnc::server::EventLoop;

/// A server without a thread, and its clock.
struct SteppedServer {
    dir: TempDir,
    guest: GuestHandle,
    now: Arc<Mutex<Instant>>,
    event_loop: EventLoop,
}

impl SteppedServer {
    fn new(password: Option<&str>) -> Self {
        let dir = TempDir::new().unwrap();
        let listeners = open_listeners(&dir, password, false, false);
        let (guest, screen) = fake_guest();
        let now = Arc::new(Mutex::new(Instant::now()));
        let time = now.clone();
        let clock = Box::new(move || *time.lock().unwrap());
        let event_loop = EventLoop::new(screen, "a machine", Keymap::default(), listeners, clock).unwrap();
        Self { dir, guest, now, event_loop }
    }

    fn now(&self) -> Instant {
        *self.now.lock().unwrap()
    }

    fn advance(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
    }

    /// Handles all events; gives the time-out of the next wait.
    fn step(&mut self) -> Option<Duration> {
        // Local sockets deliver at once. An event takes at most two iterations: to receive and to close.
        for _ in 0..3 {
            self.event_loop.work(self.now());
            self.event_loop.wait(self.now(), Some(Duration::ZERO));
        }
        self.event_loop.work(self.now())
    }

    /// Runs for a period in which no client sends anything; gives the last time-out.
    fn run_for(&mut self, period: Duration) -> Option<Duration> {
        let end = self.now() + period;
        loop {
            let timeout = self.step();
            match timeout.filter(|&timeout| self.now() + timeout <= end) {
                Some(timeout) => self.advance(timeout),
                None => {
                    self.advance(end - self.now());
                    return timeout;
                }
            }
        }
    }

    fn polls(&self) -> u32 {
        self.guest.lock().polls
    }

    fn connect(&mut self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join("vnc")).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.step();
        stream
    }

    /// Sends `bytes` and gives the server's reply.
    fn exchange(&mut self, stream: &mut UnixStream, bytes: &[u8]) -> Vec<u8> {
        stream.write_all(bytes).unwrap();
        self.step();
        received(stream).0
    }

    /// Connects, chooses VNC Authentication, and gives the challenge.
    fn challenged(&mut self) -> (UnixStream, [u8; 16]) {
        let mut stream = self.connect();
        assert_eq!(received(&mut stream).0, b"RFB 003.008\n");
        assert_eq!(self.exchange(&mut stream, b"RFB 003.008\n"), [1, 2]);
        let challenge = self.exchange(&mut stream, &[2]);
        (stream, challenge.try_into().unwrap())
    }

    /// Fails VNC Authentication.
    fn send_wrong_password(&mut self) {
        let (mut stream, _) = self.challenged();
        assert_eq!(self.exchange(&mut stream, &[0; 16])[..4], [0, 0, 0, 1], "SecurityResult: failed");
    }

    /// Whether a new client is accepted.
    fn accepts(&mut self) -> bool {
        let mut stream = self.connect();
        !received(&mut stream).0.is_empty()
    }
}

/// The bytes that have arrived, and whether the server closed the connection.
fn received(stream: &mut UnixStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let closed = match stream.read_to_end(&mut bytes) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            false
        }
    };
    (bytes, closed)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_screen_is_polled_only_while_a_client_has_an_update_requested() {
    let mut server = SteppedServer::new(None);
    assert_eq!(server.step(), None, "without clients the server waits for events only");
    let mut stream = server.connect();
    server.run_for(10 * SECOND);
    assert_eq!(server.polls(), 0, "a client in its handshake needs no picture");
    assert_eq!(server.exchange(&mut stream, b"RFB 003.008\n\x01")[12..], [1, 1, 0, 0, 0, 0]);
    assert_eq!(server.exchange(&mut stream, &[1])[..4], [0, 200, 0, 100], "ServerInit: the screen's size");

    let before = server.polls();
    assert_eq!(server.run_for(10 * SECOND), None);
    assert_eq!(server.polls(), before, "no update is requested");

    let request = |incremental| [3, incremental, 0, 0, 0, 0, 0, 200, 0, 100];
    assert!(server.exchange(&mut stream, &request(0)).len() > 4 * 200 * 100, "the whole screen, raw");
    server.exchange(&mut stream, &request(1));
    let before = server.polls();
    assert_eq!(server.run_for(60 * SECOND), Some(SECOND), "an idle screen is polled once a second");
    let polls = server.polls() - before;
    assert!((80..200).contains(&polls), "{polls} polls of an idle screen in a minute");
    server.guest.show(noise(200, 100, 2));
    server.run_for(SECOND);
    let update = received(&mut stream).0;
    assert_eq!(update[..2], [0, 0], "a FramebufferUpdate");
    assert_eq!(server.run_for(10 * SECOND), None, "the request was answered");
}

#[test]
fn accepting_pauses_longer_after_each_wrong_password_until_a_right_one() {
    let mut server = SteppedServer::new(Some("secret"));
    for (shared, pauses) in [(0, 1..=3), (1, 1..=2), (1, 1..=12)] {
        for n in pauses {
            server.send_wrong_password();
            let pause = n.min(10) * SECOND;
            server.run_for(pause - Duration::from_millis(1));
            assert!(!server.accepts(), "{pause:?} must pass after {n} wrong passwords");
            server.advance(Duration::from_millis(1));
            assert!(server.accepts(), "{pause:?} passed after {n} wrong passwords");
        }
        let (mut stream, challenge) = server.challenged();
        assert_eq!(server.exchange(&mut stream, &auth::response(b"secret", &challenge)), [0; 4]);
        server.exchange(&mut stream, &[shared]);
    }
}

#[test]
fn the_pause_begins_when_the_wrong_password_arrives() {
    let mut server = SteppedServer::new(Some("secret"));
    let (mut stream, _) = server.challenged();
    let before = server.now();
    server.event_loop.work(before);
    server.advance(60 * SECOND);
    stream.write_all(&[0; 16]).unwrap();
    server.event_loop.wait(before, Some(Duration::ZERO));
    assert!(!server.accepts());
    server.run_for(SECOND);
    assert!(server.accepts());
}

#[test]
fn a_client_that_does_not_finish_its_handshake_in_two_minutes_is_disconnected() {
    let mut server = SteppedServer::new(Some("secret"));
    let (mut stream, _) = server.challenged();
    server.run_for(120 * SECOND - Duration::from_millis(1));
    assert_eq!(received(&mut stream), (Vec::new(), false));
    server.run_for(Duration::from_millis(1));
    server.step();
    assert_eq!(received(&mut stream), (Vec::new(), true));
}
