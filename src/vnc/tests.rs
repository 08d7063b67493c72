//! The VNC server on real sockets, with a fake guest screen and an independent client.

mod timing;

use super::decode::{Decoder, long, word};
use super::picture::tests::noise;
use super::picture::{Damage, Picture};
use super::pixels::{NATIVE, PixelFormat};
use super::session::{Session, SessionOptions};
use super::{Listeners, Server, auth};
use crate::config::{VncAddress, VncConfig};
use crate::keys::Keymap;
use crate::screen::{GuestScreen, Waker};
use pcvm_devices::InputEvent;
use pcvm_devices::vga::Canvas;
use pcvm_test_host::wait_until;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a test waits for the server before it fails.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct FakeGuest {
    /// The picture that the next poll finds.
    picture: Option<Picture>,
    leds: u8,
    absolute: bool,
    input: Vec<InputEvent>,
    polls: u32,
}

/// The test's handle on the fake guest.
#[derive(Clone, Default)]
struct GuestHandle(Arc<Mutex<FakeGuest>>);

impl GuestHandle {
    fn lock(&self) -> MutexGuard<'_, FakeGuest> {
        self.0.lock().unwrap()
    }

    fn show(&self, picture: Picture) {
        self.lock().picture = Some(picture);
    }
}

/// The server's end of the fake guest.
struct FakeScreen {
    guest: GuestHandle,
    canvas: Canvas,
}

/// A guest whose screen shows a picture of 200 by 100 pixels.
fn fake_guest() -> (GuestHandle, FakeScreen) {
    let guest = GuestHandle::default();
    guest.show(noise(200, 100, 1));
    (guest.clone(), FakeScreen { guest, canvas: Canvas::default() })
}

impl GuestScreen for FakeScreen {
    fn poll(&mut self, _: Option<&Waker>) -> bool {
        let picture = {
            let mut guest = self.guest.lock();
            guest.polls += 1;
            guest.picture.take()
        };
        picture.is_some_and(|picture| self.canvas.set_frame(picture.frame()))
    }

    fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    fn leds(&self) -> u8 {
        self.guest.lock().leds
    }

    fn absolute(&self) -> bool {
        self.guest.lock().absolute
    }

    fn keys_waiting(&self) -> usize {
        0
    }

    fn input(&self, event: InputEvent) {
        self.guest.lock().input.push(event);
    }
}

/// A running server.
struct Setup {
    dir: TempDir,
    guest: GuestHandle,
    _server: Server,
    /// The port for WebSocket.
    websocket: Option<u16>,
}

/// Opens a Unix socket `vnc` in `dir`, and if `websocket` a free TCP port for WebSocket.
fn open_listeners(dir: &TempDir, password: Option<&str>, tls: bool, websocket: bool) -> Listeners {
    let path = |name: &str| dir.path().join(name);
    if let Some(password) = password {
        std::fs::write(path("password"), format!("{password}\n")).unwrap();
    }
    if tls {
        std::fs::write(path("cert.pem"), include_str!("tests/cert.pem")).unwrap();
        std::fs::write(path("key.pem"), include_str!("tests/key.pem")).unwrap();
    }
    let config = VncConfig {
        address: VncAddress::Unix(path("vnc")),
        unused: false,
        password: password.map(|_| path("password")),
        tls: tls.then(|| (path("cert.pem"), path("key.pem"))),
        websocket: websocket.then(|| ("127.0.0.1".to_owned(), 0)),
    };
    Listeners::open(&config).unwrap()
}

/// Starts a server on the listeners of [`open_listeners`].
fn serve(password: Option<&str>, tls: bool, websocket: bool) -> Setup {
    let dir = TempDir::new().unwrap();
    let listeners = open_listeners(&dir, password, tls, websocket);
    let websocket = listeners.websocket.as_ref().map(|listener| listener.local_addr().unwrap().port());
    let (guest, screen) = fake_guest();
    let server = Server::start(screen, "a machine", Keymap::default(), listeners).unwrap();
    Setup { dir, guest, _server: server, websocket }
}

impl Setup {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.dir.path().join("vnc")).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    fn input(&self) -> Vec<InputEvent> {
        self.guest.lock().input.clone()
    }
}

fn read<const N: usize>(stream: &mut impl Read) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

struct Client<S> {
    stream: S,
    screen: Decoder,
}

impl<S: Read + Write> Client<S> {
    /// Completes the handshake of RFB 3.`minor`.
    fn new(mut stream: S, minor: u8, password: Option<&str>) -> Self {
        assert_eq!(&read::<12>(&mut stream), b"RFB 003.008\n");
        stream.write_all(format!("RFB 003.00{minor}\n").as_bytes()).unwrap();
        let expect = if password.is_some() { 2 } else { 1 };
        if minor == 3 {
            assert_eq!(read(&mut stream), [0, 0, 0, expect]);
        } else {
            assert_eq!(read(&mut stream), [1, expect]);
            stream.write_all(&[expect]).unwrap();
        }
        Self::authenticated(stream, minor, password)
    }

    /// Completes the handshake from the authentication on.
    fn authenticated(mut stream: S, minor: u8, password: Option<&str>) -> Self {
        if let Some(password) = password {
            let response = auth::response(password.as_bytes(), &read(&mut stream));
            stream.write_all(&response).unwrap();
        }
        if password.is_some() || minor >= 8 {
            assert_eq!(read(&mut stream), [0; 4], "SecurityResult");
        }
        stream.write_all(&[1]).unwrap();
        let init: [u8; 24] = read(&mut stream);
        let bytes = &mut &init[..];
        let size = (word(bytes), word(bytes));
        assert_eq!(PixelFormat::parse(bytes[..16].try_into().unwrap()), Some(NATIVE));
        let mut name = vec![0; init[23].into()];
        stream.read_exact(&mut name).unwrap();
        assert_eq!(name, b"a machine");
        Self { stream, screen: Decoder::new(NATIVE, size) }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn set_encodings(&mut self, numbers: &[i32]) {
        let mut message = vec![2, 0];
        message.extend_from_slice(&(numbers.len() as u16).to_be_bytes());
        numbers.iter().for_each(|number| message.extend_from_slice(&number.to_be_bytes()));
        self.send(&message);
    }

    fn request_update(&mut self, incremental: bool) {
        let (width, height) = self.screen.size;
        let mut message = vec![3, incremental.into(), 0, 0, 0, 0];
        message.extend_from_slice(&width.to_be_bytes());
        message.extend_from_slice(&height.to_be_bytes());
        self.send(&message);
    }

    /// Reads a FramebufferUpdate; gives the encodings of its rectangles.
    fn read_update(&mut self) -> Vec<i32> {
        self.screen.seen.clear();
        let header: [u8; 4] = read(&mut self.stream);
        assert_eq!(header[0], 0, "not a FramebufferUpdate: {header:x?}");
        let count = u16::from_be_bytes([header[2], header[3]]);
        let mut stream = Recorded { stream: &mut self.stream, bytes: Vec::new() };
        for _ in 0..count {
            stream.bytes.clear();
            rectangle(&mut stream, &mut self.screen);
        }
        self.screen.seen.clone()
    }

    fn shows(&self, picture: &Picture) -> bool {
        let all = picture.all();
        let mut expect = Vec::new();
        picture.lines(all).for_each(|line| expect.extend(line.iter().map(|&rgb| self.screen.rounded(rgb))));
        self.screen.size == picture.size() && self.screen.pixels(all) == expect
    }

    /// Requests and reads updates until the framebuffer equals `picture`; gives the encodings of all rectangles.
    #[track_caller]
    fn follow(&mut self, picture: &Picture) -> Vec<i32> {
        let mut seen = Vec::new();
        for _ in 0..20 {
            self.request_update(!seen.is_empty());
            seen.extend(self.read_update());
            if self.shows(picture) {
                return seen;
            }
        }
        panic!("20 updates did not show the picture: {seen:?}");
    }
}

/// A stream, and the bytes read from it.
struct Recorded<'a, S> {
    stream: &'a mut S,
    bytes: Vec<u8>,
}

/// Reads one rectangle and decodes it.
fn rectangle<S: Read>(stream: &mut Recorded<'_, S>, screen: &mut Decoder) {
    let need = |stream: &mut Recorded<'_, S>, count: usize| {
        let at = stream.bytes.len();
        stream.bytes.resize(at + count, 0);
        stream.stream.read_exact(&mut stream.bytes[at..]).unwrap();
    };
    need(stream, 12);
    let bytes = &mut &stream.bytes[..];
    let (_, _, width, height) = (word(bytes), word(bytes), word(bytes), word(bytes));
    let area = usize::from(width) * usize::from(height);
    match long(bytes) as i32 {
        0 => need(stream, area * 4),
        1 => need(stream, 4),
        16 => {
            need(stream, 4);
            let len = u32::from_be_bytes(stream.bytes[12..16].try_into().unwrap());
            need(stream, len as usize);
        }
        -239 => need(stream, area * 4 + usize::from(width).div_ceil(8) * usize::from(height)),
        -308 => need(stream, 20),
        -261 => need(stream, 1),
        -223 | -257 | -258 => {}
        other => panic!("the test client cannot read encoding {other}"),
    }
    let bytes = std::mem::take(&mut stream.bytes);
    let mut rest = &*bytes;
    assert!(screen.rectangle(&mut rest) && rest.is_empty());
}

#[test]
fn every_protocol_version_connects_with_and_without_a_password() {
    for password in [None, Some("secret")] {
        let setup = serve(password, false, false);
        for minor in [3, 7, 8] {
            let mut client = Client::new(setup.connect(), minor, password);
            client.follow(&noise(200, 100, 1));
        }
    }
}

#[test]
fn a_client_follows_changes_scrolls_and_new_sizes() {
    let setup = serve(None, false, false);
    let mut client = Client::new(setup.connect(), 8, None);
    let mut plain = Client::new(setup.connect(), 8, None);
    client.set_encodings(&[16, 1, -223, 0]);
    let first = noise(200, 100, 1);
    assert_eq!(client.follow(&first)[0], 16);
    plain.follow(&first);

    // Scrolls up by two lines of text.
    let mut n = 32 * 200..;
    let mut lines: Vec<u32> = first.lines(first.all()).flatten().copied().collect();
    lines.extend(vec![7; 32 * 200]);
    let mut scrolled = Picture::black(200, 100);
    scrolled.fill_with(|| lines[n.next().unwrap()]);
    setup.guest.show(scrolled.clone());
    client.request_update(true);
    let seen = client.read_update();
    assert!(seen.contains(&1) && client.shows(&scrolled), "{seen:?}");
    plain.follow(&scrolled);

    // A mode of another size: a client without DesktopSize gets the part that fits.
    let large = noise(333, 222, 9);
    setup.guest.show(large.clone());
    assert!(client.follow(&large).contains(&-223));
    plain.follow(&large.fitted((200, 100)));
    let small = noise(30, 20, 9);
    setup.guest.show(small.clone());
    client.follow(&small);
    plain.follow(&small.fitted((200, 100)));
}

#[test]
fn extensions_are_acknowledged_and_a_client_that_disconnects_releases_its_keys() {
    let setup = serve(None, false, false);
    setup.guest.lock().leds = 5;
    let mut client = Client::new(setup.connect(), 8, None);
    client.set_encodings(&[16, -308, -239, -257, -258, -261]);
    let seen = client.follow(&noise(200, 100, 1));
    assert!([-308, -239, -257, -258, -261].iter().all(|number| seen.contains(number)), "{seen:?}");
    assert_eq!(seen[0..5], [-258, -257, -239, -261, -308]);
    // SetDesktopSize is refused, and the connection stays up.
    client.send(&[251, 0, 4, 0, 3, 0, 1, 0]);
    client.send(&[0; 16]);
    client.request_update(true);
    assert!(client.read_update().contains(&-308));
    // An Extended Key Event, and a PointerEvent with a relative movement.
    client.send(&[255, 0, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 0x10]);
    client.send(&[5, 1, 0x80, 0x04, 0x7f, 0xff]);
    let expect = [InputEvent::Key { code: 0x10, down: true }, InputEvent::Mouse { dx: 5, dy: 0, dz: 0, buttons: 1 }];
    wait_until("input", || setup.input() == expect);
    // The client disconnects with a key and a button held.
    drop(client);
    wait_until("input", || setup.input().len() == 4);
    assert_eq!(setup.input()[2], InputEvent::Key { code: 0x10, down: false });
    assert_eq!(setup.input()[3], InputEvent::Mouse { dx: 0, dy: 0, dz: 0, buttons: 0 });
}

#[test]
fn a_new_size_is_told_beside_the_refusal_of_a_resize() {
    let mut session = Session::new(SessionOptions::default().into(), false, [0; 16], (200, 100));
    let request = [3, 0, 0, 0, 0, 0, 2, 0, 2, 0];
    let receive = |session: &mut Session, parts: &[&[u8]]| session.receive(&mut parts.concat()).unwrap();
    // Encodings ExtendedDesktopSize and Raw.
    let encodings = [2, 0, 0, 2, 0xff, 0xff, 0xfe, 0xcc, 0, 0, 0, 0];
    receive(&mut session, &[b"RFB 003.008\n\x01\x01", &encodings, &request]);
    session.update(&Picture::black(200, 100), 0);
    session.out.clear();
    // Two requests for another size, and a new size by the guest.
    let resize = [[251, 0, 4, 0, 3, 0, 1, 0].as_slice(), &[0; 16]].concat();
    receive(&mut session, &[&resize, &resize, &request]);
    session.screen_changed((300, 250), &Damage::none((300, 250)), None);
    session.update(&Picture::black(300, 250), 0);
    let rectangle = |reason: u8, status: u8, width: u16, height: u16| {
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let screen = [&[1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], size.as_slice(), &[0; 4]].concat();
        [&[0, reason, 0, status], size.as_slice(), &[0xff, 0xff, 0xfe, 0xcc], &screen].concat()
    };
    let refusal = rectangle(1, 1, 200, 100);
    assert_eq!(session.out, [&[0, 0, 0, 3], &*refusal, &*refusal, &*rectangle(0, 0, 300, 250)].concat());
    // The next update has the pixels of the new size.
    session.out.clear();
    receive(&mut session, &[&[3, 1, 0, 0, 0, 0, 2, 0, 2, 0]]);
    session.update(&Picture::black(300, 250), 0);
    assert!(session.out.len() > 300 * 250 * 4);
}

#[test]
fn key_events_are_matched_to_the_guests_locks() {
    let setup = serve(None, false, false);
    setup.guest.lock().leds = 4;
    let mut client = Client::new(setup.connect(), 8, None);
    for down in [1, 0] {
        client.send(&[4, down, 0, 0, 0, 0, 0, b'a']);
    }
    let key = |code, down| InputEvent::Key { code, down };
    let shifted = [key(0x2a, true), key(0x1e, true), key(0x1e, false), key(0x2a, false)];
    wait_until("a small letter under Caps Lock", || setup.input() == shifted);
    // KP_1 with Num Lock off.
    for down in [1, 0] {
        client.send(&[4, down, 0, 0, 0, 0, 0xff, 0xb1]);
    }
    let digit = [(0x45, true), (0x45, false), (0x4f, true), (0x4f, false), (0x45, true), (0x45, false)];
    let digit = digit.map(|(code, down)| key(code, down));
    wait_until("a digit of the keypad", || setup.input().get(4..) == Some(&digit));
}

/// Reads an update; gives x of its Pointer Motion Change, 1 for absolute, if it has one.
fn pointer_motion_change(client: &mut Client<impl Read + Write>) -> Option<u16> {
    client.request_update(true);
    client.read_update().contains(&-257).then_some(client.screen.pointer_motion_change)
}

#[test]
fn pointer_motion_change_follows_the_guests_tablet_and_other_clients_send_positions() {
    let setup = serve(None, false, false);
    let mut client = Client::new(setup.connect(), 8, None);
    let mut plain = Client::new(setup.connect(), 8, None);
    client.set_encodings(&[16, -257]);
    client.follow(&noise(200, 100, 1));
    plain.follow(&noise(200, 100, 1));
    assert_eq!(client.screen.pointer_motion_change, 0);
    client.send(&[5, 0, 0x80, 0x04, 0x7f, 0xff]);
    wait_until("input", || setup.input() == [InputEvent::Mouse { dx: 5, dy: 0, dz: 0, buttons: 0 }]);

    setup.guest.lock().absolute = true;
    assert_eq!(pointer_motion_change(&mut client), Some(1));
    client.send(&[5, 1, 0, 199, 0, 99]);
    let pointer = |x, y, buttons| InputEvent::Pointer { x: Some(x), y: Some(y), dz: 0, buttons };
    wait_until("input", || setup.input().get(1) == Some(&pointer(0x7fff, 0x7fff, 1)));
    // A client without Pointer Motion Change always sends positions.
    plain.send(&[5, 0, 0, 0, 0, 99]);
    wait_until("input", || setup.input().get(2) == Some(&pointer(0, 0x7fff, 0)));

    setup.guest.lock().absolute = false;
    assert_eq!(pointer_motion_change(&mut client), Some(0));
    plain.send(&[5, 0, 0, 7, 0, 99]);
    wait_until("input", || setup.input().get(3) == Some(&InputEvent::Mouse { dx: 7, dy: 0, dz: 0, buttons: 0 }));
}

/// Whether the server closes the connection.
fn is_closed(stream: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_protocol_violation_or_wrong_password_closes_the_connection() {
    let setup = serve(Some("secret"), false, false);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"RFB 003.008\n\x01", b"RFB 003.008\n\x13", b"RFB 003.007\n\x00"] {
        let mut stream = setup.connect();
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream), "{bytes:?}");
    }
    let mut stream = setup.connect();
    stream.write_all(b"RFB 003.008\n\x02").unwrap();
    read::<14>(&mut stream);
    stream.write_all(&[0; 16]).unwrap();
    read::<16>(&mut stream);
    assert_eq!(read(&mut stream), [0, 0, 0, 1]);
    let len = u32::from_be_bytes(read(&mut stream));
    let mut why = vec![0; len as usize];
    stream.read_exact(&mut why).unwrap();
    assert_eq!(why, b"wrong password");
    assert!(is_closed(&mut stream));
    // The next client is accepted after a pause.
    let mut client = Client::new(setup.connect(), 8, Some("secret"));
    client.send(&[99]);
    assert!(is_closed(&mut client.stream));
    for bytes in [&[0_u8; 20][..], &[255, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut client = Client::new(setup.connect(), 8, Some("secret"));
        client.send(bytes);
        assert!(is_closed(&mut client.stream));
    }
}

#[test]
fn a_client_with_shared_flag_0_disconnects_the_others() {
    let setup = serve(None, false, false);
    let mut first = Client::new(setup.connect(), 8, None);
    let mut shared = Client::new(setup.connect(), 8, None);
    first.follow(&noise(200, 100, 1));
    shared.follow(&noise(200, 100, 1));
    let mut stream = setup.connect();
    read::<12>(&mut stream);
    stream.write_all(b"RFB 003.008\n\x01\x00").unwrap();
    assert!(is_closed(&mut first.stream) && is_closed(&mut shared.stream));
    read::<6>(&mut stream);
    assert_eq!(&read::<4>(&mut stream), &[0, 200, 0, 100]);
}

#[test]
fn a_client_that_does_not_read_does_not_delay_others() {
    let setup = serve(None, false, false);
    let mut silent = Client::new(setup.connect(), 8, None);
    let mut client = Client::new(setup.connect(), 8, None);
    client.set_encodings(&[16, -223]);
    // The server's replies, 1.5 KB of colour map for each SetPixelFormat, and its updates are never read.
    silent.stream.set_nonblocking(true).unwrap();
    let mut set_pixel_format = vec![0, 0, 0, 0];
    set_pixel_format.extend(super::pixels::COLOUR_MAP.to_bytes());
    for seed in 0..20 {
        let picture = noise(640, 480, seed);
        setup.guest.show(picture.clone());
        let _ = silent.stream.write(&set_pixel_format.repeat(1000));
        let _ = silent.stream.write(&[3, 0, 0, 0, 0, 0, 2, 128, 1, 224]);
        client.follow(&picture);
    }
}

#[test]
fn client_cut_text_and_long_lists_of_encodings_are_skipped() {
    let setup = serve(None, false, false);
    let mut client = Client::new(setup.connect(), 8, None);
    for len in [0_u32, 5, 100_000] {
        client.send(&[6, 0, 0, 0]);
        client.send(&len.to_be_bytes());
        client.send(&vec![b'x'; len as usize]);
    }
    client.set_encodings(&(0..20_000).collect::<Vec<_>>());
    client.set_encodings(&[]);
    client.follow(&noise(200, 100, 1));
}

fn tls(stream: impl Read + Write + 'static) -> impl Read + Write {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(include_bytes!("tests/cert.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    rustls::StreamOwned::new(rustls::ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

#[test]
fn vencrypt_connects_with_and_without_a_password_and_clients_without_tls_are_rejected() {
    for (password, subtype) in [(None, 260_u32), (Some("secret"), 261)] {
        let setup = serve(password, true, false);
        let mut stream = setup.connect();
        read::<12>(&mut stream);
        stream.write_all(b"RFB 003.008\n").unwrap();
        assert_eq!(read(&mut stream), [1, 19], "only VeNCrypt is offered");
        stream.write_all(&[19]).unwrap();
        assert_eq!(read(&mut stream), [0, 2]);
        stream.write_all(&[0, 2]).unwrap();
        assert_eq!(read(&mut stream), [0, 1]);
        assert_eq!(read(&mut stream), subtype.to_be_bytes());
        stream.write_all(&subtype.to_be_bytes()).unwrap();
        assert_eq!(read(&mut stream), [1]);
        let mut client = Client::authenticated(tls(stream), 8, password);
        client.set_encodings(&[16, -223]);
        client.follow(&noise(200, 100, 1));
        // An update larger than rustls' buffer.
        let large = noise(640, 480, 2);
        setup.guest.show(large.clone());
        client.follow(&large);

        // RFB 3.3 cannot negotiate VeNCrypt: the client gets a reason.
        let mut stream = setup.connect();
        read::<12>(&mut stream);
        stream.write_all(b"RFB 003.003\n").unwrap();
        assert_eq!(read(&mut stream), [0; 4]);
        assert!(is_closed(&mut stream));
        // A client that chooses VeNCrypt but does not start TLS is disconnected.
        let mut stream = setup.connect();
        stream.write_all(b"RFB 003.008\n\x13\x00\x02").unwrap();
        read::<22>(&mut stream);
        stream.write_all(&subtype.to_be_bytes()).unwrap();
        assert_eq!(read(&mut stream), [1]);
        stream.write_all(b"no TLS at all, but enough bytes for a record").unwrap();
        assert!(is_closed(&mut stream));
    }
}

/// The client's end of a WebSocket.
struct WsClient<S> {
    stream: S,
    /// Payload of the current frame that was not read yet.
    payload: Vec<u8>,
}

impl<S: Read + Write> WsClient<S> {
    fn new(mut stream: S) -> Self {
        let request = "GET /websockify HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: binary\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\n") {
            reply.extend(read::<1>(&mut stream));
        }
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 101 ") && reply.contains("Protocol: binary"), "{reply}");
        Self { stream, payload: Vec::new() }
    }
}

impl<S: Read + Write> Read for WsClient<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.payload.is_empty() {
            let [first, short] = read(&mut self.stream);
            assert_eq!(first, 0x82);
            let len = if short == 126 { u16::from_be_bytes(read(&mut self.stream)) } else { short.into() };
            self.payload.resize(len.into(), 0);
            self.stream.read_exact(&mut self.payload)?;
        }
        let count = buffer.len().min(self.payload.len());
        buffer[..count].copy_from_slice(&self.payload[..count]);
        self.payload.drain(..count);
        Ok(count)
    }
}

impl<S: Read + Write> Write for WsClient<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(100)];
        let mut frame = vec![0x82, 0x80 | part.len() as u8, 9, 8, 7, 6];
        frame.extend(part.iter().zip([9, 8, 7, 6].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn websocket_clients_connect_with_and_without_tls() {
    let setup = serve(Some("secret"), false, true);
    let connect = |setup: &Setup| TcpStream::connect(("127.0.0.1", setup.websocket.unwrap())).unwrap();
    let mut client = Client::new(WsClient::new(connect(&setup)), 8, Some("secret"));
    client.set_encodings(&[16, -223]);
    client.follow(&noise(200, 100, 1));
    let large = noise(640, 480, 2);
    setup.guest.show(large.clone());
    client.follow(&large);
    let mut stream = connect(&setup);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");

    let setup = serve(Some("secret"), true, true);
    let mut client = Client::new(WsClient::new(tls(connect(&setup))), 8, Some("secret"));
    client.set_encodings(&[16]);
    client.follow(&noise(200, 100, 1));
}

#[test]
fn random_input_neither_panics_nor_exhausts_memory() {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for round in 0..300 {
        let mut bytes = vec![byte(), 50];
        let kind = bytes[0];
        // A version and security type first, so that most rounds get past the handshake.
        if kind & 11 == 0 {
            bytes.extend_from_slice(b"RFB 003.008\n\x01\x01");
        }
        for _ in 0..round * 3 {
            let next = byte();
            bytes.push(if next < 200 { [0, 2, 3, 4, 5, 6, 251, 255][usize::from(next % 8)] } else { next });
            for _ in 0..byte() % 21 {
                bytes.push(byte() & byte());
            }
        }
        super::fuzz(&bytes);
    }
}

#[test]
fn an_unusable_password_certificate_or_address_is_reported_before_anything_is_opened() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("empty"), "\nsecret\n").unwrap();
    std::fs::write(path("long"), "far too long\n").unwrap();
    std::fs::write(path("cert.pem"), include_str!("tests/cert.pem")).unwrap();
    std::fs::write(path("key.pem"), include_str!("tests/key.pem")).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let base =
        VncConfig { address: VncAddress::Unix(path("vnc")), unused: false, password: None, tls: None, websocket: None };
    let error = |config: VncConfig| Listeners::open(&config).unwrap_err().to_string();
    let password = |name: &str| error(VncConfig { password: Some(path(name)), ..base.clone() });
    let named = |name: &str, why: &str| format!("{}: {why}", path(name).display());
    assert_eq!(password("absent"), named("absent", "No such file or directory"));
    assert_eq!(password("empty"), named("empty", "has no password in its first line"));
    assert_eq!(password("long"), named("long", "the password is longer than 8 characters, which VNC does not support"));
    let tls = |cert: &str, key: &str| error(VncConfig { tls: Some((path(cert), path(key))), ..base.clone() });
    assert_eq!(tls("absent", "key.pem"), named("absent", "No such file or directory"));
    assert_eq!(tls("empty", "key.pem"), named("empty", "has no certificate"));
    assert_eq!(tls("cert.pem", "cert.pem"), named("cert.pem", "has no private key"));
    assert!(!Path::new(&path("vnc")).exists(), "the socket was opened before the files were checked");
    if let Some(display) = port.checked_sub(5900) {
        let address = VncAddress::Tcp { host: "127.0.0.1".to_owned(), display };
        let config = VncConfig { address, ..base.clone() };
        assert_eq!(error(config.clone()), format!("VNC on 127.0.0.1:{port}: Address already in use"));
        let next = Listeners::open(&VncConfig { unused: true, ..config }).unwrap();
        assert!(next.address().unwrap().port() > port);
    }
}
