//! `--press-key-for-cd`: presses Enter when the boot loader of an installation CD asks "Press any key to boot from CD".
//! Windows' CDs ask this when the hard disk is bootable, and boot the hard disk if no key is pressed within 5 s.
//!
//! The key is pressed once per machine: when setup restarts the machine, the hard disk must boot.

use std::time::Duration;

/// Interval at which the screen is polled; the prompt is shown for 5 s.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// Number of polls, 10 minutes in all. The prompt appears right after the firmware, so it will not come later.
pub const LOOKS: u32 = 4 * 600;
/// The key that is pressed: Enter.
pub const ANSWER: u16 = 0x1c;

/// Whether the text screen shows the prompt of a CD or DVD.
pub fn asks(screen: &[String]) -> bool {
    screen.iter().any(|row| {
        let row = row.to_ascii_lowercase();
        row.find("press any key to boot from ")
            .and_then(|at| row.get(at..)?.split_whitespace().nth(6))
            .is_some_and(|medium| medium.starts_with("cd") || medium.starts_with("dvd"))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_prompt_is_recognised_for_cd_and_dvd_only() {
        for (row, asks) in [
            ("Press any key to boot from CD..", true),
            ("  Press any key to boot from CD or DVD.....", true),
            ("PRESS ANY KEY TO BOOT FROM CD-ROM", true),
            ("Press any key to boot from DVD", true),
            ("Press any key to boot from floppy", false),
            ("Press any key to boot from ", false),
            ("Press any key to reboot", false),
        ] {
            assert_eq!(super::asks(&[String::new(), row.to_owned()]), asks, "{row}");
        }
    }
}
