//! The BIOS data area, segment 40h (IBM PS/2 and PC BIOS Interface Technical Reference, section 3). The video variables are the
//! VGA BIOS's.

use crate::far::Field;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $t:ty = $offset:expr;)*) => {$(
        $(#[$doc])*
        pub const $name: Field<$t> = Field::new(0x40, $offset);
    )*};
}

fields! {
    /// Base ports of COM1 to COM4: this is COM1's, 2 bytes each.
    COM1: u16 = 0x00;
    /// Base ports of LPT1 to LPT3: this is LPT1's, 2 bytes each.
    LPT1: u16 = 0x08;
    /// Segment of the extended BIOS data area.
    EBDA: u16 = 0x0e;
    /// What INT 11h returns.
    EQUIPMENT: u16 = 0x10;
    /// What INT 12h returns: KiB.
    MEMORY: u16 = 0x13;
    /// Shift flags as of INT 16h AH=02h.
    SHIFT_FLAGS: u8 = 0x17;
    /// Keys that are down, as of INT 16h AH=12h.
    SHIFT_FLAGS_2: u8 = 0x18;
    /// The number being typed with Alt and the keypad.
    ALT_KEYPAD: u8 = 0x19;
    /// Offset of the next key to be read.
    KEYBOARD_HEAD: u16 = 0x1a;
    /// Offset of the next free place.
    KEYBOARD_TAIL: u16 = 0x1c;
    /// The keyboard buffer's default place: 16 words.
    KEYBOARD_BUFFER: u16 = 0x1e;
    /// Which floppy drives are calibrated; bit 7: the interrupt has come.
    FLOPPY_RECALIBRATE: u8 = 0x3e;
    /// Which floppy motors are on.
    FLOPPY_MOTORS: u8 = 0x3f;
    /// Ticks until the motors are switched off.
    FLOPPY_MOTOR_TICKS: u8 = 0x40;
    /// The last floppy operation's status.
    FLOPPY_STATUS: u8 = 0x41;
    /// The floppy controller's result bytes: 7.
    FLOPPY_RESULT: u8 = 0x42;
    /// Video mode.
    VIDEO_MODE: u8 = 0x49;
    /// Text columns.
    VIDEO_COLUMNS: u16 = 0x4a;
    /// The CRT controller's index port.
    CRTC_PORT: u16 = 0x63;
    /// Where a reset with a shutdown code returns to.
    RESUME: u32 = 0x67;
    /// The last interrupt that nobody served.
    LAST_IRQ: u8 = 0x6b;
    /// Ticks of 54.9254 ms since midnight.
    TICKS: u32 = 0x6c;
    /// Midnights passed since last read.
    TICKS_OVERFLOW: u8 = 0x70;
    /// Bit 7: Ctrl-Break.
    BREAK: u8 = 0x71;
    /// 1234h: warm boot.
    RESET_FLAG: u16 = 0x72;
    /// The last hard disk operation's status.
    DISK_STATUS: u8 = 0x74;
    /// Hard disks.
    DISK_COUNT: u8 = 0x75;
    /// Hard disk control byte.
    DISK_CONTROL: u8 = 0x76;
    /// Time-outs of LPT1 to LPT3.
    LPT_TIMEOUT: u8 = 0x78;
    /// Time-outs of COM1 to COM4.
    COM_TIMEOUT: u8 = 0x7c;
    /// Offset of the keyboard buffer's start.
    KEYBOARD_START: u16 = 0x80;
    /// Offset of the keyboard buffer's end.
    KEYBOARD_END: u16 = 0x82;
    /// Text rows less one.
    VIDEO_ROWS: u8 = 0x84;
    /// Floppy data rate.
    FLOPPY_RATE: u8 = 0x8b;
    /// Hard disk status register.
    DISK_STATUS_REGISTER: u8 = 0x8c;
    /// Hard disk error register.
    DISK_ERROR_REGISTER: u8 = 0x8d;
    /// FFh: the hard disk's interrupt has come.
    DISK_INTERRUPT: u8 = 0x8e;
    /// What floppy drives there are.
    FLOPPY_DRIVES: u8 = 0x8f;
    /// Media state of drive 0; of drive 1 one byte on.
    FLOPPY_MEDIA: u8 = 0x90;
    /// Current track of drive 0; of drive 1 one byte on.
    FLOPPY_TRACK: u8 = 0x94;
    /// Keyboard mode: bit 4 enhanced keyboard, bits 0-1 last code was E1h, E0h, bits 2-3 right Ctrl and Alt.
    KEYBOARD_MODE: u8 = 0x96;
    /// Keyboard LEDs and protocol state.
    KEYBOARD_LEDS: u8 = 0x97;
    /// Where the user's wait flag is.
    WAIT_FLAG: u32 = 0x98;
    /// Microseconds left.
    WAIT_COUNT: u32 = 0x9c;
    /// Bit 0: a wait is active; bit 7: it has ended.
    WAIT_ACTIVE: u8 = 0xa0;
    /// Print-screen status, at 0050:0000.
    PRINT_SCREEN: u8 = 0x100;
}
