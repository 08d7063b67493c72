//! Ctrl-A escape keys: commands to pcvm in the input of a serial port on the terminal.

/// Ctrl-A.
const PREFIX: u8 = 0x01;

/// Printed by Ctrl-A h. Raw mode keeps output processing on, so a line feed is enough.
pub(super) const HELP: &str = "
Ctrl-A x       end the machine
Ctrl-A h       this list
Ctrl-A Ctrl-A  send one Ctrl-A
";

/// A command to pcvm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscapeCommand {
    /// x: end the machine.
    Quit,
    /// h or ?: print the keys.
    Help,
}

/// Parser of Ctrl-A and the key after it; the two may come in different reads. Ctrl-A twice sends one Ctrl-A to the guest;
/// Ctrl-A and a key without a command are dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EscapeParser {
    /// The last byte was a Ctrl-A.
    prefix_seen: bool,
}

impl EscapeParser {
    /// Appends the guest's bytes to `out` and gives the commands. Ignores the bytes after a quit.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Vec<EscapeCommand> {
        let mut commands = Vec::new();
        for &byte in input {
            match (std::mem::take(&mut self.prefix_seen), byte) {
                (false, PREFIX) => self.prefix_seen = true,
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
