//! Access to a running machine from other threads and from services.

use super::exits::Exits;
use super::shared::Shared;
use crate::board::trace::{Filter, TraceError, Tracer};
use crate::board::{Board, MachineEvent};
use crate::screen::Waker;
use pcvm_devices::vga::{Bitmap, Vga};
use pcvm_devices::{DirtyPages, Memory};
use std::path::Path;
use std::sync::Arc;

/// Ends a trace without waiting for its file: the caller may be the main loop.
fn end_trace(tracer: Option<Box<Tracer>>) {
    if let Some(tracer) = tracer {
        // Without another thread the caller has to wait.
        let _ = std::thread::Builder::new().name("trace-end".to_owned()).spawn(move || drop(tracer));
    }
}

/// A reference to a machine.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// The machine's state.
    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Calls `f` with the board locked, then performs the work that it deferred. `f` must not block.
    pub fn with_board<R>(&self, f: impl FnOnce(&mut Board) -> R) -> R {
        self.0.with_board(f)
    }

    /// Columns and rows of pixels of the screen. None if the machine has no display adapter.
    pub fn screen_size(&self) -> Option<(u32, u32)> {
        self.shown().0.map(|vga| vga.size())
    }

    /// The rows of the text screen; empty in a graphics mode. None if the machine has no display adapter.
    pub fn text_screen(&self) -> Option<Vec<String>> {
        let (vga, memory) = self.shown();
        vga.map(|vga| vga.text_screen(&memory))
    }

    /// The screen as pixels. None if the machine has no display adapter.
    pub fn screen(&self) -> Option<Bitmap> {
        let (vga, memory) = self.shown();
        vga.map(|vga| vga.render(&memory))
    }

    /// A copy of the registers that the screen depends on, and the memory with its pixels. The guest runs on while the
    /// caller renders.
    fn shown(&self) -> (Option<Vga>, Arc<Memory>) {
        self.with_board(|board| (board.vga().map(Vga::render_state), board.memory().clone()))
    }

    /// The same, and [`Board::video_changes`].
    pub fn shown_and_changes(&self, since: u64, waker: Option<&Waker>) -> (Option<Vga>, Arc<Memory>, DirtyPages, u64) {
        self.with_board(|board| {
            let (dirty, generation) = board.video_changes(since, waker);
            (board.vga().map(Vga::render_state), board.memory().clone(), dirty, generation)
        })
    }

    /// Whether the machine is paused because of a drive's error.
    pub fn drive_error(&self) -> bool {
        self.0.drive_error()
    }

    /// Posts an event to the main loop.
    pub fn post(&self, event: MachineEvent) {
        self.0.post(event);
    }

    /// Whether a client has paused the machine.
    pub fn paused(&self) -> bool {
        self.0.paused()
    }

    /// Starts a trace to a file, in place of one that runs.
    ///
    /// # Errors
    /// If the filter names an unknown device, or the file cannot be created.
    pub fn start_trace(&self, file: &Path, filter: &Filter) -> Result<(), TraceError> {
        let kinds = self.with_board(|board| board.kinds());
        let tracer = Tracer::start(file, filter, &kinds)?;
        let earlier = self.with_board(|board| board.set_tracer(Some(Box::new(tracer))));
        end_trace(earlier);
        Ok(())
    }

    /// Ends the trace. A thread writes what is left of it. False if none runs.
    pub fn stop_trace(&self) -> bool {
        let tracer = self.with_board(|board| board.set_tracer(None));
        let running = tracer.is_some();
        end_trace(tracer);
        running
    }

    /// Exits by vCPU since the machine was built.
    pub fn exits(&self) -> Vec<Exits> {
        self.0.exits.iter().map(super::exits::ExitCounters::read).collect()
    }

    /// Disk operations by drive.
    pub fn drive_stats(&self) -> Vec<crate::block::DriveStats> {
        self.0.engine.stats()
    }

    /// Frames by network card.
    pub fn port_stats(&self) -> Vec<crate::net::PortStats> {
        self.0.ports.iter().map(crate::net::NetPort::stats).collect()
    }

    /// Nanoseconds of virtual time since power-on.
    pub fn now(&self) -> u64 {
        pcvm_devices::Clock::now(&*self.0.clock).0
    }

    /// Pauses or resumes the machine.
    pub fn pause(&self, pause: bool) {
        self.post(if pause { MachineEvent::Stop } else { MachineEvent::Continue });
    }

    /// Ends the machine.
    pub fn quit(&self) {
        self.post(MachineEvent::Quit);
    }

    /// Resets the machine.
    pub fn reset(&self) {
        self.post(MachineEvent::Reset(pcvm_devices::ResetKind::Hard));
    }
}
