//! Boot menu on the screen and the serial port, opened by F12 or Esc.

use super::console::{self, Key};
use super::media::{self, DriveKind};
use super::targets::{self, Target};
use crate::{Bios, eltorito};
use pcvm_firmware_rt::Hw;

/// Milliseconds to wait for the menu key if the configuration enables the menu without a time.
const DEFAULT_WAIT_MS: u16 = 2500;
/// The keys that choose entry 0, 1 and so on; there are more keys than possible entries.
const KEYS: &[u8] = b"123456789abcdefghijklmnop";

/// Shows the menu if its key has been pressed, or is pressed within the configured time.
pub fn open_if_requested<H: Hw>(bios: &mut Bios<H>) {
    let wait = match bios.handoff.menu_wait {
        0 if bios.handoff.menu & 1 != 0 => DEFAULT_WAIT_MS,
        wait => wait,
    };
    let pressed = console::menu_key(bios)
        || wait != 0 && matches!(console::wait_key(bios, wait.into()), Some(Key::F12 | Key::Escape));
    if pressed {
        show(bios);
    }
}

/// Shows the menu and moves the chosen device to the front of the boot order.
pub fn show<H: Hw>(bios: &mut Bios<H>) {
    bios.state.boot.entry.set(0);
    console::text(bios, "\nBoot from:\n");
    let mut count = 0;
    while let Some(target) = bios.state.boot.target(count) {
        label(bios, count);
        targets::print_name(bios, target);
        console::text(bios, "\n");
        count += 1;
    }
    let Some(position) = wait_choice(bios, count) else { return };
    let target = bios.state.boot.target(position);
    targets::move_to_front(bios, position);
    if let Some(Target::Drive(index)) = target
        && media::drive(bios, index).is_some_and(|drive| drive.kind == DriveKind::Cdrom)
    {
        show_images(bios, index);
    }
}

/// Shows a second menu for a CD with several boot images.
fn show_images<H: Hw>(bios: &mut Bios<H>, cd: u8) {
    // A CD without a valid catalogue is reported when it is booted.
    let Ok(found) = eltorito::find(bios, cd) else { return };
    if found.count() < 2 {
        return;
    }
    console::text(bios, "\nBoot image on the CD:\n");
    for n in 0..found.count() {
        let Some(entry) = found.entry(n) else { continue };
        label(bios, n);
        console::text(bios, entry.media.text());
        console::text(bios, ", block ");
        console::number(bios, entry.lba);
        console::text(bios, "\n");
    }
    if let Some(n) = wait_choice(bios, found.count()) {
        bios.state.boot.entry.set(n);
    }
}

fn label<H: Hw>(bios: &mut Bios<H>, n: u8) {
    console::text(bios, "  ");
    console::put(bios, KEYS.get(usize::from(n)).copied().unwrap_or(b'?'));
    console::text(bios, ". ");
}

/// Waits for the key of one of `count` entries; none for Esc.
fn wait_choice<H: Hw>(bios: &mut Bios<H>, count: u8) -> Option<u8> {
    console::text(bios, "Press a number, or Esc to go on.\n");
    loop {
        match console::wait_key(bios, u32::MAX)? {
            Key::Escape => return None,
            Key::Character(character) => {
                let wanted = KEYS.iter().position(|&key| key == character.to_ascii_lowercase());
                if let Some(n) = wanted.filter(|&n| n < usize::from(count)) {
                    return Some(n as u8);
                }
            }
            Key::F12 | Key::Other => {}
        }
    }
}
