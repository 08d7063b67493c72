//! Test bench for one device: mock bus, memory, interrupt lines, clock, timers and disks. Unit tests, property tests and
//! fuzz targets use it. [`subjects`] lists every device once for the tests that all devices share.

pub mod script;
pub mod subjects;

use crate::block::{BlockData, BlockDone, BlockError, BlockOp, BlockRequest, DiskId};
use crate::chipset::isa_dma::IsaDma;
use crate::ctx::{Ctx, Effect, Inbox, IrqLine, Outbox, TimerId};
use crate::device::{Access, CONFIG_TAG, Device, DynDevice, Region, Space, Wake};
use crate::memory::Memory;
use crate::net::{Frame, NicId};
use crate::time::VmTime;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

/// A device on a test bench.
pub struct Bench<D: Device> {
    /// The device.
    pub device: D,
    /// Guest memory: 2 MiB of RAM, and 16 MiB plus 64 KiB of video memory.
    pub memory: Memory,
    /// Levels of the interrupt lines.
    pub irqs: BTreeMap<IrqLine, bool>,
    /// How often each line went from low to high.
    pub edges: BTreeMap<IrqLine, u32>,
    /// Armed timers.
    pub timers: BTreeMap<TimerId, VmTime>,
    /// Effects that the device requested, oldest first; without [`Effect::A20`] and [`Effect::AwaitCoalesced`], which the
    /// bench applies.
    pub effects: Vec<Effect>,
    /// Bytes sent to character devices, by [`crate::CharId`].
    pub chars: BTreeMap<u8, Vec<u8>>,
    /// Guest errors that the device reported, oldest first.
    pub guest_errors: Vec<&'static str>,
    /// Frames sent, oldest first.
    pub sent: Vec<(NicId, Frame)>,
    /// Images by drive.
    pub disks: BTreeMap<DiskId, Vec<u8>>,
    /// When set, requests wait in [`Bench::pending`] for [`Bench::complete`].
    pub hold_requests: bool,
    /// Requests not answered yet.
    pub pending: VecDeque<BlockRequest>,
    /// The DMA controllers that serve the device's ISA DMA requests.
    pub isa_dma: IsaDma,
    /// Every request made, without its buffer: disk, operation, offset and length.
    pub log: Vec<(DiskId, BlockOp, u64, u64)>,
    /// The next requests fail with this.
    pub fail: Option<BlockError>,
    /// The device never loaded a state that it did not save itself, so its requests lie within the images.
    pub trusted: bool,
    now: Cell<VmTime>,
    outbox: Outbox,
    inbox: Inbox,
    awaits_coalesced: bool,
}

impl<D: Device> Bench<D> {
    /// Puts `device` on the bench and resets it.
    pub fn new(device: D) -> Self {
        let mut bench = Self {
            device,
            memory: Memory::new(2 << 20, (16 << 20) + (1 << 16)).expect("18 MiB of address space"),
            irqs: BTreeMap::new(),
            edges: BTreeMap::new(),
            timers: BTreeMap::new(),
            effects: Vec::new(),
            chars: BTreeMap::new(),
            guest_errors: Vec::new(),
            sent: Vec::new(),
            disks: BTreeMap::new(),
            hold_requests: false,
            pending: VecDeque::new(),
            isa_dma: IsaDma::new(),
            log: Vec::new(),
            fail: None,
            trusted: true,
            now: Cell::new(VmTime(1_000_000)),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            awaits_coalesced: false,
        };
        bench.call(|device, cx| Device::reset(device, cx));
        bench
    }

    /// `device` with the saved state of this bench's, on a bench with the same time, disks and memory.
    fn twin(&self, device: D, saved: &[u8]) -> Self {
        let mut twin = Self::new(device);
        twin.now.set(self.now.get());
        let mut bytes = vec![0; self.memory.ram_size() as usize];
        self.memory.read(0, &mut bytes);
        twin.memory.write(0, &bytes);
        twin.disks = self.disks.clone();
        twin.inbox.a20 = self.inbox.a20;
        twin.timers.clear();
        twin.device.load_cbor(saved).expect("a device loads its own state");
        twin.call(|device, cx| Device::resync(device, cx));
        twin
    }

    /// Virtual time.
    pub fn now(&self) -> VmTime {
        self.now.get()
    }

    /// Calls the device and carries out its requests.
    pub fn call<R>(&mut self, f: impl FnOnce(&mut D, &mut Ctx<'_>) -> R) -> R {
        let result = f(&mut self.device, &mut Ctx::new(&self.now, &self.memory, &mut self.outbox, &mut self.inbox));
        self.settle();
        result
    }

    fn settle(&mut self) {
        for (line, level) in self.outbox.irqs.drain(..) {
            if !self.irqs.insert(line, level).unwrap_or(false) && level {
                *self.edges.entry(line).or_default() += 1;
            }
        }
        for (timer, at) in self.outbox.timers.drain(..) {
            match at {
                Some(at) => self.timers.insert(timer, at),
                None => self.timers.remove(&timer),
            };
        }
        for effect in self.outbox.effects.drain(..) {
            match effect {
                Effect::A20(open) => self.inbox.a20 = open,
                Effect::AwaitCoalesced(waits) => self.awaits_coalesced = waits,
                other => self.effects.push(other),
            }
        }
        self.guest_errors.append(&mut self.outbox.guest_errors);
        for (to, byte) in self.outbox.chars.drain(..) {
            self.chars.entry(to.0).or_default().push(byte);
        }
        self.sent.append(&mut self.outbox.frames);
        let requests: Vec<_> = self.outbox.requests.drain(..).collect();
        for request in requests {
            self.log.push((request.disk, request.op, request.offset, request.data.len()));
            self.pending.push_back(request);
        }
        for request in std::mem::take(&mut self.outbox.isa_dma) {
            let done = self.isa_dma.serve(&self.memory, request);
            self.call(|device, cx| Device::wake(device, cx, Wake::IsaDma(done)));
        }
        if !self.hold_requests {
            while self.complete() {}
        }
    }

    /// Writes a byte to a port of the DMA controllers.
    pub fn isa_dma_out(&mut self, port: u16, value: u8) {
        let region =
            Device::regions(&self.isa_dma).into_iter().find(|r| (r.base..r.base + r.len).contains(&port.into()));
        let Some(region) = region else { return };
        let at = Access { tag: region.tag, offset: u64::from(port) - region.base, width: 1 };
        let mut cx = Ctx::new(&self.now, &self.memory, &mut self.outbox, &mut self.inbox);
        Device::write(&mut self.isa_dma, &mut cx, at, &[value]);
    }

    /// Completes the oldest waiting disk request. False if none waits.
    pub fn complete(&mut self) -> bool {
        let Some(mut request) = self.pending.pop_front() else { return false };
        let result = self.perform(&mut request);
        let done = BlockDone { disk: request.disk, tag: request.tag, data: request.data, result };
        self.call(|device, cx| Device::wake(device, cx, Wake::Block(done)));
        true
    }

    fn perform(&mut self, request: &mut BlockRequest) -> Result<(), BlockError> {
        if let Some(error) = self.fail {
            return Err(error);
        }
        let disk = self.disks.get_mut(&request.disk).ok_or(BlockError::NoMedium)?;
        let len = request.data.len() as usize;
        let at = usize::try_from(request.offset).map_err(|_| BlockError::OutOfRange)?;
        let end = at.checked_add(len).ok_or(BlockError::OutOfRange)?;
        let part = disk.get_mut(at..end).ok_or(BlockError::OutOfRange)?;
        match (request.op, &mut request.data) {
            (BlockOp::Read, BlockData::Buffer(buf)) => buf.copy_from_slice(part),
            (BlockOp::Write, BlockData::Buffer(buf)) => part.copy_from_slice(buf),
            (BlockOp::Read, BlockData::Guest(ranges)) => {
                let mut from = 0;
                for range in ranges {
                    self.memory.write(range.addr, &part[from..from + range.len as usize]);
                    from += range.len as usize;
                }
            }
            (BlockOp::Write, BlockData::Guest(ranges)) => {
                let mut from = 0;
                for range in ranges {
                    self.memory.read(range.addr, &mut part[from..from + range.len as usize]);
                    from += range.len as usize;
                }
            }
            (BlockOp::Discard { len }, _) => {
                let end = at.saturating_add(len as usize).min(disk.len());
                disk.get_mut(at..end).ok_or(BlockError::OutOfRange)?.fill(0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Advances time and leaves the timers that become due to the next access, as on a board whose timer thread is late.
    pub fn advance_unnoticed(&mut self, nanos: u64) {
        self.now.set(self.now.get().plus_nanos(nanos));
    }

    /// As the board does before each access: fires the timers that are due.
    fn fire_due_timers(&mut self) {
        for _ in 0..64 {
            let due = self.timers.iter().filter(|(_, at)| **at <= self.now.get()).min_by_key(|(_, at)| **at);
            let Some((&timer, _)) = due else { break };
            self.timers.remove(&timer);
            self.call(|device, cx| Device::wake(device, cx, Wake::Timer(timer)));
        }
    }

    /// Advances time and fires the timers that become due, in order.
    pub fn advance(&mut self, nanos: u64) {
        let until = self.now.get().plus_nanos(nanos);
        for _ in 0..1_000_000 {
            let Some((&timer, &at)) = self.timers.iter().min_by_key(|(_, at)| **at) else { break };
            if at > until {
                break;
            }
            self.timers.remove(&timer);
            self.now.set(self.now.get().max(at));
            self.call(|device, cx| Device::wake(device, cx, Wake::Timer(timer)));
        }
        self.now.set(until);
    }

    fn find(&self, space: Space, addr: u64) -> Option<Region> {
        Device::regions(&self.device).into_iter().find(|r| r.space == space && addr >= r.base && addr - r.base < r.len)
    }

    fn access(&mut self, space: Space, addr: u64, width: u8, data: &mut [u8], write: bool) {
        let Some(region) = self.find(space, addr) else {
            if !write {
                data.fill(0xff);
            }
            return;
        };
        if let Some(video) = region.video {
            let offset = video + (addr - region.base);
            return if write { self.memory.write_video(offset, data) } else { self.memory.read_video(offset, data) };
        }
        self.fire_due_timers();
        let at = Access { tag: region.tag, offset: addr - region.base, width };
        // As on the board: an access that crosses the end of the region is cut there; no other device answers the rest.
        let fits =
            if region.fifo && at.offset == 0 { data.len() } else { data.len().min((region.len - at.offset) as usize) };
        if write {
            let part = data[..fits].to_vec();
            self.call(|device, cx| Device::write(device, cx, at, &part));
        } else {
            data.fill(0xff);
            let mut part = vec![0xff; fits];
            self.call(|device, cx| Device::read(device, cx, at, &mut part));
            data[..fits].copy_from_slice(&part);
        }
    }

    /// Reads a port, 1, 2 or 4 bytes wide.
    pub fn input(&mut self, port: u16, width: u8) -> u32 {
        let mut data = [0; 4];
        self.access(Space::Io, port.into(), width, &mut data[..usize::from(width)], false);
        u32::from_le_bytes(data)
    }

    /// Reads a byte port.
    pub fn inb(&mut self, port: u16) -> u8 {
        self.input(port, 1) as u8
    }

    /// Reads a word port.
    pub fn inw(&mut self, port: u16) -> u16 {
        self.input(port, 2) as u16
    }

    /// Reads a dword port.
    pub fn inl(&mut self, port: u16) -> u32 {
        self.input(port, 4)
    }

    /// Writes a byte port.
    pub fn outb(&mut self, port: u16, value: u8) {
        self.access(Space::Io, port.into(), 1, &mut [value], true);
    }

    /// Writes a word port.
    pub fn outw(&mut self, port: u16, value: u16) {
        self.access(Space::Io, port.into(), 2, &mut value.to_le_bytes(), true);
    }

    /// Writes a dword port.
    pub fn outl(&mut self, port: u16, value: u32) {
        self.access(Space::Io, port.into(), 4, &mut value.to_le_bytes(), true);
    }

    /// `rep insb/w/l`: a whole string from one port.
    pub fn ins(&mut self, port: u16, width: u8, data: &mut [u8]) {
        if self.find(Space::Io, port.into()).is_some_and(|r| r.fifo && r.base == u64::from(port)) {
            self.access(Space::Io, port.into(), width, data, false);
        } else {
            for part in data.chunks_mut(width.into()) {
                self.access(Space::Io, port.into(), width, part, false);
            }
        }
    }

    /// `rep outsb/w/l`: a whole string to one port.
    pub fn outs(&mut self, port: u16, width: u8, data: &[u8]) {
        let mut data = data.to_vec();
        if self.find(Space::Io, port.into()).is_some_and(|r| r.fifo && r.base == u64::from(port)) {
            self.access(Space::Io, port.into(), width, &mut data, true);
        } else {
            for part in data.chunks_mut(width.into()) {
                self.access(Space::Io, port.into(), width, part, true);
            }
        }
    }

    /// Reads memory as a vCPU does.
    pub fn mem_read(&mut self, addr: u64, data: &mut [u8]) {
        let width = data.len() as u8;
        self.access(Space::Mem, addr, width, data, false);
    }

    /// Writes memory as a vCPU does.
    pub fn mem_write(&mut self, addr: u64, data: &[u8]) {
        let mut data = data.to_vec();
        self.access(Space::Mem, addr, data.len() as u8, &mut data, true);
    }

    /// Reads configuration space, 1, 2 or 4 bytes wide.
    pub fn config_read(&mut self, register: u8, width: u8) -> u32 {
        let mut data = [0xff; 4];
        let at = Access { tag: CONFIG_TAG, offset: register.into(), width };
        self.fire_due_timers();
        self.call(|device, cx| Device::read(device, cx, at, &mut data[..usize::from(width)]));
        if width < 4 {
            u32::from_le_bytes(data) & ((1 << (8 * u32::from(width))) - 1)
        } else {
            u32::from_le_bytes(data)
        }
    }

    /// Writes configuration space, 1, 2 or 4 bytes wide.
    pub fn config_write(&mut self, register: u8, width: u8, value: u32) {
        let at = Access { tag: CONFIG_TAG, offset: register.into(), width };
        let data = value.to_le_bytes();
        self.fire_due_timers();
        self.call(|device, cx| Device::write(device, cx, at, &data[..usize::from(width)]));
    }

    /// Level of an interrupt line.
    pub fn irq(&self, line: IrqLine) -> bool {
        self.irqs.get(&line).copied().unwrap_or(false)
    }

    /// The device's last [`Effect::AwaitCoalesced`].
    pub fn awaits_writes(&self) -> bool {
        self.awaits_coalesced
    }

    /// Delivers bytes from a character device of the host.
    pub fn type_chars(&mut self, from: crate::CharId, bytes: &[u8]) {
        self.inbox.chars(from).extend(bytes);
        self.call(|device, cx| Device::wake(device, cx, Wake::CharReady(from)));
    }

    /// Delivers received frames to the device. Returns how many still wait.
    pub fn receive(&mut self, nic: NicId, frames: impl IntoIterator<Item = Frame>) -> usize {
        self.inbox.frames(nic).extend(frames);
        self.call(|device, cx| Device::wake(device, cx, Wake::Frames(nic)));
        self.inbox.frames_waiting(nic)
    }
}

/// A small random number generator for tests that must repeat (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n` (which is at least 1).
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64() % n.max(1)
    }
}

/// Tests what every device must fulfil: a reset restores the power-on regions, a saved state loads without change, a
/// damaged state does no harm, and no sequence of accesses panics. [`subjects::SUBJECTS`] applies it to every device.
///
/// # Panics
/// If the device fails the test.
pub fn generic_tests<D: Device>(make: impl Fn() -> D) {
    let fresh = Bench::new(make()).device.save_cbor();

    // Random accesses, all sizes and offsets, configuration space, timers, then the two properties on that state.
    for seed in 0..8 {
        let mut rng = Rng(seed);
        let mut bench = Bench::new(make());
        for disk in 0..6 {
            bench.disks.insert(DiskId(disk), vec![0x5a; 1 << 20]);
        }
        for step in 0..20_000 {
            let regions = Device::regions(&bench.device);
            let width = [1u8, 2, 4][rng.below(3) as usize];
            bench.hold_requests = rng.below(4) == 0;
            match rng.below(20) {
                0 if Device::pci(&bench.device).is_some() => {
                    bench.config_write(rng.below(256) as u8, width, rng.next_u64() as u32);
                }
                1 if Device::pci(&bench.device).is_some() => {
                    bench.config_read(rng.below(256) as u8, width);
                }
                2 => bench.advance(rng.below(20_000_000)),
                3 => {
                    bench.complete();
                }
                4 => {
                    let mut bytes = vec![0; 64];
                    bytes.fill_with(|| rng.next_u64() as u8);
                    bench.memory.write(rng.below(2 << 20), &bytes);
                }
                5 if step % 97 == 0 => bench.call(|device, cx| Device::reset(device, cx)),
                n => {
                    let Some(region) = regions.get(rng.below(regions.len().max(1) as u64) as usize).cloned() else {
                        continue;
                    };
                    let addr = region.base + rng.below(region.len);
                    let value = rng.next_u64() >> rng.below(64);
                    let mut bytes = value.to_le_bytes();
                    let data = &mut bytes[..usize::from(width)];
                    match (region.space, n % 2) {
                        (Space::Io, 0) if region.fifo && rng.below(4) == 0 => {
                            let mut string = vec![0; usize::from(width) * (1 + rng.below(700) as usize)];
                            if rng.below(2) == 0 {
                                bench.ins(region.base as u16, width, &mut string);
                            } else {
                                string.fill_with(|| rng.next_u64() as u8);
                                bench.outs(region.base as u16, width, &string);
                            }
                        }
                        (Space::Io, 0) => {
                            bench.input(addr as u16, width);
                        }
                        (Space::Io, _) => bench.access(Space::Io, addr, width, data, true),
                        (Space::Mem, 0) => bench.mem_read(addr, data),
                        (Space::Mem, _) => bench.mem_write(addr, data),
                    }
                }
            }
        }

        let saved = bench.device.save_cbor();
        let mut other = Bench::new(make());
        other.device.load_cbor(&saved).expect("a device loads its own state");
        assert_eq!(other.device.save_cbor(), saved, "{}: a round trip changes the state (seed {seed})", D::KIND);
        other.call(|device, cx| Device::resync(device, cx));

        bench.hold_requests = false;
        while bench.complete() {}
        bench.call(|device, cx| Device::reset(device, cx));
        let mut untouched = make();
        untouched.load_cbor(&fresh).expect("a device loads its own state");
        assert_eq!(
            Device::regions(&bench.device),
            Device::regions(&untouched),
            "{}: a reset does not restore the power-on regions (seed {seed})",
            D::KIND
        );
    }

    // A damaged state is refused or loaded, without a panic; a device that loaded it can be used.
    let mut rng = Rng(99);
    for _ in 0..400 {
        let mut bytes = fresh.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        let mut bench = Bench::new(make());
        if bench.device.load_cbor(&bytes).is_ok() {
            bench.call(|device, cx| Device::resync(device, cx));
            for region in Device::regions(&bench.device) {
                for offset in 0..region.len.min(16) {
                    let mut data = [0];
                    bench.access(region.space, region.base + offset, 1, &mut data, false);
                    bench.access(region.space, region.base + offset, 1, &mut data, true);
                }
            }
            bench.advance(1_000_000_000);
        }
    }
}
