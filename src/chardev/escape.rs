//! The keys that are for us and not for the guest.

/// Ctrl-A.
const PREFIX: u8 = 0x01;

/// What Ctrl-A h prints; raw mode still turns line feeds into new lines.
pub(super) const HELP: &str = "
Ctrl-A x       end the machine
Ctrl-A h       this list
Ctrl-A Ctrl-A  send one Ctrl-A
";

/// What a person at the terminal wants of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscapeCommand {
    /// x: the machine ends.
    Quit,
    /// h or ?: the keys.
    Help,
}

/// Finds Ctrl-A and the key after it, however the bytes are cut up. Ctrl-A twice is one Ctrl-A for the guest; before
/// any other key it is swallowed together with that key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Escape {
    /// The last byte was a Ctrl-A.
    armed: bool,
}

impl Escape {
    /// Appends to `out` what is for the guest, and returns the rest. Nothing after a quit is looked at.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Vec<EscapeCommand> {
        let mut commands = Vec::new();
        for &byte in input {
            match (std::mem::take(&mut self.armed), byte) {
                (false, PREFIX) => self.armed = true,
                (false, byte) | (true, byte @ PREFIX) => out.push(byte),
                (true, b'x' | b'X') => {
                    commands.push(EscapeCommand::Quit);
                    return commands;
                }
                (true, b'h' | b'H' | b'?') => commands.push(EscapeCommand::Help),
                (true, _) => {}
            }
        }
        commands
    }
}
