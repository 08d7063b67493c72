//! Grid of terminal cells, and the escape sequences that update a terminal from one grid to the next.
//!
//! Only cells that differ are written. A cell costs its character (1 to 3 bytes), a cursor movement unless it follows the
//! cell written before it, and a colour change unless it has that cell's colours. Sources: ECMA-48, 8.3 (CUP, CUF, SGR);
//! "XTerm Control Sequences" for colours, cursor and alternate screen.

use std::io::Write;

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// The terminal's default.
    Default,
    /// One of the terminal's 16, 0 to 15.
    Index(u8),
    /// Red, green, blue.
    Rgb([u8; 3]),
}

/// A character's colours and blinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Foreground.
    pub fore: Colour,
    /// Background.
    pub back: Colour,
    /// The character blinks.
    pub blink: bool,
}

impl Style {
    /// The terminal's defaults.
    pub const PLAIN: Self = Self { fore: Colour::Default, back: Colour::Default, blink: false };
}

/// One cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// A printable character one cell wide.
    pub c: char,
    /// Its colours.
    pub style: Style,
}

impl Cell {
    /// A space in the default colours.
    pub const BLANK: Self = Self { c: ' ', style: Style::PLAIN };

    /// Whether both look the same: the foreground of a space is invisible.
    fn looks_like(&self, other: &Self) -> bool {
        self == other || self.c == ' ' && other.c == ' ' && self.style.back == other.style.back
    }
}

/// The cursor's position, from 0 at the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Column.
    pub column: u16,
    /// Row.
    pub row: u16,
    /// The cursor is a block; else a line at the bottom of the cell.
    pub block: bool,
}

/// The cells of a terminal's screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellGrid {
    columns: u16,
    rows: u16,
    cells: Vec<Cell>,
    /// `None` if hidden.
    pub cursor: Option<Cursor>,
}

impl CellGrid {
    /// All blank.
    pub fn new(columns: u16, rows: u16) -> Self {
        let cells = vec![Cell::BLANK; usize::from(columns) * usize::from(rows)];
        Self { columns, rows, cells, cursor: None }
    }

    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        (self.columns, self.rows)
    }

    /// Sets a cell; outside the grid this does nothing.
    pub fn put(&mut self, column: u16, row: u16, cell: Cell) {
        if column < self.columns
            && let Some(slot) = self.cells.get_mut(usize::from(row) * usize::from(self.columns) + usize::from(column))
        {
            *slot = cell;
        }
    }

    /// Fills a row with a text and spaces after it; cuts the text off at the last column.
    pub fn put_line(&mut self, row: u16, text: &str, style: Style) {
        let text = text.chars().map(|c| if c.is_control() { '?' } else { c }).chain(std::iter::repeat(' '));
        for (column, c) in (0..self.columns).zip(text) {
            self.put(column, row, Cell { c, style });
        }
    }
}

/// Puts a terminal into the state from which a [`Painter`] starts: alternate screen, no automatic wrap, cleared.
pub const ENTER: &[u8] = b"\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[0m\x1b[2J";
/// Undoes [`ENTER`] and resets the cursor's shape.
pub const LEAVE: &[u8] = b"\x1b[0m\x1b[?7h\x1b[0 q\x1b[?25h\x1b[?1049l";
/// Undoes [`ENTER`] on a terminal without DECSCUSR.
pub const LEAVE_PLAIN: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Encodes the difference between what the terminal shows and the next grid.
#[derive(Debug)]
pub struct Painter {
    shown: CellGrid,
    style: Style,
    /// The terminal's cursor position (column, row), if known.
    at: Option<(u16, u16)>,
    cursor_shown: bool,
    /// The cursor's shape, if it was set.
    block: Option<bool>,
    /// The terminal supports DECSCUSR.
    cursor_shapes: bool,
}

impl Painter {
    /// For a terminal after [`ENTER`]; `cursor_shapes`: it supports DECSCUSR.
    pub fn new(cursor_shapes: bool) -> Self {
        let shown = CellGrid::new(0, 0);
        Self { shown, style: Style::PLAIN, at: None, cursor_shown: false, block: None, cursor_shapes }
    }

    /// Forgets what the terminal shows: the next paint writes every cell.
    pub fn forget(&mut self) {
        *self = Self::new(self.cursor_shapes);
    }

    /// The bytes after which the terminal shows `next`.
    pub fn paint(&mut self, next: CellGrid) -> Vec<u8> {
        let mut out = Vec::new();
        if next.size() != self.shown.size() {
            // Terminals differ in what they do to their contents on a resize: clear the screen.
            out.extend_from_slice(b"\x1b[?25l\x1b[0m\x1b[2J");
            (self.style, self.at, self.cursor_shown) = (Style::PLAIN, None, false);
            self.shown = CellGrid::new(next.columns, next.rows);
        }
        let width = usize::from(next.columns).max(1);
        let before = std::mem::replace(&mut self.shown, CellGrid::new(0, 0));
        for (n, (cell, old)) in next.cells.iter().zip(&before.cells).enumerate() {
            if !cell.looks_like(old) {
                self.move_to(&mut out, (n % width) as u16, (n / width) as u16);
                self.set_style(&mut out, cell);
                out.extend_from_slice(cell.c.encode_utf8(&mut [0; 4]).as_bytes());
                // After the last column, terminals differ in where the cursor is.
                self.at = self.at.map(|(column, row)| (column + 1, row)).filter(|(column, _)| *column < next.columns);
            }
        }
        match next.cursor {
            Some(cursor) => {
                self.move_to(&mut out, cursor.column, cursor.row);
                if self.cursor_shapes && self.block != Some(cursor.block) {
                    self.block = Some(cursor.block);
                    // DECSCUSR: blinking block or blinking underline, as the VGA's cursor blinks.
                    out.extend_from_slice(if cursor.block { b"\x1b[1 q" } else { b"\x1b[3 q" });
                }
                if !self.cursor_shown {
                    out.extend_from_slice(b"\x1b[?25h");
                }
            }
            None if self.cursor_shown => out.extend_from_slice(b"\x1b[?25l"),
            None => {}
        }
        self.cursor_shown = next.cursor.is_some();
        self.shown = next;
        out
    }

    fn move_to(&mut self, out: &mut Vec<u8>, column: u16, row: u16) {
        match self.at {
            Some(at) if at == (column, row) => {}
            Some((from, same)) if same == row && from < column => {
                let _ = match column - from {
                    1 => write!(out, "\x1b[C"),
                    n => write!(out, "\x1b[{n}C"),
                };
            }
            _ => {
                let _ = write!(out, "\x1b[{};{}H", row + 1, column + 1);
            }
        }
        self.at = Some((column, row));
    }

    fn set_style(&mut self, out: &mut Vec<u8>, cell: &Cell) {
        let mut wanted = cell.style;
        if cell.c == ' ' {
            (wanted.fore, wanted.blink) = (self.style.fore, self.style.blink);
        }
        let mut parameters = Vec::new();
        let mut add = |text: String| parameters.push(text);
        if wanted.blink != self.style.blink {
            add(if wanted.blink { "5" } else { "25" }.to_owned());
        }
        for (colour, old, base) in [(wanted.fore, self.style.fore, 30), (wanted.back, self.style.back, 40)] {
            if colour == old {
                continue;
            }
            add(match colour {
                Colour::Default => (base + 9).to_string(),
                Colour::Index(n) if n < 8 => (base + i32::from(n)).to_string(),
                Colour::Index(n) => (base + 60 + i32::from(n & 7)).to_string(),
                Colour::Rgb([red, green, blue]) => format!("{};2;{red};{green};{blue}", base + 8),
            });
        }
        if !parameters.is_empty() {
            let _ = write!(out, "\x1b[{}m", parameters.join(";"));
        }
        self.style = wanted;
    }
}

/// An independent terminal emulator.
#[cfg(test)]
pub(super) fn terminal(columns: u16, rows: u16) -> vt100::Parser {
    use std::num::NonZero;
    vt100::Parser::new(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(grid: &mut CellGrid, column: u16, row: u16, text: &str, style: Style) {
        for (n, c) in text.chars().enumerate() {
            grid.put(column + n as u16, row, Cell { c, style });
        }
    }

    const RED: Style = Style { fore: Colour::Index(1), back: Colour::Index(4), blink: false };

    #[test]
    fn only_cells_that_differ_are_written() {
        let mut painter = Painter::new(true);
        let mut grid = CellGrid::new(20, 4);
        let paint = |painter: &mut Painter, grid: &CellGrid| String::from_utf8(painter.paint(grid.clone())).unwrap();
        assert_eq!(paint(&mut painter, &grid), "\x1b[?25l\x1b[0m\x1b[2J");
        assert_eq!(paint(&mut painter, &grid), "");
        text(&mut grid, 2, 1, "C:\\>", RED);
        grid.cursor = Some(Cursor { column: 6, row: 1, block: false });
        assert_eq!(paint(&mut painter, &grid), "\x1b[2;3H\x1b[31;44mC:\\>\x1b[3 q\x1b[?25h");
        // One more character costs one byte.
        text(&mut grid, 6, 1, "d", RED);
        grid.cursor = Some(Cursor { column: 7, row: 1, block: false });
        assert_eq!(paint(&mut painter, &grid), "d");
        // The same colours two columns on; the next row in intense and blinking; an RGB background; cursor hidden.
        text(&mut grid, 9, 1, "│", RED);
        text(&mut grid, 0, 2, "x", Style { fore: Colour::Index(9), blink: true, ..RED });
        text(&mut grid, 1, 2, "yz", Style { back: Colour::Rgb([1, 2, 3]), ..RED });
        grid.cursor = None;
        assert_eq!(paint(&mut painter, &grid), "\x1b[2C│\x1b[3;1H\x1b[5;91mx\x1b[25;31;48;2;1;2;3myz\x1b[?25l");
        text(&mut grid, 1, 2, "  ", Style::PLAIN);
        grid.cursor = Some(Cursor { column: 0, row: 0, block: true });
        assert_eq!(paint(&mut painter, &grid), "\x1b[3;2H\x1b[49m  \x1b[1;1H\x1b[1 q\x1b[?25h");
        // A space with another foreground looks the same.
        text(&mut grid, 1, 2, "  ", Style { fore: Colour::Index(3), ..Style::PLAIN });
        assert_eq!(paint(&mut painter, &grid), "");
        painter.forget();
        assert!(paint(&mut painter, &grid).starts_with("\x1b[?25l\x1b[0m\x1b[2J\x1b[2;3H"));
    }

    #[test]
    fn the_cursor_position_is_unknown_after_the_last_column() {
        let mut painter = Painter::new(false);
        let mut grid = CellGrid::new(3, 2);
        painter.paint(grid.clone());
        text(&mut grid, 2, 0, "a", Style::PLAIN);
        text(&mut grid, 0, 1, "b", Style::PLAIN);
        assert_eq!(painter.paint(grid), b"\x1b[1;3Ha\x1b[2;1Hb");
    }

    fn colour() -> impl Strategy<Value = Colour> {
        prop_oneof![
            Just(Colour::Default),
            (0u8..16).prop_map(Colour::Index),
            (0u8..3).prop_map(|n| Colour::Rgb([n, 100, 200])),
        ]
    }

    fn any_grid() -> impl Strategy<Value = CellGrid> {
        let style = (colour(), colour(), any::<bool>()).prop_map(|(fore, back, blink)| Style { fore, back, blink });
        let cell =
            (prop_oneof![Just(' '), Just('a'), Just('▀')], style).prop_map(|(c, style)| Cell { c, style }).boxed();
        (1u16..9, 1u16..5).prop_flat_map(move |(columns, rows)| {
            let cells = proptest::collection::vec(cell.clone(), usize::from(columns * rows));
            (cells, proptest::option::of((0..columns, 0..rows))).prop_map(move |(cells, cursor)| {
                let cursor = cursor.map(|(column, row)| Cursor { column, row, block: false });
                CellGrid { columns, rows, cells, cursor }
            })
        })
    }

    fn vt_colour(colour: Colour) -> vt100::Color {
        match colour {
            Colour::Default => vt100::Color::Default,
            Colour::Index(n) => vt100::Color::Idx(n),
            Colour::Rgb([red, green, blue]) => vt100::Color::Rgb(red, green, blue),
        }
    }

    proptest! {
        #[test]
        fn a_terminal_emulator_shows_every_painted_grid(screens in proptest::collection::vec(any_grid(), 1..6)) {
            let mut painter = Painter::new(true);
            let mut terminal = terminal(9, 5);
            terminal.process(ENTER);
            for grid in screens {
                let (columns, rows) = grid.size();
                terminal.screen_mut().set_size(rows.try_into().unwrap(), columns.try_into().unwrap());
                terminal.process(&painter.paint(grid.clone()));
                let screen = terminal.screen();
                for row in 0..rows {
                    for column in 0..columns {
                        let cell = grid.cells[usize::from(row * columns + column)];
                        let shown = screen.cell(row, column).unwrap();
                        let c = shown.contents().chars().next().unwrap_or(' ');
                        prop_assert_eq!(c, cell.c);
                        prop_assert_eq!(shown.bgcolor(), vt_colour(cell.style.back));
                        if c != ' ' {
                            prop_assert_eq!(shown.fgcolor(), vt_colour(cell.style.fore));
                        }
                    }
                }
                prop_assert_eq!(screen.hide_cursor(), grid.cursor.is_none());
                if let Some(cursor) = grid.cursor {
                    prop_assert_eq!(screen.cursor_position(), (cursor.row, cursor.column));
                }
            }
        }
    }
}
