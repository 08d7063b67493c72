//! Tests of PCI enumeration and address assignment with fixed and random trees of bridges.

use crate::pci::{MemoryWindow, Pci};
use crate::testing::*;
use std::collections::BTreeMap;

const WINDOW: MemoryWindow = MemoryWindow { start: 0xc000_0000, end: 0xfec0_0000 };

fn enumerate(board: &mut Board) -> Pci {
    let mut pci = Pci::new();
    pci.scan(board);
    pci.assign(board, WINDOW);
    pci.enable(board);
    pci
}

fn model(board: &Board, bus: usize, devfn: u8) -> &Function {
    board.functions.get(&(bus, devfn)).and_then(|f| f.model()).unwrap()
}

/// First and last address of a bridge's windows: I/O, memory, prefetchable memory.
fn windows(bridge: &Function) -> [(u64, u64); 3] {
    let io = u64::from(bridge.dword(0x1c));
    let memory = u64::from(bridge.dword(0x20));
    let prefetchable = u64::from(bridge.dword(0x24));
    [
        ((io & 0xf0) << 8, io & 0xf000 | 0xfff),
        ((memory & 0xfff0) << 16, memory & 0xfff0_0000 | 0xf_ffff),
        // A bridge without this window has registers that read 0.
        if bridge.prefetchable_window {
            ((prefetchable & 0xfff0) << 16, prefetchable & 0xfff0_0000 | 0xf_ffff)
        } else {
            (1, 0)
        },
    ]
}

/// Checks that decoded ranges are aligned, do not overlap and are within the windows of the bridges before them.
/// Returns the number of decoded ranges.
fn check(board: &Board) -> usize {
    let bridges: BTreeMap<usize, (usize, &Function)> = board
        .functions
        .iter()
        .filter_map(|(&(bus, _), f)| f.model().and_then(|f| f.bridge.map(|behind| (behind, (bus, f)))))
        .collect();
    let mut all: Vec<(bool, u64, u64)> = Vec::new();
    for (&(bus, _), function) in &board.functions {
        let Some(function) = function.model() else { continue };
        for (io, first, last) in function.decoded() {
            assert_eq!(first & (last - first), 0, "{first:x} is not aligned to its size");
            if io {
                assert!(first >= 0x1000 && last <= 0xffff, "{first:x}-{last:x}");
            } else {
                assert!(first >= 0xc000_0000 && last < 0xfec0_0000, "{first:x}-{last:x}");
            }
            let mut at = bus;
            while let Some((outer, bridge)) = bridges.get(&at) {
                let reachable = windows(bridge)
                    .iter()
                    .enumerate()
                    .any(|(n, window)| (n == 0) == io && window.0 <= first && last <= window.1);
                assert!(reachable, "{first:x}-{last:x} on bus {bus}: {:x?}", windows(bridge));
                assert_eq!(bridge.bytes[4] & if io { 1 } else { 2 }, if io { 1 } else { 2 });
                at = *outer;
            }
            all.push((io, first, last));
        }
    }
    for (n, one) in all.iter().enumerate() {
        for other in &all[n + 1..] {
            assert!(one.0 != other.0 || one.2 < other.1 || other.2 < one.1, "{one:x?} {other:x?}");
        }
    }
    // Windows on one bus do not overlap.
    for (bus, one) in bridges.values() {
        for (other_bus, other) in bridges.values() {
            if bus == other_bus && !std::ptr::eq(*one, *other) {
                let (a, b) = (windows(one), windows(other));
                for (x, y) in [(0, 0), (1, 1), (1, 2), (2, 1), (2, 2)] {
                    let open = a[x].0 <= a[x].1 && b[y].0 <= b[y].1;
                    assert!(!open || a[x].1 < b[y].0 || b[y].1 < a[x].0, "{a:x?} {b:x?}");
                }
            }
        }
    }
    all.len()
}

fn nic(pin: u8) -> Function {
    Function::new(0x8139_10ec, 0x0200, pin, &[Bar::Io(0x100), Bar::Memory(0x100)])
}

#[test]
fn buses_are_numbered_depth_first_and_unused_windows_are_closed() {
    let mut board = Board::new(1 << 20);
    board.add(0, 0x10, Function::bridge_to(1));
    board.add(1, 0x08, Function::bridge_to(2));
    board.add(2, 0x18, nic(1));
    board.add(1, 0x20, nic(2));
    board.add(0, 0x30, Function::bridge_to(3));
    let pci = enumerate(&mut board);
    assert_eq!(pci.last_bus(), 3);
    for (bus, devfn, numbers) in [(0, 0x10, [0, 1, 2]), (1, 0x08, [1, 2, 2]), (0, 0x30, [0, 3, 3])] {
        assert_eq!(model(&board, bus, devfn).bytes[0x18..0x1b], numbers);
    }
    assert_eq!(check(&board), 4);
    for (first, last) in windows(model(&board, 0, 0x30)) {
        assert!(first > last, "a bridge without functions behind it must have closed windows");
    }
}

#[test]
fn interrupt_pins_rotate_at_each_bridge() {
    let mut board = Board::new(1 << 20);
    board.add(0, 0x10, Function::bridge_to(1));
    board.add(1, 0x08, Function::bridge_to(2));
    board.add(2, 0x18, nic(1));
    board.add(0, 0x28, nic(2));
    let mut pci = enumerate(&mut board);
    let found: Vec<_> = pci.functions().iter().filter(|f| !f.bridge).map(|f| pci.root_slot_and_pin(f)).collect();
    // INTA# of slot 3 becomes INTD# at the bridge in slot 1, and INTA# at the bridge in slot 2.
    assert_eq!(found, [Some((2, 0)), Some((5, 1))]);
    pci.route(&mut board, [5, 7, 10, 11], |_| None);
    assert_eq!(model(&board, 2, 0x18).bytes[0x3c], 7);
    assert_eq!(model(&board, 0, 0x28).bytes[0x3c], 7, "INTB# of slot 5 is wired to PIRQB#");
}

#[test]
fn bridges_forward_legacy_addresses_to_a_vga_behind_them() {
    let mut board = Board::new(1 << 20);
    board.add(0, 0x10, Function::bridge_to(1));
    board.add(1, 0x08, Function::bridge_to(2));
    board.add(2, 0x00, Function::new(0x1111_1234, 0x0300, 0, &[Bar::Prefetchable(16 << 20)]));
    board.add(0, 0x20, Function::bridge_to(3));
    enumerate(&mut board);
    let control = |bus, devfn| model(&board, bus, devfn).bytes[0x3e];
    assert_eq!((control(0, 0x10), control(1, 0x08), control(0, 0x20)), (8, 8, 0));
    check(&board);
}

#[test]
fn bars_that_do_not_fit_stay_disabled_and_the_others_decode() {
    let mut board = Board::new(1 << 20);
    board.add(0, 0x10, Function::new(1, 0x0300, 0, &[Bar::Prefetchable(16 << 20)]));
    board.add(0, 0x18, Function::new(2, 0x0500, 0, &[Bar::Wide(8 << 30), Bar::None, Bar::Memory(0x1000)]));
    board.add(0, 0x20, Function::new(3, 0x0500, 0, &[Bar::Wide(1 << 30)]));
    board.add(0, 0x28, Function::new(4, 0x0500, 0, &[Bar::Memory(0x8000_0000)]));
    board.add(0, 0x30, Function::new(5, 0x0500, 0, &[Bar::Io(0x8000)]));
    board.add(0, 0x38, Function::new(6, 0x0500, 0, &[Bar::Io(0x4000), Bar::Io(0x2000)]));
    enumerate(&mut board);
    check(&board);
    let command = |devfn| model(&board, 0, devfn).bytes[4] & 3;
    assert_eq!([0x10, 0x18, 0x20, 0x28, 0x30, 0x38].map(command), [3, 1, 1, 1, 2, 3]);
}

#[test]
fn a_bridge_without_a_prefetchable_window_forwards_all_memory_through_the_other() {
    let mut board = Board::new(1 << 20);
    let mut bridge = Function::bridge_to(1);
    bridge.prefetchable_window = false;
    board.add(0, 0x10, bridge);
    board.add(1, 0x08, Function::new(1, 0x0300, 0, &[Bar::Prefetchable(16 << 20), Bar::Memory(0x1000)]));
    enumerate(&mut board);
    assert_eq!(check(&board), 2);
}

#[test]
fn only_function_0_of_single_function_devices_is_probed() {
    let mut board = Board::new(1 << 20);
    let mut first = nic(1);
    first.bytes[0x0e] = 0x80;
    board.add(0, 0x10, first);
    board.add(0, 0x15, nic(2));
    board.add(0, 0x18, nic(1));
    // Some single-function chips respond to every function number.
    board.add(0, 0x19, nic(1));
    let found: Vec<_> = enumerate(&mut board).functions().iter().map(|f| f.bdf).collect();
    assert_eq!(found, [0x10, 0x15, 0x18]);
}

#[test]
fn random_trees_get_valid_addresses() {
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let mut board = Board::new(1 << 20);
        let buses = 1 + rng.below(6) as usize;
        for bus in 1..buses {
            let mut bridge = Function::bridge_to(bus);
            bridge.prefetchable_window = rng.below(4) != 0;
            let on = rng.below(bus as u64) as usize;
            board.add(on, (bus as u8) << 3, bridge);
        }
        for n in 0..rng.below(20) as u8 {
            let bars: Vec<Bar> = (0..rng.below(5))
                .map(|_| match rng.below(5) {
                    0 => Bar::None,
                    1 => Bar::Io(4 << rng.below(8)),
                    2 => Bar::Memory(16 << rng.below(22)),
                    3 => Bar::Prefetchable(16 << rng.below(26)),
                    _ => Bar::Memory(0x1000),
                })
                .collect();
            let rom = if rng.below(3) == 0 { 0x800 << rng.below(8) } else { 0 };
            let on = rng.below(buses as u64) as usize;
            board.add(on, (8 + n) << 3, Function::new(0x1_0001 + u32::from(n), 0x0200, 1, &bars).with_rom(rom));
        }
        enumerate(&mut board);
        check(&board);
    }
}

#[test]
fn the_scan_ends_with_more_bridges_and_functions_than_fit() {
    // More nested bridges than MAX_BUSES.
    let mut board = Board::new(1 << 20);
    for bus in 0..60 {
        board.add(bus, 0x08, Function::bridge_to(bus + 1));
    }
    for devfn in 0..=255 {
        let mut function = nic(1);
        function.bytes[0x0e] = 0x80;
        if devfn != 8 {
            board.add(0, devfn, function);
        }
    }
    enumerate(&mut board);
}
