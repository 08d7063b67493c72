//! The machine as a display sees it: screen, keyboard and pointer.

use super::Handle;
use crate::display::{Console, Local, View, Waker};
use pcvm_devices::vga::{BlinkPhase, Canvas, Vga};
use pcvm_devices::{DirtyPages, InputEvent, Memory};
use std::sync::Arc;
use std::time::Duration;

/// A display's view of a machine.
pub struct Display {
    handle: Handle,
    /// As it was seen last.
    shown: Option<(Vga, Arc<Memory>)>,
    /// The state of video memory then.
    changes: u64,
    /// What was written since the canvas was drawn.
    touched: DirtyPages,
    canvas: Canvas,
    blink: BlinkPhase,
    /// The last view was a picture.
    was_picture: bool,
}

impl Display {
    /// Has drawn nothing yet.
    pub fn new(handle: Handle) -> Self {
        let (canvas, touched) = (Canvas::default(), DirtyPages::all());
        Self { handle, shown: None, changes: 0, touched, canvas, blink: BlinkPhase::VISIBLE, was_picture: false }
    }

    /// Looks whether there is anything to draw.
    fn changed(&mut self, call: Option<&Waker>) -> bool {
        let (vga, memory, touched, changes) = self.handle.shown_and_changes(self.changes, call);
        let Some(vga) = vga else { return false };
        let same = touched.is_empty() && self.shown.as_ref().is_some_and(|(shown, _)| shown.renders_same_as(&vga));
        self.changes = changes;
        self.touched.merge(&touched);
        self.shown = Some((vga, memory));
        !same
    }

    fn draw(&mut self) -> bool {
        let Some((vga, memory)) = &self.shown else { return false };
        let touched = std::mem::take(&mut self.touched);
        self.canvas.draw(vga, memory, &touched, self.blink)
    }
}

impl Console for Display {
    fn look(&mut self, call: Option<&Waker>) -> bool {
        self.changed(call) && self.draw()
    }

    fn canvas(&self) -> &Canvas {
        &self.canvas
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
    fn view(&mut self, call: Option<&Waker>) -> Option<View> {
        if !self.changed(call) {
            return None;
        }
        let (vga, memory) = self.shown.as_ref()?;
        if let Some(text) = vga.text_cells(memory) {
            self.was_picture = false;
            return Some(View::Text(text));
        }
        let new = self.draw() || !self.was_picture;
        self.was_picture = true;
        new.then(|| View::Picture(self.canvas.frame().clone()))
    }

    fn blink(&mut self, time: Duration) -> (bool, Option<Duration>) {
        let Some((vga, _)) = self.shown.as_ref().filter(|_| self.canvas.blinks()) else {
            return (false, None);
        };
        let (blink, until) = vga.blink_phase(time.as_nanos() as u64);
        let changed = blink != self.blink && {
            self.blink = blink;
            self.draw()
        };
        (changed, Some(Duration::from_nanos(until)))
    }

    fn power_button(&self) {
        self.handle.power_button();
    }

    fn quit(&self) {
        self.handle.quit();
    }
}
