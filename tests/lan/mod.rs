//! Jobs of the network tests: a bridge on the host, VMs on it, and commands to their guests.

#![allow(dead_code)]

use std::path::PathBuf;
use std::time::Duration;

use pcvm_test_guests::{Error, net, servers};
use pcvm_test_host::{Host, Job, Output, pcvm_static};

const FUNCTIONS: &str = include_str!("functions.sh");

fn made(guest: Result<PathBuf, Error>) -> PathBuf {
    guest.unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a script with [`FUNCTIONS`], the guest's files and a DHCP server.
pub fn run(name: &str, script: &str) -> Output {
    run_job(job(name, &format!("give_addresses\n{script}")))
}

/// Runs a script with [`FUNCTIONS`], the guest's files and Debian's dnsmasq, passt and PXELINUX.
pub fn run_with_servers(name: &str, script: &str) -> Output {
    let made = made(servers::make());
    let job = job(name, script).file(made.join("root.tar"), "servers.tar");
    run_job(job.file(made.join("pxelinux.0"), "pxelinux.0").file(made.join("ldlinux.c32"), "ldlinux.c32"))
}

fn job(name: &str, script: &str) -> Job {
    let iso = made(net::iso());
    let job = Job::new(name, format!("{FUNCTIONS}\n{script}\nexit 0")).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let pcvm = pcvm_static().unwrap_or_else(|error| panic!("{error}"));
    job.file(iso.with_file_name("vmlinuz"), "vmlinuz")
        .file(iso.with_file_name("small.gz"), "small.gz")
        .file(iso.with_file_name("initrd.gz"), "initrd.gz")
        .file(iso.with_file_name("iperf.tar"), "iperf.tar")
        .file(pcvm.with_file_name("net-frames"), "net-frames")
        .file(net::IPXE, "ipxe.rom")
        .file(iso, "net.iso")
        .timeout(Duration::from_secs(900))
}

fn run_job(job: Job) -> Output {
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &[]);
    output
}

/// Asserts that both guests' drivers counted no errors (counters-10.log and counters-11.log).
#[track_caller]
pub fn assert_no_errors(output: &Output) {
    for n in [10, 11] {
        let counters = output.text(&format!("counters-{n}.log"));
        let eth0 = counters.lines().find(|line| line.trim_start().starts_with("eth0:")).unwrap_or_default();
        let numbers: Vec<u64> = eth0.split_whitespace().skip(1).filter_map(|number| number.parse().ok()).collect();
        assert_eq!(numbers.len(), 16, "{counters}");
        // Errors, drops, FIFO and frame errors of either direction, collisions, carrier errors.
        assert_eq!([&numbers[2..6], &numbers[10..15]].concat(), [0; 9], "{counters}");
    }
}
