//! What a program finds that calls the BIOS: registers and memory at its start, stack and flags of the services, interrupts
//! while a service waits. The guest is `tests/guests/src/caller.s`.

use std::time::Duration;

use pcvm_test_guests::flat;
use pcvm_test_host::{Host, Job, require_kvm, tail};

/// Runs the guest and returns its output on port 402h.
fn caller() -> String {
    require_kvm();
    let disk = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(disk.path(), flat::caller()).expect("the disk");
    let script =
        "./pcvm run --memory 64M --floppy none --disk caller.img --disk second.img --serial null --debugcon debug.log \
                    --display none --no-reboot &
                  vm=$!
                  finished() { has debug.log '^done' || ended $vm; }
                  wait_for 150 finished
                  kill $vm; wait $vm
                  has debug.log '^done'";
    let job = Job::new("caller", format!("truncate -s 1G second.img\n{script}"));
    let job = job.pcvm().unwrap_or_else(|error| panic!("{error}")).file(disk.path(), "caller.img");
    let output = Host::Here.run(&job.timeout(Duration::from_secs(200))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["debug.log"]);
    output.text("debug.log")
}

/// The numbers of each line with this name.
fn lines<'a>(log: &'a str, name: &str) -> Vec<Vec<&'a str>> {
    let lines = log.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.collect())
    });
    lines.collect()
}

#[test]
fn software_the_bios_takes_from_a_caller_only_what_the_at_bios_took() {
    let log = caller();
    let one = |name: &str| lines(&log, name).pop().unwrap_or_else(|| panic!("no {name}:\n{}", tail(&log)));

    // AX is the signature, DX the drive, SP the stack of a boot sector; all other registers are 0.
    let registers = "aa55 0000 0000 0080 0000 0000 0000 7c00 0000 0000 0000 0000 0000";
    assert_eq!(one("registers").join(" "), registers);
    assert_eq!(one("memory"), Vec::<&str>::new(), "blocks of conventional memory that POST leaves dirty");
    // Two disks of type 47: 2 cylinders, 2080 cylinders with LBA assist.
    assert_eq!(one("cmos").join(" "), "ff 2f 2f 02 00 10 ff ff c8 02 00 3f 04");

    let stack = lines(&log, "stack");
    assert_eq!(stack.len(), 38);
    for line in stack {
        let most = if line[0] == "10" { 32 } else { 6 };
        let bytes = u32::from_str_radix(line[2], 16).expect("a number");
        assert!(
            bytes <= most,
            "INT {}h AX={}h takes {bytes} bytes of the stack instead of at most {most}",
            line[0],
            line[1]
        );
    }

    // Services that return a result in CF or ZF return with interrupts enabled, the others with the caller's IF.
    let enabled = ["13 0201", "13 4100", "13 0000", "16 0100", "16 1100", "1a 0200", "15 c000"];
    let flags = lines(&log, "flags");
    assert_eq!(flags.len(), 15);
    for line in flags {
        let call = line[..2].join(" ");
        assert_eq!(line[2] == "0200", enabled.contains(&call.as_str()), "IF after INT {call}");
    }

    let nested = u32::from_str_radix(one("nested")[0], 16).expect("a number");
    assert!(nested >= 4, "{nested} calls of INT 10h in a timer handler");
    assert_eq!(one("wait"), ["0000"], "SS of a timer handler while INT 16h waits");
    assert_eq!(one("again"), ["4f"], "what INT 10h wrote after a timer handler left a wait for good");
}
