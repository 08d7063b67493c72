//! A guest that writes random values everywhere neither stops the machine nor makes it stop answering.

use std::time::Duration;

use pcvm_test_guests::flat;
use pcvm_test_host::{Host, Job, require_kvm};

/// All seeds together.
const ACCESSES: u32 = 10_000_000;
const SEEDS: [u32; 4] = [1, 0x9E37_79B9, 0xDEAD_BEEF, 0x0BAD_CAFE];

fn random_accesses(seed: u32) {
    require_kvm();
    let firmware = flat::hostile(ACCESSES / SEEDS.len() as u32, seed).unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new(
        &format!("hostile-{seed:x}"),
        format!(
            // The guest halts when it is through; the machine must still be there, and end when it is told to.
            "truncate -s 16M disk.img
             ./pcvm run --memory 32M --firmware hostile.bin --disk disk.img --cdrom none --serial null \
               --debugcon debug.log --display none &
             machine=$!
             tries=0
             while ! grep -q {through} debug.log 2>/dev/null && [ $tries -lt 240 ] && kill -0 $machine; do
               sleep 1; tries=$((tries + 1))
             done
             kill -0 $machine || {{ wait $machine; echo \"the machine ended with $?\"; exit 1; }}
             kill $machine
             wait $machine
             [ $? -le 143 ] && grep -q {through} debug.log",
            through = flat::DONE
        ),
    );
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}")).file(firmware, "hostile.bin");
    let output = Host::Here.run(&job.timeout(Duration::from_secs(280))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["debug.log"]);
    assert!(!output.console.contains("panicked"), "{}", pcvm_test_host::tail(&output.console));
}

#[test]
fn software_random_accesses_to_ports_and_pci_registers_are_survived_seed_0() {
    random_accesses(SEEDS[0]);
}

#[test]
fn software_random_accesses_to_ports_and_pci_registers_are_survived_seed_1() {
    random_accesses(SEEDS[1]);
}

#[test]
fn software_random_accesses_to_ports_and_pci_registers_are_survived_seed_2() {
    random_accesses(SEEDS[2]);
}

#[test]
fn software_random_accesses_to_ports_and_pci_registers_are_survived_seed_3() {
    random_accesses(SEEDS[3]);
}
