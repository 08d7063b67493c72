//! POST code port 80h and debug consoles (port E9h of Bochs, port 402h of SeaBIOS).
//!
//! Port 80h is also the DMA page register that belongs to no channel. It latches the last POST code; this device owns
//! it, not [`crate::chipset::isa_dma`]. Both consoles write to [`CharId::DEBUG`] and read as E9h, by which firmware
//! detects them. Without a configured console, their ports are not decoded. No IRQ.

use crate::{Access, CharId, Ctx, Device, Owned, Region, RestoreError};
use serde::{Deserialize, Serialize};

/// POST code port.
pub const POST_PORT: u16 = 0x80;
/// Bochs' debug console.
pub const BOCHS_PORT: u16 = 0xe9;
/// SeaBIOS' debug console.
pub const SEABIOS_PORT: u16 = 0x402;
/// The value that a debug console port reads as.
const CONSOLE_PRESENT: u8 = 0xe9;

const TAG_POST: u8 = 0;
const TAG_CONSOLE: u8 = 1;

/// The POST code port and the debug consoles.
#[derive(Debug)]
pub struct DebugPorts {
    console: bool,
    post: u8,
}

/// [`DebugPorts`] in a saved state.
#[derive(Debug, Serialize, Deserialize)]
pub struct DebugState {
    post: u8,
}

impl DebugPorts {
    /// The POST code port; with `console`, also the debug consoles.
    pub fn new(console: bool) -> Self {
        Self { console, post: 0 }
    }

    /// The last POST code that the guest wrote to port 80h.
    pub fn post_code(&self) -> u8 {
        self.post
    }
}

impl Device for DebugPorts {
    type State = DebugState;
    const KIND: &'static str = "debug";
    const VERSION: u32 = 1;

    fn owns(&self) -> Owned {
        let chars = if self.console { vec![CharId::DEBUG] } else { Vec::new() };
        Owned { chars, ..Owned::default() }
    }

    fn regions(&self) -> Vec<Region> {
        // Old software writes to port 80h as an I/O delay, so the writes are coalesced.
        let mut regions = vec![Region::io(POST_PORT, 1, TAG_POST).with_coalesce(0..1)];
        if self.console {
            regions.push(Region::io(BOCHS_PORT, 1, TAG_CONSOLE).with_fifo());
            regions.push(Region::io(SEABIOS_PORT, 1, TAG_CONSOLE).with_fifo());
        }
        regions
    }

    fn register_name(&self, at: Access) -> Option<&'static str> {
        match at.tag {
            TAG_POST => Some("POST code"),
            TAG_CONSOLE => Some("Debug console"),
            _ => None,
        }
    }

    fn read(&mut self, _cx: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        let value = if at.tag == TAG_POST { self.post } else { CONSOLE_PRESENT };
        // The port is 8 bits wide: it drives only the first byte of a wider access.
        for first in data.iter_mut().step_by(usize::from(at.width).max(1)) {
            *first = value;
        }
    }

    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        for &first in data.iter().step_by(usize::from(at.width).max(1)) {
            if at.tag == TAG_POST {
                self.post = first;
            } else {
                cx.put_char(CharId::DEBUG, first);
            }
        }
    }

    fn reset(&mut self, _cx: &mut Ctx<'_>) {
        let Self { console: _, post } = self;
        *post = 0;
    }

    fn save(&self) -> DebugState {
        let Self { console: _, post } = self;
        DebugState { post: *post }
    }

    fn load(&mut self, state: DebugState) -> Result<(), RestoreError> {
        let DebugState { post } = state;
        self.post = post;
        Ok(())
    }

    fn resync(&mut self, _cx: &mut Ctx<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, generic_tests};

    #[test]
    fn generic_device_tests_pass() {
        generic_tests(|| DebugPorts::new(false));
    }

    #[test]
    fn both_ports_are_named() {
        let ports = DebugPorts::new(true);
        for width in [1, 2, 4] {
            for (tag, name) in [(TAG_POST, "POST code"), (TAG_CONSOLE, "Debug console")] {
                assert_eq!(ports.register_name(Access { tag, offset: 0, width }), Some(name));
            }
        }
    }

    #[test]
    fn a_console_reads_e9_and_prints_bytes_and_strings() {
        let mut bench = Bench::new(DebugPorts::new(true));
        for port in [0x402, 0xe9] {
            assert_eq!(bench.inb(port), 0xe9);
        }
        bench.outb(0x402, b'a');
        bench.outb(0xe9, b'b');
        bench.outs(0x402, 1, b"cdef");
        bench.outs(0x402, 2, b"g.h.");
        assert_eq!(bench.chars[&CharId::DEBUG.0], b"abcdefgh");
        let mut string = [0; 3];
        bench.ins(0x402, 1, &mut string);
        assert_eq!(string, [0xe9; 3]);
    }

    #[test]
    fn without_a_console_its_ports_are_not_decoded() {
        let mut bench = Bench::new(DebugPorts::new(false));
        for port in [0x402, 0xe9] {
            assert_eq!(bench.inb(port), 0xff);
            bench.outb(port, b'x');
        }
        assert!(bench.chars.is_empty());
    }

    #[test]
    fn the_last_post_code_reads_back_until_a_reset() {
        let mut bench = Bench::new(DebugPorts::new(false));
        bench.outb(0x80, 0x12);
        bench.outb(0x80, 0x34);
        assert_eq!(bench.device.post_code(), 0x34);
        assert_eq!(bench.inb(0x80), 0x34);
        bench.call(Device::reset);
        assert_eq!(bench.device.post_code(), 0);
    }
}
