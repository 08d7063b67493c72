//! USB and HID descriptors of the tablet and the keyboard (USB 1.1, 9.6; HID 1.11, 6.2 and appendix E).
//!
//! The vendor and product IDs are those of QEMU's tablet and keyboard: a guest that was installed under QEMU keeps its
//! drivers, and Linux's hardware database has entries for them.

/// Descriptor types.
pub(super) const DEVICE: u8 = 1;
pub(super) const CONFIGURATION: u8 = 2;
pub(super) const STRING: u8 = 3;
pub(super) const HID: u8 = 0x21;
pub(super) const REPORT: u8 = 0x22;

/// bConfigurationValue of the only configuration.
pub(super) const CONFIGURATION_VALUE: u8 = 1;
/// The interrupt IN endpoint's number.
pub(super) const ENDPOINT: u8 = 1;
/// bEndpointAddress of the interrupt IN endpoint.
pub(super) const ENDPOINT_ADDRESS: u8 = 0x80 | ENDPOINT;

const VENDOR: u16 = 0x0627;
const PRODUCT: u16 = 0x0001;
const MANUFACTURER_STRING: u8 = 1;
const PRODUCT_STRING: u8 = 2;
/// English (United States).
const LANGUAGE: u16 = 0x0409;
/// Bus-powered, with remote wakeup.
const ATTRIBUTES: u8 = 0xa0;
/// bMaxPower: 100 mA in units of 2 mA.
const MAX_POWER: u8 = 50;
const HID_CLASS: u8 = 3;

/// The descriptors in which the functions differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct HidIdentity {
    pub(super) product: &'static str,
    /// bInterfaceSubClass and bInterfaceProtocol (HID 1.11, 4.2 and 4.3).
    pub(super) boot_protocol: (u8, u8),
    /// bInterval, in milliseconds.
    pub(super) interval: u8,
    pub(super) report: &'static [u8],
}

impl HidIdentity {
    fn hid_descriptor(&self) -> [u8; 9] {
        let [low, high] = (self.report.len() as u16).to_le_bytes();
        [9, HID, 0x11, 0x01, 0, 1, REPORT, low, high]
    }

    fn configuration_descriptor(&self) -> Vec<u8> {
        let (subclass, protocol) = self.boot_protocol;
        let interface = [9, 4, 0, 0, 1, HID_CLASS, subclass, protocol, 0];
        let endpoint = [7, 5, ENDPOINT_ADDRESS, 3, super::packet::MAX_PACKET as u8, 0, self.interval];
        let hid = self.hid_descriptor();
        let total = (9 + interface.len() + hid.len() + endpoint.len()) as u8;
        let configuration = [9, CONFIGURATION, total, 0, 1, CONFIGURATION_VALUE, 0, ATTRIBUTES, MAX_POWER];
        [&configuration[..], &interface, &hid, &endpoint].concat()
    }

    /// A descriptor of the device (GET_DESCRIPTOR, USB 1.1, 9.4.3).
    pub(super) fn device_descriptor(&self, kind: u8, index: u8, language: u16) -> Option<Vec<u8>> {
        match (kind, index) {
            (DEVICE, 0) => {
                let [[vendor, vendor_high], [product, product_high]] = [VENDOR, PRODUCT].map(u16::to_le_bytes);
                Some(vec![
                    18,
                    DEVICE,
                    0x10,
                    0x01,
                    0,
                    0,
                    0,
                    super::packet::MAX_PACKET as u8,
                    vendor,
                    vendor_high,
                    product,
                    product_high,
                    0x00,
                    0x01,
                    MANUFACTURER_STRING,
                    PRODUCT_STRING,
                    0,
                    1,
                ])
            }
            (CONFIGURATION, 0) => Some(self.configuration_descriptor()),
            (STRING, 0) => {
                let [low, high] = LANGUAGE.to_le_bytes();
                Some(vec![4, STRING, low, high])
            }
            // Some systems request strings with language 0, before they read the list of languages.
            (STRING, MANUFACTURER_STRING) if matches!(language, 0 | LANGUAGE) => Some(string_descriptor("pcvm")),
            (STRING, PRODUCT_STRING) if matches!(language, 0 | LANGUAGE) => Some(string_descriptor(self.product)),
            _ => None,
        }
    }

    /// A descriptor of the interface (HID 1.11, 7.1.1).
    pub(super) fn interface_descriptor(&self, kind: u8, index: u8) -> Option<Vec<u8>> {
        match (kind, index) {
            (HID, 0) => Some(self.hid_descriptor().to_vec()),
            (REPORT, 0) => Some(self.report.to_vec()),
            _ => None,
        }
    }
}

fn string_descriptor(text: &str) -> Vec<u8> {
    let mut bytes = vec![0, STRING];
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes[0] = bytes.len() as u8;
    bytes
}
