//! A client's session (RFC 6143; the RFB community's description for VeNCrypt and the extensions): bytes in, bytes and
//! input events out. No socket, no clock.
//!
//! Protocol versions 3.3, 3.7 and 3.8. Security: none, VNC authentication, VeNCrypt with X.509 certificates over either.
//! Extensions: DesktopSize, ExtendedDesktopSize (the client's wish for another size is refused: the guest has the say),
//! Cursor (a dot: the guest draws its own pointer), QEMU's extended key events and pointer motion change, LED state.
//!
//! Deliberately missing: clipboard (a PC has none), continuous updates and fences.

use super::auth;
use super::encode::{self, Encoder, Encoding};
use super::input::{Input, Motion};
use super::picture::{Damage, Picture, Rect, Scroll};
use super::pixels::{NATIVE, PALETTE, PixelFormat, Translation};
use std::sync::Arc;

/// Bytes of one update at most, about: what is left goes with the next.
const UPDATE_MAX: usize = 16 << 20;
/// Pixels of one rectangle at most.
const RECT_AREA: usize = 1 << 18;

const NONE: u8 = 1;
const VNC: u8 = 2;
const VENCRYPT: u8 = 19;
const X509_NONE: u32 = 260;
const X509_VNC: u32 = 261;

const DESKTOP_SIZE: i32 = -223;
const EXTENDED_DESKTOP_SIZE: i32 = -308;
const CURSOR: i32 = -239;
const POINTER_MOTION: i32 = -257;
const EXTENDED_KEY: i32 = -258;
const LED_STATE: i32 = -261;
/// Compression level 0; level 9 is nine more.
const COMPRESSION: i32 = -256;

/// What the server is set up for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The machine's name.
    pub name: String,
    /// Asked for, if there is one.
    pub password: Option<Vec<u8>>,
    /// Nobody comes in without TLS.
    pub tls: bool,
}

/// Why a client is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// It does not speak RFB, or breaks its rules.
    Protocol(&'static str),
    /// It does not know the password.
    Password,
}

/// What a session asks the server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// TLS from the next byte on; what was answered until now goes without.
    StartTls,
    /// Every other client is to go.
    Alone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Version,
    Security,
    VencryptVersion,
    VencryptType,
    /// The server is asked to start TLS; then this type goes on.
    Tls(u8),
    Response,
    Init,
    Open,
}

/// What is left of a message whose length is its sender's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partial {
    Nothing,
    Skip(u64),
    Encodings(u16),
}

/// What the client can do.
#[derive(Clone, Copy, Debug, Default)]
struct Abilities {
    encoding: Option<Encoding>,
    copy: bool,
    resize: bool,
    extended_resize: bool,
    cursor: bool,
    motion: bool,
    extended_key: bool,
    leds: bool,
}

/// What the client is to be told besides pixels.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    cursor: bool,
    motion: bool,
    extended_key: bool,
    /// Reason and status of an ExtendedDesktopSize.
    size: Option<(u16, u16)>,
}

/// One client.
pub struct Session {
    options: Arc<Options>,
    /// It comes through TLS.
    encrypted: bool,
    state: State,
    minor: u8,
    challenge: [u8; 16],
    partial: Partial,
    can: Abilities,
    news: News,
    encoder: Encoder,
    translation: Translation,
    /// The size that the client believes the screen has.
    size: (u16, u16),
    /// The part of the screen that the client waits for.
    wanted: Option<Rect>,
    damage: Damage,
    /// Lines that moved before anything else changed.
    copy: Option<Scroll>,
    /// As last told.
    leds: Option<u8>,
    /// It was told that the pointer is relative.
    relative: bool,
    /// The machine can be told where the pointer is.
    absolute: bool,
    /// The size that the screen has.
    screen: (u16, u16),
    /// Keys and pointer.
    pub input: Input,
    /// Bytes for the client.
    pub out: Vec<u8>,
    /// What the server is asked for, once.
    pub request: Option<Request>,
    /// The client wants the screen as it is now, whether or not it has changed.
    pub asks_anew: bool,
}

impl Session {
    /// A client that has just connected; `challenge` is random.
    pub fn new(options: Arc<Options>, encrypted: bool, challenge: [u8; 16], size: (u16, u16)) -> Self {
        Self {
            options,
            encrypted,
            state: State::Version,
            minor: 8,
            challenge,
            partial: Partial::Nothing,
            can: Abilities::default(),
            news: News::default(),
            encoder: Encoder::default(),
            translation: Translation::new(NATIVE),
            size,
            wanted: None,
            damage: Damage::none(size),
            copy: None,
            leds: None,
            relative: false,
            absolute: false,
            screen: size,
            input: Input::default(),
            out: b"RFB 003.008\n".to_vec(),
            request: None,
            asks_anew: false,
        }
    }

    /// Whether the client is through with its authentication.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Takes whole messages from the front of `bytes`; what is left has to wait for more.
    ///
    /// # Errors
    /// If the client is to be let go, after `out` was sent.
    pub fn receive(&mut self, bytes: &mut Vec<u8>) -> Result<(), Goodbye> {
        let mut used = 0;
        let result = loop {
            match self.message(bytes.get(used..).unwrap_or_default()) {
                Ok(0) => break Ok(()),
                Ok(count) => used += count,
                Err(goodbye) => break Err(goodbye),
            }
        };
        bytes.drain(..used.min(bytes.len()));
        result
    }

    /// TLS is up.
    pub fn tls_is_up(&mut self) {
        self.encrypted = true;
        if let State::Tls(security) = self.state {
            self.authenticate(security);
        }
    }

    /// Whether the next thing that the client is told is the screen's size.
    pub fn begins(&self) -> bool {
        self.state == State::Init
    }

    /// The security types that are offered.
    fn security(&self) -> u8 {
        match (&self.options.password, self.options.tls && !self.encrypted) {
            (_, true) => VENCRYPT,
            (Some(_), false) => VNC,
            (None, false) => NONE,
        }
    }

    fn authenticate(&mut self, security: u8) {
        if security == VNC {
            self.out.extend_from_slice(&self.challenge);
            self.state = State::Response;
        } else {
            if self.minor >= 8 {
                self.out.extend_from_slice(&[0; 4]);
            }
            self.state = State::Init;
        }
    }

    /// Deals with one message, if it is whole: how many bytes it had.
    fn message(&mut self, bytes: &[u8]) -> Result<usize, Goodbye> {
        match self.partial {
            Partial::Nothing => {}
            Partial::Skip(left) => {
                let count = left.min(bytes.len() as u64);
                self.partial = if count == left { Partial::Nothing } else { Partial::Skip(left - count) };
                return Ok(count as usize);
            }
            Partial::Encodings(left) => {
                let Some(&number) = bytes.first_chunk::<4>() else { return Ok(0) };
                self.encoding(i32::from_be_bytes(number));
                self.partial = if left == 1 { Partial::Nothing } else { Partial::Encodings(left - 1) };
                if left == 1 {
                    self.encodings_end();
                }
                return Ok(4);
            }
        }
        match self.state {
            State::Version => {
                let Some(text) = bytes.first_chunk::<12>() else { return Ok(0) };
                self.version(text)?;
                Ok(12)
            }
            State::Security => {
                let Some(&security) = bytes.first() else { return Ok(0) };
                if security != self.security() {
                    return Err(self.fail("this security type was not offered"));
                }
                if security == VENCRYPT {
                    self.out.extend_from_slice(&[0, 2]);
                    self.state = State::VencryptVersion;
                } else if security == NONE && self.minor < 8 {
                    self.state = State::Init;
                } else {
                    self.authenticate(security);
                }
                Ok(1)
            }
            State::VencryptVersion => {
                let Some(version) = bytes.first_chunk::<2>() else { return Ok(0) };
                if *version != [0, 2] {
                    self.out.push(255);
                    return Err(Goodbye::Protocol("no VeNCrypt 0.2"));
                }
                let kind = if self.options.password.is_some() { X509_VNC } else { X509_NONE };
                self.out.extend_from_slice(&[0, 1]);
                self.out.extend_from_slice(&kind.to_be_bytes());
                self.state = State::VencryptType;
                Ok(2)
            }
            State::VencryptType => {
                let Some(&kind) = bytes.first_chunk::<4>() else { return Ok(0) };
                let (wanted, security) =
                    if self.options.password.is_some() { (X509_VNC, VNC) } else { (X509_NONE, NONE) };
                if u32::from_be_bytes(kind) != wanted {
                    self.out.push(0);
                    return Err(Goodbye::Protocol("a VeNCrypt type that was not offered"));
                }
                self.out.push(1);
                self.state = State::Tls(security);
                self.request = Some(Request::StartTls);
                Ok(4)
            }
            // Its bytes are not for us.
            State::Tls(_) if bytes.is_empty() => Ok(0),
            State::Tls(_) => Err(Goodbye::Protocol("data before TLS")),
            State::Response => {
                let Some(answer) = bytes.first_chunk::<16>() else { return Ok(0) };
                let password = self.options.password.as_deref().unwrap_or_default();
                if !auth::same(&auth::response(password, &self.challenge), answer) {
                    self.fail("wrong password");
                    return Err(Goodbye::Password);
                }
                self.out.extend_from_slice(&[0; 4]);
                self.state = State::Init;
                Ok(16)
            }
            State::Init => {
                let Some(&shared) = bytes.first() else { return Ok(0) };
                if shared == 0 {
                    self.request = Some(Request::Alone);
                }
                self.init();
                Ok(1)
            }
            State::Open => self.open_message(bytes),
        }
    }

    fn version(&mut self, text: &[u8; 12]) -> Result<(), Goodbye> {
        let minor = match text {
            b"RFB 003.003\n" => 3,
            b"RFB 003.007\n" => 7,
            b"RFB 003.008\n" => 8,
            // Others that are told of in RFC 6143 (section 7.1.1) are to be taken for 3.3; Apple's 3.889 is a 3.8.
            b"RFB 003.889\n" => 8,
            text if text.starts_with(b"RFB 003.00") && text.ends_with(b"\n") => 3,
            text if text.starts_with(b"RFB ") && text.ends_with(b"\n") => 8,
            _ => return Err(Goodbye::Protocol("no RFB version")),
        };
        self.minor = minor;
        let security = self.security();
        if minor >= 7 {
            self.out.extend_from_slice(&[1, security]);
            self.state = State::Security;
        } else if security == VENCRYPT {
            self.out.extend_from_slice(&[0; 4]);
            self.reason("this machine's screen is shown through TLS only, for which RFB 3.3 is too old");
            return Err(Goodbye::Protocol("RFB 3.3 without TLS"));
        } else {
            self.out.extend_from_slice(&u32::from(security).to_be_bytes());
            if security == VNC {
                self.authenticate(VNC);
            } else {
                self.state = State::Init;
            }
        }
        Ok(())
    }

    fn reason(&mut self, text: &str) {
        self.out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        self.out.extend_from_slice(text.as_bytes());
    }

    fn fail(&mut self, text: &'static str) -> Goodbye {
        self.out.extend_from_slice(&1_u32.to_be_bytes());
        if self.minor >= 8 {
            self.reason(text);
        }
        Goodbye::Protocol(text)
    }

    fn init(&mut self) {
        let (width, height) = self.size;
        self.out.extend_from_slice(&width.to_be_bytes());
        self.out.extend_from_slice(&height.to_be_bytes());
        self.out.extend_from_slice(&NATIVE.bytes());
        let name = self.options.name.clone();
        self.reason(&name);
        self.state = State::Open;
    }

    fn open_message(&mut self, bytes: &[u8]) -> Result<usize, Goodbye> {
        let Some(&kind) = bytes.first() else { return Ok(0) };
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let len = match kind {
            0 => 20,
            2 | 5 if kind == 2 => 4,
            5 => 6,
            3 => 10,
            4 | 6 | 251 => 8,
            255 => 12,
            _ => return Err(Goodbye::Protocol("an unknown message")),
        };
        if bytes.len() < len {
            return Ok(0);
        }
        match kind {
            0 => {
                let format = bytes.get(4..20).and_then(|format| format.first_chunk());
                let format =
                    format.and_then(PixelFormat::parse).ok_or(Goodbye::Protocol("an impossible pixel format"))?;
                self.translation = Translation::new(format);
                if format == PALETTE {
                    self.out.extend_from_slice(&[1, 0, 0, 0, 1, 0]);
                    for colour in PixelFormat::palette().flatten() {
                        self.out.extend_from_slice(&colour.to_be_bytes());
                    }
                }
            }
            2 => {
                self.can = Abilities::default();
                match word(2) {
                    0 => self.encodings_end(),
                    count => self.partial = Partial::Encodings(count),
                }
            }
            3 => {
                let rect = Rect { x: word(2), y: word(4), width: word(6), height: word(8) };
                self.update_request(rect, bytes[1] != 0);
            }
            4 => self.input.keysym(long(4), bytes[1] != 0),
            5 => {
                let motion = match (self.relative, self.absolute) {
                    (true, _) => Motion::Relative,
                    (false, true) => Motion::Absolute(self.screen),
                    (false, false) => Motion::Difference,
                };
                self.input.pointer(bytes[1], word(2), word(4), motion);
            }
            6 => {
                // A clipboard: a PC has none. The length is negative for a form that was not agreed on.
                let len = long(4) as i32;
                self.partial = Partial::Skip(len.unsigned_abs().into());
            }
            251 => {
                self.partial = Partial::Skip(u64::from(bytes[6]) * 16);
                // The answer to one's own request, status 1: administratively prohibited.
                self.news.size = Some((1, 1));
            }
            _ if bytes[1] == 0 => match long(8) {
                0 => self.input.keysym(long(4), word(2) != 0),
                number => self.input.position_key(number, word(2) != 0),
            },
            _ => return Err(Goodbye::Protocol("an unknown message of QEMU's")),
        }
        Ok(len)
    }

    fn encoding(&mut self, number: i32) {
        let can = &mut self.can;
        match number {
            encode::COPY_RECT => can.copy = true,
            DESKTOP_SIZE => can.resize = true,
            EXTENDED_DESKTOP_SIZE => can.extended_resize = true,
            CURSOR => can.cursor = true,
            POINTER_MOTION => can.motion = true,
            EXTENDED_KEY => can.extended_key = true,
            LED_STATE => can.leds = true,
            number if (COMPRESSION..COMPRESSION + 10).contains(&number) => {
                self.encoder.set_level((number - COMPRESSION) as u8);
            }
            // The first is the one that the client likes best.
            number => can.encoding = can.encoding.or_else(|| Encoding::from_number(number)),
        }
    }

    fn encodings_end(&mut self) {
        let can = self.can;
        self.news.cursor = can.cursor;
        self.news.motion = can.motion;
        self.news.extended_key = can.extended_key;
        self.relative &= can.motion;
        self.leds = None;
        if can.extended_resize {
            self.news.size.get_or_insert((0, 0));
        }
    }

    fn all(&self) -> Rect {
        Rect { x: 0, y: 0, width: self.size.0, height: self.size.1 }
    }

    fn update_request(&mut self, rect: Rect, incremental: bool) {
        let Some(rect) = rect.intersection(self.all()) else { return };
        if !incremental {
            self.damage.add(rect);
            self.asks_anew = true;
        }
        self.wanted = Some(match self.wanted {
            None => rect,
            Some(before) => {
                let end = |a: u16, a_len: u16, b: u16, b_len: u16| (a + a_len).max(b + b_len);
                let (x, y) = (rect.x.min(before.x), rect.y.min(before.y));
                let right = end(rect.x, rect.width, before.x, before.width);
                let bottom = end(rect.y, rect.height, before.y, before.height);
                Rect { x, y, width: right - x, height: bottom - y }
            }
        });
    }

    /// Whether the client waits for something to change.
    pub fn waits(&self) -> bool {
        self.state == State::Open && self.wanted.is_some()
    }

    /// Whether the machine can be told where the pointer is; else how far it moved.
    pub fn set_absolute(&mut self, absolute: bool) {
        if self.absolute != absolute {
            self.absolute = absolute;
            self.news.motion = self.can.motion;
        }
    }

    /// The screen changed: its size, or by this much; by a scroll, perhaps.
    pub fn changed(&mut self, size: (u16, u16), damage: &Damage, scroll: Option<&Scroll>) {
        self.screen = size;
        if self.state != State::Open {
            // It will be told the size, and ask for all of it.
            self.size = size;
            self.damage = Damage::none(size);
            return;
        }
        if size != self.size {
            if self.can.resize || self.can.extended_resize {
                self.news.size = self.news.size.or(Some((0, 0)));
            }
            self.damage.add(self.all());
            self.copy = None;
            return;
        }
        // Lines that did not move before this changed are not where they would be copied from.
        if let Some(copy) = self.copy.take() {
            self.damage.add(copy.to);
        }
        match scroll.filter(|_| self.can.copy && self.damage.is_empty()) {
            Some(scroll) => {
                self.damage = scroll.left.clone();
                self.copy = Some(scroll.clone());
            }
            None => self.damage.merge(damage),
        }
    }

    /// Appends an update if the client waits for one and there is something to tell.
    pub fn update(&mut self, picture: &Picture, leds: u8) {
        let Some(wanted) = self.wanted.filter(|_| self.state == State::Open) else { return };
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        let mut count = self.pseudo_rectangles(leds);
        if let Some(reason) = self.news.size.take()
            && self.resize(picture.size(), reason)
        {
            // It must be the last rectangle; the client asks for the pixels of its new screen now.
            count += 1;
        } else {
            count += self.rectangles(picture, wanted);
        }
        if count == 0 {
            self.out.truncate(start);
            return;
        }
        self.wanted = None;
        self.out[start + 2..start + 4].copy_from_slice(&count.to_be_bytes());
    }

    fn pseudo_rectangles(&mut self, leds: u8) -> u16 {
        let nothing = |x, y| Rect { x, y, width: 0, height: 0 };
        let mut count = 0;
        let news = std::mem::take(&mut self.news);
        self.news.size = news.size;
        if news.extended_key {
            encode::header(nothing(0, 0), EXTENDED_KEY, &mut self.out);
            count += 1;
        }
        if news.motion {
            // QEMU's "pointer motion change": 1 for absolute, 0 for relative.
            encode::header(nothing(self.absolute.into(), 0), POINTER_MOTION, &mut self.out);
            self.relative = !self.absolute;
            count += 1;
        }
        if news.cursor {
            self.cursor();
            count += 1;
        }
        if self.can.leds && self.leds != Some(leds) {
            self.leds = Some(leds);
            encode::header(nothing(0, 0), LED_STATE, &mut self.out);
            self.out.push(leds);
            count += 1;
        }
        count
    }

    /// A dot, white with a black rim, so that whoever sees two pointers knows which is the guest's.
    fn cursor(&mut self) {
        const SIDE: u16 = 5;
        encode::header(Rect { x: 2, y: 2, width: SIDE, height: SIDE }, CURSOR, &mut self.out);
        let writer = self.translation.writer(super::pixels::Shape::Whole);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let inner = (1..4).contains(&x) && (1..4).contains(&y);
                writer.put(if inner { 0xff_ffff } else { 0 }, &mut self.out);
            }
        }
        self.out.extend_from_slice(&[0b0111_0000, 0b1111_1000, 0b1111_1000, 0b1111_1000, 0b0111_0000]);
    }

    /// Tells the size. False if the client cannot be told: it goes on with the size that it has.
    fn resize(&mut self, (width, height): (u16, u16), (reason, status): (u16, u16)) -> bool {
        if self.can.extended_resize {
            encode::header(Rect { x: reason, y: status, width, height }, EXTENDED_DESKTOP_SIZE, &mut self.out);
            // One screen, number 1, without flags.
            self.out.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
            self.out.extend_from_slice(&width.to_be_bytes());
            self.out.extend_from_slice(&height.to_be_bytes());
            self.out.extend_from_slice(&[0; 4]);
        } else if self.can.resize && (width, height) != self.size {
            encode::header(Rect { x: 0, y: 0, width, height }, DESKTOP_SIZE, &mut self.out);
        } else {
            return false;
        }
        if self.size != (width, height) {
            self.size = (width, height);
            self.damage = Damage::none(self.size);
            self.damage.add(self.all());
            self.copy = None;
        }
        true
    }

    fn rectangles(&mut self, picture: &Picture, wanted: Rect) -> u16 {
        let mut count = 0;
        if let Some(copy) = self.copy.take() {
            if copy.to.intersection(wanted) == Some(copy.to) {
                encode::header(copy.to, encode::COPY_RECT, &mut self.out);
                self.out.extend_from_slice(&[0, 0]);
                self.out.extend_from_slice(&copy.from.to_be_bytes());
                count += 1;
            } else {
                self.damage.add(copy.to);
            }
        }
        let fitted;
        let picture = if picture.size() == self.size {
            picture
        } else {
            fitted = picture.fitted(self.size);
            &fitted
        };
        let Self { damage, encoder, translation, out, can, .. } = self;
        let encoding = can.encoding.unwrap_or(Encoding::Raw);
        let limit = out.len() + UPDATE_MAX;
        damage.take(wanted, RECT_AREA, |rect| {
            if out.len() > limit || count > 10_000 {
                return false;
            }
            count += encoder.rectangle(encoding, picture, rect, translation, out);
            true
        });
        count
    }
}
