//! Operations that left video memory or did not end in other implementations of this chip, each by its CVE number. The
//! text area behind video memory and a random pattern in it are the sentinel.

use super::blits::{Op, SOURCE, bytes, packed, start};
use super::*;
use crate::testing::Rng;

const SENTINEL: usize = 0x8000;

/// Runs operations and checks that nothing behind video memory changed and that the blitter is idle or waits.
fn check(ops: &[Op], data: usize) {
    let mut vga = packed();
    let sentinel: Vec<u8> = (0..SENTINEL as u32).map(|n| (n * 31 / 8) as u8 | 1).collect();
    vga.memory.write_video(VRAM, &sentinel);
    for &op in ops {
        start(&mut vga, op);
        for n in 0..data {
            vga.mem_write(LFB + (n as u64 * 4) % 0x1000, &[0xaa; 4]);
            vga.mem_read(0xa_0000, &mut [0; 4]);
        }
        gr(&mut vga, 0x31, 4);
        gr(&mut vga, 0x31, 0);
        assert_eq!(read_gr(&mut vga, 0x31), 0);
    }
    assert!(bytes(&vga, VRAM, SENTINEL) == sentinel, "a byte behind video memory changed");
}

const TOP: u32 = Vga::CIRRUS_VRAM - 1;
/// The largest operation that the registers can hold, short of rows.
const WIDE: Op = Op {
    width: 0x2000,
    height: 9,
    dest_pitch: 0x1fff,
    source_pitch: 0x1fff,
    dest: TOP,
    source: TOP,
    mode: 0,
    rop: 0x59,
    extensions: 0,
    key: 0,
    clip: 0,
    foreground: 0x0102_0304,
    background: 0x0506_0708,
};

#[test]
fn cve_2007_1320_a_copy_past_the_end_of_video_memory_wraps() {
    check(&[WIDE, Op { rop: SOURCE, ..WIDE }, Op { mode: 0xc0, extensions: 4, ..WIDE }], 0);
    let mut vga = packed();
    start(
        &mut vga,
        Op { width: 4, height: 1, dest: TOP - 1, foreground: 9, mode: 0xc0, extensions: 4, rop: SOURCE, ..WIDE },
    );
    assert_eq!((bytes(&vga, VRAM - 2, 2), bytes(&vga, 0, 3)), (vec![9; 2], vec![9, 9, 0]));
}

#[test]
fn cve_2014_8106_a_region_is_checked_with_its_pitch_and_height() {
    for mode in [0, 1, 0x40, 0x80, 0xc0] {
        check(&[Op { dest: 0, source: 0, mode, ..WIDE }, Op { dest: TOP, source: 0, mode, ..WIDE }], 0);
    }
}

#[test]
fn cve_2016_9603_a_backwards_copy_below_address_0_wraps() {
    for mode in [1, 9, 0x19] {
        check(&[Op { dest: 0, source: 0, mode, ..WIDE }, Op { dest: 5, source: TOP, mode, ..WIDE }], 0);
    }
}

#[test]
fn cve_2017_2615_a_backwards_copy_ends_before_its_first_row() {
    check(&[Op { dest: 0x1000, source: 0x800, mode: 1, rop: SOURCE, ..WIDE }], 0);
    let mut vga = packed();
    vga.memory.write_video(VRAM - 2, b"yz");
    vga.memory.write_video(0, b"ab");
    start(&mut vga, Op { width: 4, height: 1, dest: 0x103, source: 1, mode: 1, rop: SOURCE, ..WIDE });
    assert_eq!(bytes(&vga, 0x100, 4), b"yzab");
}

#[test]
fn cve_2017_2620_data_of_the_cpu_outside_video_memory_wraps() {
    for mode in [4, 0x0c, 0x44, 0x84, 0x8c, 0xc4, 0xf4] {
        check(&[Op { height: 3, mode, ..WIDE }, Op { width: 1, height: 0x800, mode, ..WIDE }], 0x2000);
    }
}

#[test]
fn cve_2016_9921_and_9922_a_copy_in_a_text_mode_does_not_divide_by_its_pixel_size() {
    let mut vga = mapped();
    start(&mut vga, Op { width: 3, height: 2, dest: 0x100, source: 0, dest_pitch: 0, source_pitch: 0, ..WIDE });
    start(&mut vga, Op { mode: 0x80, width: 1, height: 1, ..WIDE });
    vga.device.render(&vga.memory);
}

#[test]
fn cve_2017_7718_a_source_at_the_end_of_video_memory_wraps() {
    for mode in [0x80, 0x88, 0x98, 0xc8, 0x40, 0x70, 0xf8] {
        check(&[Op { dest: 0, mode, extensions: 2, ..WIDE }, Op { dest: 0, mode, clip: 0xff, ..WIDE }], 0);
    }
}

#[test]
fn cve_2017_7980_a_row_longer_than_the_pitch_and_a_pattern_across_the_end_wrap() {
    for (dest_pitch, source_pitch) in [(0, 0), (1, 0x1fff), (0x1fff, 1)] {
        for mode in [0, 1, 2, 0x40, 0x70, 0xc0] {
            check(&[Op { dest_pitch, source_pitch, mode, source: TOP - 3, ..WIDE }], 4);
        }
    }
}

#[test]
fn width_and_height_registers_of_0_are_one_byte() {
    let mut vga = packed();
    start(&mut vga, Op { width: 1, height: 1, dest: 0x10, mode: 0xc0, extensions: 4, rop: SOURCE, ..WIDE });
    assert_eq!((read_gr(&mut vga, 0x20), read_gr(&mut vga, 0x22)), (0, 0));
    assert_eq!(bytes(&vga, 0xf, 3), [0, 4, 0]);
}

#[test]
fn source_and_destination_in_the_cpu_are_ignored() {
    let mut vga = packed();
    start(&mut vga, Op { mode: 6, ..WIDE });
    assert_eq!(read_gr(&mut vga, 0x31), 0);
    start(&mut vga, Op { mode: 0x82, ..WIDE });
    assert_eq!(read_gr(&mut vga, 0x31), 0);
}

#[test]
fn random_operations_stay_within_video_memory() {
    let mut rng = Rng(8);
    let mut number = |mask: u64| (rng.next_u64() & mask) as u32;
    for _ in 0..20 {
        let ops = [(); 8].map(|()| Op {
            width: number(0x1fff) as u16 >> number(7),
            height: number(0x1f) as u16 + 1,
            dest_pitch: number(0x1fff) as u16,
            source_pitch: number(0x1fff) as u16,
            dest: TOP.wrapping_sub(number(0x3fff)).wrapping_add(number(0x1fff)),
            source: TOP.wrapping_sub(number(0x3fff)).wrapping_add(number(0x1fff)),
            mode: number(0xff) as u8,
            rop: [SOURCE, 0x59, 0, 0x6d, 0x42][number(3) as usize],
            extensions: number(7) as u8,
            key: number(0xffff) as u16,
            clip: number(0xff) as u8,
            foreground: number(u64::MAX),
            background: number(u64::MAX),
        });
        check(&ops, 64);
    }
}

#[test]
fn an_impossible_transfer_in_a_saved_state_is_refused() {
    let mut vga = packed();
    start(&mut vga, Op { width: 8, height: 2, mode: 4, ..WIDE });
    vga.mem_write(LFB, &[1, 2, 3, 4]);
    let good = serde_value(&Device::save(&vga.device));
    for (field, value) in [("width", 0_u32), ("width", 0x4000), ("height", 0), ("row", 2), ("dest", 0x40_0000)] {
        let mut state = good.clone();
        assert!(set(&mut state, field, value), "{field}");
        let mut cbor = Vec::new();
        ciborium::into_writer(&state, &mut cbor).unwrap();
        let refused = crate::device::DynDevice::load_cbor(&mut vga.device, &cbor).is_err();
        assert!(refused, "{field} {value}");
    }
}

fn serde_value(state: &impl serde::Serialize) -> ciborium::Value {
    ciborium::Value::serialized(state).unwrap()
}

/// Replaces the field of that name in the transfer, or in its registers.
fn set(value: &mut ciborium::Value, name: &str, new: u32) -> bool {
    let Some(map) = value.as_map_mut() else { return false };
    for (key, value) in map {
        if key.as_text() == Some(name) && value.is_integer() {
            *value = new.into();
            return true;
        }
        if matches!(key.as_text(), Some("cirrus" | "transfer" | "blit")) && set(value, name, new) {
            return true;
        }
    }
    false
}
