use super::timers::MAX_WAKES;
use super::*;
use crate::emulator::Bus;
use crate::screen::Waker;
use pcvm_devices::net::{Frame, NicId};
use pcvm_devices::{Access, BlockDone, BlockRequest, CharId, Device, DiskId, IrqLine, Owned, RestoreError, TimerId};
use std::cell::Cell;
use std::sync::Mutex;

/// Records how the board calls it; a write runs `act`.
struct Probe {
    regions: Vec<Region>,
    devfn: Option<Devfn>,
    owned: Owned,
    log: Arc<Mutex<Vec<String>>>,
    act: fn(&mut Ctx<'_>, u8),
}

impl Device for Probe {
    type State = ();
    const KIND: &'static str = "probe";
    const VERSION: u32 = 1;
    fn regions(&self) -> Vec<Region> {
        self.regions.clone()
    }
    fn pci(&self) -> Option<Devfn> {
        self.devfn
    }
    fn owns(&self) -> Owned {
        self.owned.clone()
    }
    fn read(&mut self, _: &mut Ctx<'_>, at: Access, data: &mut [u8]) {
        self.log.lock().unwrap().push(format!("r{} {:x}.{}x{}", at.tag, at.offset, at.width, data.len()));
        data.fill(at.tag);
    }
    fn write(&mut self, cx: &mut Ctx<'_>, at: Access, data: &[u8]) {
        self.log.lock().unwrap().push(format!("w{} {:x}.{} {data:x?}", at.tag, at.offset, at.width));
        (self.act)(cx, data[0]);
    }
    fn wake(&mut self, cx: &mut Ctx<'_>, why: Wake) {
        self.log.lock().unwrap().push(format!("{why:?}"));
        if let Wake::Timer(timer) = why
            && timer.0 == 9
        {
            // A hostile guest arms it in the past at each wake-up.
            cx.arm(timer, VmTime::ZERO);
        }
    }
    fn reset(&mut self, _: &mut Ctx<'_>) {}
    fn save(&self) {}
    fn load(&mut self, (): ()) -> Result<(), RestoreError> {
        Ok(())
    }
    fn resync(&mut self, _: &mut Ctx<'_>) {}
}

#[derive(Default, Clone)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Outputs for Log {
    fn set_gsi(&mut self, gsi: u32, level: bool) {
        self.0.lock().unwrap().push(format!("gsi {gsi} {}", u8::from(level)));
    }
    fn set_alarm(&mut self, at: VmTime) {
        self.0.lock().unwrap().push(format!("alarm {}", at.0));
    }
    fn set_memory_map(&mut self, _: &[SlotSpec]) {}
    fn collect_dirty_video(&mut self, dirty: &mut DirtyPages) {
        dirty.add(0x3000..0x3001);
    }
    fn set_coalesced(&mut self, ranges: &[(Space, u64, u64)]) {
        self.0.lock().unwrap().push(format!("coalesce {ranges:x?}"));
    }
}

struct TestClock(Mutex<Cell<u64>>);

impl Clock for TestClock {
    fn now(&self) -> VmTime {
        VmTime(self.0.lock().unwrap().get())
    }
}

struct Setup {
    board: Board,
    device: Arc<Mutex<Vec<String>>>,
    wires: Log,
    clock: Arc<TestClock>,
}

fn board(devices: Vec<(Vec<Region>, Option<Devfn>)>, act: fn(&mut Ctx<'_>, u8)) -> Setup {
    owning_board(devices.into_iter().map(|(regions, devfn)| (regions, devfn, Owned::default())).collect(), act)
}

fn owning_board(devices: Vec<(Vec<Region>, Option<Devfn>, Owned)>, act: fn(&mut Ctx<'_>, u8)) -> Setup {
    let log = Arc::new(Mutex::new(Vec::new()));
    let devices = devices
        .into_iter()
        .map(|(regions, devfn, owned)| {
            Box::new(Probe { regions, devfn, owned, log: log.clone(), act }) as Box<dyn DynDevice>
        })
        .collect();
    let wires = Log::default();
    let clock = Arc::new(TestClock(Mutex::new(Cell::new(1000))));
    let memory = Arc::new(Memory::new(2 << 20, 1 << 20).unwrap());
    let mut board = Board::new(devices, memory, Box::new(clock.clone()), Box::new(wires.clone()), Rom::default());
    board.reset();
    let setup = Setup { board, device: log, wires, clock };
    setup.wires.0.lock().unwrap().retain(|line| line.starts_with("coalesce"));
    setup
}

impl Setup {
    fn device_log(&self) -> Vec<String> {
        std::mem::take(&mut self.device.lock().unwrap())
    }
    fn wire_log(&self) -> Vec<String> {
        std::mem::take(&mut self.wires.0.lock().unwrap())
    }
    fn work(&mut self) -> Vec<HostWork> {
        let mut queue = HostQueue::new();
        self.board.take_work(&mut queue);
        queue.into()
    }
    /// The deferred work, a word or two for each piece.
    fn work_log(&mut self) -> Vec<String> {
        let name = |work| match work {
            HostWork::Block(request) => format!("block {}", request.tag),
            HostWork::Frame(nic, frame) => format!("frame {} {}", nic.0, frame.bytes.len()),
            HostWork::Chars(stream) => format!("chars {}", stream.0),
            HostWork::Ready(source) => format!("ready {source:?}"),
            HostWork::Wake(_) => "wake".to_owned(),
            HostWork::Event(event) => format!("{event:?}"),
        };
        self.work().into_iter().map(name).collect()
    }
}

#[test]
fn an_access_finds_the_device_woken_although_the_timer_thread_is_late() {
    let mut setup = board(vec![(vec![Region::io(0x100, 2, 1)], None)], |cx, timer| {
        let at = cx.now().plus_nanos(100);
        cx.arm(TimerId(timer), at);
    });
    setup.board.port_out(0x100, 1, &[3]);
    setup.device_log();
    let mut byte = [0];
    setup.board.port_in(0x100, 1, &mut byte);
    assert_eq!(setup.device_log(), ["r1 0.1x1"], "the timer is not due");
    setup.clock.0.lock().unwrap().set(1100);
    setup.board.port_in(0x100, 1, &mut byte);
    assert_eq!(setup.device_log(), ["Timer(TimerId(3))", "r1 0.1x1"]);
    setup.board.fire_timers();
    setup.board.port_in(0x100, 1, &mut byte);
    assert_eq!(setup.device_log(), ["r1 0.1x1"], "a timer fires once");
    // A write finds it woken as well, and a device that arms in the past does not hold the access.
    setup.board.port_out(0x100, 1, &[9]);
    setup.clock.0.lock().unwrap().set(1200);
    setup.board.port_out(0x100, 1, &[4]);
    let log = setup.device_log();
    assert_eq!(log.iter().filter(|line| line.starts_with("Timer")).count(), MAX_WAKES);
    assert_eq!(log.last().unwrap(), "w1 0.1 [4]");
}

#[test]
fn a_keyboard_byte_that_is_due_is_in_the_output_buffer_before_its_timer_fires() {
    use pcvm_devices::InputEvent;
    use pcvm_devices::ps2::Ps2Controller;
    let clock = Arc::new(TestClock(Mutex::new(Cell::new(1000))));
    let memory = Arc::new(Memory::new(2 << 20, 1 << 20).unwrap());
    let ps2: Box<dyn DynDevice> = Box::new(Ps2Controller::new());
    let mut board = Board::new(vec![ps2], memory, Box::new(clock.clone()), Box::new(Log::default()), Rom::default());
    board.reset();
    // Keyboard enabled and scanning, as after every BIOS.
    board.port_out(0x64, 1, &[0xae]);
    for key in [30, 31] {
        board.input(InputEvent::Key { code: key, down: true });
    }
    let read = |board: &mut Board, port| {
        let mut byte = [0];
        board.port_in(port, 1, &mut byte);
        byte[0]
    };
    assert_eq!(read(&mut board, 0x64) & 1, 1);
    let first = read(&mut board, 0x60);
    assert_eq!(read(&mut board, 0x64) & 1, 0, "the next byte takes its time on the wire");
    clock.0.lock().unwrap().set(1000 + pcvm_devices::ps2::controller::BYTE_GAP);
    assert_eq!(read(&mut board, 0x64) & 1, 1);
    assert_ne!(read(&mut board, 0x60), first);
}

#[test]
fn an_access_over_two_devices_is_split_at_their_border() {
    let regions = vec![(vec![Region::io(0x100, 2, 1)], None), (vec![Region::io(0x102, 8, 2)], None)];
    let mut setup = board(regions, |_, _| ());
    setup.board.port_out(0x101, 4, &[1, 2, 3, 4]);
    assert_eq!(setup.device_log(), ["w1 1.1 [1]", "w2 0.3 [2, 3, 4]"]);
    let mut data = [0; 4];
    setup.board.port_in(0xfe, 4, &mut data);
    assert_eq!(data, [0xff, 0xff, 1, 1], "no device answers the first two");
    setup.board.port_in(0xffff, 2, &mut data[..2]);
    assert_eq!(data[..2], [0xff, 0xff], "the last port ends the port space");
}

#[test]
fn a_string_goes_whole_to_a_fifo_and_one_by_one_elsewhere() {
    let regions = vec![(vec![Region::io(0x100, 1, 1).with_fifo(), Region::io(0x101, 1, 2)], None)];
    let mut setup = board(regions, |_, _| ());
    setup.board.port_out(0x100, 2, &[1, 2, 3, 4]);
    setup.board.port_out(0x101, 1, &[5, 6]);
    assert_eq!(setup.device_log(), ["w1 0.2 [1, 2, 3, 4]", "w2 0.1 [5]", "w2 0.1 [6]"]);
}

#[test]
fn the_first_device_wins_and_only_its_own_ports_are_coalesced() {
    let first = vec![Region::io(0x100, 2, 1)];
    let second = vec![Region::io(0x100, 4, 2).with_coalesce(0..2).with_coalesce(2..4)];
    let mut setup = board(vec![(first, None), (second, None)], |_, _| ());
    assert_eq!(setup.wire_log(), ["coalesce [(Io, 102, 2)]"]);
    let mut byte = [0];
    setup.board.port_in(0x101, 1, &mut byte);
    assert_eq!(byte, [1]);
}

#[test]
fn coalesced_ranges_that_touch_are_one_so_that_wide_writes_fit_in() {
    let regions = vec![
        Region::io(0x171, 6, 1).with_coalesce(0..6),
        Region::io(0x1f0, 1, 2).with_fifo().with_coalesce(0..1),
        Region::io(0x1f1, 7, 3).with_coalesce(0..6),
        Region::mem(0x1f7, 9, 4).with_coalesce(0..9),
    ];
    let setup = board(vec![(regions, None)], |_, _| ());
    assert_eq!(setup.wire_log(), ["coalesce [(Io, 171, 6), (Io, 1f0, 7), (Mem, 1f7, 9)]"]);
}

#[test]
fn a_coalesced_write_reaches_a_video_window_that_was_mapped_after_it() {
    let mut setup = board(vec![(vec![Region::video(0xa_0000, 0x1_0000, 1, 0x100)], None)], |_, _| ());
    setup.board.mem_write(0xa_0002, &[1, 2, 3]);
    let mut data = [0; 4];
    setup.board.mem_read(0xa_0001, &mut data);
    assert_eq!((data, setup.device_log().len()), ([0, 1, 2, 3], 0));
    // The end of the window cuts an access.
    setup.board.mem_write(0xa_ffff, &[9, 9]);
    setup.board.mem_read(0xa_ffff, &mut data);
    assert_eq!(data, [9, 0xff, 0xff, 0xff]);
}

#[test]
fn configuration_space_is_reached_by_mechanism_1_byte_by_byte() {
    let regions = vec![(vec![Region::io(0xcf9, 1, 3)], Some(Devfn::new(1, 0)))];
    let mut setup = board(regions, |_, _| ());
    setup.board.port_out(0xcf9, 1, &[6]);
    assert_eq!(setup.device_log(), ["w3 0.1 [6]"], "a byte at CF9h is the reset port");
    setup.board.port_out(0xcf8, 4, &0x8000_0844_u32.to_le_bytes());
    setup.board.port_out(0xcfe, 2, &[1, 2]);
    setup.board.port_out(0xcfe, 4, &[1, 2, 3, 4]);
    assert_eq!(setup.device_log(), ["w255 46.2 [1, 2]", "w255 46.2 [1, 2]"], "cut at the dword's end");
    setup.board.port_out(0xcf8, 4, &0x8000_1000_u32.to_le_bytes());
    let mut data = [0; 4];
    setup.board.port_in(0xcfc, 4, &mut data);
    assert_eq!(data, [0xff; 4], "an empty slot reads all ones");
}

#[test]
fn pulses_reach_the_interrupt_controller_and_repeats_do_not() {
    let act: fn(&mut Ctx<'_>, u8) = |cx, value| {
        cx.set_irq(IrqLine::Isa(5), value & 1 != 0);
        cx.set_irq(IrqLine::Isa(5), value & 2 != 0);
    };
    let mut setup = board(vec![(vec![Region::io(0x100, 1, 1)], None)], act);
    setup.wire_log();
    for value in [1, 3, 3, 0] {
        setup.board.port_out(0x100, 1, &[value]);
    }
    assert_eq!(setup.wire_log(), ["gsi 5 1", "gsi 5 0", "gsi 5 1", "gsi 5 0"]);
}

#[test]
fn a_timer_that_is_always_due_cannot_hold_the_board() {
    let mut setup = board(vec![(vec![Region::io(0x100, 1, 1)], None)], |cx, _| cx.arm(TimerId(9), VmTime::ZERO));
    setup.wire_log();
    setup.board.port_out(0x100, 1, &[0]);
    assert_eq!(setup.wire_log(), ["alarm 0"]);
    setup.device_log();
    setup.board.fire_timers();
    assert_eq!(setup.device_log().len(), MAX_WAKES);
    assert_eq!(setup.wire_log().last().map(String::as_str), Some("alarm 0"), "the rest polls for the next alarm");
}

#[test]
fn a_later_timer_asks_for_no_new_alarm() {
    let act: fn(&mut Ctx<'_>, u8) = |cx, value| {
        let at = VmTime(u64::from(value) * 1000);
        if value == 0 { cx.disarm(TimerId(1)) } else { cx.arm(TimerId(1), at) }
    };
    let mut setup = board(vec![(vec![Region::io(0x100, 1, 1)], None)], act);
    setup.wire_log();
    for value in [20, 40, 10, 0, 30] {
        setup.board.port_out(0x100, 1, &[value]);
    }
    assert_eq!(setup.wire_log(), ["alarm 20000", "alarm 10000"]);
    setup.device_log();
    setup.clock.0.lock().unwrap().set(10_000);
    setup.board.fire_timers();
    assert_eq!(setup.device_log(), [""; 0], "too early");
    assert_eq!(setup.wire_log(), ["alarm 30000"]);
    setup.clock.0.lock().unwrap().set(30_000);
    setup.board.fire_timers();
    assert_eq!(setup.device_log(), ["Timer(TimerId(1))"]);
}

#[test]
fn deferred_work_comes_out_once_in_the_order_of_the_requests() {
    let act: fn(&mut Ctx<'_>, u8) = |cx, value| match value {
        1 => cx.put_char(CharId(0), b'x'),
        2 => cx.effect(Effect::Reset(ResetKind::Init)),
        3 => cx.send(NicId(1), Frame::from(vec![0; 60])),
        4 => cx.submit(BlockRequest {
            disk: DiskId(0),
            tag: 7,
            op: pcvm_devices::BlockOp::Flush,
            offset: 0,
            data: pcvm_devices::BlockData::None,
        }),
        _ => cx.effect(Effect::PowerOff),
    };
    let owned = Owned { nics: vec![NicId(1)], ..Owned::default() };
    let mut setup = owning_board(vec![(vec![Region::io(0x100, 1, 1)], None, owned)], act);
    assert!(!setup.board.has_work());
    setup.board.port_out(0x100, 1, &[1, 1]);
    assert_eq!(setup.work_log(), ["chars 0"]);
    assert_eq!(setup.board.take_chars(CharId(0)), b"xx");
    setup.board.port_out(0x100, 1, &[3, 4, 1, 2, 3, 5]);
    assert_eq!(setup.work_log(), ["frame 1 60", "block 7", "chars 0", "Reset(Hard)", "frame 1 60", "PowerOff"]);
    assert!(!setup.board.has_work());
}

#[test]
fn a_reset_carries_out_the_resets_that_devices_requested_before_it() {
    let act: fn(&mut Ctx<'_>, u8) = |cx, _| cx.effect(Effect::Reset(ResetKind::Hard));
    let mut setup = board(vec![(vec![Region::io(0x100, 1, 1)], None)], act);
    setup.board.port_out(0x100, 1, &[1]);
    setup.board.reset();
    assert_eq!(setup.work_log(), [""; 0]);
}

#[test]
fn completions_frames_and_bytes_go_to_the_owner() {
    let first = Owned { disks: vec![DiskId(0), DiskId(1)], chars: vec![CharId(0)], ..Owned::default() };
    let second = Owned { disks: vec![DiskId(9)], nics: vec![NicId(3)], chars: vec![CharId(7)] };
    let regions = |tag| vec![Region::io(0x100 + u16::from(tag), 1, tag)];
    let mut setup = owning_board(vec![(regions(1), None, first), (regions(2), None, second)], |_, _| ());
    let owner_of = |setup: &mut Setup, f: &mut dyn FnMut(&mut Board)| {
        let wakes = |setup: &Setup| setup.board.stats().devices.iter().map(|d| d.wakes).collect::<Vec<_>>();
        let before = wakes(setup);
        f(&mut setup.board);
        wakes(setup).iter().zip(before).map(|(after, before)| after - before).collect::<Vec<_>>()
    };
    let done = |disk| BlockDone { disk: DiskId(disk), tag: 1, data: pcvm_devices::BlockData::None, result: Ok(()) };
    assert_eq!(owner_of(&mut setup, &mut |board| board.block_done(done(1))), [1, 0]);
    assert_eq!(owner_of(&mut setup, &mut |board| board.block_done(done(9))), [0, 1]);
    assert_eq!(owner_of(&mut setup, &mut |board| board.block_done(done(200))), [0, 0], "no device owns this disk");
    assert_eq!(owner_of(&mut setup, &mut |board| board.change_medium(DiskId(9), None)), [0, 1]);
    assert_eq!(owner_of(&mut setup, &mut |board| assert_eq!(board.char_input(CharId(7), b"x"), Flow::Ready)), [0, 1]);
    let mut frames = vec![Frame::from(vec![0; 60])];
    assert_eq!(
        owner_of(&mut setup, &mut |board| assert_eq!(board.receive(NicId(3), &mut frames), Flow::Ready)),
        [0, 1]
    );
    assert!(setup.board.set_link(NicId(3), false));
    assert!(!setup.board.set_link(NicId(0), false), "there is no such card");
}

#[test]
fn a_full_queue_pauses_its_source_until_the_device_has_taken_most_of_it() {
    let act: fn(&mut Ctx<'_>, u8) = |cx, value| {
        for _ in 0..usize::from(value) * 16 {
            cx.take_char(CharId(2));
            cx.take_frame(NicId(0));
        }
    };
    let owned = Owned { nics: vec![NicId(0)], chars: vec![CharId(2)], ..Owned::default() };
    let mut setup = owning_board(vec![(vec![Region::io(0x100, 1, 1)], None, owned)], act);
    let (serial, nic) = (Source::Char(CharId(2)), Source::Nic(NicId(0)));
    assert_eq!(setup.board.char_input(CharId(2), &[0; 4095]), Flow::Ready);
    assert_eq!(setup.board.char_room(CharId(2)), 1);
    assert_eq!(setup.board.char_input(CharId(2), &[0]), Flow::Pause);
    assert!(!setup.board.is_ready(serial) && setup.board.is_ready(nic));
    assert_eq!(setup.board.receive(NicId(0), &mut vec![Frame::default(); 256]), Flow::Pause);
    setup.board.port_out(0x100, 1, &[1]);
    assert_eq!(setup.work_log(), [""; 0], "both queues are still nearly full");
    setup.board.port_out(0x100, 1, &[12]);
    assert_eq!(setup.work_log(), ["ready Nic(NicId(0))"], "64 frames or fewer wait");
    setup.board.port_out(0x100, 1, &[255]);
    assert_eq!(setup.work_log(), ["ready Char(CharId(2))"], "2048 bytes or fewer wait");
    assert!(setup.board.is_ready(serial) && setup.board.is_ready(nic));
}

#[test]
fn a_device_that_awaits_coalesced_writes_keeps_the_drain_timer_running() {
    let act: fn(&mut Ctx<'_>, u8) = |cx, value| cx.effect(Effect::AwaitCoalesced(value & 1 != 0));
    let devices = vec![(vec![Region::io(0x100, 1, 1)], None), (vec![Region::io(0x101, 1, 2)], None)];
    let mut setup = board(devices, act);
    setup.wire_log();
    setup.board.port_out(0x100, 1, &[1]);
    setup.board.port_out(0x101, 1, &[1]);
    setup.board.port_out(0x101, 1, &[0]);
    assert_eq!(setup.wire_log(), ["alarm 501000"], "one timer serves all devices");
    setup.clock.0.lock().unwrap().set(501_000);
    setup.board.fire_timers();
    assert_eq!(setup.wire_log(), ["alarm 1001000"], "the first device still polls");
    setup.board.port_out(0x100, 1, &[0]);
    setup.clock.0.lock().unwrap().set(1_001_000);
    setup.board.fire_timers();
    assert_eq!(setup.wire_log(), [""; 0]);
}

#[test]
fn the_a20_gate_is_shared_by_all_devices() {
    let act: fn(&mut Ctx<'_>, u8) = |cx, value| {
        if value < 2 {
            cx.set_a20(value == 1);
        } else {
            assert_eq!(cx.a20(), value == 3);
        }
    };
    let mut setup = board(vec![(vec![Region::io(0x100, 1, 1)], None), (vec![Region::io(0x101, 1, 2)], None)], act);
    setup.board.port_out(0x100, 1, &[3, 0]);
    setup.board.port_out(0x101, 1, &[2, 1]);
    setup.board.port_out(0x100, 1, &[3]);
}

#[test]
fn a_trace_records_accesses_irqs_work_and_guest_errors() {
    let act: fn(&mut Ctx<'_>, u8) = |cx, value| match value {
        1 => cx.set_irq(IrqLine::Isa(5), true),
        2 => cx.put_char(CharId(0), b'x'),
        _ => cx.guest_error("a write of zero"),
    };
    let mut setup = board(vec![(vec![Region::io(0x100, 2, 1)], Some(Devfn::new(1, 0)))], act);
    let file = tempfile::NamedTempFile::new().unwrap();
    let tracer = Tracer::start(file.path(), &Default::default(), &setup.board.kinds()).unwrap();
    assert!(setup.board.set_tracer(Some(Box::new(tracer))).is_none());
    setup.board.set_vcpu(Some(0));
    setup.board.port_out(0x100, 1, &[1]);
    setup.board.port_out(0x101, 1, &[2]);
    setup.board.port_in(0x100, 2, &mut [0; 2]);
    setup.board.port_out(0x200, 1, &[9]);
    setup.board.mem_read(0xfee0_0000, &mut [0; 4]);
    (0..20).for_each(|_| setup.board.port_out(0x100, 1, &[0]));
    drop(setup.board.set_tracer(None));
    let text = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<_> =
        text.lines().map(|line| line.trim_start().strip_prefix("0.000001000 vcpu0  ").unwrap()).collect();
    assert_eq!(
        lines[..7],
        [
            "access      write probe port 0100 - 01",
            "irq         probe gsi 5 raised (Isa(5))",
            "access      write probe port 0101 - 02",
            "work        stream 0 write",
            "access      read  probe port 0100 - 0101",
            "unclaimed   write port 0200 09",
            "unclaimed   read  mem fee00000",
        ]
    );
    assert_eq!(lines.iter().filter(|line| **line == "guest-error probe: a write of zero").count(), 10);
    let stats = setup.board.stats();
    assert_eq!((stats.devices[0].guest_errors, stats.irqs_raised[5]), (20, 1));
    assert_eq!((stats.unclaimed_reads, stats.unclaimed_writes), (1, 1));
    assert_eq!((stats.devices[0].reads, stats.devices[0].writes), (1, 22));
}

#[test]
fn shadow_ram_is_written_behind_the_rom() {
    let mut setup = board(vec![], |_, _| ());
    setup.board.mem_write(0xf_0000, &[1]);
    let mut shadow = [Shadow::default(); 13];
    shadow[12].write_ram = true;
    setup.board.memory.set_shadow(&shadow);
    setup.board.mem_write(0xf_0001, &[2]);
    let mut bytes = [9; 2];
    vm_memory::Bytes::read_slice(setup.board.memory.ram(), &mut bytes, vm_memory::GuestAddress(0xf_0000)).unwrap();
    assert_eq!(bytes, [0, 2]);
}

#[test]
fn a_subscriber_is_woken_once_at_the_next_write_to_the_adapter() {
    let regions = vec![Region::io(0x3c0, 16, 1).with_coalesce(4..6)];
    let mut setup = board(vec![(regions, None)], |cx, _| cx.effect(Effect::ScreenWritten));
    setup.board.roles.vga = Some(0);
    setup.board.remap();
    assert_eq!(setup.wire_log().last().unwrap(), "coalesce [(Io, 3c4, 2)]");
    let calls = Arc::new(Mutex::new(0));
    let call: Waker = {
        let calls = calls.clone();
        Arc::new(move || *calls.lock().unwrap() += 1)
    };
    let made = |setup: &mut Setup| {
        for work in setup.work() {
            if let HostWork::Wake(waker) = work {
                waker();
            }
        }
        std::mem::take(&mut *calls.lock().unwrap())
    };
    setup.board.port_out(0x3c5, 1, &[1]);
    assert_eq!(made(&mut setup), 0, "no client has subscribed");
    for _ in 0..2 {
        setup.board.video_changes(0, Some(&call));
        setup.board.video_changes(0, Some(&call));
        assert_eq!(setup.wire_log(), ["coalesce []"], "KVM coalesces no write to the adapter");
        setup.board.port_in(0x3c5, 1, &mut [0]);
        assert_eq!(made(&mut setup), 0, "a read");
        setup.board.port_out(0x3c5, 1, &[1]);
        setup.board.port_out(0x3c5, 1, &[2]);
        assert_eq!(setup.wire_log(), ["coalesce [(Io, 3c4, 2)]"]);
        assert_eq!(made(&mut setup), 1);
    }
    setup.board.video_changes(0, None);
    setup.board.port_out(0x3c5, 1, &[1]);
    assert_eq!(made(&mut setup), 0);
}

#[test]
fn each_client_gets_the_pages_written_since_its_last_poll() {
    let mut setup = board(vec![], |_, _| {});
    let page = |n: u64| n * 0x1000..n * 0x1000 + 1;
    let (first, now) = setup.board.video_changes(0, None);
    assert_eq!(first, DirtyPages::all());
    // The test's outputs report page 3 at every poll.
    setup.board.memory().write_video(0x5fff, &[1, 2]);
    let (next, one) = setup.board.video_changes(now, None);
    assert_eq!([2, 3, 4, 5, 6, 7].map(|n| next.contains(page(n))), [false, true, false, true, true, false]);
    setup.board.memory().write_video(0x9000, &[1]);
    let (other, two) = setup.board.video_changes(now, None);
    assert_eq!([3, 5, 9].map(|n| other.contains(page(n))), [true, true, true]);
    let (after, _) = setup.board.video_changes(one, None);
    assert_eq!([3, 5, 9].map(|n| after.contains(page(n))), [true, false, true]);
    let (last, _) = setup.board.video_changes(two, None);
    assert_eq!([3, 5, 9].map(|n| last.contains(page(n))), [true, false, false]);
    assert_eq!(setup.board.video_changes(0, None).0, DirtyPages::all());
}

#[test]
fn the_emulator_bus_reaches_ram_rom_and_the_display_adapter_only() {
    let adapter =
        vec![Region::io(0x3c0, 16, 1), Region::mem(0xa_0000, 0x1_0000, 2), Region::video(0xb_8000, 0x8000, 3, 0)];
    let drive = vec![Region::io(0x1f0, 8, 4), Region::mem(0xfeb0_0000, 0x100, 5)];
    let mut setup = board(vec![(adapter, None), (drive, None)], |_, _| ());
    setup.board.roles.vga = Some(0);
    setup.board.rom = Rom::new(&vec![0x5a; 0x1_0000], &[]).unwrap();
    setup.board.shadow[0] = Shadow { read_ram: true, write_ram: false };
    setup.board.shadow[1] = Shadow { read_ram: false, write_ram: true };
    setup.board.memory.set_shadow(&setup.board.shadow);
    setup.board.memory().write(0x1000, &[1, 2]);
    let memory = setup.board.memory().clone();
    let mut bus = emulator_bus::EmulatorBus::new(&mut setup.board, &memory);
    let mut data = [0; 2];
    let mut reads = |bus: &mut emulator_bus::EmulatorBus<'_>, at: u32| bus.read(at, &mut data).ok().map(|()| data);
    assert_eq!(reads(&mut bus, 0x1000), Some([1, 2]));
    assert_eq!(reads(&mut bus, 0x9_ffff), None, "the end of RAM");
    assert_eq!(
        [0xa_0000, 0xa_ffff, 0xb_8000, 0xb_0000].map(|at| reads(&mut bus, at)),
        [Some([2, 2]), None, None, None]
    );
    assert_eq!([0xf_fffe, 0xffff_fffe].map(|at| reads(&mut bus, at)), [Some([0x5a; 2]); 2]);
    assert_eq!([0xc_0000, 0xc_4000, 0xfeb0_0000].map(|at| reads(&mut bus, at)), [Some([0, 0]), None, None]);
    let addresses = [0x1000, 0xa_0000, 0xb_8000, 0xc_0000, 0xc_4000, 0xf_0000, 0xfeb0_0000, 0xffff_0000];
    let written = addresses.map(|at| bus.write(at, &[7, 8]).is_ok());
    assert_eq!(written, [true, true, false, false, false, false, false, false]);
    assert_eq!([0x3c4, 0x1f7, 0x20].map(|port| bus.port_out(port, &[1]).is_ok()), [true, false, false]);
    assert!(!bus.polls());
    // The same value twice from a register is a poll. Reads of planar memory are not: they may only fill the latches.
    let mut byte = [0];
    for (port, polls) in [(0x3da - 0x10, false), (0x3cb, false), (0x3cb, true), (0x3ca, false)] {
        bus.port_in(port, &mut byte).unwrap();
        assert_eq!(bus.polls(), polls);
    }
    assert!(bus.port_in(0x1f7, &mut byte).is_err());
    bus.port_out(0x3c4, &[1]).unwrap();
    bus.port_in(0x3ca, &mut byte).unwrap();
    assert!(!bus.polls(), "a write between two reads ends the poll");
    for _ in 0..3 {
        bus.read(0xa_0000, &mut byte).unwrap();
        assert!(!bus.polls());
    }
    let log = setup.device_log();
    assert!(!log.iter().any(|line| line.contains("r4") || line.contains("w4") || line.contains("5 ")), "{log:?}");
}
