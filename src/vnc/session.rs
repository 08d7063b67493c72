//! RFB protocol session of one VNC client (RFC 6143; rfbproto, the RFB community's specification, for VeNCrypt and the
//! extensions): bytes in, bytes and input events out. No socket, no clock.
//!
//! Protocol versions 3.3, 3.7 and 3.8. Security types: None, VNC Authentication, VeNCrypt with X509None or X509Vnc.
//! Extensions: DesktopSize, ExtendedDesktopSize (SetDesktopSize is refused: the guest sets the video mode), Cursor (a dot:
//! the guest draws its own pointer), QEMU Extended Key Event, QEMU Pointer Motion Change, QEMU LED State.
//!
//! Deliberately missing: the clipboard (a PC has none), continuous updates and fences.

use super::auth;
use super::encode::{self, Encoder, Encoding};
use super::input::{ClientInput, PointerMode};
use super::picture::{Damage, Picture, Rect, Scroll};
use super::pixels::{COLOUR_MAP, NATIVE, PixelFormat, PixelLayout, Translation};
use crate::keys::Keymap;
use std::sync::Arc;

/// Bytes of one FramebufferUpdate, about; the rest of the damage goes into the next.
const UPDATE_MAX: usize = 16 << 20;
/// Pixels of one rectangle.
const RECT_AREA_MAX: usize = 1 << 18;
/// Rectangles of one FramebufferUpdate, whose count field has 16 bits.
const RECT_COUNT_MAX: u16 = 10_000;

// Security types (RFC 6143, section 7.1.2; rfbproto).
const SECURITY_NONE: u8 = 1;
const VNC_AUTHENTICATION: u8 = 2;
const VENCRYPT: u8 = 19;
// VeNCrypt subtypes.
const X509_NONE: u32 = 260;
const X509_VNC: u32 = 261;

// Client to server messages (RFC 6143, section 7.5; rfbproto).
const SET_PIXEL_FORMAT: u8 = 0;
const SET_ENCODINGS: u8 = 2;
const FRAMEBUFFER_UPDATE_REQUEST: u8 = 3;
const KEY_EVENT: u8 = 4;
const POINTER_EVENT: u8 = 5;
const CLIENT_CUT_TEXT: u8 = 6;
const SET_DESKTOP_SIZE: u8 = 251;
const QEMU_CLIENT_MESSAGE: u8 = 255;
/// Submessage of [`QEMU_CLIENT_MESSAGE`].
const QEMU_EXTENDED_KEY_EVENT: u8 = 0;

// Server to client messages (RFC 6143, section 7.6).
const FRAMEBUFFER_UPDATE: u8 = 0;
const SET_COLOUR_MAP_ENTRIES: u8 = 1;

// Pseudo-encodings (RFC 6143, section 7.8; rfbproto).
const DESKTOP_SIZE: i32 = -223;
const EXTENDED_DESKTOP_SIZE: i32 = -308;
const CURSOR: i32 = -239;
const POINTER_MOTION_CHANGE: i32 = -257;
const EXTENDED_KEY_EVENT: i32 = -258;
const LED_STATE: i32 = -261;
/// Compression level 0; levels 1 to 9 follow.
const COMPRESSION_LEVEL_0: i32 = -256;

/// Settings that all sessions of a server share.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The desktop's name in ServerInit: the machine's name.
    pub name: String,
    /// The password for VNC Authentication, if clients need one.
    pub password: Option<Vec<u8>>,
    /// Clients must use VeNCrypt unless their connection is encrypted already.
    pub tls: bool,
    /// The keyboard layout that the guest is set to.
    pub keymap: Keymap,
}

/// Why a client is disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The client does not speak RFB or violates the protocol.
    Protocol(&'static str),
    /// VNC Authentication failed.
    WrongPassword,
}

/// A session's request to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRequest {
    /// Send what is in `out` in the clear, then start TLS with the next byte.
    StartTls,
    /// Disconnect the other clients (ClientInit with shared-flag 0).
    ExclusiveAccess,
}

/// The message that the session expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    ProtocolVersion,
    SecurityType,
    VencryptVersion,
    VencryptSubtype,
    /// The TLS handshake runs; then this security type follows.
    TlsHandshake(u8),
    /// The answer to the VNC Authentication challenge.
    ChallengeResponse,
    ClientInit,
    /// The handshake is done: any client to server message.
    Normal,
}

/// The rest of a message of variable length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageTail {
    None,
    /// Bytes to discard.
    Discard(u64),
    /// Encodings of SetEncodings that have not arrived.
    Encodings(u16),
}

/// What the client's SetEncodings lists.
#[derive(Clone, Copy, Debug, Default)]
struct Capabilities {
    /// The first encoding of the list that the server has.
    encoding: Option<Encoding>,
    copy_rect: bool,
    desktop_size: bool,
    extended_desktop_size: bool,
    cursor: bool,
    pointer_motion_change: bool,
    extended_key_event: bool,
    led_state: bool,
}

/// Pseudo-rectangles that the next update must carry.
#[derive(Clone, Copy, Debug, Default)]
struct PendingPseudo {
    cursor: bool,
    pointer_motion_change: bool,
    extended_key_event: bool,
    /// Requests by SetDesktopSize that are not answered yet.
    refusals: u8,
    /// The framebuffer's size, which is new or which the client has not been sent as an ExtendedDesktopSize yet.
    desktop_size: bool,
}

/// One client's session.
pub struct Session {
    options: Arc<SessionOptions>,
    /// The connection uses TLS.
    encrypted: bool,
    phase: Phase,
    /// The client's protocol version is 3.`minor`.
    minor: u8,
    challenge: [u8; 16],
    tail: MessageTail,
    caps: Capabilities,
    pseudo: PendingPseudo,
    encoder: Encoder,
    translation: Translation,
    /// The framebuffer's size as last sent to the client.
    client_size: (u16, u16),
    /// The area of the pending FramebufferUpdateRequest.
    requested: Option<Rect>,
    damage: Damage,
    /// Lines to send as a CopyRect, before `damage`.
    copy: Option<Scroll>,
    /// The LED state last sent to the client.
    client_leds: Option<u8>,
    /// The last Pointer Motion Change was relative: PointerEvents hold movements.
    client_relative: bool,
    /// The guest reads a tablet.
    absolute: bool,
    /// The screen's size.
    screen_size: (u16, u16),
    /// The client's keys and pointer.
    pub input: ClientInput,
    /// Bytes to send to the client.
    pub out: Vec<u8>,
    /// A request to the server, which takes it.
    pub request: Option<SessionRequest>,
    /// The client sent a FramebufferUpdateRequest that is not incremental; the server clears this.
    pub full_update_requested: bool,
}

impl Session {
    /// The session of a client that has just connected; `challenge` is random.
    pub fn new(options: Arc<SessionOptions>, encrypted: bool, challenge: [u8; 16], size: (u16, u16)) -> Self {
        let input = ClientInput::new(options.keymap);
        Self {
            options,
            encrypted,
            phase: Phase::ProtocolVersion,
            minor: 8,
            challenge,
            tail: MessageTail::None,
            caps: Capabilities::default(),
            pseudo: PendingPseudo::default(),
            encoder: Encoder::default(),
            translation: Translation::new(NATIVE),
            client_size: size,
            requested: None,
            damage: Damage::none(size),
            copy: None,
            client_leds: None,
            client_relative: false,
            absolute: false,
            screen_size: size,
            input,
            out: b"RFB 003.008\n".to_vec(),
            request: None,
            full_update_requested: false,
        }
    }

    /// Whether the handshake, including authentication and ClientInit, is done.
    pub fn handshake_done(&self) -> bool {
        self.phase == Phase::Normal
    }

    /// Handles the complete messages at the front of `bytes` and removes them.
    ///
    /// # Errors
    /// If the client must be disconnected once `out` is sent.
    pub fn receive(&mut self, bytes: &mut Vec<u8>) -> Result<(), Disconnect> {
        let mut used = 0;
        let result = loop {
            match self.message(bytes.get(used..).unwrap_or_default()) {
                Ok(0) => break Ok(()),
                Ok(count) => used += count,
                Err(disconnect) => break Err(disconnect),
            }
        };
        bytes.drain(..used.min(bytes.len()));
        result
    }

    /// The connection's TLS handshake is complete.
    pub fn tls_established(&mut self) {
        self.encrypted = true;
        if let Phase::TlsHandshake(security) = self.phase {
            self.authenticate(security);
        }
    }

    /// Whether ServerInit, which holds the screen's size, is the next message to send.
    pub fn awaits_client_init(&self) -> bool {
        self.phase == Phase::ClientInit
    }

    /// The one security type that is offered.
    fn security_type(&self) -> u8 {
        match (&self.options.password, self.options.tls && !self.encrypted) {
            (_, true) => VENCRYPT,
            (Some(_), false) => VNC_AUTHENTICATION,
            (None, false) => SECURITY_NONE,
        }
    }

    fn authenticate(&mut self, security: u8) {
        if security == VNC_AUTHENTICATION {
            self.out.extend_from_slice(&self.challenge);
            self.phase = Phase::ChallengeResponse;
        } else {
            if self.minor >= 8 {
                // SecurityResult: OK.
                self.out.extend_from_slice(&[0; 4]);
            }
            self.phase = Phase::ClientInit;
        }
    }

    /// Handles one message, if it is complete; gives its length in bytes, else 0.
    fn message(&mut self, bytes: &[u8]) -> Result<usize, Disconnect> {
        match self.tail {
            MessageTail::None => {}
            MessageTail::Discard(left) => {
                let count = left.min(bytes.len() as u64);
                self.tail = if count == left { MessageTail::None } else { MessageTail::Discard(left - count) };
                return Ok(count as usize);
            }
            MessageTail::Encodings(left) => {
                let Some(&number) = bytes.first_chunk::<4>() else { return Ok(0) };
                self.add_encoding(i32::from_be_bytes(number));
                self.tail = if left == 1 { MessageTail::None } else { MessageTail::Encodings(left - 1) };
                if left == 1 {
                    self.encodings_complete();
                }
                return Ok(4);
            }
        }
        match self.phase {
            Phase::ProtocolVersion => {
                let Some(text) = bytes.first_chunk::<12>() else { return Ok(0) };
                self.protocol_version(text)?;
                Ok(12)
            }
            Phase::SecurityType => {
                let Some(&security) = bytes.first() else { return Ok(0) };
                if security != self.security_type() {
                    return Err(self.security_failed("this security type was not offered"));
                }
                if security == VENCRYPT {
                    // VeNCrypt version 0.2.
                    self.out.extend_from_slice(&[0, 2]);
                    self.phase = Phase::VencryptVersion;
                } else if security == SECURITY_NONE && self.minor < 8 {
                    self.phase = Phase::ClientInit;
                } else {
                    self.authenticate(security);
                }
                Ok(1)
            }
            Phase::VencryptVersion => {
                let Some(version) = bytes.first_chunk::<2>() else { return Ok(0) };
                if *version != [0, 2] {
                    self.out.push(255);
                    return Err(Disconnect::Protocol("the client's VeNCrypt version is not 0.2"));
                }
                let subtype = if self.options.password.is_some() { X509_VNC } else { X509_NONE };
                self.out.extend_from_slice(&[0, 1]);
                self.out.extend_from_slice(&subtype.to_be_bytes());
                self.phase = Phase::VencryptSubtype;
                Ok(2)
            }
            Phase::VencryptSubtype => {
                let Some(&subtype) = bytes.first_chunk::<4>() else { return Ok(0) };
                let (offered, security) = if self.options.password.is_some() {
                    (X509_VNC, VNC_AUTHENTICATION)
                } else {
                    (X509_NONE, SECURITY_NONE)
                };
                if u32::from_be_bytes(subtype) != offered {
                    self.out.push(0);
                    return Err(Disconnect::Protocol("this VeNCrypt subtype was not offered"));
                }
                self.out.push(1);
                self.phase = Phase::TlsHandshake(security);
                self.request = Some(SessionRequest::StartTls);
                Ok(4)
            }
            Phase::TlsHandshake(_) if bytes.is_empty() => Ok(0),
            Phase::TlsHandshake(_) => {
                Err(Disconnect::Protocol("RFB data arrived before the TLS handshake was complete"))
            }
            Phase::ChallengeResponse => {
                let Some(response) = bytes.first_chunk::<16>() else { return Ok(0) };
                let password = self.options.password.as_deref().unwrap_or_default();
                if !auth::same(&auth::response(password, &self.challenge), response) {
                    self.security_failed("wrong password");
                    return Err(Disconnect::WrongPassword);
                }
                // SecurityResult: OK.
                self.out.extend_from_slice(&[0; 4]);
                self.phase = Phase::ClientInit;
                Ok(16)
            }
            Phase::ClientInit => {
                let Some(&shared) = bytes.first() else { return Ok(0) };
                if shared == 0 {
                    self.request = Some(SessionRequest::ExclusiveAccess);
                }
                self.server_init();
                Ok(1)
            }
            Phase::Normal => self.client_message(bytes),
        }
    }

    fn protocol_version(&mut self, text: &[u8; 12]) -> Result<(), Disconnect> {
        let minor = match text {
            b"RFB 003.003\n" => 3,
            b"RFB 003.007\n" => 7,
            b"RFB 003.008\n" => 8,
            // RFC 6143, section 7.1.1: other versions are to be treated as 3.3. Apple's 3.889 is a 3.8.
            b"RFB 003.889\n" => 8,
            text if text.starts_with(b"RFB 003.00") && text.ends_with(b"\n") => 3,
            text if text.starts_with(b"RFB ") && text.ends_with(b"\n") => 8,
            _ => return Err(Disconnect::Protocol("the client sent no RFB version")),
        };
        self.minor = minor;
        let security = self.security_type();
        if minor >= 7 {
            self.out.extend_from_slice(&[1, security]);
            self.phase = Phase::SecurityType;
        } else if security == VENCRYPT {
            self.out.extend_from_slice(&[0; 4]);
            self.put_string("this machine accepts VNC clients only with TLS, which RFB 3.3 cannot negotiate");
            return Err(Disconnect::Protocol("TLS is required, but the client speaks RFB 3.3"));
        } else {
            self.out.extend_from_slice(&u32::from(security).to_be_bytes());
            if security == VNC_AUTHENTICATION {
                self.authenticate(VNC_AUTHENTICATION);
            } else {
                self.phase = Phase::ClientInit;
            }
        }
        Ok(())
    }

    /// Appends a string with its 32-bit length.
    fn put_string(&mut self, text: &str) {
        self.out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Appends SecurityResult: failed, with a reason from version 3.8 on.
    fn security_failed(&mut self, reason: &'static str) -> Disconnect {
        self.out.extend_from_slice(&1_u32.to_be_bytes());
        if self.minor >= 8 {
            self.put_string(reason);
        }
        Disconnect::Protocol(reason)
    }

    fn server_init(&mut self) {
        let (width, height) = self.client_size;
        self.out.extend_from_slice(&width.to_be_bytes());
        self.out.extend_from_slice(&height.to_be_bytes());
        self.out.extend_from_slice(&NATIVE.to_bytes());
        let name = self.options.name.clone();
        self.put_string(&name);
        self.phase = Phase::Normal;
    }

    fn client_message(&mut self, bytes: &[u8]) -> Result<usize, Disconnect> {
        let Some(&message) = bytes.first() else { return Ok(0) };
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let len = match message {
            SET_PIXEL_FORMAT => 20,
            SET_ENCODINGS => 4,
            POINTER_EVENT => 6,
            FRAMEBUFFER_UPDATE_REQUEST => 10,
            KEY_EVENT | CLIENT_CUT_TEXT | SET_DESKTOP_SIZE => 8,
            QEMU_CLIENT_MESSAGE => 12,
            _ => return Err(Disconnect::Protocol("unknown message type")),
        };
        if bytes.len() < len {
            return Ok(0);
        }
        match message {
            SET_PIXEL_FORMAT => {
                let format = bytes.get(4..20).and_then(|format| format.first_chunk());
                let format = format
                    .and_then(PixelFormat::parse)
                    .ok_or(Disconnect::Protocol("SetPixelFormat has an invalid pixel format"))?;
                self.translation = Translation::new(format);
                if format == COLOUR_MAP {
                    self.out.extend_from_slice(&[SET_COLOUR_MAP_ENTRIES, 0, 0, 0, 1, 0]);
                    for colour in PixelFormat::colour_map().flatten() {
                        self.out.extend_from_slice(&colour.to_be_bytes());
                    }
                }
            }
            SET_ENCODINGS => {
                self.caps = Capabilities::default();
                match word(2) {
                    0 => self.encodings_complete(),
                    count => self.tail = MessageTail::Encodings(count),
                }
            }
            FRAMEBUFFER_UPDATE_REQUEST => {
                let rect = Rect { x: word(2), y: word(4), width: word(6), height: word(8) };
                self.update_request(rect, bytes[1] != 0);
            }
            KEY_EVENT => self.input.key_event(long(4), bytes[1] != 0),
            POINTER_EVENT => {
                let mode = match (self.client_relative, self.absolute) {
                    (true, _) => PointerMode::Movement,
                    (false, true) => PointerMode::Absolute(self.screen_size),
                    (false, false) => PointerMode::Difference,
                };
                self.input.pointer_event(bytes[1], word(2), word(4), mode);
            }
            CLIENT_CUT_TEXT => {
                // A PC has no clipboard. A negative length marks the Extended Clipboard form, which was not negotiated.
                let len = long(4) as i32;
                self.tail = MessageTail::Discard(len.unsigned_abs().into());
            }
            SET_DESKTOP_SIZE => {
                self.tail = MessageTail::Discard(u64::from(bytes[6]) * 16);
                self.pseudo.refusals = self.pseudo.refusals.saturating_add(1);
            }
            _ if bytes[1] == QEMU_EXTENDED_KEY_EVENT => match long(8) {
                0 => self.input.key_event(long(4), word(2) != 0),
                number => self.input.extended_key_event(number, word(2) != 0),
            },
            _ => return Err(Disconnect::Protocol("unknown QEMU submessage type")),
        }
        Ok(len)
    }

    fn add_encoding(&mut self, number: i32) {
        let caps = &mut self.caps;
        match number {
            encode::COPY_RECT => caps.copy_rect = true,
            DESKTOP_SIZE => caps.desktop_size = true,
            EXTENDED_DESKTOP_SIZE => caps.extended_desktop_size = true,
            CURSOR => caps.cursor = true,
            POINTER_MOTION_CHANGE => caps.pointer_motion_change = true,
            EXTENDED_KEY_EVENT => caps.extended_key_event = true,
            LED_STATE => caps.led_state = true,
            number if (COMPRESSION_LEVEL_0..COMPRESSION_LEVEL_0 + 10).contains(&number) => {
                self.encoder.set_level((number - COMPRESSION_LEVEL_0) as u8);
            }
            // The client lists its encodings in order of preference.
            number => caps.encoding = caps.encoding.or_else(|| Encoding::from_number(number)),
        }
    }

    fn encodings_complete(&mut self) {
        let caps = self.caps;
        self.pseudo.cursor = caps.cursor;
        self.pseudo.pointer_motion_change = caps.pointer_motion_change;
        self.pseudo.extended_key_event = caps.extended_key_event;
        self.client_relative &= caps.pointer_motion_change;
        self.client_leds = None;
        self.pseudo.desktop_size |= caps.extended_desktop_size;
    }

    fn all(&self) -> Rect {
        Rect { x: 0, y: 0, width: self.client_size.0, height: self.client_size.1 }
    }

    fn update_request(&mut self, rect: Rect, incremental: bool) {
        let Some(rect) = rect.intersection(self.all()) else { return };
        if !incremental {
            self.damage.add(rect);
            self.full_update_requested = true;
        }
        self.requested = Some(match self.requested {
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

    /// Whether a FramebufferUpdateRequest is pending.
    pub fn update_requested(&self) -> bool {
        self.phase == Phase::Normal && self.requested.is_some()
    }

    /// Sets whether the guest reads a tablet; the next update announces a change to a client with Pointer Motion Change.
    pub fn set_absolute(&mut self, absolute: bool) {
        if self.absolute != absolute {
            self.absolute = absolute;
            self.pseudo.pointer_motion_change = self.caps.pointer_motion_change;
        }
    }

    /// Records a change of the screen: its new size, or else its damage, most of which may be a scroll.
    pub fn screen_changed(&mut self, size: (u16, u16), damage: &Damage, scroll: Option<&Scroll>) {
        self.screen_size = size;
        if self.phase != Phase::Normal {
            // ServerInit will hold the new size, and the client's first request the whole screen.
            self.client_size = size;
            self.damage = Damage::none(size);
            return;
        }
        if size != self.client_size {
            if self.caps.desktop_size || self.caps.extended_desktop_size {
                self.pseudo.desktop_size = true;
            }
            self.damage.add(self.all());
            self.copy = None;
            return;
        }
        // A CopyRect that was not sent yet is void: its source lines may have changed.
        if let Some(copy) = self.copy.take() {
            self.damage.add(copy.to);
        }
        match scroll.filter(|_| self.caps.copy_rect && self.damage.is_empty()) {
            Some(scroll) => {
                self.damage = scroll.rest.clone();
                self.copy = Some(scroll.clone());
            }
            None => self.damage.merge(damage),
        }
    }

    /// Appends a FramebufferUpdate if one is requested and something changed.
    pub fn update(&mut self, picture: &Picture, leds: u8) {
        let Some(requested) = self.requested.filter(|_| self.phase == Phase::Normal) else { return };
        let start = self.out.len();
        self.out.extend_from_slice(&[FRAMEBUFFER_UPDATE, 0, 0, 0]);
        let mut count = self.pseudo_rectangles(leds);
        count += match self.size_rectangles(picture.size()) {
            0 => self.rectangles(picture, requested),
            // These rectangles must be the last ones; the client will request the pixels at the new size.
            sizes => sizes,
        };
        if count == 0 {
            self.out.truncate(start);
            return;
        }
        self.requested = None;
        self.out[start + 2..start + 4].copy_from_slice(&count.to_be_bytes());
    }

    fn pseudo_rectangles(&mut self, leds: u8) -> u16 {
        let empty = |x, y| Rect { x, y, width: 0, height: 0 };
        let mut count = 0;
        let pseudo = std::mem::take(&mut self.pseudo);
        self.pseudo.desktop_size = pseudo.desktop_size;
        self.pseudo.refusals = pseudo.refusals;
        if pseudo.extended_key_event {
            encode::header(empty(0, 0), EXTENDED_KEY_EVENT, &mut self.out);
            count += 1;
        }
        if pseudo.pointer_motion_change {
            // x is 1 for absolute positions, 0 for relative movements.
            encode::header(empty(self.absolute.into(), 0), POINTER_MOTION_CHANGE, &mut self.out);
            self.client_relative = !self.absolute;
            count += 1;
        }
        if pseudo.cursor {
            self.cursor();
            count += 1;
        }
        if self.caps.led_state && self.client_leds != Some(leds) {
            self.client_leds = Some(leds);
            encode::header(empty(0, 0), LED_STATE, &mut self.out);
            self.out.push(leds);
            count += 1;
        }
        count
    }

    /// Appends a Cursor rectangle: a white dot with a black rim, so that the user can tell the client's pointer from the
    /// guest's.
    fn cursor(&mut self) {
        const SIDE: u16 = 5;
        encode::header(Rect { x: 2, y: 2, width: SIDE, height: SIDE }, CURSOR, &mut self.out);
        let writer = self.translation.writer(PixelLayout::Pixel);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let inner = (1..4).contains(&x) && (1..4).contains(&y);
                writer.put(if inner { 0xff_ffff } else { 0 }, &mut self.out);
            }
        }
        // The mask: all pixels but the corners.
        self.out.extend_from_slice(&[0b0111_0000, 0b1111_1000, 0b1111_1000, 0b1111_1000, 0b0111_0000]);
    }

    /// Appends the refusals of SetDesktopSize, then the framebuffer's size if it is news.
    fn size_rectangles(&mut self, size: (u16, u16)) -> u16 {
        let mut count = 0;
        for _ in 0..std::mem::take(&mut self.pseudo.refusals) {
            if self.caps.extended_desktop_size {
                // Reason 1: this client's own request; status 1: resize is administratively prohibited. The size is the
                // one that the client knows: a change of it is another rectangle.
                self.extended_desktop_size(self.client_size, (1, 1));
                count += 1;
            }
        }
        count + u16::from(std::mem::take(&mut self.pseudo.desktop_size) && self.desktop_size(size))
    }

    /// Appends an ExtendedDesktopSize rectangle.
    fn extended_desktop_size(&mut self, (width, height): (u16, u16), (reason, status): (u16, u16)) {
        encode::header(Rect { x: reason, y: status, width, height }, EXTENDED_DESKTOP_SIZE, &mut self.out);
        // One screen: ID 1 at (0, 0), no flags.
        self.out.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        self.out.extend_from_slice(&width.to_be_bytes());
        self.out.extend_from_slice(&height.to_be_bytes());
        self.out.extend_from_slice(&[0; 4]);
    }

    /// Appends ExtendedDesktopSize or DesktopSize. False if the client supports neither or knows the size; it then keeps
    /// its size.
    fn desktop_size(&mut self, (width, height): (u16, u16)) -> bool {
        if self.caps.extended_desktop_size {
            self.extended_desktop_size((width, height), (0, 0));
        } else if self.caps.desktop_size && (width, height) != self.client_size {
            encode::header(Rect { x: 0, y: 0, width, height }, DESKTOP_SIZE, &mut self.out);
        } else {
            return false;
        }
        if self.client_size != (width, height) {
            self.client_size = (width, height);
            self.damage = Damage::none(self.client_size);
            self.damage.add(self.all());
            self.copy = None;
        }
        true
    }

    fn rectangles(&mut self, picture: &Picture, requested: Rect) -> u16 {
        let mut count = 0;
        if let Some(copy) = self.copy.take() {
            if copy.to.intersection(requested) == Some(copy.to) {
                encode::header(copy.to, encode::COPY_RECT, &mut self.out);
                self.out.extend_from_slice(&[0, 0]);
                self.out.extend_from_slice(&copy.from.to_be_bytes());
                count += 1;
            } else {
                self.damage.add(copy.to);
            }
        }
        let fitted;
        let picture = if picture.size() == self.client_size {
            picture
        } else {
            fitted = picture.fitted(self.client_size);
            &fitted
        };
        let Self { damage, encoder, translation, out, caps, .. } = self;
        let encoding = caps.encoding.unwrap_or(Encoding::Raw);
        let limit = out.len() + UPDATE_MAX;
        damage.take(requested, RECT_AREA_MAX, |rect| {
            if out.len() > limit || count > RECT_COUNT_MAX {
                return false;
            }
            count += encoder.rectangle(encoding, picture, rect, translation, out);
            true
        });
        count
    }
}
