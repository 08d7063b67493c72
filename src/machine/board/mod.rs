//! The board: which device answers where, and what becomes of what a device asks for.
//!
//! An access goes: exit → [`Board::port_out`] → port table → [`DynDevice::write`] → `Board::settle` → IRQ levels at
//! once, everything that could block as [`Work`] for whoever holds the lock to do after it has let go of it.

use super::irq::IrqRouter;
use super::map::{self, Rom};
use crate::kvm::slots::SlotSpec;
use pcvm_devices::pci::bus::ConfigAddress;
use pcvm_devices::{
    Access, BlockDone, BlockRequest, CONFIG_TAG, CharId, Clock, Ctx, DiskId, DynDevice, Effect, InputEvent, Memory,
    Outbox, Region, ResetKind, Shadow, Space, TimerId, VmTime, Wake,
};
use std::sync::Arc;

/// CMOS shutdown codes with which software means to get the processor back after a processor reset, without a POST:
/// 5 (jump with EOI), 9 (block move), Ah to Ch (jump, IRET, RETF). IBM PC AT Technical Reference, BIOS listing.
const RESUME_CODES: [u8; 5] = [0x05, 0x09, 0x0a, 0x0b, 0x0c];
/// How long writes to an IDE data port may lie in the coalesced ring. Nothing else would end the wait if the guest
/// halts until the interrupt that follows the last word.
const DRAIN_NANOS: u64 = 500_000;
/// The pseudo device that owns the drain timer.
const BOARD: u8 = 0xff;
/// Timer wake-ups per call, so that a timer re-armed in the past by each of its wake-ups cannot hold the lock.
const MAX_WAKES: usize = 64;

/// What the board drives outside itself.
pub trait Wires: Send {
    /// An input of the interrupt controllers.
    fn gsi(&mut self, gsi: u32, level: bool);
    /// Call [`Board::fire_timers`] at this time.
    fn alarm(&mut self, at: VmTime);
    /// This is all memory now.
    fn memory_map(&mut self, slots: &[SlotSpec]);
    /// Whether a slot of video memory was written by a processor since this was asked for the last time. From the first
    /// time on KVM keeps account of it, for which a page that is written costs a little more the first time.
    fn video_touched(&mut self) -> bool;
    /// Writes to these ranges (start, length) may be kept back, and no others.
    fn coalesce(&mut self, ranges: &[(Space, u64, u64)]);
}

/// How a machine's run is interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
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

/// What is left to do without the lock.
#[derive(Default)]
pub struct Work {
    /// Disk requests, in order.
    pub requests: Vec<BlockRequest>,
    /// [`Board::take_chars`] has bytes.
    pub chars: bool,
    /// What happened to the machine.
    pub event: Option<Event>,
}

impl Work {
    /// Adds what came later. A power-off overtakes a reset; else the first event counts.
    pub fn merge(earlier: &mut Option<Self>, later: Option<Self>) {
        let (Some(first), Some(more)) = (earlier.as_mut(), later.as_ref()) else {
            *earlier = earlier.take().or(later);
            return;
        };
        first.chars |= more.chars;
        if first.event.is_none() || more.event == Some(Event::PowerOff) {
            first.event.clone_from(&more.event);
        }
        first.requests.extend(later.into_iter().flat_map(|more| more.requests));
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
    pub vga: usize,
    /// Power management.
    pub pm: usize,
    /// COM1 to COM4.
    pub serial: [Option<usize>; 4],
}

#[derive(Clone, Debug)]
struct Mapped {
    device: u8,
    region: Region,
}

/// The board.
pub struct Board {
    devices: Vec<Box<dyn DynDevice>>,
    roles: Roles,
    memory: Arc<Memory>,
    clock: Arc<dyn Clock + Send + Sync>,
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
    ports: Box<[u16]>,
    io: Vec<Mapped>,
    mem: Vec<Mapped>,
    /// By devfn: the device.
    functions: [Option<u8>; 256],
    chars: [Vec<u8>; CharId::COUNT],
    work: Work,
    has_work: bool,
    pio_out: bool,
}

impl Board {
    /// A board of `devices`, in order of priority where their regions overlap. Not yet powered on.
    pub fn new(
        devices: Vec<Box<dyn DynDevice>>,
        roles: Roles,
        memory: Arc<Memory>,
        clock: Arc<dyn Clock + Send + Sync>,
        wires: Box<dyn Wires>,
        rom: Rom,
    ) -> Self {
        let mut functions = [None; 256];
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
            ports: vec![0; 0x1_0000].into(),
            io: Vec::new(),
            mem: Vec::new(),
            functions,
            chars: Default::default(),
            work: Work::default(),
            has_work: false,
            pio_out: false,
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
        if matches!(self.work.event, Some(Event::Reset(_))) {
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
        if device == self.roles.ide {
            self.watch_pio_out();
        }
    }

    fn settle(&mut self, device: usize) {
        let source = device as u8;
        let devfn = self.devices[device].pci().unwrap_or_default();
        for (line, level) in self.outbox.irqs.drain(..) {
            if let Some((gsi, level)) = self.irqs.set(source, devfn, line, level) {
                self.wires.gsi(gsi, level);
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
            self.work.requests.append(&mut self.outbox.requests);
            self.has_work = true;
        }
        for (to, byte) in self.outbox.chars.drain(..) {
            if let Some(queue) = self.chars.get_mut(usize::from(to.0)) {
                queue.push(byte);
                self.work.chars = true;
                self.has_work = true;
            }
        }
        if self.outbox.effects.is_empty() {
            return;
        }
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
                Effect::Reset(kind) => self.event(Event::Reset(self.effective(kind))),
                Effect::PowerOff => self.event(Event::PowerOff),
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
        let event = Event::Reset(self.effective(ResetKind::Init));
        self.event(event);
    }

    fn event(&mut self, event: Event) {
        // The first one counts, but for a power-off that overtakes a reset.
        if self.work.event.is_none() || event == Event::PowerOff {
            self.work.event = Some(event);
        }
        self.has_work = true;
    }

    /// Asks every device where it is now.
    fn remap(&mut self) {
        self.ports.fill(0);
        self.io.clear();
        self.mem.clear();
        let mut coalesce = Vec::new();
        for (n, device) in self.devices.iter().enumerate() {
            for region in device.regions() {
                let mapped = Mapped { device: n as u8, region };
                match mapped.region.space {
                    Space::Io => {
                        self.io.push(mapped);
                        let region = &self.io[self.io.len() - 1].region;
                        let number = self.io.len() as u16;
                        let mine = |port: u64, ports: &[u16]| ports.get(port as usize).is_some_and(|&n| n == 0);
                        for port in region.base..region.base + region.len {
                            if mine(port, &self.ports) {
                                self.ports[port as usize] = number;
                            }
                        }
                        // Only what this region really got: another device's ports must not be kept back.
                        for range in &region.coalesce {
                            let all =
                                range.clone().all(|at| self.ports.get((region.base + at) as usize) == Some(&number));
                            if all {
                                coalesce.push((Space::Io, region.base + range.start, range.end - range.start));
                            }
                        }
                    }
                    Space::Mem => {
                        for range in &mapped.region.coalesce {
                            coalesce.push((Space::Mem, mapped.region.base + range.start, range.end - range.start));
                        }
                        self.mem.push(mapped);
                    }
                }
            }
        }
        let video: Vec<Region> =
            self.mem.iter().filter(|m| m.region.video.is_some()).map(|m| m.region.clone()).collect();
        self.wires.memory_map(&map::slots(&self.memory, &self.shadow, &self.rom, &video));
        self.wires.coalesce(&joined(coalesce));
    }

    /// `out` and `outs`: `data` is one or more accesses of `width` bytes to one port.
    #[inline]
    pub fn port_out(&mut self, port: u16, width: u8, data: &[u8]) {
        if let Some((device, tag)) = self.fifo_at(port) {
            let at = Access { tag, offset: 0, width };
            return self.call(device, |device, cx| device.write(cx, at, data));
        }
        for element in data.chunks(usize::from(width.max(1))) {
            self.port_write(port, element);
        }
    }

    /// `in` and `ins`.
    #[inline]
    pub fn port_in(&mut self, port: u16, width: u8, data: &mut [u8]) {
        data.fill(0xff);
        if let Some((device, tag)) = self.fifo_at(port) {
            let at = Access { tag, offset: 0, width };
            return self.call(device, |device, cx| device.read(cx, at, data));
        }
        for element in data.chunks_mut(usize::from(width.max(1))) {
            self.port_read(port, element);
        }
    }

    /// The device whose FIFO a port is, and the region's tag.
    #[inline]
    fn fifo_at(&self, port: u16) -> Option<(usize, u8)> {
        let mapped = self.io.get(usize::from(self.ports[usize::from(port)]).checked_sub(1)?)?;
        (mapped.region.fifo && mapped.region.base == u64::from(port))
            .then_some((mapped.device.into(), mapped.region.tag))
    }

    /// The region at a port, how far into it the port lies and how many bytes are left of it.
    #[inline]
    fn io_at(&self, port: u16) -> Option<(usize, u8, u64, usize)> {
        let mapped = self.io.get(usize::from(self.ports[usize::from(port)]).checked_sub(1)?)?;
        let offset = u64::from(port) - mapped.region.base;
        Some((mapped.device.into(), mapped.region.tag, offset, (mapped.region.len - offset) as usize))
    }

    fn port_write(&mut self, port: u16, data: &[u8]) {
        if (0xcf8..0xd00).contains(&port) && self.config_write(port, data) {
            return;
        }
        let width = data.len() as u8;
        let mut done = 0;
        while done < data.len() {
            let Some(port) = port.checked_add(done as u16) else { return };
            let Some((device, tag, offset, left)) = self.io_at(port) else {
                done += 1;
                continue;
            };
            let part = &data[done..data.len().min(done + left)];
            let at = Access { tag, offset, width: width.min(part.len() as u8) };
            self.call(device, |device, cx| device.write(cx, at, part));
            done += part.len();
        }
    }

    fn port_read(&mut self, port: u16, data: &mut [u8]) {
        if (0xcf8..0xd00).contains(&port) && self.config_read(port, data) {
            return;
        }
        let len = data.len();
        let mut done = 0;
        while done < len {
            let Some(port) = port.checked_add(done as u16) else { return };
            let Some((device, tag, offset, left)) = self.io_at(port) else {
                done += 1;
                continue;
            };
            let part = &mut data[done..len.min(done + left)];
            let at = Access { tag, offset, width: part.len() as u8 };
            done += part.len();
            self.call(device, |device, cx| device.read(cx, at, part));
        }
    }

    /// Configuration mechanism #1. False if the access is none of its business.
    fn config_write(&mut self, port: u16, data: &[u8]) -> bool {
        if self.config_address.write(port, data) {
            return true;
        }
        let Some((devfn, register)) = self.config_address.decode(port) else { return false };
        if let Some(device) = self.functions[usize::from(devfn.0)] {
            let data = &data[..data.len().min(usize::from(0xd00 - port))];
            let at = Access { tag: CONFIG_TAG, offset: register.into(), width: data.len() as u8 };
            self.call(device.into(), |device, cx| device.write(cx, at, data));
        }
        true
    }

    fn config_read(&mut self, port: u16, data: &mut [u8]) -> bool {
        if self.config_address.read(port, data) {
            return true;
        }
        let Some((devfn, register)) = self.config_address.decode(port) else { return false };
        if let Some(device) = self.functions[usize::from(devfn.0)] {
            let len = data.len().min(usize::from(0xd00 - port));
            let at = Access { tag: CONFIG_TAG, offset: register.into(), width: len as u8 };
            self.call(device.into(), |device, cx| device.read(cx, at, &mut data[..len]));
        }
        true
    }

    fn mem_at(&self, addr: u64) -> Option<(usize, u8, u64, usize)> {
        let mapped = self.mem.iter().find(|m| {
            m.region.video.is_none() && addr.checked_sub(m.region.base).is_some_and(|at| at < m.region.len)
        })?;
        let offset = addr - mapped.region.base;
        let left = usize::try_from(mapped.region.len - offset).unwrap_or(usize::MAX);
        Some((mapped.device.into(), mapped.region.tag, offset, left))
    }

    /// The guest writes memory that is no slot, or a read-only one.
    pub fn mem_write(&mut self, addr: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let Some(at) = addr.checked_add(done as u64) else { return };
            let Some((device, tag, offset, left)) = self.mem_at(at) else {
                // Shadow RAM that is written but not read lies behind the ROM; elsewhere this does nothing.
                if (0xc_0000..0x10_0000).contains(&at) {
                    self.memory.write(at, &data[done..=done]);
                }
                done += 1;
                continue;
            };
            let part = &data[done..data.len().min(done.saturating_add(left))];
            let at = Access { tag, offset, width: part.len() as u8 };
            self.call(device, |device, cx| device.write(cx, at, part));
            done += part.len();
        }
    }

    /// The guest reads memory that is no slot.
    pub fn mem_read(&mut self, addr: u64, data: &mut [u8]) {
        data.fill(0xff);
        let len = data.len();
        let mut done = 0;
        while done < len {
            let Some(at) = addr.checked_add(done as u64) else { return };
            let Some((device, tag, offset, left)) = self.mem_at(at) else {
                done += 1;
                continue;
            };
            let part = &mut data[done..len.min(done.saturating_add(left))];
            let at = Access { tag, offset, width: part.len() as u8 };
            done += part.len();
            self.call(device, |device, cx| device.read(cx, at, part));
        }
    }

    /// Configuration space, for whoever does firmware's work.
    pub fn configure(&mut self, devfn: pcvm_devices::Devfn, register: u8, data: &[u8]) {
        if let Some(device) = self.functions[usize::from(devfn.0)] {
            let at = Access { tag: CONFIG_TAG, offset: register.into(), width: data.len() as u8 };
            self.call(device.into(), |device, cx| device.write(cx, at, data));
        }
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
                self.pio_out = false;
                self.watch_pio_out();
            } else {
                self.call(owner.into(), |device, cx| device.wake(cx, Wake::Timer(timer)));
            }
        }
        self.set_alarm();
    }

    /// Keeps the drain timer running while a drive takes data through its data port.
    fn watch_pio_out(&mut self) {
        let pending = self
            .device::<pcvm_devices::ide::Piix3Ide>(self.roles.ide)
            .is_some_and(pcvm_devices::ide::Piix3Ide::pio_out_pending);
        if pending && !self.pio_out {
            self.timers.push((self.clock.now().plus_nanos(DRAIN_NANOS), BOARD, TimerId(0)));
            self.set_alarm();
        }
        // Once armed it stays until it fires: PIO ends and begins too often to disarm it each time.
        self.pio_out |= pending;
    }

    /// A disk request ended.
    pub fn block_done(&mut self, done: BlockDone) {
        self.call(self.roles.ide, |device, cx| device.wake(cx, Wake::Block(done)));
    }

    /// A drive's medium was changed.
    pub fn medium(&mut self, disk: DiskId, size: Option<u64>) {
        self.call(self.roles.ide, |device, cx| device.wake(cx, Wake::Medium(disk, size)));
    }

    /// A person did something.
    pub fn input(&mut self, event: InputEvent) {
        self.call(self.roles.ps2, |device, cx| device.wake(cx, Wake::Input(event)));
    }

    /// Bytes of scan codes that the guest has not taken, of the sixteen that the keyboard has room for.
    pub fn keys_waiting(&self) -> usize {
        self.device::<pcvm_devices::ps2::Ps2Controller>(self.roles.ps2).map_or(0, |ps2| ps2.keys_waiting())
    }

    /// The keyboard's LEDs: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub fn keyboard_leds(&self) -> u8 {
        self.device::<pcvm_devices::ps2::Ps2Controller>(self.roles.ps2).map_or(0, |ps2| ps2.leds())
    }

    /// Whether video memory was written since this was asked for the last time.
    pub fn video_touched(&mut self) -> bool {
        // Both: neither may stay for the next time.
        self.memory.take_video_written() | self.wires.video_touched()
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

#[cfg(test)]
mod tests;
