//! The machine as a display sees it: screen, keyboard and pointer.

use super::Handle;
use crate::vnc::Console;
use pcvm_devices::InputEvent;
use pcvm_devices::vga::{Frame, Vga};

/// A display's view of a machine.
pub struct Display {
    handle: Handle,
    /// As it was drawn last, to know what need not be drawn again.
    drawn: Option<Vga>,
}

impl Display {
    /// Has drawn nothing yet.
    pub fn new(handle: Handle) -> Self {
        Self { handle, drawn: None }
    }
}

impl Console for Display {
    fn look(&mut self) -> Option<Frame> {
        let (vga, memory, touched) = self.handle.shown_and_touched();
        let vga = vga?;
        if !touched && self.drawn.as_ref().is_some_and(|drawn| drawn.shows_like(&vga)) {
            return None;
        }
        let frame = vga.render(&memory);
        self.drawn = Some(vga);
        Some(frame)
    }

    fn leds(&self) -> u8 {
        self.handle.keyboard_leds()
    }

    fn absolute(&self) -> bool {
        self.handle.tablet_in_use() == Some(true)
    }

    fn keys_waiting(&self) -> usize {
        self.handle.keys_waiting()
    }

    fn input(&self, event: InputEvent) {
        self.handle.input(event);
    }
}
