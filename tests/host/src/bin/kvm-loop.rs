//! Prints what /dev/kvm is worth, in a line: instructions and bare KVM_RUN exits per second, and whether it counts as
//! native. With a number as its argument it makes only that many exits: the baseline of `benches/compare`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).map(|count| count.parse()) {
        Some(Ok(count)) => pcvm_test_host::probe::exits(count).map(|exits| println!("exits/s {exits}")),
        Some(Err(_)) => {
            eprintln!("kvm-loop: the argument is a number of exits");
            return ExitCode::from(2);
        }
        None => pcvm_test_host::probe::measure().map(|speed| println!("{speed}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kvm-loop: {error}");
            ExitCode::FAILURE
        }
    }
}
