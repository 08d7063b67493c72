//! BIOS data area (BDA), segment 40h (IBM PS/2 and PC BIOS Interface Technical Reference, section 3).
//!
//! Of the video variables, which the VGA BIOS owns, only those that the BIOS reads are here.

use crate::far::Field;

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $t:ty = $offset:expr;)*) => {$(
        $(#[$doc])*
        pub const $name: Field<$t> = Field::new(0x40, $offset);
    )*};
}

fields! {
    /// Base port of COM1. Those of COM2 to COM4 follow, 2 bytes each.
    COM1: u16 = 0x00;
    /// Base port of LPT1. Those of LPT2 and LPT3 follow, 2 bytes each.
    LPT1: u16 = 0x08;
    /// Segment of the extended BIOS data area.
    EBDA: u16 = 0x0e;
    /// Equipment word, which INT 11h returns.
    EQUIPMENT: u16 = 0x10;
    /// Base memory in KiB, which INT 12h returns.
    MEMORY: u16 = 0x13;
    /// Shift flags, as INT 16h AH=02h returns them.
    SHIFT_FLAGS: u8 = 0x17;
    /// Shift keys that are down, as INT 16h AH=12h returns them.
    SHIFT_FLAGS_2: u8 = 0x18;
    /// Character code that the user types on the keypad while Alt is down.
    ALT_KEYPAD: u8 = 0x19;
    /// Offset of the next key to read from the keyboard buffer.
    KEYBOARD_HEAD: u16 = 0x1a;
    /// Offset of the next free entry of the keyboard buffer.
    KEYBOARD_TAIL: u16 = 0x1c;
    /// Default keyboard buffer: 16 words.
    KEYBOARD_BUFFER: u16 = 0x1e;
    /// Bits 0-3: calibrated floppy drives. Bit 7: IRQ 6 has been raised.
    FLOPPY_RECALIBRATE: u8 = 0x3e;
    /// Floppy motors that are on.
    FLOPPY_MOTORS: u8 = 0x3f;
    /// Timer ticks until the motors are switched off.
    FLOPPY_MOTOR_TICKS: u8 = 0x40;
    /// Status of the last floppy operation.
    FLOPPY_STATUS: u8 = 0x41;
    /// Result bytes of the floppy controller: 7.
    FLOPPY_RESULT: u8 = 0x42;
    /// Video mode.
    VIDEO_MODE: u8 = 0x49;
    /// Text columns.
    VIDEO_COLUMNS: u16 = 0x4a;
    /// Index port of the CRT controller.
    CRTC_PORT: u16 = 0x63;
    /// Far pointer by which a reset with a shutdown code (CMOS 0Fh) resumes.
    RESUME: u32 = 0x67;
    /// Last IRQ without a handler.
    LAST_IRQ: u8 = 0x6b;
    /// Ticks of 54.9254 ms since midnight.
    TICKS: u32 = 0x6c;
    /// Midnights since the last read of the tick count.
    TICKS_OVERFLOW: u8 = 0x70;
    /// Bit 7: Ctrl-Break was pressed.
    BREAK: u8 = 0x71;
    /// 1234h: warm boot.
    RESET_FLAG: u16 = 0x72;
    /// Status of the last hard disk operation.
    DISK_STATUS: u8 = 0x74;
    /// Number of hard disks.
    DISK_COUNT: u8 = 0x75;
    /// Hard disk control byte.
    DISK_CONTROL: u8 = 0x76;
    /// Time-out of LPT1. Those of LPT2 and LPT3 follow.
    LPT_TIMEOUT: u8 = 0x78;
    /// Time-out of COM1. Those of COM2 to COM4 follow.
    COM_TIMEOUT: u8 = 0x7c;
    /// Offset of the start of the keyboard buffer.
    KEYBOARD_START: u16 = 0x80;
    /// Offset of the end of the keyboard buffer.
    KEYBOARD_END: u16 = 0x82;
    /// Text rows minus 1.
    VIDEO_ROWS: u8 = 0x84;
    /// Floppy data rate.
    FLOPPY_RATE: u8 = 0x8b;
    /// Hard disk status register.
    DISK_STATUS_REGISTER: u8 = 0x8c;
    /// Hard disk error register.
    DISK_ERROR_REGISTER: u8 = 0x8d;
    /// FFh: IRQ 14 has been raised.
    DISK_INTERRUPT: u8 = 0x8e;
    /// Capabilities of floppy drives 0 (bits 0-2) and 1 (bits 4-6).
    FLOPPY_DRIVES: u8 = 0x8f;
    /// Media state of drive 0. That of drive 1 follows.
    FLOPPY_MEDIA: u8 = 0x90;
    /// Current track of drive 0. That of drive 1 follows.
    FLOPPY_TRACK: u8 = 0x94;
    /// Bit 0: the last scan code was E1h; bit 1: E0h; bits 2-3: right Ctrl and Alt are down; bit 4: enhanced keyboard.
    KEYBOARD_MODE: u8 = 0x96;
    /// Keyboard LEDs and protocol state.
    KEYBOARD_LEDS: u8 = 0x97;
    /// Far pointer to the caller's wait flag (INT 15h AH=83h).
    WAIT_FLAG: u32 = 0x98;
    /// Microseconds left of the wait.
    WAIT_COUNT: u32 = 0x9c;
    /// Bit 0: a wait is active; bit 7: the wait has ended.
    WAIT_ACTIVE: u8 = 0xa0;
    /// Print Screen status, at 0050:0000.
    PRINT_SCREEN: u8 = 0x100;
}
