//! The machine as a display sees it: screen, keyboard and pointer.

use super::Handle;
use crate::display::{Call, Console, Local, View};
use pcvm_devices::InputEvent;
use pcvm_devices::Memory;
use pcvm_devices::vga::{Canvas, Frame, Vga};
use std::sync::Arc;

/// A display's view of a machine.
pub struct Display {
    handle: Handle,
    /// As it was drawn last, and the state of video memory then, to know what need not be drawn again.
    drawn: Option<(Vga, u64)>,
    canvas: Canvas,
}

impl Display {
    /// Has drawn nothing yet.
    pub fn new(handle: Handle) -> Self {
        Self { handle, drawn: None, canvas: Canvas::default() }
    }

    /// What to draw, if it is anything else than it was.
    fn changed(&mut self, call: Option<&Call>) -> Option<(Vga, Arc<Memory>)> {
        let (vga, memory, changes) = self.handle.shown_and_changes(call);
        let vga = vga?;
        if self.drawn.as_ref().is_some_and(|(drawn, then)| *then == changes && drawn.shows_like(&vga)) {
            return None;
        }
        self.drawn = Some((vga.shown(), changes));
        Some((vga, memory))
    }
}

impl Console for Display {
    fn look(&mut self, call: Option<&Call>) -> Option<Frame> {
        self.changed(call).map(|(vga, memory)| self.canvas.draw(&vga, &memory))
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

impl Local for Display {
    fn view(&mut self, call: Option<&Call>) -> Option<View> {
        let (vga, memory) = self.changed(call)?;
        let text = vga.text_cells(&memory);
        Some(text.map_or_else(|| View::Picture(self.canvas.draw(&vga, &memory)), View::Text))
    }

    fn power_button(&self) {
        self.handle.power_button();
    }

    fn quit(&self) {
        self.handle.quit();
    }
}
