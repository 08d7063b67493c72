//! Pixels, characters and scrolling in graphics modes.

use super::*;

pub fn pixels_read_back_as_written_in_every_graphics_mode(caller: &mut impl Caller) {
    for (mode, width, height, mask) in GRAPHICS {
        set_any(caller, mode);
        let direct = matches!(mode, 0x110 | 0x114 | 0x112 | 0x143);
        let dots =
            [(0, 0), (1, 0), (width - 1, 0), (7, 1), (8, 1), (width / 2, height / 2 + 1), (width - 1, height - 1)];
        for ((x, y), colour) in dots.into_iter().zip([1u8, 15, 6, 9, 10, 5, 15]) {
            call(caller, 0x0c00 | u16::from(colour), 0, x, y);
        }
        for ((x, y), colour) in dots.into_iter().zip([1u8, 15, 6, 9, 10, 5, 15]) {
            let read = call(caller, 0x0d00, 0, x, y).al();
            if direct {
                // AH=0Dh returns the lowest byte of the pixel only; white is all ones in every depth.
                assert!(colour != 15 || read >= 0xfc, "mode {mode:x}: {x},{y}: {read:x}");
            } else {
                assert_eq!(read, colour & mask, "mode {mode:x}: {x},{y}");
            }
        }
        // The pixels are on the screen.
        let machine = caller.machine();
        let frame = machine.bench.device.render(&machine.bench.memory);
        let (rgb, size) = (frame.rgb(), (frame.width, frame.height));
        assert!(rgb[..3] != [0; 3], "mode {mode:x}: {size:?}");
        assert!(mode == 6 || rgb[rgb.len() - 3..] != [0; 3], "mode {mode:x}: {size:?}");
        // The neighbour is unchanged.
        assert_eq!(call(caller, 0x0d00, 0, width / 2 + 1, height / 2 + 1).al(), 0, "mode {mode:x}");
        if mode < 0x13 {
            let before = call(caller, 0x0d00, 0, 7, 1).al();
            call(caller, 0x0c83, 0, 7, 1);
            assert_eq!(call(caller, 0x0d00, 0, 7, 1).al(), (before ^ 3) & mask, "mode {mode:x}");
        }
    }
    set_mode(caller, 3);
}

pub fn characters_read_back_as_written_in_every_graphics_mode(caller: &mut impl Caller) {
    for (mode, width, height, _) in GRAPHICS {
        set_any(caller, mode);
        let high = if width == 640 && height == 350 {
            14
        } else if height < 350 {
            8
        } else {
            16
        };
        let rows = bda8(caller, bda::ROWS);
        assert_eq!(rows, (height / high - 1) as u8, "mode {mode:x}");
        let columns = bda16(caller, bda::COLUMNS);
        assert_eq!(columns, width / 8);
        for (row, column, character) in [(0, 0, b'A'), (1, columns - 1, b'g'), (u16::from(rows), 3, 0xdb), (2, 2, 0xe1)]
        {
            call(caller, 0x0200, 0, 0, row << 8 | column);
            call(caller, 0x0900 | u16::from(character), 0x0f, 1, 0);
            let regs = call(caller, 0x0800, 0, 0, 0);
            assert_eq!(regs.al(), character, "mode {mode:x}: {row},{column}");
        }
        // Overwrites without XOR.
        call(caller, 0x0a42, 0x0f, 1, 0);
        assert_eq!(call(caller, 0x0800, 0, 0, 0).al(), b'B', "mode {mode:x}");
        // XOR twice restores the cell.
        if mode != 0x13 && mode != 0x101 && mode != 0x107 {
            call(caller, 0x0a58, 0x8f, 1, 0);
            assert_ne!(call(caller, 0x0800, 0, 0, 0).al(), b'B', "mode {mode:x}");
            call(caller, 0x0a58, 0x8f, 1, 0);
            assert_eq!(call(caller, 0x0800, 0, 0, 0).al(), b'B', "mode {mode:x}");
        }
        // A repeat count continues in the next row.
        call(caller, 0x0200, 0, 0, columns - 1);
        call(caller, 0x0951, 0x0f, 2, 0);
        call(caller, 0x0200, 0, 0, 0x0100);
        assert_eq!(call(caller, 0x0800, 0, 0, 0).al(), b'Q', "mode {mode:x}");
        // Teletype output.
        call(caller, 0x0200, 0, 0, 0x0300);
        type_text(caller, "ok");
        call(caller, 0x0200, 0, 0, 0x0301);
        assert_eq!(call(caller, 0x0800, 0, 0, 0).al(), b'k', "mode {mode:x}");
    }
    set_mode(caller, 3);
}

pub fn graphics_modes_scroll_by_character_rows(caller: &mut impl Caller) {
    for (mode, ..) in GRAPHICS {
        set_any(caller, mode);
        let rows = u16::from(bda8(caller, bda::ROWS));
        let columns = bda16(caller, bda::COLUMNS);
        let write = |caller: &mut _, row: u16, column: u16, character: u8| {
            call(caller, 0x0200, 0, 0, row << 8 | column);
            call(caller, 0x0900 | u16::from(character), 0x0f, 1, 0);
        };
        let read = |caller: &mut _, row: u16, column: u16| {
            call(caller, 0x0200, 0, 0, row << 8 | column);
            call(caller, 0x0800, 0, 0, 0).al()
        };
        // Characters in the first and last rows and beside the window. Scrolling the large modes crosses bank
        // boundaries.
        for (row, character) in [(2, b'a'), (3, b'b'), (4, b'c'), (rows - 1, b'y'), (rows, b'z')] {
            write(caller, row, 0, b'L');
            write(caller, row, 1, character);
            write(caller, row, columns - 1, character);
        }
        let window = |caller: &mut _, ax: u16, top: u16, bottom: u16| {
            call(caller, ax, 0, top << 8 | 1, bottom << 8 | (columns - 1));
        };
        window(caller, 0x0601, 2, rows);
        for column in [1, columns - 1] {
            assert_eq!([read(caller, 2, column), read(caller, 3, column)], *b"bc", "mode {mode:x}");
            assert_eq!(read(caller, rows - 1, column), b'z', "mode {mode:x}");
            assert_eq!(read(caller, rows - 2, column), b'y', "mode {mode:x}");
            assert_eq!(read(caller, rows, column), 0, "mode {mode:x}");
        }
        assert_eq!(read(caller, rows, 0), b'L', "mode {mode:x}");
        window(caller, 0x0702, 2, rows);
        assert_eq!([read(caller, 4, 1), read(caller, 5, 1)], *b"bc", "mode {mode:x}");
        assert_eq!([read(caller, 2, 1), read(caller, rows, 1)], [0, b'y'], "mode {mode:x}");
        // Clears with a colour.
        call(caller, 0x0600, 0x0f00, 0x0201, 0x0202);
        if !matches!(mode, 0x11) {
            assert_eq!(read(caller, 2, 2), 0xdb, "mode {mode:x}");
        }
        assert_eq!(read(caller, 2, 0), b'L', "mode {mode:x}");
    }
    set_mode(caller, 3);
}
