//! A guest that writes random values to ports and PCI registers neither crashes pcvm nor makes it hang.

use std::time::Duration;

use pcvm_test_guests::flat;
use pcvm_test_host::{Host, Job, require_kvm};

/// Accesses of a short run, which takes a few seconds on a software KVM, and of a long one.
const SHORT: u32 = 200_000;
const LONG: u32 = 2_500_000;

fn random_accesses(accesses: u32, seed: u32) {
    require_kvm();
    let firmware = flat::hostile(accesses, seed).unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new(
        &format!("hostile-{seed:x}"),
        format!(
            // The guest prints a word at its end and halts; pcvm must then still run, and end at SIGTERM.
            "truncate -s 16M disk.img
             ./pcvm run --memory 32M --firmware hostile.bin --disk disk.img --cdrom none --serial null \
               --debugcon debug.log --display none &
             vm=$!
             finished() {{ has debug.log {done} || ended $vm; }}
             wait_for 240 finished
             ! ended $vm || {{ wait $vm; echo \"pcvm ended with $?\"; exit 1; }}
             kill $vm
             wait $vm
             [ $? -le 143 ] && has debug.log {done}",
            done = flat::DONE
        ),
    );
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}")).file(firmware, "hostile.bin");
    let output = Host::Here.run(&job.timeout(Duration::from_secs(280))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["debug.log"]);
    assert!(!output.console.contains("panicked"), "{}", pcvm_test_host::tail(&output.console));
}

#[test]
fn software_pcvm_survives_random_accesses() {
    random_accesses(SHORT, 0x5EED_0001);
}

#[test]
fn software_slow_pcvm_survives_random_accesses_with_seed_0() {
    random_accesses(LONG, 1);
}

#[test]
fn software_slow_pcvm_survives_random_accesses_with_seed_1() {
    random_accesses(LONG, 0x9E37_79B9);
}

#[test]
fn software_slow_pcvm_survives_random_accesses_with_seed_2() {
    random_accesses(LONG, 0xDEAD_BEEF);
}

#[test]
fn software_slow_pcvm_survives_random_accesses_with_seed_3() {
    random_accesses(LONG, 0x0BAD_CAFE);
}
