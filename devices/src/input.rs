//! Input events from the display clients: keys and pointer movements, before a PS/2 or USB device encodes them.

/// One input event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEvent {
    /// A key was pressed or released.
    Key {
        /// The scan code set 1 make code; extended keys (E0h prefix) have 0x100 added, Pause is 0x1E1.
        code: u16,
        /// Pressed; else released.
        down: bool,
    },
    /// Relative pointer movement, wheel movement or a button change.
    Mouse {
        /// To the right, in counts.
        dx: i32,
        /// Upwards, in counts.
        dy: i32,
        /// Wheel steps, positive towards the user.
        dz: i32,
        /// Buttons held: bit 0 left, 1 right, 2 middle, 3 and 4 the side buttons.
        buttons: u8,
    },
    /// Absolute pointer position (tablet), wheel movement or a button change.
    Pointer {
        /// From the left edge, 0 to 32767; `None` if unchanged.
        x: Option<u16>,
        /// From the top edge, 0 to 32767; `None` if unchanged.
        y: Option<u16>,
        /// Wheel steps, positive towards the user.
        dz: i32,
        /// Buttons held, as in `Mouse`.
        buttons: u8,
    },
}
