//! Test scripts: bytes decoded to accesses, timers, completions and input for a device on a bench. Any bytes are a valid
//! script, so a random generator and a fuzzer can both write them.

use super::Bench;
use crate::block::{BlockData, BlockError, BlockOp, DiskId, Medium};
use crate::ctx::{CharId, TimerId};
use crate::device::{Device, DynDevice, Region, Space, Wake};
use crate::input::InputEvent;
use std::collections::BTreeSet;

/// The unread part of a script. Reads past its end return zeros.
#[derive(Clone, Debug)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// A script with these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether the script has ended.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes, or fewer at the end.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (now, later) = self.0.split_at(len.min(self.0.len()));
        self.0 = later;
        now
    }

    /// A little-endian number of `len` bytes, at most 8.
    pub fn number(&mut self, len: usize) -> u64 {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(self.take(len)) {
            *to = *from;
        }
        u64::from_le_bytes(bytes)
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.number(1) as u8
    }

    /// A number below `n` (which is at least 1), from one byte.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    /// 1, 2 or 4.
    pub fn width(&mut self) -> u8 {
        [1, 2, 4][self.below(3)]
    }
}

/// Plays a script to its end. `make` creates an identical device; `extra` is a step that is specific to the device.
///
/// # Panics
/// If the device panics, if a saved state changes by a round trip, or if a request of the device is invalid.
pub fn play<D: Device>(
    bench: &mut Bench<D>,
    make: &impl Fn() -> D,
    script: &mut Script<'_>,
    mut extra: impl FnMut(&mut Bench<D>, &mut Script<'_>),
) {
    while !script.is_over() {
        step(bench, make, script, &mut extra);
        check_requests(bench);
        bench.effects.clear();
        bench.chars.clear();
        bench.log.clear();
    }
    save_and_load(bench, make);
}

fn step<D: Device>(
    bench: &mut Bench<D>,
    make: &impl Fn() -> D,
    script: &mut Script<'_>,
    extra: &mut impl FnMut(&mut Bench<D>, &mut Script<'_>),
) {
    let pci = Device::pci(&bench.device).is_some();
    match script.below(24) {
        0..8 => access(bench, script),
        8 => string(bench, script),
        9 if pci => {
            let (register, width) = (script.byte(), script.width());
            bench.config_read(register, width);
        }
        10 | 11 if pci => {
            let (register, width) = (script.byte(), script.width());
            let value = script.number(width.into()) as u32;
            bench.config_write(register, width, value);
        }
        12 => {
            let nanos = script.number(2) << script.below(15);
            bench.advance(nanos);
        }
        13 => {
            bench.complete();
        }
        14 => {
            let how = script.byte();
            bench.hold_requests = how & 1 != 0;
            bench.fail = [
                None,
                Some(BlockError::Io(5)),
                Some(BlockError::OutOfRange),
                Some(BlockError::ReadOnly),
                Some(BlockError::NoSpace),
                Some(BlockError::NoMedium),
                None,
                None,
            ][usize::from(how >> 1 & 7)];
        }
        15 => {
            let addr = script.number(3) & 0x1f_ffff;
            let len = script.below(65);
            bench.memory.write(addr, script.take(len));
        }
        16 if script.byte() & 7 == 0 => bench.call(|device, cx| Device::reset(device, cx)),
        17 => save_and_load(bench, make),
        18 => wake(bench, script),
        _ => extra(bench, script),
    }
}

fn region<D: Device>(bench: &Bench<D>, script: &mut Script<'_>) -> Option<Region> {
    let mut regions = Device::regions(&bench.device);
    let n = script.below(regions.len());
    (n < regions.len()).then(|| regions.swap_remove(n))
}

fn access<D: Device>(bench: &mut Bench<D>, script: &mut Script<'_>) {
    let Some(region) = region(bench, script) else { return };
    let how = script.byte();
    let offset = if region.len > 0x100 { script.number(3) } else { script.number(1) } % region.len;
    let mut bytes = [0; 8];
    let widths = if region.space == Space::Io { [1, 2, 4, 1] } else { [1, 2, 4, 8] };
    let width = widths[usize::from(how & 3)];
    let write = how & 4 == 0;
    if write {
        bytes = script.number(width).to_le_bytes();
    }
    bench.access(region.space, region.base + offset, width as u8, &mut bytes[..width], write);
}

fn string<D: Device>(bench: &mut Bench<D>, script: &mut Script<'_>) {
    let Some(region) = region(bench, script).filter(|region| region.space == Space::Io) else { return };
    let width = script.width();
    let count = script.number(2) as usize & 0x3ff;
    let port = region.base as u16;
    let mut data = vec![script.byte(); usize::from(width) * count];
    if script.byte() & 1 == 0 {
        let pattern = script.take(16);
        for (to, from) in data.iter_mut().zip(pattern.iter().cycle()) {
            *to = *from;
        }
        bench.outs(port, width, &data);
    } else {
        bench.ins(port, width, &mut data);
    }
}

fn wake<D: Device>(bench: &mut Bench<D>, script: &mut Script<'_>) {
    let why = match script.below(7) {
        0 => Wake::Timer(TimerId(script.byte() & 3)),
        1 => Wake::Input(InputEvent::Key { code: script.number(2) as u16 & 0x3ff, down: script.byte() & 1 == 0 }),
        2 => Wake::Input(InputEvent::Mouse {
            dx: script.number(4) as i32,
            dy: script.number(2) as i16 as i32,
            dz: i32::from(script.byte() as i8),
            buttons: script.byte(),
        }),
        3 => Wake::PowerButton,
        5 => Wake::Input(InputEvent::Pointer {
            x: Some(script.number(2) as u16),
            y: None,
            dz: i32::from(script.byte() as i8),
            buttons: script.byte(),
        }),
        4 => {
            let size = script.number(3);
            // Units without a drive, and drives without a removable medium.
            Wake::Medium(DiskId([0, 3, 6, 255][script.below(4)]), (size & 1 == 0).then_some(Medium::iso(size)))
        }
        _ => {
            let to = CharId(script.below(5) as u8);
            let len = script.below(40);
            return bench.type_chars(to, script.take(len));
        }
    };
    bench.call(|device, cx| Device::wake(device, cx, why));
}

/// Checks the device's requests: within the image, buffers of bounded size, unique tags.
fn check_requests<D: Device>(bench: &Bench<D>) {
    for request in &bench.pending {
        if let BlockData::Buffer(buffer) = &request.data {
            assert!(buffer.len() <= 0x1_0000, "{}: a buffer of {} bytes", D::KIND, buffer.len());
        }
    }
    let tags: BTreeSet<_> = bench.pending.iter().map(|request| request.tag).collect();
    assert_eq!(tags.len(), bench.pending.len(), "{}: two requests with the same tag", D::KIND);
    for &(disk, op, offset, len) in &bench.log {
        let len = if let BlockOp::Discard { len } = op { len } else { len };
        if !bench.trusted {
            continue;
        }
        let size = bench.disks.get(&disk).map_or(0, Vec::len) as u64;
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= size),
            "{}: {op:?} of {len} bytes at {offset} of {disk:?}, which has {size}",
            D::KIND
        );
    }
}

/// Replaces the device by another one that has loaded its state.
pub(super) fn save_and_load<D: Device>(bench: &mut Bench<D>, make: &impl Fn() -> D) {
    let saved = bench.device.save_cbor();
    let mut other = make();
    if let Err(error) = other.load_cbor(&saved) {
        panic!("{}: does not load its own state: {error}", D::KIND);
    }
    assert_eq!(other.save_cbor(), saved, "{}: a round trip changes the state", D::KIND);
    bench.device = other;
    bench.call(|device, cx| Device::resync(device, cx));
}
