//! Routing by owner: disk completions, received frames, host bytes and media changes go to the device that owns the id;
//! back-pressure towards the host while a device's queue is full.

use super::work::{Flow, HostWork, Source};
use super::{Board, trace};
use pcvm_devices::net::{FRAME_POOL, Frame, NicId};
use pcvm_devices::{BlockDone, CharId, DiskId, DynDevice, Medium, Tray, TrayRequest, Wake};

/// Bytes that may wait for a serial port: at the first number the main loop stops reading the host's side, at the second
/// it starts again.
const CHARS_HIGH: usize = 4096;
const CHARS_LOW: usize = CHARS_HIGH / 2;
/// Frames that may wait for a network card, likewise.
const FRAMES_HIGH: usize = 256;
const FRAMES_LOW: usize = 64;

/// A character stream or a network card: the device that owns it and the state of its host side.
#[derive(Clone, Copy, Debug)]
struct Endpoint {
    device: usize,
    /// The cable is plugged in. Always so for a character stream.
    link: bool,
}

/// Which device owns which disk, network card and character stream; built once from [`pcvm_devices::Device::owns`].
#[derive(Debug, Default)]
pub(super) struct Routes {
    disks: Vec<Option<usize>>,
    nics: Vec<Option<Endpoint>>,
    chars: Vec<Option<Endpoint>>,
    /// Sources whose host side the main loop does not read, hardly ever more than one.
    paused: Vec<Source>,
}

fn put<T: Clone>(table: &mut Vec<Option<T>>, n: u8, entry: T) {
    let n = usize::from(n);
    if table.len() <= n {
        table.resize(n + 1, None);
    }
    debug_assert!(table[n].is_none(), "two devices own id {n}");
    table[n] = Some(entry);
}

impl Routes {
    pub(super) fn new(devices: &[Box<dyn DynDevice>]) -> Self {
        let mut routes = Self::default();
        for (device, owned) in devices.iter().map(|device| device.owns()).enumerate() {
            let endpoint = Endpoint { device, link: true };
            owned.disks.iter().for_each(|disk| put(&mut routes.disks, disk.0, device));
            owned.nics.iter().for_each(|nic| put(&mut routes.nics, nic.0, endpoint));
            owned.chars.iter().for_each(|stream| put(&mut routes.chars, stream.0, endpoint));
        }
        routes
    }

    fn endpoint(&mut self, source: Source) -> Option<&mut Endpoint> {
        match source {
            Source::Char(stream) => self.chars.get_mut(usize::from(stream.0))?.as_mut(),
            Source::Nic(nic) => self.nics.get_mut(usize::from(nic.0))?.as_mut(),
        }
    }

    /// Whether a source is paused, so that device calls must be followed by [`Board::resume_sources`].
    #[inline]
    pub(super) fn any_paused(&self) -> bool {
        !self.paused.is_empty()
    }

    pub(super) fn link_is_up(&self, nic: NicId) -> bool {
        self.nics.get(usize::from(nic.0)).copied().flatten().is_some_and(|endpoint| endpoint.link)
    }
}

impl Board {
    /// Delivers a disk completion to the device that owns the disk.
    pub fn block_done(&mut self, done: BlockDone) {
        let Some(device) = self.routes.disks.get(usize::from(done.disk.0)).copied().flatten() else { return };
        self.trace(trace::Class::Work, |tracer, now| tracer.block_done(now, &done));
        self.wake(device, Wake::Block(done));
    }

    /// Reports a new medium in a drive, or none, to the device that owns the drive.
    pub fn change_medium(&mut self, disk: DiskId, medium: Option<Medium>) {
        let Some(device) = self.routes.disks.get(usize::from(disk.0)).copied().flatten() else { return };
        self.wake(device, Wake::Medium(disk, medium));
    }

    /// Moves the tray of a drive or presses its button.
    pub fn move_tray(&mut self, disk: DiskId, request: TrayRequest) {
        let Some(device) = self.routes.disks.get(usize::from(disk.0)).copied().flatten() else { return };
        self.wake(device, Wake::Tray(disk, request));
    }

    /// The tray of a drive, if it has one.
    pub fn tray(&self, disk: DiskId) -> Option<Tray> {
        let device = self.routes.disks.get(usize::from(disk.0)).copied().flatten()?;
        self.devices.get(device)?.chip.tray(disk)
    }

    /// Delivers bytes from the host to the device that owns the character stream.
    pub fn char_input(&mut self, to: CharId, bytes: &[u8]) -> Flow {
        let Some(Endpoint { device, .. }) = self.routes.endpoint(Source::Char(to)).copied() else { return Flow::Ready };
        self.inbox.chars(to).extend(bytes);
        self.wake(device, Wake::CharReady(to));
        self.flow(Source::Char(to))
    }

    /// How many more bytes a character stream takes before its queue is full.
    pub fn char_room(&self, to: CharId) -> usize {
        CHARS_HIGH.saturating_sub(self.inbox.chars_waiting(to))
    }

    /// Delivers received frames to a network card. Frames for a card whose cable is unplugged are dropped.
    pub fn receive(&mut self, nic: NicId, frames: &mut Vec<Frame>) -> Flow {
        let endpoint = self.routes.endpoint(Source::Nic(nic)).copied();
        let Some(Endpoint { device, link: true, .. }) = endpoint else {
            frames.clear();
            return Flow::Ready;
        };
        self.inbox.frames(nic).extend(frames.drain(..));
        self.wake(device, Wake::Frames(nic));
        self.flow(Source::Nic(nic))
    }

    /// How much waits at a source's device, and the marks at which its host side is paused and resumed.
    fn fill(&self, source: Source) -> (usize, usize, usize) {
        match source {
            Source::Char(stream) => (self.inbox.chars_waiting(stream), CHARS_LOW, CHARS_HIGH),
            Source::Nic(nic) => (self.inbox.frames_waiting(nic), FRAMES_LOW, FRAMES_HIGH),
        }
    }

    /// Pauses a source whose device has a full queue.
    fn flow(&mut self, source: Source) -> Flow {
        let (waiting, _, high) = self.fill(source);
        if waiting < high {
            return Flow::Ready;
        }
        if self.is_ready(source) {
            self.routes.paused.push(source);
        }
        Flow::Pause
    }

    /// Whether the main loop may read a source.
    pub fn is_ready(&self, source: Source) -> bool {
        !self.routes.paused.contains(&source)
    }

    /// Resumes the sources whose devices have taken most of what waited. While a source is paused every device call ends
    /// here, so it allocates nothing.
    pub(super) fn resume_sources(&mut self) {
        let mut n = 0;
        while let Some(&source) = self.routes.paused.get(n) {
            let (waiting, low, _) = self.fill(source);
            if waiting > low {
                n += 1;
            } else {
                self.routes.paused.swap_remove(n);
                self.work.push_back(HostWork::Ready(source));
            }
        }
    }

    /// Plugs (true) or unplugs a network card's cable. False if there is no such card.
    pub fn set_link(&mut self, nic: NicId, up: bool) -> bool {
        let Some(endpoint) = self.routes.endpoint(Source::Nic(nic)) else { return false };
        endpoint.link = up;
        let device = endpoint.device;
        if !up {
            self.inbox.frames(nic).clear();
        }
        self.wake(device, Wake::Link(nic, up));
        true
    }

    /// The bytes that the guest has sent on a character stream since the last call.
    pub fn take_chars(&mut self, from: CharId) -> Vec<u8> {
        self.chars_out.get_mut(usize::from(from.0)).map(std::mem::take).unwrap_or_default()
    }

    /// Moves bytes that devices sent into the streams' output buffers.
    pub(super) fn collect_chars(&mut self) {
        for (to, byte) in self.outbox.chars.drain(..) {
            let n = usize::from(to.0);
            if self.chars_out.len() <= n {
                self.chars_out.resize_with(n + 1, Vec::new);
            }
            if self.chars_out[n].is_empty() {
                self.work.push_back(HostWork::Chars(to));
            }
            self.chars_out[n].push(byte);
        }
    }

    /// Queues frames that devices sent. A card whose cable is unplugged drops them.
    pub(super) fn collect_frames(&mut self) {
        for (nic, frame) in self.outbox.frames.drain(..) {
            if self.routes.link_is_up(nic) {
                self.work.push_back(HostWork::Frame(nic, frame));
            }
        }
    }

    /// Fills `to` with empty frame buffers, used before, until it has `count` or none are left.
    pub fn frame_buffers(&mut self, to: &mut Vec<Vec<u8>>, count: usize) {
        let wanted = count.saturating_sub(to.len()).min(self.inbox.frame_pool.len());
        to.extend(self.inbox.frame_pool.drain(..wanted));
    }

    /// Returns the buffers of frames that were sent to the pool.
    pub fn recycle(&mut self, sent: &mut Vec<Vec<u8>>) {
        for mut buffer in sent.drain(..) {
            if self.inbox.frame_pool.len() < FRAME_POOL {
                buffer.clear();
                self.inbox.frame_pool.push(buffer);
            }
        }
    }
}
