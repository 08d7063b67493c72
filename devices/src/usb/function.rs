//! USB function with one HID interface and one interrupt endpoint (USB 1.1, chapters 8 and 9; HID 1.11).

use super::descriptors::{CONFIGURATION_VALUE, ENDPOINT, ENDPOINT_ADDRESS, HidIdentity};
use super::keyboard::{self, Keyboard};
use super::packet::{DataPacket, MAX_PACKET, Response};
use super::tablet::{self, Tablet};
use super::td::Pid;
use serde::{Deserialize, Serialize};

/// The longest data stage of a control transfer, in bytes.
const CONTROL_DATA_MAX: usize = 512;
/// Idle rate of a keyboard after reset: 500 ms in units of 4 ms (HID 1.11, 7.2.4).
const KEYBOARD_IDLE_RATE: u8 = 125;
/// HID report types (HID 1.11, 7.2.1).
const INPUT_REPORT: u8 = 1;
const OUTPUT_REPORT: u8 = 2;
/// Feature selectors (USB 1.1, table 9-6).
const ENDPOINT_HALT: u16 = 0;
const DEVICE_REMOTE_WAKEUP: u16 = 1;

/// The HID device behind the function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum HidKind {
    Tablet(Tablet),
    Keyboard(Keyboard),
}

/// The data of a SETUP packet (USB 1.1, 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SetupPacket {
    request_type: u8,
    request: u8,
    value: u16,
    index: u16,
    length: u16,
}

impl SetupPacket {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[request_type, request, value, value_high, index, index_high, length, length_high] = bytes else {
            return None;
        };
        Some(Self {
            request_type,
            request,
            value: u16::from_le_bytes([value, value_high]),
            index: u16::from_le_bytes([index, index_high]),
            length: u16::from_le_bytes([length, length_high]),
        })
    }

    fn is_in(&self) -> bool {
        self.request_type & 0x80 != 0
    }
}

/// The stage of the current control transfer (USB 1.1, 8.5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum ControlStage {
    #[default]
    Idle,
    /// Data stage, to the host.
    DataIn { data: Vec<u8>, sent: usize, toggle: bool },
    /// Data stage, from the host.
    DataOut { setup: SetupPacket, data: Vec<u8>, toggle: bool },
    /// Status stage of a request without IN data. A new address takes effect when it ends.
    Status { address: Option<u8> },
    /// The request failed; the endpoint answers STALL until the next SETUP.
    Stalled,
}

/// A USB function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HidFunction {
    kind: HidKind,
    address: u8,
    configured: bool,
    remote_wakeup: bool,
    /// ENDPOINT_HALT of the interrupt endpoint.
    halted: bool,
    /// Data toggle of the interrupt endpoint: the next packet is DATA1.
    toggle: bool,
    control: ControlStage,
    /// Report protocol, else boot protocol (keyboard only).
    report_protocol: bool,
    /// Idle rate in units of 4 ms; 0 sends a report only on a change.
    idle: u8,
    /// The frame in which the last report was sent.
    last_report_frame: u32,
    /// The host polled the interrupt endpoint since the last [`HidFunction::age_poll_flags`], and in the period before
    /// it.
    polled: bool,
    polled_before: bool,
}

impl HidFunction {
    pub(super) fn tablet() -> Self {
        Self::new(HidKind::Tablet(Tablet::default()))
    }

    pub(super) fn keyboard() -> Self {
        Self::new(HidKind::Keyboard(Keyboard::default()))
    }

    fn new(kind: HidKind) -> Self {
        let idle = if matches!(kind, HidKind::Keyboard(_)) { KEYBOARD_IDLE_RATE } else { 0 };
        Self {
            kind,
            address: 0,
            configured: false,
            remote_wakeup: false,
            halted: false,
            toggle: false,
            control: ControlStage::Idle,
            report_protocol: true,
            idle,
            last_report_frame: 0,
            polled: false,
            polled_before: false,
        }
    }

    /// Power-on, or reset signalling on the bus.
    pub(super) fn reset(&mut self) {
        *self = match self.kind {
            HidKind::Tablet(_) => Self::tablet(),
            HidKind::Keyboard(_) => Self::keyboard(),
        };
    }

    fn identity(&self) -> &'static HidIdentity {
        match self.kind {
            HidKind::Tablet(_) => &tablet::IDENTITY,
            HidKind::Keyboard(_) => &keyboard::IDENTITY,
        }
    }

    /// Whether this is a low-speed function.
    pub(super) fn low_speed(&self) -> bool {
        matches!(self.kind, HidKind::Keyboard(_))
    }

    pub(super) fn address(&self) -> u8 {
        self.address
    }

    pub(super) fn as_tablet_mut(&mut self) -> Option<&mut Tablet> {
        if let HidKind::Tablet(tablet) = &mut self.kind { Some(tablet) } else { None }
    }

    pub(super) fn as_keyboard(&self) -> Option<&Keyboard> {
        if let HidKind::Keyboard(keyboard) = &self.kind { Some(keyboard) } else { None }
    }

    pub(super) fn as_keyboard_mut(&mut self) -> Option<&mut Keyboard> {
        if let HidKind::Keyboard(keyboard) = &mut self.kind { Some(keyboard) } else { None }
    }

    /// Whether a guest driver polls the function: it polled in this period or in the one before.
    pub(super) fn in_use(&self) -> bool {
        self.configured && (self.polled || self.polled_before)
    }

    /// Whether the function may signal resume.
    pub(super) fn remote_wakeup_enabled(&self) -> bool {
        self.configured && self.remote_wakeup
    }

    /// Ends a period of the poll flags, about one second.
    pub(super) fn age_poll_flags(&mut self) {
        self.polled_before = self.polled;
        self.polled = false;
    }

    /// Whether `self`, from a saved state, is valid for a function of the kind of `template`.
    pub(super) fn is_valid(&self, template: &Self) -> bool {
        let control = match &self.control {
            ControlStage::DataIn { data, sent, .. } => data.len() <= CONTROL_DATA_MAX && *sent <= data.len(),
            ControlStage::DataOut { setup, data, .. } => {
                usize::from(setup.length) <= CONTROL_DATA_MAX && data.len() <= usize::from(setup.length)
            }
            ControlStage::Status { address } => address.is_none_or(|address| address < 0x80),
            ControlStage::Idle | ControlStage::Stalled => true,
        };
        let kind = match &self.kind {
            HidKind::Tablet(tablet) => tablet.is_valid(),
            HidKind::Keyboard(keyboard) => keyboard.is_valid(),
        };
        let same = std::mem::discriminant(&self.kind) == std::mem::discriminant(&template.kind);
        same && control && kind && self.address < 0x80
    }

    /// Runs a transaction in frame `frame`, counted from reset. `data` is the host's packet, DATA1 if `toggle`.
    pub(super) fn transact(&mut self, pid: Pid, endpoint: u8, toggle: bool, data: &[u8], frame: u32) -> Response {
        match (endpoint, pid) {
            (0, Pid::Setup) => match SetupPacket::parse(data) {
                Some(setup) => {
                    self.start_control(setup);
                    Response::Ack
                }
                None => Response::Timeout,
            },
            (0, Pid::In) => self.control_in(),
            (0, Pid::Out) => self.control_out(toggle, data),
            (ENDPOINT, Pid::In) if self.configured => self.interrupt_in(frame),
            _ => Response::Timeout,
        }
    }

    fn interrupt_in(&mut self, frame: u32) -> Response {
        if self.halted {
            return Response::Stall;
        }
        self.polled = true;
        let next = match &mut self.kind {
            HidKind::Tablet(tablet) => tablet.next_report(),
            HidKind::Keyboard(keyboard) => keyboard.next_report(),
        };
        let repeat = self.idle != 0 && frame.wrapping_sub(self.last_report_frame) >= 4 * u32::from(self.idle);
        let Some(packet) = next.or_else(|| repeat.then(|| self.current_report())) else { return Response::Nak };
        self.last_report_frame = frame;
        let toggle = self.toggle;
        self.toggle = !toggle;
        Response::Data { toggle, packet }
    }

    fn current_report(&self) -> DataPacket {
        match &self.kind {
            HidKind::Tablet(tablet) => tablet.current_report(),
            HidKind::Keyboard(keyboard) => keyboard.current_report(),
        }
    }

    fn start_control(&mut self, setup: SetupPacket) {
        self.control = if setup.is_in() {
            match self.read_request(setup) {
                Some(mut data) => {
                    data.truncate(setup.length.into());
                    ControlStage::DataIn { data, sent: 0, toggle: true }
                }
                None => ControlStage::Stalled,
            }
        } else if setup.length == 0 {
            self.no_data_request(setup)
        } else if self.accepts_data(setup) {
            ControlStage::DataOut { setup, data: Vec::new(), toggle: true }
        } else {
            ControlStage::Stalled
        };
    }

    fn control_in(&mut self) -> Response {
        match &mut self.control {
            ControlStage::DataIn { data, sent, toggle } => {
                let packet = DataPacket::new(data.get(*sent..).unwrap_or_default());
                *sent += packet.bytes().len();
                let data1 = *toggle;
                *toggle = !data1;
                Response::Data { toggle: data1, packet }
            }
            ControlStage::DataOut { setup, data, .. } if data.len() == usize::from(setup.length) => {
                let (setup, data) = (*setup, std::mem::take(data));
                self.complete_data_out(setup, &data);
                self.control = ControlStage::Idle;
                Response::Data { toggle: true, packet: DataPacket::default() }
            }
            ControlStage::Status { address } => {
                if let Some(address) = *address {
                    self.address = address;
                }
                self.control = ControlStage::Idle;
                Response::Data { toggle: true, packet: DataPacket::default() }
            }
            _ => {
                self.control = ControlStage::Stalled;
                Response::Stall
            }
        }
    }

    fn control_out(&mut self, is_data1: bool, bytes: &[u8]) -> Response {
        match &mut self.control {
            // The host starts the status stage, after all data or earlier.
            ControlStage::DataIn { .. } => {
                self.control = ControlStage::Idle;
                Response::Ack
            }
            ControlStage::DataOut { setup, data, toggle } if bytes.len() <= MAX_PACKET => {
                if *toggle != is_data1 {
                    // A retransmission: the host did not receive the ACK.
                    return Response::Ack;
                }
                if data.len() + bytes.len() > usize::from(setup.length) {
                    self.control = ControlStage::Stalled;
                    return Response::Stall;
                }
                *toggle = !*toggle;
                data.extend_from_slice(bytes);
                Response::Ack
            }
            _ => {
                self.control = ControlStage::Stalled;
                Response::Stall
            }
        }
    }

    /// The endpoint of a request: `Some(true)` the interrupt endpoint, `Some(false)` the control pipe, `None` invalid.
    fn is_interrupt_endpoint(&self, index: u16) -> Option<bool> {
        match index {
            0 | 0x80 => Some(false),
            index if index == u16::from(ENDPOINT_ADDRESS) && self.configured => Some(true),
            _ => None,
        }
    }

    fn is_interface(&self, index: u16) -> bool {
        self.configured && index == 0
    }

    /// Requests with an IN data stage (USB 1.1, 9.4; HID 1.11, 7.1 and 7.2). `None` stalls.
    fn read_request(&self, setup: SetupPacket) -> Option<Vec<u8>> {
        let [low, high] = setup.value.to_le_bytes();
        match (setup.request_type, setup.request) {
            // GET_STATUS of the device, an interface, an endpoint.
            (0x80, 0) => (setup.value == 0 && setup.index == 0).then(|| vec![u8::from(self.remote_wakeup) << 1, 0]),
            (0x81, 0) => (setup.value == 0 && self.is_interface(setup.index)).then(|| vec![0, 0]),
            (0x82, 0) => {
                let interrupt = self.is_interrupt_endpoint(setup.index).filter(|_| setup.value == 0)?;
                Some(vec![u8::from(interrupt && self.halted), 0])
            }
            // GET_DESCRIPTOR.
            (0x80, 6) => self.identity().device_descriptor(high, low, setup.index),
            (0x81, 6) if self.is_interface(setup.index) => self.identity().interface_descriptor(high, low),
            // GET_CONFIGURATION, GET_INTERFACE.
            (0x80, 8) => Some(vec![if self.configured { CONFIGURATION_VALUE } else { 0 }]),
            (0x81, 10) if self.is_interface(setup.index) => Some(vec![0]),
            // GET_REPORT, GET_IDLE, GET_PROTOCOL.
            (0xa1, 1) if self.is_interface(setup.index) => match (high, low, &self.kind) {
                (INPUT_REPORT, 0, _) => Some(self.current_report().bytes().to_vec()),
                (OUTPUT_REPORT, 0, HidKind::Keyboard(keyboard)) => Some(vec![keyboard.leds()]),
                _ => None,
            },
            (0xa1, 2) if self.is_interface(setup.index) => (low == 0).then(|| vec![self.idle]),
            (0xa1, 3) if self.is_interface(setup.index) => {
                self.as_keyboard().map(|_| vec![u8::from(self.report_protocol)])
            }
            _ => None,
        }
    }

    /// Requests without a data stage.
    fn no_data_request(&mut self, setup: SetupPacket) -> ControlStage {
        let done = ControlStage::Status { address: None };
        let [low, high] = setup.value.to_le_bytes();
        let is_interface = self.is_interface(setup.index);
        match (setup.request_type, setup.request, setup.value) {
            // CLEAR_FEATURE and SET_FEATURE.
            (0x00, 1 | 3, DEVICE_REMOTE_WAKEUP) if setup.index == 0 => self.remote_wakeup = setup.request == 3,
            (0x02, 1 | 3, ENDPOINT_HALT) => match self.is_interrupt_endpoint(setup.index) {
                Some(true) => {
                    self.halted = setup.request == 3;
                    self.toggle = false;
                }
                // A halt of the control pipe ends with the next SETUP packet (9.4.5).
                Some(false) => {}
                None => return ControlStage::Stalled,
            },
            // SET_ADDRESS; the address takes effect after the status stage.
            (0x00, 5, 0..0x80) if setup.index == 0 => return ControlStage::Status { address: Some(low) },
            // SET_CONFIGURATION.
            (0x00, 9, _) if setup.index == 0 && high == 0 && low <= CONFIGURATION_VALUE => {
                self.configured = low == CONFIGURATION_VALUE;
                self.halted = false;
                self.toggle = false;
                (self.polled, self.polled_before) = (false, false);
            }
            // SET_INTERFACE.
            (0x01, 11, 0) if is_interface => {
                self.halted = false;
                self.toggle = false;
            }
            // SET_IDLE, SET_PROTOCOL.
            (0x21, 10, _) if is_interface && low == 0 => self.idle = high,
            (0x21, 11, 0 | 1) if is_interface && self.as_keyboard().is_some() => self.report_protocol = low == 1,
            _ => return ControlStage::Stalled,
        }
        done
    }

    /// Whether the request has a supported OUT data stage: SET_REPORT of the keyboard's LEDs.
    fn accepts_data(&self, setup: SetupPacket) -> bool {
        let is_leds = setup.value == u16::from_be_bytes([OUTPUT_REPORT, 0]) && self.as_keyboard().is_some();
        (setup.request_type, setup.request) == (0x21, 9)
            && is_leds
            && self.is_interface(setup.index)
            && setup.length == 1
    }

    fn complete_data_out(&mut self, setup: SetupPacket, data: &[u8]) {
        if self.accepts_data(setup)
            && let (Some(keyboard), [leds, ..]) = (self.as_keyboard_mut(), data)
        {
            keyboard.set_leds(*leds);
        }
    }

    /// Whether a report is queued for the host.
    pub(super) fn has_report(&self) -> bool {
        match &self.kind {
            HidKind::Tablet(tablet) => tablet.has_report(),
            HidKind::Keyboard(keyboard) => keyboard.queued_events() > 0,
        }
    }
}
