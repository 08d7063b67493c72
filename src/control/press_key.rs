//! Answers "Press any key to boot from CD" as somebody would who sits there: Windows' installation media ask that where
//! the hard disk could be booted as well, and go on without setup if nobody does.
//!
//! Once in a machine's life: when setup restarts the machine, the disk is what is to be booted.

use std::time::Duration;

/// How often the screen is looked at; the question stands for five seconds.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// The question comes right after the firmware: when it has not been asked for this long it will not be.
pub const LOOKS: u32 = 4 * 600;
/// The key that answers: Enter.
pub const ANSWER: u16 = 0x1c;

/// Whether a screen asks for a key, for booting from a CD or DVD.
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
    fn the_question_in_its_forms() {
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
