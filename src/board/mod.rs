//! The board: address dispatch to devices, and what becomes of a device's requests.
//!
//! An access takes this path: exit → [`Board::port_out`] → port table → [`DynDevice::write`] → `Board::settle`. The board
//! passes IRQ levels to KVM at once. Everything that could block becomes [`HostWork`], which the thread performs after it
//! has released the board's lock.

mod dispatch;
pub mod emulator_bus;
mod input;
pub mod irq;
pub mod map;
mod routing;
pub mod slots;
pub mod stats;
#[cfg(test)]
mod tests;
mod timers;
pub mod trace;
mod video;
pub mod work;

pub use work::{DriveError, Flow, HostQueue, HostWork, MachineEvent, Source};

use crate::kvm::slots::SlotSpec;
use irq::IrqRouter;
use map::Rom;
use pcvm_devices::chipset::acpi_pm::AcpiPm;
use pcvm_devices::chipset::isa_dma::{DmaDone, IsaDma};
use pcvm_devices::cmos::Cmos;
use pcvm_devices::pci::bus::ConfigAddress;
use pcvm_devices::ps2::Ps2Controller;
use pcvm_devices::usb::Piix3Usb;
use pcvm_devices::vga::Vga;
use pcvm_devices::{
    Clock, Ctx, Devfn, DirtyPages, DynDevice, Effect, Inbox, Memory, Outbox, Region, ResetKind, Shadow, Space, VmTime,
    Wake,
};
use routing::Routes;
use stats::{BoardStats, DeviceStats};
use std::any::Any;
use std::sync::Arc;
use timers::Timers;
use trace::{Class, RateLimit, Stamp, Tracer};
use video::VideoLog;

/// CMOS shutdown codes with which software resumes after a processor reset, without a POST: 5 (jump with EOI), 9 (block
/// move), Ah to Ch (jump, IRET, RETF). IBM PC AT Technical Reference, BIOS listing.
const RESUME_CODES: [u8; 5] = [0x05, 0x09, 0x0a, 0x0b, 0x0c];
/// Configuration mechanism #1, and the PIIX3's reset control among its ports.
const CONFIG_PORTS: std::ops::Range<u16> = 0xcf8..0xd00;

/// Host facilities that the board drives: KVM's interrupt controllers, memory slots and coalescing, and a timer.
pub trait Outputs: Send {
    /// Sets the level of an input of the interrupt controllers.
    fn set_gsi(&mut self, gsi: u32, level: bool);
    /// Requests a call of [`Board::fire_timers`] at this time.
    fn set_alarm(&mut self, at: VmTime);
    /// Replaces the guest's memory map.
    fn set_memory_map(&mut self, slots: &[SlotSpec]);
    /// Adds the pages of video memory that vCPUs have written through memory slots since the last call. The first call
    /// starts KVM's dirty log, after which the first write to each page costs a fault.
    fn collect_dirty_video(&mut self, dirty: &mut DirtyPages);
    /// Replaces the ranges (start, length) to which KVM coalesces writes.
    fn set_coalesced(&mut self, ranges: &[(Space, u64, u64)]);
}

/// The devices with a role on the board, by position: what it looks up itself instead of routing by id.
#[derive(Clone, Copy, Debug, Default)]
struct Roles {
    /// CMOS: the shutdown byte decides what a processor reset resets.
    cmos: Option<usize>,
    /// Keyboard controller: input that no USB function takes.
    ps2: Option<usize>,
    /// USB controller with a tablet and a keyboard.
    usb: Option<usize>,
    /// Display adapter: dirty tracking and the instruction emulator.
    vga: Option<usize>,
    /// Power management: the power button.
    pm: Option<usize>,
    /// ISA DMA controllers: devices' DMA requests.
    isa_dma: Option<usize>,
}

impl Roles {
    fn new(devices: &[Box<dyn DynDevice>]) -> Self {
        fn find<D: Any>(devices: &[Box<dyn DynDevice>]) -> Option<usize> {
            devices.iter().position(|device| device.as_any().is::<D>())
        }
        Self {
            cmos: find::<Cmos>(devices),
            ps2: find::<Ps2Controller>(devices),
            usb: find::<Piix3Usb>(devices),
            vga: find::<Vga>(devices),
            pm: find::<AcpiPm>(devices),
            isa_dma: find::<IsaDma>(devices),
        }
    }
}

/// A range of guest-physical memory that a device answers, or a window into video memory.
#[derive(Clone, Debug)]
struct Mapped {
    device: u8,
    region: Region,
}

/// The device behind a range of ports: no more than an access needs.
#[derive(Clone, Copy, Debug)]
struct Decoder {
    device: u8,
    tag: u8,
    fifo: bool,
    first: u16,
    last: u16,
}

/// A device and its counters.
struct Slot {
    chip: Box<dyn DynDevice>,
    stats: DeviceStats,
    guest_error_limit: RateLimit,
    /// Its PCI function, if it is one.
    devfn: Devfn,
    /// When its next timer is due.
    next_wake: Option<VmTime>,
}

/// The board.
pub struct Board {
    devices: Vec<Slot>,
    roles: Roles,
    routes: Routes,
    memory: Arc<Memory>,
    clock: Box<dyn Clock + Send + Sync>,
    outputs: Box<dyn Outputs>,
    rom: Rom,
    outbox: Outbox,
    inbox: Inbox,
    irqs: IrqRouter,
    timers: Timers,
    config_address: ConfigAddress,
    shadow: [Shadow; 13],
    /// By port: 0, or one more than the position in `io`.
    ports: Box<[u16; 0x1_0000]>,
    io: Vec<Decoder>,
    mem: Vec<Mapped>,
    /// Counts the rebuilds of `ports`, `io` and `mem`.
    map_version: u32,
    /// By devfn: the device.
    functions: [Option<u8>; 256],
    /// By character stream: bytes on their way to the host.
    chars_out: Vec<Vec<u8>>,
    /// Deferred work.
    work: HostQueue,
    video: VideoLog,
    /// Ranges whose writes KVM may coalesce, and whether they are the display adapter's.
    coalesce: Vec<(bool, (Space, u64, u64))>,
    stats: BoardStats,
    tracer: Option<Box<Tracer>>,
    /// The vCPU whose exit is being handled.
    vcpu: Option<u32>,
}

impl Board {
    /// A board with these devices, not yet powered on. Where regions overlap, the device that comes first wins.
    pub fn new(
        devices: Vec<Box<dyn DynDevice>>,
        memory: Arc<Memory>,
        clock: Box<dyn Clock + Send + Sync>,
        outputs: Box<dyn Outputs>,
        rom: Rom,
    ) -> Self {
        let mut functions = [None; 256];
        for (n, device) in devices.iter().enumerate() {
            if let Some(devfn) = device.pci() {
                functions[usize::from(devfn.0)] = Some(n as u8);
            }
        }
        let slot = |chip: Box<dyn DynDevice>| Slot {
            stats: DeviceStats { kind: chip.kind(), ..DeviceStats::default() },
            guest_error_limit: RateLimit::default(),
            devfn: chip.pci().unwrap_or_default(),
            next_wake: None,
            chip,
        };
        Self {
            roles: Roles::new(&devices),
            routes: Routes::new(&devices),
            stats: BoardStats::default(),
            devices: devices.into_iter().map(slot).collect(),
            memory,
            clock,
            outputs,
            rom,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            irqs: IrqRouter::default(),
            timers: Timers::default(),
            config_address: ConfigAddress::default(),
            shadow: [Shadow::default(); 13],
            ports: Box::new([0; 0x1_0000]),
            io: Vec::new(),
            mem: Vec::new(),
            map_version: 0,
            functions,
            chars_out: Vec::new(),
            work: HostQueue::new(),
            video: VideoLog::default(),
            coalesce: Vec::new(),
            tracer: None,
            vcpu: None,
        }
    }

    /// Power-on and hard reset: resets every device, in order.
    pub fn reset(&mut self) {
        self.stats.resets += 1;
        self.trace(Class::Reset, |tracer, now| tracer.line(now, Class::Reset, "hard reset"));
        self.config_address = ConfigAddress::default();
        self.shadow = [Shadow::default(); 13];
        self.memory.set_shadow(&self.shadow);
        self.inbox.a20 = true;
        for device in 0..self.devices.len() {
            self.call(device, |slot, cx| slot.chip.reset(cx));
        }
        self.remap();
        // The interrupt controllers were reset too and have lost the levels.
        for (gsi, level) in self.irqs.levels() {
            self.outputs.set_gsi(gsi, level);
        }
        // This reset carries out the ones that devices have requested before it.
        self.work.retain(|work| !matches!(work, HostWork::Event(MachineEvent::Reset(_))));
    }

    /// Calls a device and carries out its requests.
    #[inline]
    fn call(&mut self, device: usize, f: impl FnOnce(&mut Slot, &mut Ctx<'_>)) {
        let Some(slot) = self.devices.get_mut(device) else { return };
        f(slot, &mut Ctx::new(&*self.clock, &self.memory, &mut self.outbox, &mut self.inbox));
        if !self.outbox.is_empty() {
            self.settle(device);
        }
        if self.routes.any_paused() {
            self.resume_sources();
        }
    }

    /// Wakes a device.
    fn wake(&mut self, device: usize, why: Wake) {
        self.call(device, |slot, cx| {
            slot.stats.wakes += 1;
            slot.chip.wake(cx, why);
        });
    }

    fn settle(&mut self, device: usize) {
        let queued = self.work.len();
        if !self.outbox.irqs.is_empty() {
            self.set_irqs(device);
        }
        if !self.outbox.timers.is_empty() {
            self.set_timers(device);
        }
        self.work.extend(self.outbox.requests.drain(..).map(HostWork::Block));
        if !self.outbox.frames.is_empty() {
            self.collect_frames();
        }
        if !self.outbox.chars.is_empty() {
            self.collect_chars();
        }
        if !self.outbox.effects.is_empty() {
            self.apply_effects(device);
        }
        if !self.outbox.guest_errors.is_empty() {
            self.report_guest_errors(device);
        }
        if let Some(tracer) = &mut self.tracer
            && tracer.device(Class::Work, device).is_some()
        {
            let now = Stamp { time: self.clock.now(), vcpu: self.vcpu };
            self.work.iter().skip(queued).for_each(|work| tracer.work(now, work));
        }
        if !self.outbox.isa_dma.is_empty() {
            self.serve_isa_dma(device);
        }
    }

    /// Carries out a device's ISA DMA requests, and wakes the device with the results.
    fn serve_isa_dma(&mut self, device: usize) {
        for request in std::mem::take(&mut self.outbox.isa_dma) {
            let controller = self.roles.isa_dma.and_then(|at| self.devices.get_mut(at));
            let done = match controller.and_then(|slot| slot.chip.as_any_mut().downcast_mut::<IsaDma>()) {
                Some(controller) => controller.serve(&self.memory, request),
                None => DmaDone { channel: request.channel, data: request.data, result: Default::default() },
            };
            self.wake(device, Wake::IsaDma(done));
        }
    }

    fn set_irqs(&mut self, device: usize) {
        let devfn = self.devices[device].devfn;
        for (line, level) in self.outbox.irqs.drain(..) {
            let Some((gsi, level)) = self.irqs.set(device as u8, devfn, line, level) else { continue };
            if level && let Some(raised) = self.stats.irqs_raised.get_mut(gsi as usize) {
                *raised += 1;
            }
            if let Some(tracer) = &mut self.tracer
                && let Some(kind) = tracer.device(Class::Irq, device)
            {
                let change = if level { "raised" } else { "lowered" };
                let now = Stamp { time: self.clock.now(), vcpu: self.vcpu };
                tracer.line(now, Class::Irq, format_args!("{kind} gsi {gsi} {change} ({line:?})"));
            }
            self.outputs.set_gsi(gsi, level);
        }
    }

    fn apply_effects(&mut self, device: usize) {
        let mut remap = false;
        let mut effects = std::mem::take(&mut self.outbox.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Remap => remap = true,
                Effect::Shadow(shadow) => {
                    remap |= shadow != self.shadow;
                    self.shadow = shadow;
                    self.memory.set_shadow(&shadow);
                }
                Effect::PirqRoutes(routes) => {
                    for (gsi, level) in self.irqs.route(routes) {
                        self.outputs.set_gsi(gsi, level);
                    }
                }
                Effect::A20(open) => self.inbox.a20 = open,
                Effect::AwaitCoalesced(waits) => self.await_coalesced(device, waits),
                Effect::ScreenWritten => self.wake_subscribers(),
                Effect::Reset(kind) => {
                    let kind = self.effective_reset(kind);
                    self.work.push_back(HostWork::Event(MachineEvent::Reset(kind)));
                }
                Effect::TrayMoved { disk, open } => {
                    self.work.push_back(HostWork::Event(MachineEvent::TrayMoved { disk, open }));
                }
                Effect::PowerOff => self.work.push_back(HostWork::Event(MachineEvent::PowerOff)),
            }
        }
        // Keeps the vector's allocation.
        self.outbox.effects = effects;
        if remap {
            self.remap();
        }
    }

    #[cold]
    fn report_guest_errors(&mut self, device: usize) {
        let now = self.clock.now();
        for what in self.outbox.guest_errors.drain(..) {
            let Some(Slot { stats, guest_error_limit, .. }) = self.devices.get_mut(device) else { continue };
            stats.guest_errors += 1;
            let Some(suppressed) = guest_error_limit.pass(now) else { continue };
            let more = if suppressed > 0 { format!(" ({suppressed} more not shown)") } else { String::new() };
            tracing::debug!("{}: guest error: {what}{more}", stats.kind);
            if let Some(tracer) = &mut self.tracer
                && let Some(kind) = tracer.device(Class::GuestError, device)
            {
                tracer.line(
                    Stamp { time: now, vcpu: self.vcpu },
                    Class::GuestError,
                    format_args!("{kind}: {what}{more}"),
                );
            }
        }
    }

    /// A processor reset is a hard reset unless the CMOS shutdown byte says that software resumes after it.
    fn effective_reset(&self, kind: ResetKind) -> ResetKind {
        match kind {
            ResetKind::Init if RESUME_CODES.contains(&self.shutdown_byte()) => ResetKind::Init,
            _ => ResetKind::Hard,
        }
    }

    fn shutdown_byte(&self) -> u8 {
        self.roles.cmos.and_then(|at| self.device::<Cmos>(at)).map_or(0, |cmos| cmos.shutdown_byte())
    }

    /// A vCPU shut down (triple fault): the PIIX3 answers the shutdown cycle with INIT#.
    pub fn shutdown_cycle(&mut self) {
        let kind = self.effective_reset(ResetKind::Init);
        self.work.push_back(HostWork::Event(MachineEvent::Reset(kind)));
    }

    /// Rebuilds the port table, the memory map and the coalesced ranges from the devices' regions.
    fn remap(&mut self) {
        self.map_version = self.map_version.wrapping_add(1);
        self.ports.fill(0);
        self.io.clear();
        self.mem.clear();
        self.coalesce.clear();
        for (n, device) in self.devices.iter().enumerate() {
            let screen = self.roles.vga == Some(n);
            for region in device.chip.regions() {
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
                        let free = |port: u64, ports: &[u16]| ports.get(port as usize).is_some_and(|&n| n == 0);
                        for port in region.base..region.base + region.len {
                            if free(port, &*self.ports) {
                                self.ports[port as usize] = number;
                            }
                        }
                        // Only ports that this region won: writes to another device's ports must exit.
                        for range in &region.coalesce {
                            let all =
                                range.clone().all(|at| self.ports.get((region.base + at) as usize) == Some(&number));
                            if all {
                                let range = (Space::Io, region.base + range.start, range.end - range.start);
                                self.coalesce.push((screen, range));
                            }
                        }
                    }
                    Space::Mem => {
                        for range in &region.coalesce {
                            let range = (Space::Mem, region.base + range.start, range.end - range.start);
                            self.coalesce.push((screen, range));
                        }
                        self.mem.push(Mapped { device: n as u8, region });
                    }
                }
            }
        }
        let video: Vec<Region> =
            self.mem.iter().filter(|m| m.region.video.is_some()).map(|m| m.region.clone()).collect();
        self.outputs.set_memory_map(&map::slots(&self.memory, &self.shadow, &self.rom, &video));
        self.update_coalescing();
    }

    /// Passes the coalesced ranges to KVM, without the display adapter's while a client waits for its next write.
    fn update_coalescing(&mut self) {
        let exclude_screen = self.video.has_subscribers();
        let ranges = self.coalesce.iter().filter(|(screen, _)| !(exclude_screen && *screen)).map(|&(_, range)| range);
        self.outputs.set_coalesced(&joined(ranges.collect()));
    }

    /// Whether work was deferred.
    #[inline]
    pub fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Moves the deferred work to the end of `queue`.
    #[inline]
    pub fn take_work(&mut self, queue: &mut HostQueue) {
        if queue.is_empty() {
            std::mem::swap(&mut self.work, queue);
        } else {
            queue.append(&mut self.work);
        }
    }

    /// A device, by its position and type.
    pub fn device<D: 'static>(&self, at: usize) -> Option<&D> {
        self.devices.get(at)?.chip.as_any().downcast_ref()
    }

    /// Guest memory.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Counters since the machine was built.
    pub fn stats(&self) -> BoardStats {
        BoardStats { devices: self.devices.iter().map(|slot| slot.stats.clone()).collect(), ..self.stats.clone() }
    }

    /// The kinds of the devices, in the board's order.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.devices.iter().map(|slot| slot.chip.kind()).collect()
    }

    /// Starts a trace, or ends it. The caller drops the earlier one after it has released the lock: that waits for a file.
    pub fn set_tracer(&mut self, tracer: Option<Box<Tracer>>) -> Option<Box<Tracer>> {
        std::mem::replace(&mut self.tracer, tracer)
    }

    /// Names the vCPU whose exit is handled next, or none for a host thread and for coalesced writes, for the trace.
    #[inline]
    pub fn set_vcpu(&mut self, vcpu: Option<u32>) {
        self.vcpu = vcpu;
    }

    /// Records an event that belongs to no device.
    #[inline]
    fn trace(&mut self, class: Class, f: impl FnOnce(&mut Tracer, Stamp)) {
        if let Some(tracer) = &mut self.tracer
            && tracer.records(class)
        {
            f(tracer, Stamp { time: self.clock.now(), vcpu: self.vcpu });
        }
    }
}

/// Merges ranges that touch. KVM coalesces a write only if it lies within a single range, and a word written to an IDE data
/// port, whose region is one port wide, reaches into the next region.
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
