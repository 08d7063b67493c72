//! What a person does: keys and pointer movements, before they become PS/2 bytes.

/// One input event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputEvent {
    /// A key, named by its scan code set 1 make code; extended keys (E0h prefix) have 0x100 added, Pause is 0x1E1.
    Key {
        /// The code.
        code: u16,
        /// Pressed, or released.
        down: bool,
    },
    /// The pointer moved, the wheel turned or a button changed.
    Mouse {
        /// To the right, in counts.
        dx: i32,
        /// Upwards, in counts.
        dy: i32,
        /// The wheel, positive towards the user.
        dz: i32,
        /// Bit 0 left, 1 right, 2 middle, 3 and 4 the side buttons.
        buttons: u8,
    },
    /// The pointer is somewhere, as a tablet tells it; the wheel turned or a button changed.
    Pointer {
        /// From the left, 0 to 32767; none where it was.
        x: Option<u16>,
        /// From the top, likewise.
        y: Option<u16>,
        /// The wheel, positive towards the user.
        dz: i32,
        /// As in `Mouse`.
        buttons: u8,
    },
}
