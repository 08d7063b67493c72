//! A terminal's screen as it is to be, and the bytes that make it so from what it is.
//!
//! Only cells that differ are written: one costs its character (1 to 3 bytes), the way to it where it is not beside the
//! last one, and the colours where they are not those of the last one. ECMA-48, 8.3 (CUP, CUF, SGR); xterm's control
//! sequences for colours, cursor and alternate screen.

use std::io::Write;

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// The terminal's own.
    Default,
    /// One of its sixteen, 0 to 15.
    Index(u8),
    /// Red, green, blue.
    Rgb([u8; 3]),
}

/// How characters are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// The character's colour.
    pub fore: Colour,
    /// The colour behind it.
    pub back: Colour,
    /// It blinks.
    pub blink: bool,
}

impl Style {
    /// The terminal's own.
    pub const PLAIN: Self = Self { fore: Colour::Default, back: Colour::Default, blink: false };
}

/// A character's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// One that takes one place, and is no control character.
    pub c: char,
    /// How.
    pub style: Style,
}

impl Cell {
    /// Nothing.
    pub const BLANK: Self = Self { c: ' ', style: Style::PLAIN };

    /// Looks the same: a blank's own colour is not seen.
    fn looks_like(&self, other: &Self) -> bool {
        self == other || self.c == ' ' && other.c == ' ' && self.style.back == other.style.back
    }
}

/// The cursor, from 0 at the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// From the left.
    pub column: u16,
    /// From the top.
    pub row: u16,
    /// It fills most of its cell; else it is a line at its bottom.
    pub block: bool,
}

/// A terminal's screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canvas {
    columns: u16,
    rows: u16,
    cells: Vec<Cell>,
    /// None if it is hidden.
    pub cursor: Option<Cursor>,
}

impl Canvas {
    /// Nothing on it.
    pub fn new(columns: u16, rows: u16) -> Self {
        let cells = vec![Cell::BLANK; usize::from(columns) * usize::from(rows)];
        Self { columns, rows, cells, cursor: None }
    }

    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        (self.columns, self.rows)
    }

    /// Sets a cell that is there.
    pub fn put(&mut self, column: u16, row: u16, cell: Cell) {
        if column < self.columns
            && let Some(place) = self.cells.get_mut(usize::from(row) * usize::from(self.columns) + usize::from(column))
        {
            *place = cell;
        }
    }

    /// Fills a row with a text and blanks after it; what does not fit is cut off.
    pub fn put_line(&mut self, row: u16, text: &str, style: Style) {
        let text = text.chars().map(|c| if c.is_control() { '?' } else { c }).chain(std::iter::repeat(' '));
        for (column, c) in (0..self.columns).zip(text) {
            self.put(column, row, Cell { c, style });
        }
    }
}

/// What brings a terminal into the state from which a [`Painter`] starts: its alternate screen, no automatic new lines.
pub const ENTER: &[u8] = b"\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[0m\x1b[2J";
/// And back.
pub const LEAVE: &[u8] = b"\x1b[0m\x1b[?7h\x1b[0 q\x1b[?25h\x1b[?1049l";
/// The same for terminals without shapes of cursors.
pub const LEAVE_PLAIN: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Knows what the terminal shows.
#[derive(Debug)]
pub struct Painter {
    shown: Canvas,
    style: Style,
    /// Where the terminal's cursor is, if that is known.
    at: Option<(u16, u16)>,
    cursor_shown: bool,
    block: Option<bool>,
    /// The terminal knows DECSCUSR.
    shapes: bool,
}

impl Painter {
    /// For a terminal after [`ENTER`]; `shapes`: the cursor's shape can be set.
    pub fn new(shapes: bool) -> Self {
        let shown = Canvas::new(0, 0);
        Self { shown, style: Style::PLAIN, at: None, cursor_shown: false, block: None, shapes }
    }

    /// What the terminal shows is not known any more: all of it is written the next time.
    pub fn forget(&mut self) {
        *self = Self::new(self.shapes);
    }

    /// The bytes after which the terminal shows `next`.
    pub fn paint(&mut self, next: Canvas) -> Vec<u8> {
        let mut out = Vec::new();
        if next.size() != self.shown.size() {
            // What a terminal does to its contents when its size changes is its own affair.
            out.extend_from_slice(b"\x1b[?25l\x1b[0m\x1b[2J");
            (self.style, self.at, self.cursor_shown) = (Style::PLAIN, None, false);
            self.shown = Canvas::new(next.columns, next.rows);
        }
        let width = usize::from(next.columns).max(1);
        let before = std::mem::replace(&mut self.shown, Canvas::new(0, 0));
        for (n, (cell, old)) in next.cells.iter().zip(&before.cells).enumerate() {
            if !cell.looks_like(old) {
                self.go(&mut out, (n % width) as u16, (n / width) as u16);
                self.set_style(&mut out, cell);
                out.extend_from_slice(cell.c.encode_utf8(&mut [0; 4]).as_bytes());
                // In the last column it stays there, or has gone on: nobody knows.
                self.at = self.at.map(|(column, row)| (column + 1, row)).filter(|(column, _)| *column < next.columns);
            }
        }
        match next.cursor {
            Some(cursor) => {
                self.go(&mut out, cursor.column, cursor.row);
                if self.shapes && self.block != Some(cursor.block) {
                    self.block = Some(cursor.block);
                    // DECSCUSR: a block or an underline, blinking as the VGA's does.
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

    fn go(&mut self, out: &mut Vec<u8>, column: u16, row: u16) {
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

/// Somebody else's terminal.
#[cfg(test)]
pub(super) fn terminal(columns: u16, rows: u16) -> vt100::Parser {
    use std::num::NonZero;
    vt100::Parser::new(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(canvas: &mut Canvas, column: u16, row: u16, text: &str, style: Style) {
        for (n, c) in text.chars().enumerate() {
            canvas.put(column + n as u16, row, Cell { c, style });
        }
    }

    const RED: Style = Style { fore: Colour::Index(1), back: Colour::Index(4), blink: false };

    #[test]
    fn only_what_differs_is_written() {
        let mut painter = Painter::new(true);
        let mut canvas = Canvas::new(20, 4);
        let paint = |painter: &mut Painter, canvas: &Canvas| String::from_utf8(painter.paint(canvas.clone())).unwrap();
        assert_eq!(paint(&mut painter, &canvas), "\x1b[?25l\x1b[0m\x1b[2J");
        assert_eq!(paint(&mut painter, &canvas), "");
        text(&mut canvas, 2, 1, "C:\\>", RED);
        canvas.cursor = Some(Cursor { column: 6, row: 1, block: false });
        assert_eq!(paint(&mut painter, &canvas), "\x1b[2;3H\x1b[31;44mC:\\>\x1b[3 q\x1b[?25h");
        // A character more: nothing but that.
        text(&mut canvas, 6, 1, "d", RED);
        canvas.cursor = Some(Cursor { column: 7, row: 1, block: false });
        assert_eq!(paint(&mut painter, &canvas), "d");
        // The same colours, a little to the right; one row down; intense and blinking; none.
        text(&mut canvas, 9, 1, "│", RED);
        text(&mut canvas, 0, 2, "x", Style { fore: Colour::Index(9), blink: true, ..RED });
        text(&mut canvas, 1, 2, "yz", Style { back: Colour::Rgb([1, 2, 3]), ..RED });
        canvas.cursor = None;
        assert_eq!(paint(&mut painter, &canvas), "\x1b[2C│\x1b[3;1H\x1b[5;91mx\x1b[25;31;48;2;1;2;3myz\x1b[?25l");
        text(&mut canvas, 1, 2, "  ", Style::PLAIN);
        canvas.cursor = Some(Cursor { column: 0, row: 0, block: true });
        assert_eq!(paint(&mut painter, &canvas), "\x1b[3;2H\x1b[49m  \x1b[1;1H\x1b[1 q\x1b[?25h");
        // A blank in other letters' colour looks the same.
        text(&mut canvas, 1, 2, "  ", Style { fore: Colour::Index(3), ..Style::PLAIN });
        assert_eq!(paint(&mut painter, &canvas), "");
        painter.forget();
        assert!(paint(&mut painter, &canvas).starts_with("\x1b[?25l\x1b[0m\x1b[2J\x1b[2;3H"));
    }

    #[test]
    fn nothing_is_taken_for_granted_after_the_last_column() {
        let mut painter = Painter::new(false);
        let mut canvas = Canvas::new(3, 2);
        painter.paint(canvas.clone());
        text(&mut canvas, 2, 0, "a", Style::PLAIN);
        text(&mut canvas, 0, 1, "b", Style::PLAIN);
        assert_eq!(painter.paint(canvas), b"\x1b[1;3Ha\x1b[2;1Hb");
    }

    fn colour() -> impl Strategy<Value = Colour> {
        prop_oneof![
            Just(Colour::Default),
            (0u8..16).prop_map(Colour::Index),
            (0u8..3).prop_map(|n| Colour::Rgb([n, 100, 200])),
        ]
    }

    fn canvas() -> impl Strategy<Value = Canvas> {
        let style = (colour(), colour(), any::<bool>()).prop_map(|(fore, back, blink)| Style { fore, back, blink });
        let cell =
            (prop_oneof![Just(' '), Just('a'), Just('▀')], style).prop_map(|(c, style)| Cell { c, style }).boxed();
        (1u16..9, 1u16..5).prop_flat_map(move |(columns, rows)| {
            let cells = proptest::collection::vec(cell.clone(), usize::from(columns * rows));
            (cells, proptest::option::of((0..columns, 0..rows))).prop_map(move |(cells, cursor)| {
                let cursor = cursor.map(|(column, row)| Cursor { column, row, block: false });
                Canvas { columns, rows, cells, cursor }
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
        fn somebody_elses_terminal_shows_what_it_is_to_show(screens in proptest::collection::vec(canvas(), 1..6)) {
            let mut painter = Painter::new(true);
            let mut terminal = terminal(9, 5);
            terminal.process(ENTER);
            for canvas in screens {
                let (columns, rows) = canvas.size();
                terminal.screen_mut().set_size(rows.try_into().unwrap(), columns.try_into().unwrap());
                terminal.process(&painter.paint(canvas.clone()));
                let screen = terminal.screen();
                for row in 0..rows {
                    for column in 0..columns {
                        let cell = canvas.cells[usize::from(row * columns + column)];
                        let shown = screen.cell(row, column).unwrap();
                        let c = shown.contents().chars().next().unwrap_or(' ');
                        prop_assert_eq!(c, cell.c);
                        prop_assert_eq!(shown.bgcolor(), vt_colour(cell.style.back));
                        if c != ' ' {
                            prop_assert_eq!(shown.fgcolor(), vt_colour(cell.style.fore));
                        }
                    }
                }
                prop_assert_eq!(screen.hide_cursor(), canvas.cursor.is_none());
                if let Some(cursor) = canvas.cursor {
                    prop_assert_eq!(screen.cursor_position(), (cursor.row, cursor.column));
                }
            }
        }
    }
}
