//! A USB function with one interface of class HID and one interrupt endpoint (USB 1.1, chapters 8 and 9; HID 1.11).

use super::descriptors::{CONFIGURATION_VALUE, ENDPOINT, ENDPOINT_ADDRESS, Identity};
use super::keyboard::{self, Keyboard};
use super::packet::{Answer, MAX, Packet};
use super::tablet::{self, Tablet};
use super::td::TokenKind;
use serde::{Deserialize, Serialize};

/// The largest thing that goes over the control pipe, in bytes.
const CONTROL_MAX: usize = 512;
/// Idle rate of a keyboard after reset: 500 ms, in 4 ms (HID 1.11, 7.2.4).
const KEYBOARD_IDLE: u8 = 125;
/// Report types (7.2.1).
const INPUT_REPORT: u8 = 1;
const OUTPUT_REPORT: u8 = 2;
/// Features (USB 1.1, table 9-6).
const ENDPOINT_HALT: u16 = 0;
const DEVICE_REMOTE_WAKEUP: u16 = 1;

/// What kind of function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Hid {
    Tablet(Tablet),
    Keyboard(Keyboard),
}

/// The first packet of a control transfer (USB 1.1, 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Setup {
    kind: u8,
    request: u8,
    value: u16,
    index: u16,
    length: u16,
}

impl Setup {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[kind, request, value, value_high, index, index_high, length, length_high] = bytes else { return None };
        Some(Self {
            kind,
            request,
            value: u16::from_le_bytes([value, value_high]),
            index: u16::from_le_bytes([index, index_high]),
            length: u16::from_le_bytes([length, length_high]),
        })
    }

    fn is_in(&self) -> bool {
        self.kind & 0x80 != 0
    }
}

/// Where a control transfer is (USB 1.1, 8.5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Control {
    #[default]
    Idle,
    /// Data go to the host.
    In { data: Vec<u8>, sent: usize, toggle: bool },
    /// Data come from the host.
    Out { setup: Setup, data: Vec<u8>, toggle: bool },
    /// The host asks whether it was done; a new address counts from then on.
    Status { address: Option<u8> },
    /// It cannot be done.
    Stalled,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Function {
    hid: Hid,
    address: u8,
    configured: bool,
    remote_wakeup: bool,
    /// The interrupt endpoint is halted.
    halted: bool,
    /// The interrupt endpoint's next packet is DATA1.
    toggle: bool,
    control: Control,
    /// The report protocol, else the boot protocol: a keyboard's.
    report_protocol: bool,
    /// In 4 ms; 0 for reports only when something changes.
    idle: u8,
    /// The frame of the last report.
    reported: u32,
    /// The host asked for a report since [`Function::age`] was called, and before that.
    asked: bool,
    asked_before: bool,
}

impl Function {
    pub(super) fn tablet() -> Self {
        Self::new(Hid::Tablet(Tablet::default()))
    }

    pub(super) fn keyboard() -> Self {
        Self::new(Hid::Keyboard(Keyboard::default()))
    }

    fn new(hid: Hid) -> Self {
        let idle = if matches!(hid, Hid::Keyboard(_)) { KEYBOARD_IDLE } else { 0 };
        Self {
            hid,
            address: 0,
            configured: false,
            remote_wakeup: false,
            halted: false,
            toggle: false,
            control: Control::Idle,
            report_protocol: true,
            idle,
            reported: 0,
            asked: false,
            asked_before: false,
        }
    }

    /// Reset signalling on the bus, or power.
    pub(super) fn reset(&mut self) {
        *self = match self.hid {
            Hid::Tablet(_) => Self::tablet(),
            Hid::Keyboard(_) => Self::keyboard(),
        };
    }

    fn identity(&self) -> &'static Identity {
        match self.hid {
            Hid::Tablet(_) => &tablet::IDENTITY,
            Hid::Keyboard(_) => &keyboard::IDENTITY,
        }
    }

    /// Whether it is a low-speed function.
    pub(super) fn low_speed(&self) -> bool {
        matches!(self.hid, Hid::Keyboard(_))
    }

    pub(super) fn address(&self) -> u8 {
        self.address
    }

    pub(super) fn as_tablet_mut(&mut self) -> Option<&mut Tablet> {
        if let Hid::Tablet(tablet) = &mut self.hid { Some(tablet) } else { None }
    }

    pub(super) fn as_keyboard(&self) -> Option<&Keyboard> {
        if let Hid::Keyboard(keyboard) = &self.hid { Some(keyboard) } else { None }
    }

    pub(super) fn as_keyboard_mut(&mut self) -> Option<&mut Keyboard> {
        if let Hid::Keyboard(keyboard) = &mut self.hid { Some(keyboard) } else { None }
    }

    /// Whether the guest has a driver for it: it asked for reports lately.
    pub(super) fn in_use(&self) -> bool {
        self.configured && (self.asked || self.asked_before)
    }

    /// Whether it would wake the host.
    pub(super) fn wakes(&self) -> bool {
        self.configured && self.remote_wakeup
    }

    /// About a second of frames has passed.
    pub(super) fn age(&mut self) {
        self.asked_before = self.asked;
        self.asked = false;
    }

    /// Whether this is something that a function can be; `like` is one of the same kind.
    pub(super) fn is_possible(&self, like: &Self) -> bool {
        let control = match &self.control {
            Control::In { data, sent, .. } => data.len() <= CONTROL_MAX && *sent <= data.len(),
            Control::Out { setup, data, .. } => {
                usize::from(setup.length) <= CONTROL_MAX && data.len() <= usize::from(setup.length)
            }
            Control::Status { address } => address.is_none_or(|address| address < 0x80),
            Control::Idle | Control::Stalled => true,
        };
        let hid = match &self.hid {
            Hid::Tablet(tablet) => tablet.is_possible(),
            Hid::Keyboard(keyboard) => keyboard.is_possible(),
        };
        let same = std::mem::discriminant(&self.hid) == std::mem::discriminant(&like.hid);
        same && control && hid && self.address < 0x80
    }

    /// A transaction with this function, in frame `frame` of all. `data` is what the host sends, as DATA1 if `toggle`.
    pub(super) fn transact(&mut self, kind: TokenKind, endpoint: u8, toggle: bool, data: &[u8], frame: u32) -> Answer {
        match (endpoint, kind) {
            (0, TokenKind::Setup) => match Setup::parse(data) {
                Some(setup) => {
                    self.setup(setup);
                    Answer::Ack
                }
                None => Answer::Silence,
            },
            (0, TokenKind::In) => self.control_in(),
            (0, TokenKind::Out) => self.control_out(toggle, data),
            (ENDPOINT, TokenKind::In) if self.configured => self.report(frame),
            _ => Answer::Silence,
        }
    }

    fn report(&mut self, frame: u32) -> Answer {
        if self.halted {
            return Answer::Stall;
        }
        self.asked = true;
        let next = match &mut self.hid {
            Hid::Tablet(tablet) => tablet.next(),
            Hid::Keyboard(keyboard) => keyboard.next(),
        };
        let repeat = self.idle != 0 && frame.wrapping_sub(self.reported) >= 4 * u32::from(self.idle);
        let Some(packet) = next.or_else(|| repeat.then(|| self.now())) else { return Answer::Nak };
        self.reported = frame;
        let toggle = self.toggle;
        self.toggle = !toggle;
        Answer::Data { toggle, packet }
    }

    fn now(&self) -> Packet {
        match &self.hid {
            Hid::Tablet(tablet) => tablet.now(),
            Hid::Keyboard(keyboard) => keyboard.now(),
        }
    }

    fn setup(&mut self, setup: Setup) {
        self.control = if setup.is_in() {
            match self.answer(setup) {
                Some(mut data) => {
                    data.truncate(setup.length.into());
                    Control::In { data, sent: 0, toggle: true }
                }
                None => Control::Stalled,
            }
        } else if setup.length == 0 {
            self.perform(setup)
        } else if self.takes(setup) {
            Control::Out { setup, data: Vec::new(), toggle: true }
        } else {
            Control::Stalled
        };
    }

    fn control_in(&mut self) -> Answer {
        match &mut self.control {
            Control::In { data, sent, toggle } => {
                let packet = Packet::new(data.get(*sent..).unwrap_or_default());
                *sent += packet.bytes().len();
                let this = *toggle;
                *toggle = !this;
                Answer::Data { toggle: this, packet }
            }
            Control::Out { setup, data, .. } if data.len() == usize::from(setup.length) => {
                let (setup, data) = (*setup, std::mem::take(data));
                self.take(setup, &data);
                self.control = Control::Idle;
                Answer::Data { toggle: true, packet: Packet::default() }
            }
            Control::Status { address } => {
                if let Some(address) = *address {
                    self.address = address;
                }
                self.control = Control::Idle;
                Answer::Data { toggle: true, packet: Packet::default() }
            }
            _ => {
                self.control = Control::Stalled;
                Answer::Stall
            }
        }
    }

    fn control_out(&mut self, is_data_1: bool, bytes: &[u8]) -> Answer {
        match &mut self.control {
            // The host has what it wanted, or as much as it wants.
            Control::In { .. } => {
                self.control = Control::Idle;
                Answer::Ack
            }
            Control::Out { setup, data, toggle } if bytes.len() <= MAX => {
                if *toggle != is_data_1 {
                    // Sent again because the answer was lost.
                    return Answer::Ack;
                }
                if data.len() + bytes.len() > usize::from(setup.length) {
                    self.control = Control::Stalled;
                    return Answer::Stall;
                }
                *toggle = !*toggle;
                data.extend_from_slice(bytes);
                Answer::Ack
            }
            _ => {
                self.control = Control::Stalled;
                Answer::Stall
            }
        }
    }

    /// The endpoint that a request is about: whether it is the interrupt endpoint, else the control pipe.
    fn endpoint(&self, index: u16) -> Option<bool> {
        match index {
            0 | 0x80 => Some(false),
            index if index == u16::from(ENDPOINT_ADDRESS) && self.configured => Some(true),
            _ => None,
        }
    }

    fn is_interface(&self, index: u16) -> bool {
        self.configured && index == 0
    }

    /// Requests that are answered (USB 1.1, 9.4; HID 1.11, 7.1 and 7.2).
    fn answer(&self, setup: Setup) -> Option<Vec<u8>> {
        let [low, high] = setup.value.to_le_bytes();
        match (setup.kind, setup.request) {
            // GET_STATUS of the device, an interface, an endpoint.
            (0x80, 0) => (setup.value == 0 && setup.index == 0).then(|| vec![u8::from(self.remote_wakeup) << 1, 0]),
            (0x81, 0) => (setup.value == 0 && self.is_interface(setup.index)).then(|| vec![0, 0]),
            (0x82, 0) => {
                let interrupt = self.endpoint(setup.index).filter(|_| setup.value == 0)?;
                Some(vec![u8::from(interrupt && self.halted), 0])
            }
            // GET_DESCRIPTOR.
            (0x80, 6) => self.identity().device(high, low, setup.index),
            (0x81, 6) if self.is_interface(setup.index) => self.identity().interface(high, low),
            // GET_CONFIGURATION, GET_INTERFACE.
            (0x80, 8) => Some(vec![if self.configured { CONFIGURATION_VALUE } else { 0 }]),
            (0x81, 10) if self.is_interface(setup.index) => Some(vec![0]),
            // GET_REPORT, GET_IDLE, GET_PROTOCOL.
            (0xa1, 1) if self.is_interface(setup.index) => match (high, low, &self.hid) {
                (INPUT_REPORT, 0, _) => Some(self.now().bytes().to_vec()),
                (OUTPUT_REPORT, 0, Hid::Keyboard(keyboard)) => Some(vec![keyboard.leds()]),
                _ => None,
            },
            (0xa1, 2) if self.is_interface(setup.index) => (low == 0).then(|| vec![self.idle]),
            (0xa1, 3) if self.is_interface(setup.index) => {
                self.as_keyboard().map(|_| vec![u8::from(self.report_protocol)])
            }
            _ => None,
        }
    }

    /// Requests without data.
    fn perform(&mut self, setup: Setup) -> Control {
        let done = Control::Status { address: None };
        let [low, high] = setup.value.to_le_bytes();
        let is_interface = self.is_interface(setup.index);
        match (setup.kind, setup.request, setup.value) {
            // CLEAR_FEATURE and SET_FEATURE.
            (0x00, 1 | 3, DEVICE_REMOTE_WAKEUP) if setup.index == 0 => self.remote_wakeup = setup.request == 3,
            (0x02, 1 | 3, ENDPOINT_HALT) => match self.endpoint(setup.index) {
                Some(true) => {
                    self.halted = setup.request == 3;
                    self.toggle = false;
                }
                // The control pipe is never halted for longer than a request (9.4.5).
                Some(false) => {}
                None => return Control::Stalled,
            },
            // SET_ADDRESS, which counts when the status stage is over.
            (0x00, 5, 0..0x80) if setup.index == 0 => return Control::Status { address: Some(low) },
            // SET_CONFIGURATION.
            (0x00, 9, _) if setup.index == 0 && high == 0 && low <= CONFIGURATION_VALUE => {
                self.configured = low == CONFIGURATION_VALUE;
                self.halted = false;
                self.toggle = false;
                (self.asked, self.asked_before) = (false, false);
            }
            // SET_INTERFACE.
            (0x01, 11, 0) if is_interface => {
                self.halted = false;
                self.toggle = false;
            }
            // SET_IDLE, SET_PROTOCOL.
            (0x21, 10, _) if is_interface && low == 0 => self.idle = high,
            (0x21, 11, 0 | 1) if is_interface && self.as_keyboard().is_some() => self.report_protocol = low == 1,
            _ => return Control::Stalled,
        }
        done
    }

    /// Whether data that the host is about to send are for something: SET_REPORT.
    fn takes(&self, setup: Setup) -> bool {
        let is_leds = setup.value == u16::from_be_bytes([OUTPUT_REPORT, 0]) && self.as_keyboard().is_some();
        (setup.kind, setup.request) == (0x21, 9) && is_leds && self.is_interface(setup.index) && setup.length == 1
    }

    fn take(&mut self, setup: Setup, data: &[u8]) {
        if self.takes(setup)
            && let (Some(keyboard), [leds, ..]) = (self.as_keyboard_mut(), data)
        {
            keyboard.set_leds(*leds);
        }
    }

    /// Whether it has a report for the host.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.hid {
            Hid::Tablet(tablet) => tablet.is_waiting(),
            Hid::Keyboard(keyboard) => keyboard.waiting() > 0,
        }
    }
}
