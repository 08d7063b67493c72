//! Characters and dots in graphics modes.

use crate::bda;
use crate::cursor::Position;
use crate::hw::Hw;
use crate::scroll::Window;

/// Draws a character; bit 7 of `colour` combines it with what is there, except with 256 colours.
pub fn write<H: Hw>(_hw: &mut H, _page: u8, _at: Position, _character: u8, _colour: u8) {}
/// Finds the character that is drawn there; 0 if there is none.
pub fn read<H: Hw>(_hw: &mut H, _page: u8, _at: Position) -> u8 {
    0
}
/// Scrolls.
pub fn scroll<H: Hw>(hw: &mut H, _up: bool, _lines: u8, _colour: u8, _window: Window) {
    hw.bda8(bda::MODE);
}
