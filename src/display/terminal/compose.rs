//! Layout of the guest's screen in a terminal's cells: text as it is, graphics as half blocks with two pixels per cell,
//! and a status line in the last row if that row is free, the menu is open or there is a message.

use super::cells::{Cell, CellGrid, Colour, Cursor, Style};
use crate::display::aspect_ratio;
use crate::screen::View;
use pcvm_devices::vga::{Bitmap, TextScreen, cp437};

/// The menu's text: the command keys after Ctrl-].
pub const MENU: &str = "q end  d Ctrl-Alt-Del  p power  1-9 0 - = F1-F12  r redraw  ] Ctrl-]";
/// The VGA palette that the BIOS sets: these 16 colours are shown as the terminal's own 16.
const BIOS_PALETTE: [[u8; 3]; 16] = [
    [0, 0, 0],
    [0, 0, 170],
    [0, 170, 0],
    [0, 170, 170],
    [170, 0, 0],
    [170, 0, 170],
    [170, 85, 0],
    [170, 170, 170],
    [85, 85, 85],
    [85, 85, 255],
    [85, 255, 85],
    [85, 255, 255],
    [255, 85, 85],
    [255, 85, 255],
    [255, 255, 85],
    [255, 255, 255],
];
const STATUS_STYLE: Style = Style { fore: Colour::Index(0), back: Colour::Index(7), blink: false };

/// What the status line shows.
#[derive(Clone, Debug, Default)]
pub struct Status<'a> {
    /// The machine's name.
    pub name: &'a str,
    /// Show [`MENU`].
    pub menu_open: bool,
    /// A line that pcvm wrote to standard error.
    pub message: Option<&'a str>,
}

/// Lays screens out; remembers which part of a screen larger than the terminal was shown.
#[derive(Debug, Default)]
pub struct Composer {
    /// Column and row of the guest's screen at the terminal's top left.
    origin: (u32, u32),
}

impl Composer {
    /// The cells for a terminal of the given columns and rows.
    pub fn compose(&mut self, view: Option<&View>, (columns, rows): (u16, u16), status: &Status<'_>) -> CellGrid {
        let mut grid = CellGrid::new(columns, rows);
        let (line, free) = match view {
            None => (String::new(), true),
            Some(View::Text(text)) => self.put_text(&mut grid, text),
            Some(View::Picture(frame)) => (put_picture(&mut grid, frame), true),
        };
        let Some(last) = rows.checked_sub(1) else { return grid };
        if status.menu_open {
            grid.put_line(last, &format!("pcvm: {MENU}"), STATUS_STYLE);
        } else if let Some(message) = status.message {
            grid.put_line(last, message, STATUS_STYLE);
        } else if free {
            grid.put_line(last, &format!("{}: {line}Ctrl-] for pcvm's keys", status.name), STATUS_STYLE);
        } else {
            return grid;
        }
        // The guest's cursor must not appear in the status line.
        grid.cursor = grid.cursor.filter(|cursor| cursor.row != last);
        grid
    }

    /// Puts the part of the text that fits. Gives the status line's text, and whether the last row is free for it.
    fn put_text(&mut self, grid: &mut CellGrid, text: &TextScreen) -> (String, bool) {
        let (columns, rows) = grid.size();
        let clipped = text.columns > columns.into() || text.rows > rows.into();
        let free = clipped || u32::from(rows) > text.rows;
        let area = (u32::from(columns).min(text.columns), u32::from(rows.saturating_sub(free.into())).min(text.rows));
        let follow = |origin: u32, area: u32, whole: u32, cursor: Option<u32>| {
            let origin = cursor.map_or(origin, |at| origin.clamp((at + 1).saturating_sub(area.max(1)), at));
            origin.min(whole - area)
        };
        let cursor = text.cursor.as_ref();
        self.origin = (
            follow(self.origin.0, area.0, text.columns, cursor.map(|cursor| cursor.column)),
            follow(self.origin.1, area.1, text.rows, cursor.map(|cursor| cursor.row)),
        );
        let (left, top) = self.origin;
        for row in 0..area.1 {
            for column in 0..area.0 {
                let at = ((top + row) * text.columns + left + column) as usize;
                let Some(&[code, attribute]) = text.cells.get(at) else { continue };
                let back = if text.blink_enabled { attribute >> 4 & 7 } else { attribute >> 4 };
                let style = Style {
                    fore: colour(text, attribute & 0xf),
                    back: colour(text, back),
                    blink: text.blink_enabled && attribute & 0x80 != 0,
                };
                grid.put(column as u16, row as u16, Cell { c: cp437(code), style });
            }
        }
        grid.cursor = cursor
            .map(|cursor| Cursor {
                column: cursor.column.wrapping_sub(left) as u16,
                row: cursor.row.wrapping_sub(top) as u16,
                block: (cursor.last - cursor.first + 1) * 2 > cursor.height,
            })
            .filter(|cursor| u32::from(cursor.column) < area.0 && u32::from(cursor.row) < area.1);
        let mut line = format!("text {} x {}, ", text.columns, text.rows);
        if clipped {
            line.push_str(&format!("shown: rows {}-{}", top + 1, top + area.1));
            if area.0 < text.columns {
                line.push_str(&format!(", columns {}-{}", left + 1, left + area.0));
            }
            line.push_str("; ");
        }
        (line, free)
    }
}

fn colour(text: &TextScreen, n: u8) -> Colour {
    let n = usize::from(n & 0xf);
    if text.colours[n] == BIOS_PALETTE[n] {
        // Blue is the VGA's lowest bit, and a terminal's highest.
        Colour::Index((n as u8 & 0xa) | (n as u8 & 1) << 2 | (n as u8 & 4) >> 2)
    } else {
        Colour::Rgb(text.colours[n])
    }
}

/// Puts a picture, scaled to fit, with two pixels in each cell, one above the other: pixels are then about square. Gives the
/// status line's text.
fn put_picture(grid: &mut CellGrid, frame: &Bitmap) -> String {
    let (columns, rows) = grid.size();
    let (area_x, area_y) = (u32::from(columns), u32::from(rows.saturating_sub(1)) * 2);
    let (width, height) = aspect_ratio((frame.width, frame.height));
    let line = format!("graphics {} x {}, ", frame.width, frame.height);
    if area_x == 0 || area_y == 0 {
        return line;
    }
    let fitted =
        |across: u32, width: u32, height: u32| (u64::from(across) * u64::from(height) / u64::from(width)) as u32;
    let (to_x, to_y) = match fitted(area_x, width, height).max(1) {
        high if high <= area_y => (area_x, high),
        _ => (fitted(area_y, height, width).clamp(1, area_x), area_y),
    };
    let pixels = scaled(frame, to_x, to_y);
    let left = (area_x - to_x) / 2;
    let pixel = |x: u32, y: u32| pixels.get((y * to_x + x) as usize).copied().unwrap_or_default();
    for row in 0..to_y.div_ceil(2) {
        for x in 0..to_x {
            let (upper, lower) = (pixel(x, row * 2), pixel(x, row * 2 + 1));
            let style = Style { fore: Colour::Rgb(upper), back: Colour::Rgb(lower), blink: false };
            grid.put((left + x) as u16, row as u16, Cell { c: if upper == lower { ' ' } else { '▀' }, style });
        }
    }
    line
}

/// The picture scaled to another size: each pixel is the mean of the source pixels that it covers.
fn scaled(frame: &Bitmap, width: u32, height: u32) -> Vec<[u8; 3]> {
    let part = |n: u32, of: u32, whole: u32| {
        let at = |n: u32| (u64::from(n) * u64::from(whole) / u64::from(of)) as usize;
        at(n)..at(n + 1).max(at(n) + 1)
    };
    let mut pixels = Vec::with_capacity((width * height) as usize);
    for y in 0..height {
        let lines = part(y, height, frame.height);
        for x in 0..width {
            let across = part(x, width, frame.width);
            let (mut sum, mut count) = ([0u64; 4], 0u64);
            for line in lines.clone() {
                for pixel in frame.line(line as u32).get(across.clone()).unwrap_or_default() {
                    for (sum, byte) in sum.iter_mut().zip(pixel.to_be_bytes()) {
                        *sum += u64::from(byte);
                    }
                    count += 1;
                }
            }
            let [_, red, green, blue] = sum.map(|sum| (sum / count.max(1)) as u8);
            pixels.push([red, green, blue]);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::super::cells::{ENTER, Painter, terminal};
    use super::*;
    use pcvm_devices::vga::TextCursor;

    fn screen(columns: u32, rows: u32) -> TextScreen {
        let cells = vec![[b' ', 7]; (columns * rows) as usize];
        TextScreen { columns, rows, cells, blink_enabled: true, colours: BIOS_PALETTE, cursor: None }
    }

    fn write(screen: &mut TextScreen, column: u32, row: u32, text: &[u8], attribute: u8) {
        for (n, &code) in text.iter().enumerate() {
            screen.cells[(row * screen.columns + column) as usize + n] = [code, attribute];
        }
    }

    fn cursor(column: u32, row: u32) -> Option<TextCursor> {
        Some(TextCursor { column, row, first: 13, last: 14, height: 16 })
    }

    /// The composed screen as an independent terminal emulator shows it.
    fn shown(composer: &mut Composer, view: &View, size: (u16, u16), status: &Status<'_>) -> vt100::Screen {
        let mut terminal = terminal(size.0, size.1);
        terminal.process(ENTER);
        terminal.process(&Painter::new(true).paint(composer.compose(Some(view), size, status)));
        terminal.screen().clone()
    }

    fn rows(screen: &vt100::Screen) -> Vec<String> {
        screen.rows(0, screen.size().1.into()).map(|row| row.trim_end().to_owned()).collect()
    }

    const STATUS: Status<'static> = Status { name: "xp", menu_open: false, message: None };

    #[test]
    fn text_is_shown_with_its_characters_colours_and_cursor() {
        let mut text = screen(80, 25);
        write(&mut text, 0, 0, b"C:\\>\x01\xb0\xcd\xe1\x00\xff", 0x07);
        write(&mut text, 10, 1, b"warning", 0x9e);
        text.cursor = cursor(4, 0);
        let shown = shown(&mut Composer::default(), &View::Text(text.clone()), (80, 26), &STATUS);
        assert_eq!(rows(&shown)[0], "C:\\>☺░═ß");
        assert_eq!(rows(&shown)[25], "xp: text 80 x 25, Ctrl-] for pcvm's keys");
        let cell = shown.cell(1, 10).unwrap();
        // Yellow on blue. Attribute bit 7 is blink, which vt100 does not report.
        assert_eq!((cell.fgcolor(), cell.bgcolor()), (vt100::Color::Idx(11), vt100::Color::Idx(4)));
        let cell = shown.cell(0, 0).unwrap();
        assert_eq!((cell.fgcolor(), cell.bgcolor()), (vt100::Color::Idx(7), vt100::Color::Idx(0)));
        assert_eq!((shown.cursor_position(), shown.hide_cursor()), ((0, 4), false));
        text.blink_enabled = false;
        text.colours[9] = [1, 2, 3];
        let mut composer = Composer::default();
        let grid = composer.compose(Some(&View::Text(text)), (80, 25), &STATUS);
        let bytes = String::from_utf8(Painter::new(true).paint(grid)).unwrap();
        assert!(bytes.contains("\x1b[93;48;2;1;2;3mwarning"), "{bytes}");
    }

    #[test]
    fn a_terminal_smaller_than_the_screen_follows_the_cursor_and_shows_the_range() {
        let mut text = screen(80, 25);
        for row in 0..25 {
            write(&mut text, 0, row, format!("row {}", row + 1).as_bytes(), 7);
            write(&mut text, 70, row, b"right", 7);
        }
        let mut composer = Composer::default();
        text.cursor = cursor(0, 0);
        let first = shown(&mut composer, &View::Text(text.clone()), (60, 11), &STATUS);
        assert_eq!((rows(&first)[0].as_str(), rows(&first)[9].as_str()), ("row 1", "row 10"));
        assert_eq!(rows(&first)[10], "xp: text 80 x 25, shown: rows 1-10, columns 1-60; Ctrl-] for");
        text.cursor = cursor(74, 24);
        let last = shown(&mut composer, &View::Text(text.clone()), (60, 11), &STATUS);
        assert!(rows(&last)[9].ends_with("right") && rows(&last)[10].contains("rows 16-25, columns 16-75"));
        assert_eq!(last.cursor_position(), (9, 59));
        // A cursor that is still visible moves nothing.
        text.cursor = cursor(74, 16);
        let same = shown(&mut composer, &View::Text(text.clone()), (60, 11), &STATUS);
        assert!(rows(&same)[10].contains("rows 16-25"));
        text.cursor = None;
        assert!(shown(&mut composer, &View::Text(text), (60, 11), &STATUS).hide_cursor());
        for size in [(1, 1), (1, 2), (2, 1), (0, 5), (5, 0)] {
            composer.compose(Some(&View::Text(screen(1, 1))), size, &STATUS);
            let frame = Bitmap { width: 1, height: 1, pixels: vec![0] };
            composer.compose(Some(&View::Picture(frame)), size, &STATUS);
        }
    }

    #[test]
    fn only_the_menu_and_messages_cover_the_last_row_of_a_full_screen() {
        let mut text = screen(80, 25);
        write(&mut text, 0, 24, b"bottom", 7);
        text.cursor = cursor(0, 24);
        let view = View::Text(text);
        let mut composer = Composer::default();
        let plain = shown(&mut composer, &view, (80, 25), &STATUS);
        assert_eq!((rows(&plain)[24].as_str(), plain.hide_cursor()), ("bottom", false));
        let menu = shown(&mut composer, &view, (80, 25), &Status { menu_open: true, ..STATUS });
        assert!(rows(&menu)[24].ends_with("] Ctrl-]") && menu.hide_cursor(), "{}", rows(&menu)[24]);
        let message = shown(&mut composer, &view, (80, 25), &Status { message: Some("pcvm: \x1b[31mVNC"), ..STATUS });
        assert_eq!(rows(&message)[24], "pcvm: ?[31mVNC");
    }

    #[test]
    fn graphics_are_shown_as_half_blocks_with_their_aspect_ratio() {
        let mut frame = Bitmap { width: 640, height: 480, pixels: vec![0x0000ff; 640 * 480] };
        frame.pixels[..640 * 240].fill(0xff0000);
        let view = View::Picture(frame);
        let shown = shown(&mut Composer::default(), &view, (80, 24), &STATUS);
        assert_eq!(rows(&shown)[23], "xp: graphics 640 x 480, Ctrl-] for pcvm's keys");
        // 23 rows of two pixels are 46 pixels high, so the picture is 61 columns wide.
        let at = |row: u16, column: u16| {
            let cell = shown.cell(row, column).unwrap();
            (cell.contents().to_owned(), cell.fgcolor(), cell.bgcolor())
        };
        let (red, blue) = (vt100::Color::Rgb(255, 0, 0), vt100::Color::Rgb(0, 0, 255));
        assert_eq!((at(0, 8).2, at(0, 9).2, at(0, 69).2), (vt100::Color::Default, red, red));
        assert_eq!((at(11, 40).0.as_str(), at(11, 40).1, at(11, 40).2), ("▀", red, blue));
        assert_eq!((at(22, 69).2, at(22, 70).2), (blue, vt100::Color::Default));
    }

    #[test]
    fn modes_of_up_to_400_lines_are_shown_with_4_to_3() {
        for (size, columns) in [((320, 200), 60), ((640, 350), 60), ((1280, 720), 80)] {
            let frame = Bitmap { width: size.0, height: size.1, pixels: vec![0xc8c8c8; (size.0 * size.1) as usize] };
            let view = View::Picture(frame);
            // 1280 x 720 needs 45 pixels of height at 80 columns.
            let grid = Composer::default().compose(Some(&view), (80, 24), &STATUS);
            let mut terminal = terminal(80, 24);
            terminal.process(&Painter::new(true).paint(grid));
            let lit = |column| terminal.screen().cell(0, column).unwrap().bgcolor() != vt100::Color::Default;
            let width = (0..80).filter(|&column| lit(column)).count();
            assert!(width.abs_diff(columns) <= 1, "{size:?}: {width} columns");
        }
    }
}
