//! Keyboard buffer in the BIOS data area: a ring of words between the offsets at 40:80 and 40:82, one slot always free.

use pcvm_firmware_rt::{FarPtr, Hw, bda};

fn next<H: Hw>(hw: &mut H, at: u16) -> u16 {
    let after = at.wrapping_add(2);
    if after >= hw.get(bda::KEYBOARD_END) { hw.get(bda::KEYBOARD_START) } else { after }
}

/// Adds a word. Returns false if the buffer is full.
pub fn put<H: Hw>(hw: &mut H, word: u16) -> bool {
    let tail = hw.get(bda::KEYBOARD_TAIL);
    let after = next(hw, tail);
    if after == hw.get(bda::KEYBOARD_HEAD) {
        return false;
    }
    hw.write16(FarPtr::new(0x40, tail), word);
    hw.set(bda::KEYBOARD_TAIL, after);
    true
}

/// Returns the oldest word without removing it.
pub fn peek<H: Hw>(hw: &mut H) -> Option<u16> {
    let head = hw.get(bda::KEYBOARD_HEAD);
    if head == hw.get(bda::KEYBOARD_TAIL) {
        return None;
    }
    Some(hw.read16(FarPtr::new(0x40, head)))
}

/// Removes the oldest word.
pub fn drop_first<H: Hw>(hw: &mut H) {
    let head = hw.get(bda::KEYBOARD_HEAD);
    if head != hw.get(bda::KEYBOARD_TAIL) {
        let after = next(hw, head);
        hw.set(bda::KEYBOARD_HEAD, after);
    }
}

/// Empties the buffer.
pub fn clear<H: Hw>(hw: &mut H) {
    let start = hw.get(bda::KEYBOARD_START);
    hw.set(bda::KEYBOARD_HEAD, start);
    hw.set(bda::KEYBOARD_TAIL, start);
}
