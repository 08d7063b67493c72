//! Keyboard buffer words of each key (IBM PS/2 and PC BIOS Interface Technical Reference, section 6, "Scan
//! Code/Character Code Combinations").
//!
//! The high byte is the scan code, or a code in its place; the low byte is the character. The values are those of INT
//! 16h AH=10h: character E0h marks a grey cursor key, F0h a combination that the 83-key keyboard did not have. A word
//! of 0 means that the key has none.

/// The words of one key: plain, with Shift, with Ctrl, with Alt.
type Key = [u16; 4];

/// Whether Caps Lock affects a key.
pub fn is_letter(code: u8) -> bool {
    matches!(code, 0x10..=0x19 | 0x1e..=0x26 | 0x2c..=0x32)
}

/// Keys 01h to 39h.
static TYPEWRITER: [Key; 0x39] = [
    [0x011b, 0x011b, 0x011b, 0x01f0], // Esc
    [0x0231, 0x0221, 0x0000, 0x7800], // 1 !
    [0x0332, 0x0340, 0x0300, 0x7900], // 2 @
    [0x0433, 0x0423, 0x0000, 0x7a00], // 3 #
    [0x0534, 0x0524, 0x0000, 0x7b00], // 4 $
    [0x0635, 0x0625, 0x0000, 0x7c00], // 5 %
    [0x0736, 0x075e, 0x071e, 0x7d00], // 6 ^
    [0x0837, 0x0826, 0x0000, 0x7e00], // 7 &
    [0x0938, 0x092a, 0x0000, 0x7f00], // 8 *
    [0x0a39, 0x0a28, 0x0000, 0x8000], // 9 (
    [0x0b30, 0x0b29, 0x0000, 0x8100], // 0 )
    [0x0c2d, 0x0c5f, 0x0c1f, 0x8200], // - _
    [0x0d3d, 0x0d2b, 0x0000, 0x8300], // = +
    [0x0e08, 0x0e08, 0x0e7f, 0x0ef0], // Backspace
    [0x0f09, 0x0f00, 0x9400, 0xa500], // Tab
    [0x1071, 0x1051, 0x1011, 0x1000], // Q
    [0x1177, 0x1157, 0x1117, 0x1100], // W
    [0x1265, 0x1245, 0x1205, 0x1200], // E
    [0x1372, 0x1352, 0x1312, 0x1300], // R
    [0x1474, 0x1454, 0x1414, 0x1400], // T
    [0x1579, 0x1559, 0x1519, 0x1500], // Y
    [0x1675, 0x1655, 0x1615, 0x1600], // U
    [0x1769, 0x1749, 0x1709, 0x1700], // I
    [0x186f, 0x184f, 0x180f, 0x1800], // O
    [0x1970, 0x1950, 0x1910, 0x1900], // P
    [0x1a5b, 0x1a7b, 0x1a1b, 0x1af0], // [ {
    [0x1b5d, 0x1b7d, 0x1b1d, 0x1bf0], // ] }
    [0x1c0d, 0x1c0d, 0x1c0a, 0x1cf0], // Enter
    [0, 0, 0, 0],                     // Ctrl
    [0x1e61, 0x1e41, 0x1e01, 0x1e00], // A
    [0x1f73, 0x1f53, 0x1f13, 0x1f00], // S
    [0x2064, 0x2044, 0x2004, 0x2000], // D
    [0x2166, 0x2146, 0x2106, 0x2100], // F
    [0x2267, 0x2247, 0x2207, 0x2200], // G
    [0x2368, 0x2348, 0x2308, 0x2300], // H
    [0x246a, 0x244a, 0x240a, 0x2400], // J
    [0x256b, 0x254b, 0x250b, 0x2500], // K
    [0x266c, 0x264c, 0x260c, 0x2600], // L
    [0x273b, 0x273a, 0x0000, 0x27f0], // ; :
    [0x2827, 0x2822, 0x0000, 0x28f0], // ' "
    [0x2960, 0x297e, 0x0000, 0x29f0], // ` ~
    [0, 0, 0, 0],                     // left Shift
    [0x2b5c, 0x2b7c, 0x2b1c, 0x2bf0], // \ |
    [0x2c7a, 0x2c5a, 0x2c1a, 0x2c00], // Z
    [0x2d78, 0x2d58, 0x2d18, 0x2d00], // X
    [0x2e63, 0x2e43, 0x2e03, 0x2e00], // C
    [0x2f76, 0x2f56, 0x2f16, 0x2f00], // V
    [0x3062, 0x3042, 0x3002, 0x3000], // B
    [0x316e, 0x314e, 0x310e, 0x3100], // N
    [0x326d, 0x324d, 0x320d, 0x3200], // M
    [0x332c, 0x333c, 0x0000, 0x33f0], // , <
    [0x342e, 0x343e, 0x0000, 0x34f0], // . >
    [0x352f, 0x353f, 0x0000, 0x35f0], // / ?
    [0, 0, 0, 0],                     // right Shift
    [0x372a, 0x372a, 0x9600, 0x37f0], // keypad *
    [0, 0, 0, 0],                     // Alt
    [0x3920, 0x3920, 0x3920, 0x3920], // space
];

/// Keypad keys 47h to 53h: plain, with Num Lock, with Ctrl, with Alt. Digits with Alt have none: they form a number.
static KEYPAD: [Key; 13] = [
    [0x4700, 0x4737, 0x7700, 0],      // Home 7
    [0x4800, 0x4838, 0x8d00, 0],      // Up 8
    [0x4900, 0x4939, 0x8400, 0],      // PgUp 9
    [0x4a2d, 0x4a2d, 0x8e00, 0x4af0], // -
    [0x4b00, 0x4b34, 0x7300, 0],      // Left 4
    [0x4cf0, 0x4c35, 0x8f00, 0],      // 5
    [0x4d00, 0x4d36, 0x7400, 0],      // Right 6
    [0x4e2b, 0x4e2b, 0x9000, 0x4ef0], // +
    [0x4f00, 0x4f31, 0x7500, 0],      // End 1
    [0x5000, 0x5032, 0x9100, 0],      // Down 2
    [0x5100, 0x5133, 0x7600, 0],      // PgDn 3
    [0x5200, 0x5230, 0x9200, 0],      // Ins 0
    [0x5300, 0x532e, 0x9300, 0],      // Del .
];

/// Grey keys 47h to 53h with Alt.
static GREY_ALT: [u8; 13] = [0x97, 0x98, 0x99, 0, 0x9b, 0, 0x9d, 0, 0x9f, 0xa0, 0xa1, 0xa2, 0xa3];

/// The modifiers that select one of a key's four words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Modifiers {
    /// A Shift key is held.
    pub shift: bool,
    /// A Ctrl key is held.
    pub ctrl: bool,
    /// An Alt key is held.
    pub alt: bool,
    /// Caps Lock is on.
    pub caps: bool,
    /// Num Lock is on.
    pub num: bool,
}

impl Modifiers {
    fn select(self, key: &Key, shift: bool) -> u16 {
        // Alt has priority over Ctrl, Ctrl over Shift.
        let [plain, shifted, ctrl, alt] = *key;
        match self {
            Self { alt: true, .. } => alt,
            Self { ctrl: true, .. } => ctrl,
            _ if shift => shifted,
            _ => plain,
        }
    }
}

/// The word of a key. `code` is its make code, 01h to 7Fh; `extended` means that prefix E0h preceded it.
pub fn word(code: u8, extended: bool, held: Modifiers) -> u16 {
    if extended {
        return grey(code, held);
    }
    match code {
        0x3b..=0x44 => {
            // F1 to F10.
            let n = code - 0x3b;
            let base = match held {
                Modifiers { alt: true, .. } => 0x68,
                Modifiers { ctrl: true, .. } => 0x5e,
                Modifiers { shift: true, .. } => 0x54,
                _ => 0x3b,
            };
            u16::from(base + n) << 8
        }
        0x47..=0x53 => KEYPAD.get(usize::from(code - 0x47)).map_or(0, |key| held.select(key, held.shift != held.num)),
        0x57 | 0x58 => {
            // F11, F12.
            let n = code - 0x57;
            let base = match held {
                Modifiers { alt: true, .. } => 0x8b,
                Modifiers { ctrl: true, .. } => 0x89,
                Modifiers { shift: true, .. } => 0x87,
                _ => 0x85,
            };
            u16::from(base + n) << 8
        }
        // The extra key beside the left Shift on keyboards outside the United States.
        0x56 => held.select(&[0x565c, 0x567c, 0, 0], held.shift),
        0x01..=0x39 => TYPEWRITER
            .get(usize::from(code - 1))
            .map_or(0, |key| held.select(key, held.shift != (held.caps && is_letter(code)))),
        _ => 0,
    }
}

fn grey(code: u8, held: Modifiers) -> u16 {
    match code {
        0x1c => held.select(&[0xe00d, 0xe00d, 0xe00a, 0xa600], held.shift),
        0x35 => held.select(&[0xe02f, 0xe02f, 0x9500, 0xa400], held.shift),
        0x47..=0x53 => {
            let n = usize::from(code - 0x47);
            let alt = GREY_ALT.get(n).copied().unwrap_or(0);
            if alt == 0 {
                return 0;
            }
            let ctrl = KEYPAD.get(n).map_or(0, |key| key[2]) | 0xe0;
            let plain = u16::from(code) << 8 | 0xe0;
            held.select(&[plain, plain, ctrl, u16::from(alt) << 8], held.shift)
        }
        _ => 0,
    }
}
