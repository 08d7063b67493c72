//! Prints the speed of /dev/kvm on one line: guest instructions and bare KVM_RUN exits per second, and whether it
//! counts as native. With a number as argument it only makes that many exits: the baseline of `benches/compare`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match std::env::args().nth(1).map(|count| count.parse()) {
        Some(Ok(count)) => pcvm_test_host::probe::exits(count).map(|exits| println!("exits/s {exits}")),
        Some(Err(_)) => {
            eprintln!("kvm-loop: the argument must be a number of exits");
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
