//! The guest's screen, keyboard and pointer for display and VNC clients.

use super::Handle;
use crate::screen::{GuestScreen, LocalScreen, View, Waker};
use pcvm_devices::vga::{BlinkPhase, Canvas, Vga};
use pcvm_devices::{DirtyPages, InputEvent, Memory};
use std::sync::Arc;
use std::time::Duration;

/// One client's view of the screen: a canvas and what it last showed.
pub struct Display {
    handle: Handle,
    /// The adapter's registers at the last poll, and the memory with the pixels.
    shown: Option<(Vga, Arc<Memory>)>,
    /// The generation of video memory at the last poll.
    generation: u64,
    /// Pages that were written since the canvas was drawn.
    dirty: DirtyPages,
    canvas: Canvas,
    blink: BlinkPhase,
    /// The last view was a picture.
    was_picture: bool,
}

impl Display {
    /// A view that has drawn nothing yet.
    pub fn new(handle: Handle) -> Self {
        let (canvas, dirty) = (Canvas::default(), DirtyPages::all());
        Self { handle, shown: None, generation: 0, dirty, canvas, blink: BlinkPhase::VISIBLE, was_picture: false }
    }

    /// Whether there is anything to draw.
    fn changed(&mut self, waker: Option<&Waker>) -> bool {
        let (vga, memory, dirty, generation) = self.handle.shown_and_changes(self.generation, waker);
        let Some(vga) = vga else { return false };
        let same = dirty.is_empty() && self.shown.as_ref().is_some_and(|(shown, _)| shown.renders_same_as(&vga));
        self.generation = generation;
        self.dirty.merge(&dirty);
        self.shown = Some((vga, memory));
        !same
    }

    fn draw(&mut self) -> bool {
        let Some((vga, memory)) = &self.shown else { return false };
        let dirty = std::mem::take(&mut self.dirty);
        self.canvas.draw(vga, memory, &dirty, self.blink)
    }
}

impl GuestScreen for Display {
    fn poll(&mut self, call: Option<&Waker>) -> bool {
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

impl LocalScreen for Display {
    fn poll_view(&mut self, call: Option<&Waker>) -> Option<View> {
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
