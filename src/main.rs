//! The `pcvm` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pcvm::cli::main(std::env::args_os())
}
