//! Tests of the BIOS calls, independent of how the calls are made.

mod graphics;
mod vbe;

use super::{Caller, FRAME_BUFFER, linear};
use vgabios::modes::{self, MemoryModel};
use vgabios::{Far, Regs, bda, far, tables};

/// Defines each test for one implementation of `Caller`. The tests of the Cirrus ROM have calls of their own.
#[allow(unused_macros)]
macro_rules! suite {
    ($make:expr) => {
        $crate::common::calls::suite!(@tests $make;
            post_sets_mode_3_and_the_vectors
            every_vga_mode_loads_the_registers_of_its_table
            teletype_writes_wraps_and_scrolls
            strings_are_written_with_and_without_attributes
            text_windows_scroll_up_and_down
            each_page_has_a_cursor_position_and_all_share_one_shape
            pixels_read_back_as_written_in_every_graphics_mode
            characters_read_back_as_written_in_every_graphics_mode
            graphics_modes_scroll_by_character_rows
            palette_and_dac_registers_read_back_as_written
            fonts_are_reported_and_loaded
            ah_12h_settings_change_later_mode_sets
            the_video_state_is_reported_saved_and_restored
            every_listed_vbe_mode_has_information_and_can_be_set
            vbe_lists_exactly_the_modes_that_fit_in_video_memory
            vbe_sets_bank_scan_line_length_and_display_start
            vbe_palette_entries_read_back_with_6_and_8_bits
            ddc_returns_the_only_edid_block_for_any_number
            unknown_functions_change_nothing
            a_mode_set_makes_at_most_100_exits
            mode_sets_use_the_save_pointer_table
        );
    };
    (@tests $make:expr; $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $crate::common::calls::$name(&mut $make);
        })*
    };
}
pub use graphics::*;
#[allow(unused_imports)]
pub(crate) use suite;
pub use vbe::*;

/// Runs all tests with one caller.
pub fn everything(caller: &mut impl Caller) {
    post_sets_mode_3_and_the_vectors(caller);
    every_vga_mode_loads_the_registers_of_its_table(caller);
    teletype_writes_wraps_and_scrolls(caller);
    strings_are_written_with_and_without_attributes(caller);
    text_windows_scroll_up_and_down(caller);
    each_page_has_a_cursor_position_and_all_share_one_shape(caller);
    pixels_read_back_as_written_in_every_graphics_mode(caller);
    characters_read_back_as_written_in_every_graphics_mode(caller);
    graphics_modes_scroll_by_character_rows(caller);
    palette_and_dac_registers_read_back_as_written(caller);
    fonts_are_reported_and_loaded(caller);
    ah_12h_settings_change_later_mode_sets(caller);
    the_video_state_is_reported_saved_and_restored(caller);
    every_listed_vbe_mode_has_information_and_can_be_set(caller);
    vbe_lists_exactly_the_modes_that_fit_in_video_memory(caller);
    vbe_sets_bank_scan_line_length_and_display_start(caller);
    vbe_palette_entries_read_back_with_6_and_8_bits(caller);
    ddc_returns_the_only_edid_block_for_any_number(caller);
    unknown_functions_change_nothing(caller);
    a_mode_set_makes_at_most_100_exits(caller);
    mode_sets_use_the_save_pointer_table(caller);
}

const BUFFER: Far = far(0x2000, 0);

fn call(caller: &mut impl Caller, ax: u16, bx: u16, cx: u16, dx: u16) -> Regs {
    let high = 0xabcd_0000;
    caller.int10(Regs {
        eax: high | u32::from(ax),
        ebx: high | u32::from(bx),
        ecx: high | u32::from(cx),
        edx: high | u32::from(dx),
        esi: 0x1357_2468,
        edi: high | u32::from(BUFFER.off),
        ebp: high | u32::from(BUFFER.off),
        es: BUFFER.seg,
        ds: 0x1234,
    })
}

fn set_mode(caller: &mut impl Caller, mode: u8) -> Regs {
    call(caller, mode.into(), 0, 0, 0)
}

fn bda8(caller: &mut impl Caller, at: u16) -> u8 {
    caller.machine().byte(far(bda::SEGMENT, at))
}

fn bda16(caller: &mut impl Caller, at: u16) -> u16 {
    caller.machine().word(far(bda::SEGMENT, at))
}

fn put(caller: &mut impl Caller, at: Far, bytes: &[u8]) {
    caller.machine().write(linear(at), bytes);
}

fn get<const N: usize>(caller: &mut impl Caller, at: Far) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, n) in bytes.iter_mut().zip(0..) {
        *byte = caller.machine().byte(at.at(n));
    }
    bytes
}

fn indexed(caller: &mut impl Caller, port: u16, index: u8) -> u8 {
    caller.machine().bench.outb(port, index);
    caller.machine().bench.inb(port + 1)
}

fn dispi(caller: &mut impl Caller, index: u16) -> u16 {
    caller.machine().bench.outw(0x1ce, index);
    caller.machine().bench.inw(0x1cf)
}

fn text(caller: &mut impl Caller, row: u16, column: u16) -> (u8, u8) {
    let [character, attribute] = get(caller, far(0xb800, row * 160 + column * 2));
    (character, attribute)
}

fn cursor(caller: &mut impl Caller, page: u8) -> (u8, u8) {
    let regs = call(caller, 0x0300, u16::from(page) << 8, 0, 0);
    (regs.dh(), regs.dl())
}

fn type_text(caller: &mut impl Caller, text: &str) {
    for byte in text.bytes() {
        call(caller, 0x0e00 | u16::from(byte), 7, 0, 0);
    }
}

pub fn post_sets_mode_3_and_the_vectors(caller: &mut impl Caller) {
    assert_eq!(bda8(caller, bda::MODE), 3);
    assert_eq!(bda16(caller, bda::COLUMNS), 80);
    assert_eq!(bda8(caller, bda::ROWS), 24);
    assert_eq!(bda16(caller, bda::CHAR_HEIGHT), 16);
    assert_eq!(bda16(caller, bda::CRTC), 0x3d4);
    assert_eq!(bda16(caller, bda::EQUIPMENT) & 0x30, 0x20);
    assert_eq!(bda8(caller, bda::CONTROL), 0x60);
    assert_eq!(bda8(caller, bda::SWITCHES), 0xf9);
    assert_eq!(bda8(caller, bda::FLAGS), 0x51);
    assert_eq!(caller.machine().word(far(0, 0x42)), 0xc000);
    assert!(caller.machine().bench.device.is_text());
    assert_eq!(text(caller, 24, 79), (b' ', 7));
    let regs = call(caller, 0x0f00, 0, 0, 0);
    assert_eq!((regs.ah(), regs.al(), regs.bh()), (80, 3, 0));
    // Registers that a call does not return are preserved, upper halves included.
    assert_eq!((regs.eax >> 16, regs.esi, regs.ds, regs.edx), (0xabcd, 0x1357_2468, 0x1234, 0xabcd_0000));
}

pub fn every_vga_mode_loads_the_registers_of_its_table(caller: &mut impl Caller) {
    for mode in (0..=7).chain(0x0d..=0x13) {
        // Start from a VBE mode with changed registers.
        call(caller, 0x4f02, 0x4118, 0, 0);
        let regs = set_mode(caller, mode);
        assert_eq!(
            regs.al(),
            if mode == 6 {
                0x3f
            } else if mode <= 7 {
                0x30
            } else {
                0x20
            },
            "mode {mode:x}"
        );
        assert_eq!(dispi(caller, 4) & 1, 0, "mode {mode:x}");
        let entry = modes::PARAMETERS[usize::from(modes::index(mode, modes::Lines::L400).unwrap())];
        let misc = caller.machine().bench.inb(0x3cc);
        assert_eq!(misc, entry[usize::from(modes::MISC)], "mode {mode:x}");
        let crtc = if misc & 1 != 0 { 0x3d4 } else { 0x3b4 };
        let cursor = 0x0a..=0x0f;
        for index in (0..25).filter(|index| !cursor.contains(index)) {
            let expected = entry[usize::from(modes::CRTC) + usize::from(index)];
            assert_eq!(indexed(caller, crtc, index), expected, "mode {mode:x}: crtc {index:x}");
        }
        for index in 0..5 {
            let expected = if index == 0 { 3 } else { entry[usize::from(modes::SEQUENCER) - 1 + usize::from(index)] };
            assert_eq!(indexed(caller, 0x3c4, index), expected, "mode {mode:x}: sequencer {index}");
        }
        for index in 0..9 {
            let expected = entry[usize::from(modes::GRAPHICS) + usize::from(index)];
            assert_eq!(indexed(caller, 0x3ce, index), expected, "mode {mode:x}: graphics {index}");
        }
        for index in 0..20u8 {
            let expected = entry[usize::from(modes::ATTRIBUTE) + usize::from(index)];
            let regs = call(caller, 0x1007, index.into(), 0, 0);
            assert_eq!(regs.bh(), expected, "mode {mode:x}: attribute {index:x}");
        }
        assert_eq!(bda8(caller, bda::MODE), mode);
        assert_eq!(bda16(caller, bda::CRTC), crtc);
        assert_eq!(bda16(caller, bda::COLUMNS), u16::from(entry[0]));
        assert_eq!(bda8(caller, bda::ROWS), entry[1]);
        assert_eq!(caller.machine().bench.device.is_text(), modes::memory_model(mode) == MemoryModel::Text);
        // The screen is on.
        assert_eq!(caller.machine().bench.inb(0x3c0) & 0x20, 0x20);
        // Video memory is cleared.
        if modes::memory_model(mode) != MemoryModel::Text {
            let segment = if mode <= 7 { 0xb800 } else { 0xa000 };
            assert_eq!(get::<64>(caller, far(segment, 0x1f00)), [0; 64]);
        }
    }
    // A text mode set reloads the font.
    set_mode(caller, 3);
    // Bit 7: memory is not cleared, and AH=0Fh reports the bit.
    put(caller, far(0xb800, 0), b"K\x1e");
    set_mode(caller, 0x83);
    assert_eq!(text(caller, 0, 0), (b'K', 0x1e));
    assert_eq!(call(caller, 0x0f00, 0, 0, 0).al(), 0x83);
    set_mode(caller, 3);
    assert_eq!(text(caller, 0, 0), (b' ', 7));
    assert_eq!(set_mode(caller, 0x55).al(), 0x55);
    assert_eq!(bda8(caller, bda::MODE), 3);
}

pub fn teletype_writes_wraps_and_scrolls(caller: &mut impl Caller) {
    set_mode(caller, 3);
    type_text(caller, "Hello\r\nWorld\x08!");
    let machine = caller.machine();
    assert_eq!(machine.bench.device.text_screen(&machine.bench.memory)[1].trim_end(), "Worl!");
    assert_eq!(text(caller, 0, 4), (b'o', 7));
    assert_eq!(cursor(caller, 0), (1, 5));
    let shown = u16::from(indexed(caller, 0x3d4, 0x0e)) << 8 | u16::from(indexed(caller, 0x3d4, 0x0f));
    assert_eq!(shown, 85);
    call(caller, 0x0200, 0, 0, 0x184e);
    put(caller, far(0xb800, 24 * 160 + 159), &[0x4f]);
    type_text(caller, "ab");
    // The last cell was written and the screen scrolled; the new row has the attribute of the last row's first cell.
    assert_eq!(text(caller, 23, 78), (b'a', 7));
    assert_eq!(text(caller, 23, 79), (b'b', 0x4f));
    assert_eq!(text(caller, 24, 79), (b' ', 7));
    assert_eq!(text(caller, 0, 0), (b'W', 7));
    assert_eq!(cursor(caller, 0), (24, 0));
    // BEL does not move the cursor.
    type_text(caller, "\x07");
    assert_eq!(cursor(caller, 0), (24, 0));
    // Characters at the cursor: AH=09h with and AH=0Ah without attribute.
    call(caller, 0x0200, 0, 0, 0x0a0a);
    call(caller, 0x092a, 0x001e, 3, 0);
    call(caller, 0x0a2b, 0x0070, 2, 0);
    assert_eq!(
        [text(caller, 10, 10), text(caller, 10, 11), text(caller, 10, 12)],
        [(b'+', 0x1e), (b'+', 0x1e), (b'*', 0x1e)]
    );
    assert_eq!(text(caller, 10, 13), (b' ', 7));
    let regs = call(caller, 0x0800, 0, 0, 0);
    assert_eq!((regs.al(), regs.ah()), (b'+', 0x1e));
    assert_eq!(cursor(caller, 0), (10, 10));
}

pub fn strings_are_written_with_and_without_attributes(caller: &mut impl Caller) {
    set_mode(caller, 3);
    put(caller, BUFFER, b"AxByCz");
    call(caller, 0x1300, 0x0017, 2, 0x0203);
    assert_eq!((text(caller, 2, 3), text(caller, 2, 4)), ((b'A', 0x17), (b'x', 0x17)));
    assert_eq!(cursor(caller, 0), (0, 0));
    call(caller, 0x1303, 0x0017, 3, 0x0303);
    assert_eq!((text(caller, 3, 3), text(caller, 3, 5)), ((b'A', b'x'), (b'C', b'z')));
    assert_eq!(cursor(caller, 0), (3, 6));
    // On a page that is not active.
    call(caller, 0x1301, 0x0207, 6, 0);
    assert_eq!(get(caller, far(0xb800, 0x2000)), *b"A\x07x\x07");
    assert_eq!((cursor(caller, 2), cursor(caller, 0)), ((0, 6), (3, 6)));
}

pub fn text_windows_scroll_up_and_down(caller: &mut impl Caller) {
    set_mode(caller, 3);
    for row in 0..25u8 {
        let line: Vec<u8> = (0..80).flat_map(|column| [b'a' + row, column]).collect();
        put(caller, far(0xb800, u16::from(row) * 160), &line);
    }
    call(caller, 0x0602, 0x1f00, 0x050a, 0x0a14);
    assert_eq!(text(caller, 5, 10), (b'h', 10));
    assert_eq!(text(caller, 8, 20), (b'k', 20));
    assert_eq!([text(caller, 9, 10), text(caller, 10, 20)], [(b' ', 0x1f); 2]);
    assert_eq!([text(caller, 5, 9), text(caller, 5, 21), text(caller, 11, 10)], [(b'f', 9), (b'f', 21), (b'l', 10)]);
    call(caller, 0x0701, 0x2f00, 0x0000, 0x184f);
    assert_eq!([text(caller, 0, 0), text(caller, 0, 79)], [(b' ', 0x2f); 2]);
    assert_eq!(text(caller, 24, 0), (b'x', 0));
    // Corners beyond the screen are clipped; other cells are unchanged.
    call(caller, 0x0600, 0x4e00, 0x1800, 0xffff);
    assert_eq!([text(caller, 24, 0), text(caller, 24, 79)], [(b' ', 0x4e); 2]);
    assert_eq!(text(caller, 23, 79), (b'w', 79));
    assert_eq!(text(caller, 25, 0), (b' ', 7));
    // Inverted corners do nothing.
    call(caller, 0x0600, 0x4e00, 0x0a00, 0x054f);
    assert_eq!(text(caller, 10, 0).1, 0);
}

pub fn each_page_has_a_cursor_position_and_all_share_one_shape(caller: &mut impl Caller) {
    set_mode(caller, 3);
    let shape = |caller: &mut _| (indexed(caller, 0x3d4, 0x0a), indexed(caller, 0x3d4, 0x0b));
    assert_eq!(call(caller, 0x0300, 0, 0, 0).cx(), 0x0607);
    assert_eq!(shape(caller), (13, 14));
    for (cx, expected) in
        [(0x0607, (13, 14)), (0x0007, (0, 15)), (0x0407, (8, 15)), (0x0d0e, (13, 14)), (0x2000, (0x20, 0))]
    {
        call(caller, 0x0100, 0, cx, 0);
        assert_eq!(shape(caller), expected, "{cx:x}");
        assert_eq!(call(caller, 0x0300, 0, 0, 0).cx(), cx);
    }
    call(caller, 0x1201, 0x34, 0, 0);
    call(caller, 0x0100, 0, 0x0607, 0);
    assert_eq!(shape(caller), (6, 7));
    assert_eq!(call(caller, 0x1200, 0x34, 0, 0).al(), 0x12);
    for page in 0..8u8 {
        call(caller, 0x0200, u16::from(page) << 8, 0, 0x0100 + u16::from(page));
    }
    call(caller, 0x0503, 0, 0, 0);
    assert_eq!((bda8(caller, bda::PAGE), bda16(caller, bda::PAGE_START)), (3, 0x3000));
    assert_eq!((indexed(caller, 0x3d4, 0x0c), indexed(caller, 0x3d4, 0x0d)), (0x18, 0));
    assert_eq!((indexed(caller, 0x3d4, 0x0e), indexed(caller, 0x3d4, 0x0f)), (0x18, 83));
    assert_eq!(cursor(caller, 7), (1, 7));
    assert_eq!(call(caller, 0x0f00, 0, 0, 0).bh(), 3);
    call(caller, 0x0508, 0, 0, 0);
    assert_eq!(bda8(caller, bda::PAGE), 3);
    set_mode(caller, 3);
    assert_eq!(cursor(caller, 7), (0, 0));
    // No light pen.
    assert_eq!(call(caller, 0x0400, 0, 0, 0).ah(), 0);
}

/// All registers of the adapter, by name.
fn registers(caller: &mut impl Caller) -> Vec<(String, u16)> {
    let misc = caller.machine().bench.inb(0x3cc);
    let crtc = if misc & 1 != 0 { 0x3d4 } else { 0x3b4 };
    let mut all = vec![("misc".to_owned(), misc.into()), ("mask".to_owned(), caller.machine().bench.inb(0x3c6).into())];
    for (name, port, count) in [("sequencer", 0x3c4, 5), ("crtc", crtc, 25), ("graphics", 0x3ce, 9)] {
        for index in 0..count {
            all.push((format!("{name} {index:x}"), indexed(caller, port, index).into()));
        }
    }
    for index in 0..21 {
        all.push((format!("attribute {index:x}"), call(caller, 0x1007, index, 0, 0).bh().into()));
    }
    caller.machine().bench.outb(0x3c7, 0);
    for index in 0..768 {
        all.push((format!("dac {index}"), caller.machine().bench.inb(0x3c9).into()));
    }
    if dispi(caller, 4) & 1 != 0 {
        // Without ENABLE bit 7, which reflects how the mode was set.
        all.extend(
            (1..10).map(|index| (format!("dispi {index}"), dispi(caller, index) & !(u16::from(index == 4) << 7))),
        );
    }
    all
}

/// Graphics modes: width, height, and mask of the colour bits.
const GRAPHICS: [(u16, u16, u16, u8); 18] = [
    (4, 320, 200, 3),
    (5, 320, 200, 3),
    (6, 640, 200, 1),
    (0x0d, 320, 200, 15),
    (0x0e, 640, 200, 15),
    (0x0f, 640, 350, 15),
    (0x10, 640, 350, 15),
    (0x11, 640, 480, 15),
    (0x12, 640, 480, 15),
    (0x13, 320, 200, 255),
    (0x101, 640, 480, 255),
    (0x102, 800, 600, 15),
    (0x107, 1280, 1024, 255),
    (0x14f, 1600, 1200, 15),
    (0x110, 640, 480, 255),
    (0x114, 800, 600, 255),
    (0x112, 640, 480, 255),
    (0x143, 800, 600, 255),
];

fn set_any(caller: &mut impl Caller, mode: u16) {
    if mode < 0x100 {
        set_mode(caller, mode as u8);
    } else {
        assert_eq!(call(caller, 0x4f02, mode, 0, 0).ax(), 0x004f, "mode {mode:x}");
    }
}

pub fn palette_and_dac_registers_read_back_as_written(caller: &mut impl Caller) {
    set_mode(caller, 3);
    call(caller, 0x1000, 0x2a03, 0, 0);
    assert_eq!(call(caller, 0x1007, 0x0003, 0, 0).bh(), 0x2a);
    call(caller, 0x1001, 0x1500, 0, 0);
    assert_eq!(call(caller, 0x1008, 0, 0, 0).bh(), 0x15);
    let palette: Vec<u8> = (0..17).map(|n| 16 + n).collect();
    put(caller, BUFFER, &palette);
    call(caller, 0x1002, 0, 0, 0);
    put(caller, BUFFER, &[0; 17]);
    call(caller, 0x1009, 0, 0, 0);
    assert_eq!(get::<17>(caller, BUFFER).to_vec(), palette);
    for (blink, expected) in [(0, 0x04), (1, 0x0c)] {
        call(caller, 0x1003, blink, 0, 0);
        assert_eq!(call(caller, 0x1007, 0x0010, 0, 0).bh(), expected);
    }
    call(caller, 0x1010, 0x0007, 0x0203, 0x0100);
    let regs = call(caller, 0x1015, 0x0007, 0, 0);
    assert_eq!((regs.dh(), regs.ch(), regs.cl()), (1, 2, 3));
    put(caller, BUFFER, &[1, 2, 3, 4, 5, 6]);
    call(caller, 0x1012, 0x00fe, 2, 0);
    put(caller, BUFFER, &[0; 6]);
    call(caller, 0x1017, 0x00fe, 2, 0);
    assert_eq!(get(caller, BUFFER), [1, 2, 3, 4, 5, 6]);
    call(caller, 0x1013, 0x0100, 0, 0);
    call(caller, 0x1013, 0x0501, 0, 0);
    let regs = call(caller, 0x101a, 0, 0, 0);
    assert_eq!((regs.bl(), regs.bh()), (1, 5));
    call(caller, 0x1013, 0x0000, 0, 0);
    call(caller, 0x1013, 0x0201, 0, 0);
    let regs = call(caller, 0x101a, 0, 0, 0);
    assert_eq!((regs.bl(), regs.bh()), (0, 2));
    call(caller, 0x1018, 0x007f, 0, 0);
    assert_eq!(call(caller, 0x1019, 0, 0, 0).bl(), 0x7f);
    call(caller, 0x1010, 0x0020, 0x0000, 0x3f00);
    call(caller, 0x101b, 0x0020, 1, 0);
    let regs = call(caller, 0x1015, 0x0020, 0, 0);
    assert_eq!((regs.dh(), regs.ch(), regs.cl()), (0x13, 0x13, 0x13));
    // CGA palettes.
    set_mode(caller, 4);
    call(caller, 0x0b00, 0x0004, 0, 0);
    call(caller, 0x0b00, 0x0100, 0, 0);
    let register = |caller: &mut _, index| call(caller, 0x1007, index, 0, 0).bh();
    assert_eq!([register(caller, 0), register(caller, 1), register(caller, 3), register(caller, 0x11)], [4, 2, 6, 4]);
    call(caller, 0x0b00, 0x0101, 0, 0);
    assert_eq!([register(caller, 1), register(caller, 2), register(caller, 3)], [3, 5, 7]);
    call(caller, 0x0b00, 0x0011, 0, 0);
    assert_eq!([register(caller, 0), register(caller, 1)], [1, 0x13]);
    // Default palettes.
    let colour = |caller: &mut _, index| {
        let regs = call(caller, 0x1015, index, 0, 0);
        [regs.dh(), regs.ch(), regs.cl()]
    };
    set_mode(caller, 3);
    assert_eq!([colour(caller, 7), colour(caller, 0x14), colour(caller, 0x3f)], [[42; 3], [42, 21, 0], [63; 3]]);
    set_mode(caller, 0x13);
    for (index, rgb) in [
        (1, [0, 0, 42]),
        (6, [42, 21, 0]),
        (15, [63; 3]),
        (24, [28; 3]),
        (32, [0, 0, 63]),
        (33, [16, 0, 63]),
        (36, [63, 0, 63]),
        (40, [63, 0, 0]),
        (44, [63, 63, 0]),
        (48, [0, 63, 0]),
        (52, [0, 63, 63]),
        (56, [31, 31, 63]),
        (104, [0, 0, 28]),
        (247, [11, 12, 16]),
        (255, [0; 3]),
    ] {
        assert_eq!(colour(caller, index), rgb, "colour {index}");
    }
    set_mode(caller, 3);
}

pub fn fonts_are_reported_and_loaded(caller: &mut impl Caller) {
    set_mode(caller, 3);
    // Reads a byte of plane 2; the adapter interleaves the planes byte by byte.
    let glyph = |caller: &mut dyn FnMut(u64) -> u8, at: u64| caller(at * 4 + 2);
    let plane2 = |caller: &mut _, at: u16| {
        let machine = Caller::machine(caller);
        let mut read = |offset| {
            let mut byte = [0];
            machine.bench.memory.read_video(offset, &mut byte);
            byte[0]
        };
        glyph(&mut read, at.into())
    };
    let rom = |caller: &mut _, which: u16| {
        let regs = call(caller, 0x1130, which << 8, 0, 0);
        (far(regs.es, regs.bp()), regs.cx(), regs.dl())
    };
    let (font16, height, rows) = rom(caller, 6);
    assert_eq!((height, rows), (16, 24));
    for row in 0..16 {
        let expected = caller.machine().byte(font16.at(u16::from(b'R') * 16 + row));
        assert_eq!(plane2(caller, u16::from(b'R') * 32 + row), expected);
    }
    let (font8, ..) = rom(caller, 3);
    assert_eq!(rom(caller, 4).0, font8.at(1024));
    assert_eq!(rom(caller, 0).0, font8.at(1024));
    assert_eq!(rom(caller, 1).0, font16);
    // 8x8: 50 rows.
    call(caller, 0x1112, 0, 0, 0);
    assert_eq!((bda8(caller, bda::ROWS), bda16(caller, bda::CHAR_HEIGHT)), (49, 8));
    assert_eq!((indexed(caller, 0x3d4, 9) & 0x1f, indexed(caller, 0x3d4, 0x12)), (7, 0x8f));
    assert_eq!((indexed(caller, 0x3d4, 0x0a), indexed(caller, 0x3d4, 0x0b)), (6, 7));
    assert_eq!(plane2(caller, 0x52 * 32 + 1), caller.machine().byte(font8.at(0x52 * 8 + 1)));
    call(caller, 0x0200, 0, 0, 0x3100);
    type_text(caller, "x\r\n");
    assert_eq!(text(caller, 48, 0), (b'x', 7));
    // 8x14: 28 rows.
    call(caller, 0x1111, 0, 0, 0);
    assert_eq!((bda8(caller, bda::ROWS), indexed(caller, 0x3d4, 0x12)), (27, 0x87));
    // A user glyph in block 1, and the character map that selects it.
    put(caller, BUFFER, &[0x11; 16]);
    call(caller, 0x1100, 0x1001, 1, 0x41);
    assert_eq!(plane2(caller, 0x4000 + 0x41 * 32 + 15), 0x11);
    assert_eq!(bda8(caller, bda::ROWS), 27);
    call(caller, 0x1103, 0x0004, 0, 0);
    assert_eq!(indexed(caller, 0x3c4, 3), 4);
    assert_eq!([indexed(caller, 0x3c4, 2), indexed(caller, 0x3c4, 4)], [3, 2]);
    assert_eq!([indexed(caller, 0x3ce, 4), indexed(caller, 0x3ce, 5), indexed(caller, 0x3ce, 6)], [0, 0x10, 0x0e]);
    // Fonts for graphics modes.
    set_mode(caller, 0x12);
    call(caller, 0x1121, 0x0000, 10, 0x0030);
    assert_eq!((bda16(caller, bda::CHAR_HEIGHT), bda8(caller, bda::ROWS)), (10, 0x2f));
    assert_eq!(rom(caller, 1).0, BUFFER);
    call(caller, 0x1120, 0, 0, 0);
    assert_eq!(rom(caller, 0).0, BUFFER);
    call(caller, 0x1123, 2, 0, 0);
    assert_eq!((rom(caller, 1).0, bda8(caller, bda::ROWS)), (font8, 24));
    call(caller, 0x1122, 3, 0, 0);
    assert_eq!(bda8(caller, bda::ROWS), 42);
    call(caller, 0x1124, 1, 0, 0);
    assert_eq!((rom(caller, 1).0, bda8(caller, bda::ROWS)), (font16, 13));
    put(caller, bda::FONT_UPPER, &[(font8.off + 1024) as u8, ((font8.off + 1024) >> 8) as u8, 0, 0xc0]);
    set_mode(caller, 3);
}

pub fn ah_12h_settings_change_later_mode_sets(caller: &mut impl Caller) {
    set_mode(caller, 3);
    let regs = call(caller, 0x1200, 0x10, 0, 0);
    assert_eq!((regs.bh(), regs.bl(), regs.ch(), regs.cl()), (0, 3, 0x0f, 9));
    for (al, rows_of, lines) in [(0, 8, 199), (1, 14, 349), (2, 16, 399)] {
        assert_eq!(call(caller, 0x1200 | al, 0x30, 0, 0).al(), 0x12);
        set_mode(caller, 3);
        assert_eq!(bda16(caller, bda::CHAR_HEIGHT), rows_of);
        let shown = u16::from(indexed(caller, 0x3d4, 0x12)) | u16::from(indexed(caller, 0x3d4, 7) & 2) << 7;
        // 200-line modes are double scanned.
        assert_eq!(shown, if lines == 199 { 399 } else { lines });
        assert_eq!(bda8(caller, bda::ROWS), 24);
    }
    assert_eq!(call(caller, 0x1203, 0x30, 0, 0).al(), 3);
    // BL=31h: no default palette.
    call(caller, 0x1201, 0x31, 0, 0);
    call(caller, 0x1010, 0x0001, 0x1122, 0x3300);
    set_mode(caller, 3);
    assert_eq!(call(caller, 0x1015, 1, 0, 0).cx(), 0x1122);
    call(caller, 0x1200, 0x31, 0, 0);
    // BL=33h: grey-scale summing.
    call(caller, 0x1200, 0x33, 0, 0);
    set_mode(caller, 3);
    let regs = call(caller, 0x1015, 1, 0, 0);
    assert!(regs.ch() == regs.cl() && regs.dh() == regs.cl() && regs.cl() > 0);
    call(caller, 0x1201, 0x33, 0, 0);
    // BL=32h: video memory disabled; BL=36h: screen off.
    call(caller, 0x1201, 0x32, 0, 0);
    assert_eq!(caller.machine().bench.inb(0x3cc) & 2, 0);
    call(caller, 0x1200, 0x32, 0, 0);
    call(caller, 0x1201, 0x36, 0, 0);
    assert_eq!(indexed(caller, 0x3c4, 1) & 0x20, 0x20);
    call(caller, 0x1200, 0x36, 0, 0);
    assert_eq!(indexed(caller, 0x3c4, 1) & 0x20, 0);
    // BL=35h, display switch, is not supported; AL=7 is invalid.
    assert_eq!(call(caller, 0x1200, 0x35, 0, 0).al(), 0);
    assert_eq!(call(caller, 0x1207, 0x33, 0, 0).al(), 7);
    set_mode(caller, 3);
}

pub fn the_video_state_is_reported_saved_and_restored(caller: &mut impl Caller) {
    set_mode(caller, 3);
    let regs = call(caller, 0x1a00, 0, 0, 0);
    assert_eq!((regs.al(), regs.bl(), regs.bh()), (0x1a, 8, 0));
    assert_eq!(call(caller, 0x1a01, 0x0007, 0, 0).al(), 0x1a);
    assert_eq!(call(caller, 0x1a00, 0, 0, 0).bl(), 7);
    call(caller, 0x1a01, 0x0008, 0, 0);
    assert_eq!(call(caller, 0x1b00, 0, 0, 0).al(), 0x1b);
    let state: [u8; 64] = get(caller, BUFFER);
    assert_eq!((state[4], state[5], state[0x22], state[0x23], state[0x25], state[0x26]), (3, 80, 25, 16, 8, 0));
    assert_eq!((&state[0x27..0x2b], state[0x31]), (&[16, 0, 8, 2][..], 3));
    let table = far(u16::from_le_bytes([state[2], state[3]]), u16::from_le_bytes([state[0], state[1]]));
    assert_eq!(get(caller, table), [0xff, 0xe0, 0x0f]);
    // Save all states, change them, restore.
    for (function, mode) in
        [(0x1c00, 3u16), (0x1c00, 0x12), (0x4f04, 0x3), (0x4f04, 0x13), (0x4f04, 0x118), (0x4f04, 0x101)]
    {
        set_any(caller, mode);
        call(caller, 0x1010, 0x0003, 0x1122, 0x3300);
        call(caller, 0x1000, 0x2a05, 0, 0);
        call(caller, 0x0200, 0, 0, 0x0505);
        let vbe = function == 0x4f04;
        let parts = if vbe { 15 } else { 7 };
        let subfunction = |n: u16| if vbe { (function, n) } else { (function | n, 0) };
        let (ax, dx) = subfunction(0);
        let regs = call(caller, ax, 0, parts, dx);
        assert_eq!(regs.bx(), if vbe { 17 } else { 16 });
        assert_eq!(regs.ax(), if vbe { 0x004f } else { 0x1c1c });
        put(caller, BUFFER.at(64 * regs.bx()), &[0xee]);
        let chip = registers(caller);
        let (ax, dx) = subfunction(1);
        call(caller, ax, 0, parts, dx);
        assert_eq!(get(caller, BUFFER.at(64 * regs.bx())), [0xee], "saving wrote past the reported size");
        set_any(caller, 0x10d);
        set_mode(caller, 0x0e);
        call(caller, 0x1010, 0x0003, 0, 0);
        let (ax, dx) = subfunction(2);
        let regs = call(caller, ax, 0, parts, dx);
        assert_eq!(regs.ax(), if vbe { 0x004f } else { 0x1c1c });
        let restored = registers(caller);
        let changed: Vec<_> = chip.iter().zip(&restored).filter(|(before, after)| before != after).collect();
        assert!(chip.len() == restored.len() && changed.is_empty(), "mode {mode:x}: {changed:?}");
        assert_eq!(call(caller, 0x1007, 0x0005, 0, 0).bh(), 0x2a);
        assert_eq!(cursor(caller, 0), (5, 5));
        let regs = call(caller, 0x1015, 3, 0, 0);
        assert_eq!((regs.dh(), regs.cx()), (0x33, 0x1122));
        if vbe {
            assert_eq!(call(caller, 0x4f03, 0, 0, 0).bx() & 0x1ff, mode);
        }
    }
    assert_eq!(call(caller, 0x1c00, 0, 0, 0).al(), 0);
    assert_eq!(call(caller, 0x4f04, 0, 0, 0).ax(), 0x014f);
    set_mode(caller, 3);
}

pub fn unknown_functions_change_nothing(caller: &mut impl Caller) {
    set_mode(caller, 3);
    let before = caller.machine().ram[0x400..0x500].to_vec();
    let chip = pcvm_devices::device::DynDevice::save_cbor(&caller.machine().bench.device);
    for ax in [0x1400, 0x2000, 0x4e00, 0x4f0b, 0x4f14, 0x4fff, 0x5000, 0xfe00, 0x10ff, 0x11ff, 0x1304, 0x1a02, 0x1c03] {
        let regs = call(caller, ax, 0x1111, 0, 0);
        assert_eq!((regs.ax(), regs.bx()), (ax, 0x1111), "{ax:x}");
    }
    assert_eq!(caller.machine().ram[0x400..0x500], before);
    assert_eq!(pcvm_devices::device::DynDevice::save_cbor(&caller.machine().bench.device), chip);
}

pub fn a_mode_set_makes_at_most_100_exits(caller: &mut impl Caller) {
    let modes = (0..=7).chain(0x0d..=0x13).chain([0x101, 0x102, 0x118, 0x144]);
    caller.machine().counting = true;
    for mode in modes {
        for from in [3, 0x13, 0x144] {
            set_any(caller, from);
            caller.machine().take_exits();
            set_any(caller, mode);
            let exits = caller.machine().take_exits();
            println!("mode {from:x} to {mode:x}: {exits} exits");
            assert!(exits <= 100, "mode {from:x} to {mode:x}: {exits} exits");
        }
    }
    set_mode(caller, 3);
    caller.machine().take_exits();
    type_text(caller, "0123456789");
    let exits = caller.machine().take_exits();
    assert!(exits <= 1, "ten characters made {exits} exits");
    caller.machine().counting = false;
}

pub fn mode_sets_use_the_save_pointer_table(caller: &mut impl Caller) {
    let table = far(0x2100, 0);
    let old: [u8; 4] = get(caller, far(bda::SEGMENT, bda::SAVE_POINTERS));
    let rom = far(u16::from_le_bytes([old[2], old[3]]), u16::from_le_bytes([old[0], old[1]]));
    let standard: [u8; 28] = get(caller, rom);
    let parameters =
        far(u16::from_le_bytes([standard[2], standard[3]]), u16::from_le_bytes([standard[0], standard[1]]));
    assert_eq!(get::<64>(caller, parameters.at(0x18 * 64)), modes::PARAMETERS[0x18]);
    // A palette save area, and fonts of eight lines for modes 3 and 12h.
    let mut own = standard;
    own[4..8].copy_from_slice(&[0, 1, 0x00, 0x21]);
    own[8..12].copy_from_slice(&[0, 2, 0x00, 0x21]);
    own[12..16].copy_from_slice(&[0, 3, 0x00, 0x21]);
    put(caller, table, &own);
    put(caller, table.at(0x200), &[8, 0, 1, 0, b'A', 0, 0, 4, 0x00, 0x21, 0xff, 3, 0xff]);
    put(caller, table.at(0x300), &[60, 8, 0, 0, 4, 0x00, 0x21, 0x12, 0xff]);
    put(caller, table.at(0x400), &[0x99; 8]);
    put(caller, far(bda::SEGMENT, bda::SAVE_POINTERS), &[0, 0, 0x00, 0x21]);
    set_mode(caller, 3);
    assert_eq!(bda8(caller, bda::ROWS), 49);
    assert_eq!(get::<17>(caller, table.at(0x100)), [0, 1, 2, 3, 4, 5, 0x14, 7, 56, 57, 58, 59, 60, 61, 62, 63, 0]);
    call(caller, 0x1000, 0x2a03, 0, 0);
    assert_eq!(get(caller, table.at(0x103)), [0x2a]);
    set_mode(caller, 0x12);
    assert_eq!((bda8(caller, bda::ROWS), bda16(caller, bda::CHAR_HEIGHT)), (59, 8));
    put(caller, far(bda::SEGMENT, bda::SAVE_POINTERS), &[0; 4]);
    set_mode(caller, 3);
    assert_eq!(bda8(caller, bda::ROWS), 24);
    put(caller, far(bda::SEGMENT, bda::SAVE_POINTERS), &old);
    let _ = tables::PARAMETERS;
}
