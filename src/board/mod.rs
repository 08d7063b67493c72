//! The board: which device answers where, and what becomes of what a device asks for.
//!
//! An access goes: exit → [`Board::port_out`] → port table → [`DynDevice::write`] → `Board::settle` → IRQ levels at
//! once, everything that could block as [`Work`] for whoever holds the lock to do after it has let go of it.

use crate::display::Waker;
use crate::kvm::slots::SlotSpec;
use irq::IrqRouter;
use map::Rom;
use pcvm_devices::memory::PAGE;
use pcvm_devices::net::{Frame, NicId};
use pcvm_devices::pci::bus::ConfigAddress;
use pcvm_devices::usb::Piix3Usb;
use pcvm_devices::vga::Vga;
use pcvm_devices::{
    BlockDone, BlockRequest, CharId, Clock, Ctx, Devfn, DirtyPages, DiskId, DynDevice, Effect, InputEvent, Memory,
    Outbox, Region, ResetKind, Shadow, Space, TimerId, VmTime, Wake,
};
use std::sync::Arc;

/// CMOS shutdown codes with which software means to get the processor back after a processor reset, without a POST:
/// 5 (jump with EOI), 9 (block move), Ah to Ch (jump, IRET, RETF). IBM PC AT Technical Reference, BIOS listing.
const RESUME_CODES: [u8; 5] = [0x05, 0x09, 0x0a, 0x0b, 0x0c];
/// How long writes to an IDE data port may lie in the coalesced ring. Nothing else would end the wait if the guest
/// halts until the interrupt that follows the last word.
const DRAIN_NANOS: u64 = 500_000;
/// Configuration mechanism #1, and PIIX3's reset control among its ports.
const CONFIG_PORTS: std::ops::Range<u16> = 0xcf8..0xd00;
/// The pseudo device that owns the drain timer.
const BOARD: u8 = 0xff;
/// Timer wake-ups per call, so that a timer re-armed in the past by each of its wake-ups cannot hold the lock.
const MAX_WAKES: usize = 64;

/// What the board drives outside itself.
pub trait Wires: Send {
    /// An input of the interrupt controllers.
    fn gsi(&mut self, gsi: u32, level: bool);
    /// Waker [`Board::fire_timers`] at this time.
    fn alarm(&mut self, at: VmTime);
    /// This is all memory now.
    fn memory_map(&mut self, slots: &[SlotSpec]);
    /// Adds what processors wrote into slots of video memory since this was asked for the last time. From the first time
    /// on KVM keeps account of it, for which a page that is written costs a little more the first time.
    fn video_touched(&mut self, touched: &mut DirtyPages);
    /// Writes to these ranges (start, length) may be kept back, and no others.
    fn coalesce(&mut self, ranges: &[(Space, u64, u64)]);
}

/// How a machine's run is interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineEvent {
    /// Reset it.
    Reset(ResetKind),
    /// It was switched off from inside.
    PowerOff,
    /// Somebody outside wants it to end.
    Quit,
    /// Somebody outside wants it to stand still.
    Stop,
    /// Somebody outside wants it to go on.
    Continue,
    /// It cannot go on: a report.
    Broken(String),
}

/// Disk requests in order. Hardly ever more than one, which costs no allocation.
#[derive(Default)]
pub struct Requests {
    first: Option<BlockRequest>,
    more: Vec<BlockRequest>,
}

impl Requests {
    #[inline]
    fn push(&mut self, request: BlockRequest) {
        match &mut self.first {
            first @ None => *first = Some(request),
            Some(_) => self.more.push(request),
        }
    }
}

impl IntoIterator for Requests {
    type Item = BlockRequest;
    type IntoIter = std::iter::Chain<std::option::IntoIter<BlockRequest>, std::vec::IntoIter<BlockRequest>>;
    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

impl FromIterator<BlockRequest> for Requests {
    fn from_iter<I: IntoIterator<Item = BlockRequest>>(requests: I) -> Self {
        let mut all = Self::default();
        requests.into_iter().for_each(|request| all.push(request));
        all
    }
}

/// What is left to do without the lock.
#[derive(Default)]
pub struct Work {
    /// Disk requests.
    pub requests: Requests,
    /// [`Board::take_chars`] has bytes.
    pub chars: bool,
    /// Frames to send.
    pub frames: Vec<(NicId, Frame)>,
    /// A network card whose frames were not read any more takes them again.
    pub room: bool,
    /// Who is to be called because something was written to the display adapter.
    pub calls: Vec<Waker>,
    /// What happened to the machine.
    pub event: Option<MachineEvent>,
}

impl Work {
    /// Adds what came later. A power-off overtakes a reset; else the first event counts.
    pub fn merge(earlier: &mut Option<Self>, later: Option<Self>) {
        let (Some(first), Some(more)) = (earlier.as_mut(), later.as_ref()) else {
            *earlier = earlier.take().or(later);
            return;
        };
        first.chars |= more.chars;
        first.room |= more.room;
        if first.event.is_none() || more.event == Some(MachineEvent::PowerOff) {
            first.event.clone_from(&more.event);
        }
        let Some(mut more) = later else { return };
        first.frames.append(&mut more.frames);
        first.calls.append(&mut more.calls);
        more.requests.into_iter().for_each(|request| first.requests.push(request));
    }
}

/// Which device is what; numbers are positions on the board.
#[derive(Clone, Copy, Debug)]
pub struct Roles {
    /// Real-time clock and CMOS.
    pub cmos: usize,
    /// Keyboard controller.
    pub ps2: usize,
    /// IDE.
    pub ide: usize,
    /// Display adapter.
    pub vga: Option<usize>,
    /// Power management.
    pub pm: usize,
    /// COM1 to COM4.
    pub serial: [Option<usize>; 4],
    /// Network cards.
    pub nics: [Option<usize>; NicId::COUNT],
    /// USB, with a tablet and a keyboard.
    pub usb: Option<usize>,
}

/// Memory that traps, or a window into video memory.
#[derive(Clone, Debug)]
struct Mapped {
    device: u8,
    region: Region,
}

/// Who answers at a range of ports: no more than what every access needs.
#[derive(Clone, Copy, Debug)]
struct Decoder {
    device: u8,
    tag: u8,
    fifo: bool,
    first: u16,
    last: u16,
}

/// The board.
pub struct Board {
    devices: Vec<Box<dyn DynDevice>>,
    roles: Roles,
    memory: Arc<Memory>,
    clock: Box<dyn Clock + Send + Sync>,
    wires: Box<dyn Wires>,
    rom: Rom,
    outbox: Outbox,
    irqs: IrqRouter,
    timers: Vec<(VmTime, u8, TimerId)>,
    /// The alarm that was last asked for and has not gone off.
    alarm: Option<VmTime>,
    config_address: ConfigAddress,
    shadow: [Shadow; 13],
    /// By port: 0, or one more than the position in `io`.
    ports: Box<[u16; 0x1_0000]>,
    io: Vec<Decoder>,
    mem: Vec<Mapped>,
    /// By devfn: the device.
    functions: [Option<u8>; 256],
    /// By device: its devfn, if it is a PCI function.
    devfns: Vec<Devfn>,
    chars: [Vec<u8>; CharId::COUNT],
    work: Work,
    has_work: bool,
    /// One more than how often video memory has been written between two looks at it.
    video_changes: u64,
    /// Of every page of video memory: which of these was the last.
    video_pages: Vec<u64>,
    /// Who looks at the screen seldom, and is called the next time that something is written to the adapter.
    watchers: Vec<Waker>,
    /// Ranges whose writes may be kept back, and whether they are the display adapter's.
    coalesce: Vec<(bool, (Space, u64, u64))>,
    /// The drain timer runs.
    watching: bool,
    /// The network.
    network: network::Network,
}

impl Board {
    /// A board of `devices`, in order of priority where their regions overlap. Not yet powered on.
    pub fn new(
        devices: Vec<Box<dyn DynDevice>>,
        roles: Roles,
        memory: Arc<Memory>,
        clock: Box<dyn Clock + Send + Sync>,
        wires: Box<dyn Wires>,
        rom: Rom,
    ) -> Self {
        let mut functions = [None; 256];
        let devfns = devices.iter().map(|device| device.pci().unwrap_or_default()).collect();
        for (n, device) in devices.iter().enumerate() {
            if let Some(devfn) = device.pci() {
                functions[usize::from(devfn.0)] = Some(n as u8);
            }
        }
        Self {
            devices,
            roles,
            memory,
            clock,
            wires,
            rom,
            outbox: Outbox::default(),
            irqs: IrqRouter::default(),
            timers: Vec::new(),
            alarm: None,
            config_address: ConfigAddress::default(),
            shadow: [Shadow::default(); 13],
            ports: Box::new([0; 0x1_0000]),
            io: Vec::new(),
            mem: Vec::new(),
            functions,
            devfns,
            chars: Default::default(),
            work: Work::default(),
            has_work: false,
            video_changes: 1,
            video_pages: Vec::new(),
            watchers: Vec::new(),
            coalesce: Vec::new(),
            watching: false,
            network: network::Network::default(),
        }
    }

    /// Power-on, and hard reset: every device, in order.
    pub fn reset(&mut self) {
        self.config_address = ConfigAddress::default();
        self.shadow = [Shadow::default(); 13];
        self.memory.set_shadow(&self.shadow);
        self.outbox.a20 = true;
        for device in 0..self.devices.len() {
            self.call(device, |device, cx| device.reset(cx));
        }
        self.remap();
        // The interrupt controllers were reset too and have forgotten the levels.
        for (gsi, level) in self.irqs.levels() {
            self.wires.gsi(gsi, level);
        }
        // A reset asked for by a device that is itself reset now is done.
        if matches!(self.work.event, Some(MachineEvent::Reset(_))) {
            self.work.event = None;
        }
    }

    /// Calls a device and sees to what it asks for.
    #[inline]
    fn call(&mut self, device: usize, f: impl FnOnce(&mut dyn DynDevice, &mut Ctx<'_>)) {
        let Some(chip) = self.devices.get_mut(device) else { return };
        f(&mut **chip, &mut Ctx::new(&*self.clock, &self.memory, &mut self.outbox));
        if !self.outbox.is_quiet() {
            self.settle(device);
        }
        if self.outbox.awaits_writes && !self.watching {
            self.watch();
        }
        if self.network.holds_back() {
            self.look_for_room();
        }
    }

    fn settle(&mut self, device: usize) {
        let source = device as u8;
        if !self.outbox.irqs.is_empty() {
            let devfn = self.devfns[device];
            for (line, level) in self.outbox.irqs.drain(..) {
                if let Some((gsi, level)) = self.irqs.set(source, devfn, line, level) {
                    self.wires.gsi(gsi, level);
                }
            }
        }
        if !self.outbox.timers.is_empty() {
            for (timer, at) in self.outbox.timers.drain(..) {
                self.timers.retain(|&(_, owner, id)| (owner, id) != (source, timer));
                if let Some(at) = at {
                    self.timers.push((at, source, timer));
                }
            }
            self.set_alarm();
        }
        if !self.outbox.requests.is_empty() {
            for request in self.outbox.requests.drain(..) {
                self.work.requests.push(request);
            }
            self.has_work = true;
        }
        if !self.outbox.frames.is_empty() {
            self.collect_frames();
        }
        if !self.outbox.chars.is_empty() {
            for (to, byte) in self.outbox.chars.drain(..) {
                if let Some(queue) = self.chars.get_mut(usize::from(to.0)) {
                    queue.push(byte);
                    self.work.chars = true;
                    self.has_work = true;
                }
            }
        }
        if !self.outbox.effects.is_empty() {
            self.carry_out_effects();
        }
        if self.outbox.screen_touched {
            self.call_watchers();
        }
    }

    fn carry_out_effects(&mut self) {
        let mut remap = false;
        for effect in std::mem::take(&mut self.outbox.effects) {
            match effect {
                Effect::Remap => remap = true,
                Effect::Shadow(shadow) => {
                    remap |= shadow != self.shadow;
                    self.shadow = shadow;
                    self.memory.set_shadow(&shadow);
                }
                Effect::PirqRoutes(routes) => {
                    for (gsi, level) in self.irqs.route(routes) {
                        self.wires.gsi(gsi, level);
                    }
                }
                Effect::Reset(kind) => self.event(MachineEvent::Reset(self.effective(kind))),
                Effect::PowerOff => self.event(MachineEvent::PowerOff),
            }
        }
        if remap {
            self.remap();
        }
    }

    /// A processor reset is a hard reset unless software means to come back from it.
    fn effective(&self, kind: ResetKind) -> ResetKind {
        match kind {
            ResetKind::Init if RESUME_CODES.contains(&self.shutdown_byte()) => ResetKind::Init,
            _ => ResetKind::Hard,
        }
    }

    fn shutdown_byte(&self) -> u8 {
        self.device::<pcvm_devices::cmos::Cmos>(self.roles.cmos).map_or(0, |cmos| cmos.shutdown_byte())
    }

    /// A processor shut down (triple fault): PIIX3 answers the shutdown cycle with INIT#.
    pub fn shutdown_cycle(&mut self) {
        let event = MachineEvent::Reset(self.effective(ResetKind::Init));
        self.event(event);
    }

    fn event(&mut self, event: MachineEvent) {
        // The first one counts, but for a power-off that overtakes a reset.
        if self.work.event.is_none() || event == MachineEvent::PowerOff {
            self.work.event = Some(event);
        }
        self.has_work = true;
    }

    /// Asks every device where it is now.
    fn remap(&mut self) {
        self.ports.fill(0);
        self.io.clear();
        self.mem.clear();
        self.coalesce.clear();
        for (n, device) in self.devices.iter().enumerate() {
            for region in device.regions() {
                match region.space {
                    Space::Io => {
                        self.io.push(Decoder {
                            device: n as u8,
                            tag: region.tag,
                            fifo: region.fifo,
                            first: region.base as u16,
                            last: (region.base + region.len - 1).min(0xffff) as u16,
                        });
                        let number = self.io.len() as u16;
                        let mine = |port: u64, ports: &[u16]| ports.get(port as usize).is_some_and(|&n| n == 0);
                        for port in region.base..region.base + region.len {
                            if mine(port, &*self.ports) {
                                self.ports[port as usize] = number;
                            }
                        }
                        // Only what this region really got: another device's ports must not be kept back.
                        for range in &region.coalesce {
                            let all =
                                range.clone().all(|at| self.ports.get((region.base + at) as usize) == Some(&number));
                            if all {
                                let range = (Space::Io, region.base + range.start, range.end - range.start);
                                self.coalesce.push((self.roles.vga == Some(n), range));
                            }
                        }
                    }
                    Space::Mem => {
                        for range in &region.coalesce {
                            let range = (Space::Mem, region.base + range.start, range.end - range.start);
                            self.coalesce.push((self.roles.vga == Some(n), range));
                        }
                        self.mem.push(Mapped { device: n as u8, region });
                    }
                }
            }
        }
        let video: Vec<Region> =
            self.mem.iter().filter(|m| m.region.video.is_some()).map(|m| m.region.clone()).collect();
        self.wires.memory_map(&map::slots(&self.memory, &self.shadow, &self.rom, &video));
        self.keep_writes_back();
    }

    /// Has KVM keep back the writes that may be; but none to a display adapter whose next write somebody waits for.
    fn keep_writes_back(&mut self) {
        let waits = !self.watchers.is_empty();
        let ranges = self.coalesce.iter().filter(|(screen, _)| !(waits && *screen)).map(|&(_, range)| range);
        self.wires.coalesce(&joined(ranges.collect()));
    }

    /// Something was written to the display adapter, for which somebody waits.
    #[cold]
    fn call_watchers(&mut self) {
        (self.outbox.awaits_screen, self.outbox.screen_touched) = (false, false);
        self.work.calls.append(&mut self.watchers);
        self.has_work = true;
        self.keep_writes_back();
    }

    fn set_alarm(&mut self) {
        // An alarm that goes off too early only finds nothing due: asking for a later one is not worth a system call.
        if let Some(next) = self.timers.iter().map(|timer| timer.0).min()
            && self.alarm.is_none_or(|alarm| next < alarm)
        {
            self.alarm = Some(next);
            self.wires.alarm(next);
        }
    }

    /// The alarm went off.
    pub fn fire_timers(&mut self) {
        self.alarm = None;
        let now = self.clock.now();
        for _ in 0..MAX_WAKES {
            let Some(due) =
                (0..self.timers.len()).filter(|&n| self.timers[n].0 <= now).min_by_key(|&n| self.timers[n].0)
            else {
                break;
            };
            let (_, owner, timer) = self.timers.swap_remove(due);
            if owner == BOARD {
                // The ring was drained when the lock was taken.
                self.watching = false;
                if self.outbox.awaits_writes {
                    self.watch();
                }
            } else {
                self.call(owner.into(), |device, cx| device.wake(cx, Wake::Timer(timer)));
            }
        }
        self.set_alarm();
    }

    /// Starts the drain timer. Once armed it stays until it fires: PIO ends and begins too often to disarm it each time.
    #[cold]
    fn watch(&mut self) {
        self.watching = true;
        self.timers.push((self.clock.now().plus_nanos(DRAIN_NANOS), BOARD, TimerId(0)));
        self.set_alarm();
    }

    /// A disk request ended.
    pub fn block_done(&mut self, done: BlockDone) {
        self.call(self.roles.ide, |device, cx| device.wake(cx, Wake::Block(done)));
    }

    /// A drive's medium was changed.
    pub fn medium(&mut self, disk: DiskId, size: Option<u64>) {
        self.call(self.roles.ide, |device, cx| device.wake(cx, Wake::Medium(disk, size)));
    }

    /// A person did something. What the USB functions can tell, and the guest listens to, is theirs, the rest PS/2's.
    pub fn input(&mut self, event: InputEvent) {
        let for_usb = self.usb().is_some_and(|usb| match event {
            InputEvent::Key { code, down: true } => usb.accepts_key(code),
            // Where it went down.
            InputEvent::Key { code, down: false } => usb.holds_key(code),
            InputEvent::Pointer { .. } => usb.tablet_in_use(),
            InputEvent::Mouse { .. } => false,
        });
        let to = self.roles.usb.filter(|_| for_usb).unwrap_or(self.roles.ps2);
        self.call(to, |device, cx| device.wake(cx, Wake::Input(event)));
    }

    fn usb(&self) -> Option<&Piix3Usb> {
        self.device(self.roles.usb?)
    }

    /// Whether the guest listens to the tablet; none if there is no tablet.
    pub fn tablet_in_use(&self) -> Option<bool> {
        self.usb().map(Piix3Usb::tablet_in_use)
    }

    /// Bytes of scan codes that the guest has not taken, of the sixteen that the keyboard has room for.
    pub fn keys_waiting(&self) -> usize {
        if let Some(usb) = self.usb().filter(|usb| usb.keyboard_in_use()) {
            return usb.keys_waiting();
        }
        self.device::<pcvm_devices::ps2::Ps2Controller>(self.roles.ps2).map_or(0, |ps2| ps2.keys_waiting())
    }

    /// The keyboard's LEDs: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub fn keyboard_leds(&self) -> u8 {
        if let Some(usb) = self.usb().filter(|usb| usb.keyboard_in_use()) {
            return usb.leds();
        }
        self.device::<pcvm_devices::ps2::Ps2Controller>(self.roles.ps2).map_or(0, |ps2| ps2.leds())
    }

    /// What of video memory was written after `since`, which is what this gave at the last look, 0 at the first; and what
    /// to give the next time. `call` is called, once, when something is written to the adapter by a way that the board
    /// sees: not by a processor through a window that does not trap.
    pub fn video_changes(&mut self, since: u64, call: Option<&Waker>) -> (DirtyPages, u64) {
        if let Some(call) = call
            && !self.watchers.iter().any(|other| Arc::ptr_eq(other, call))
        {
            self.watchers.push(call.clone());
            self.outbox.awaits_screen = true;
            self.keep_writes_back();
        }
        let mut touched = DirtyPages::none();
        self.wires.video_touched(&mut touched);
        self.memory.take_video_written(|bytes| touched.add(bytes));
        let written = !touched.is_empty();
        if written {
            self.video_changes += 1;
            let pages = self.memory.video_size().div_ceil(PAGE);
            self.video_pages.resize(pages as usize, 0);
            touched.each_page(pages, |page| self.video_pages[page as usize] = self.video_changes);
        }
        // Others who look may have been told before.
        if since == 0 {
            touched = DirtyPages::all();
        } else if since + u64::from(written) != self.video_changes {
            touched = DirtyPages::none();
            let pages = (0..).zip(&self.video_pages).filter(|(_, change)| **change > since);
            pages.for_each(|(page, _)| touched.add(page * PAGE..(page + 1) * PAGE));
        }
        (touched, self.video_changes)
    }

    /// The display adapter.
    pub fn vga(&self) -> Option<&Vga> {
        self.device(self.roles.vga?)
    }

    /// The power button.
    pub fn power_button(&mut self) {
        self.call(self.roles.pm, |device, cx| device.wake(cx, Wake::PowerButton));
    }

    /// Bytes for a serial port. Gives how many wait there now.
    pub fn char_input(&mut self, to: CharId, bytes: &[u8]) -> usize {
        let n = usize::from(to.0);
        let Some(Some(device)) = self.roles.serial.get(n).copied() else { return 0 };
        self.outbox.char_input[n].extend(bytes);
        self.call(device, |device, cx| device.wake(cx, Wake::CharReady(to)));
        self.outbox.char_input[n].len()
    }

    /// Bytes that the guest sent to a character device since the last call.
    pub fn take_chars(&mut self, from: CharId) -> Vec<u8> {
        self.chars.get_mut(usize::from(from.0)).map(std::mem::take).unwrap_or_default()
    }

    /// What is left to do without the lock, if anything is.
    #[inline]
    pub fn take_work(&mut self) -> Option<Work> {
        if !self.has_work {
            return None;
        }
        self.has_work = false;
        Some(std::mem::take(&mut self.work))
    }

    /// A device, by its place and type.
    pub fn device<D: 'static>(&self, at: usize) -> Option<&D> {
        self.devices.get(at)?.as_any().downcast_ref()
    }

    /// Which device is what.
    pub fn roles(&self) -> Roles {
        self.roles
    }

    /// Guest memory.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }
}

/// Makes one of ranges that touch: KVM keeps a write back only if it lies within a single one, and a word written to
/// an IDE data port, which is one port wide, reaches into the next.
fn joined(mut ranges: Vec<(Space, u64, u64)>) -> Vec<(Space, u64, u64)> {
    ranges.sort_unstable_by_key(|&(space, base, _)| (space == Space::Mem, base));
    ranges.dedup_by(|next, last| {
        let touches = next.0 == last.0 && next.1 <= last.1 + last.2;
        if touches {
            last.2 = last.2.max(next.1 + next.2 - last.1);
        }
        touches
    });
    ranges
}

mod dispatch;
pub mod emulator_bus;
pub mod irq;
pub mod map;
mod network;
pub mod slots;
#[cfg(test)]
mod tests;
