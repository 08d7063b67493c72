//! Keyboard, pointer and power button: which device a person's input goes to.

use super::Board;
use pcvm_devices::ps2::Ps2Controller;
use pcvm_devices::usb::Piix3Usb;
use pcvm_devices::{InputEvent, Wake};

impl Board {
    /// Delivers a key or a pointer event. The USB functions take what they can report while the guest polls them; the
    /// PS/2 devices take the rest. A key is released where it was pressed.
    pub fn input(&mut self, event: InputEvent) {
        let for_usb = self.usb().is_some_and(|usb| match event {
            InputEvent::Key { code, down: true } => usb.accepts_key(code),
            InputEvent::Key { code, down: false } => usb.holds_key(code),
            InputEvent::Pointer { .. } => usb.tablet_in_use(),
            InputEvent::Mouse { .. } => false,
        });
        if let Some(to) = self.roles.usb.filter(|_| for_usb).or(self.roles.ps2) {
            self.wake(to, Wake::Input(event));
        }
    }

    fn usb(&self) -> Option<&Piix3Usb> {
        self.device(self.roles.usb?)
    }

    fn ps2(&self) -> Option<&Ps2Controller> {
        self.device(self.roles.ps2?)
    }

    /// Whether the guest polls the tablet, so that [`InputEvent::Pointer`] positions reach it; none without a tablet.
    pub fn tablet_in_use(&self) -> Option<bool> {
        self.usb().map(Piix3Usb::tablet_in_use)
    }

    /// Scan code bytes that the guest has not read, of the sixteen that the keyboard's buffer holds.
    pub fn keys_waiting(&self) -> usize {
        if let Some(usb) = self.usb().filter(|usb| usb.keyboard_in_use()) {
            return usb.keys_waiting();
        }
        self.ps2().map_or(0, |ps2| ps2.keys_waiting())
    }

    /// The keyboard's LEDs: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    pub fn keyboard_leds(&self) -> u8 {
        if let Some(usb) = self.usb().filter(|usb| usb.keyboard_in_use()) {
            return usb.leds();
        }
        self.ps2().map_or(0, |ps2| ps2.leds())
    }

    /// Presses the power button.
    pub fn power_button(&mut self) {
        if let Some(pm) = self.roles.pm {
            self.wake(pm, Wake::PowerButton);
        }
    }
}
