//! Dirty tracking of video memory, and subscribers that wait for the next write to the display adapter.

use super::Board;
use super::work::HostWork;
use crate::screen::Waker;
use pcvm_devices::memory::PAGE;
use pcvm_devices::vga::Vga;
use pcvm_devices::{DirtyPages, Wake};
use std::sync::Arc;

/// What the board remembers about writes to video memory.
#[derive(Default)]
pub(super) struct VideoLog {
    /// Counts the polls that found new writes; 0 before the first poll.
    generation: u64,
    /// By page of video memory: the generation that last wrote it.
    pages: Vec<u64>,
    /// Display clients to wake at the next write to the adapter.
    subscribers: Vec<Waker>,
}

impl VideoLog {
    /// Whether a client waits for a write.
    pub(super) fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }
}

impl Board {
    /// The display adapter.
    pub fn vga(&self) -> Option<&Vga> {
        self.device(self.roles.vga?)
    }

    /// The pages of video memory that were written after generation `since` (0 for all of it), and the generation to
    /// pass the next time. `waker` is called once, at the next write to the adapter that exits or is coalesced. A
    /// vCPU's write through a window that does not trap wakes no client.
    pub fn video_changes(&mut self, since: u64, waker: Option<&Waker>) -> (DirtyPages, u64) {
        if let Some(waker) = waker {
            self.subscribe(waker);
        }
        let mut dirty = DirtyPages::none();
        self.outputs.collect_dirty_video(&mut dirty);
        self.memory.take_dirty_video(|bytes| dirty.add(bytes));
        let log = &mut self.video;
        let written = !dirty.is_empty();
        // The first generation is 1, so that 0 always means "all".
        log.generation = log.generation.max(1) + u64::from(written);
        if written {
            let pages = self.memory.video_size().div_ceil(PAGE);
            log.pages.resize(pages as usize, 0);
            dirty.for_each_page(pages, |page| log.pages[page as usize] = log.generation);
        }
        if since == 0 {
            dirty = DirtyPages::all();
        } else if since + u64::from(written) != log.generation {
            // Another client's poll has collected part of the writes since.
            dirty = DirtyPages::none();
            let pages = (0..).zip(&log.pages).filter(|(_, generation)| **generation > since);
            pages.for_each(|(page, _)| dirty.add(page * PAGE..(page + 1) * PAGE));
        }
        (dirty, log.generation)
    }

    /// While a client waits for a write, KVM coalesces no write to the adapter, so that the first one exits.
    fn subscribe(&mut self, waker: &Waker) {
        let Some(vga) = self.roles.vga else { return };
        if !self.video.subscribers.iter().any(|other| Arc::ptr_eq(other, waker)) {
            self.video.subscribers.push(waker.clone());
            self.wake(vga, Wake::ReportWrites);
            self.update_coalescing();
        }
    }

    /// The display adapter was written: wakes all subscribers.
    #[cold]
    pub(super) fn wake_subscribers(&mut self) {
        if !self.video.has_subscribers() {
            return;
        }
        self.work.extend(self.video.subscribers.drain(..).map(HostWork::Wake));
        self.update_coalescing();
    }
}
