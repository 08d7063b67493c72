//! `make-guest NAME` builds a guest, or finds it in the cache, and prints its path, to run a test by hand.

use std::path::PathBuf;
use std::process::ExitCode;

use pcvm_test_guests::debian::Arch;
use pcvm_test_guests::{Error, cd, disk, flat, floppy, installer, net, options, screen, servers, v86, xorg};

type Make = fn() -> Result<PathBuf, Error>;

const GUESTS: [(&str, Make); 16] = [
    ("bench", flat::bench),
    ("cd", || cd::Discs::make().map(|discs| discs.path("one.iso"))),
    ("disk", disk::image),
    ("floppy", floppy::checksum_iso),
    ("hostile", || flat::hostile(10_000_000, 1)),
    ("int13", flat::int13),
    ("net", net::iso),
    ("net-bench", flat::net_bench),
    ("options", options::iso),
    ("screen-bench", screen::bench::images),
    ("servers", servers::make),
    ("v86", || v86::iso(true)),
    ("v86-unarmed", || v86::iso(false)),
    ("xorg", xorg::iso),
    ("installer-i386", || installer::make(Arch::I386).map(|made| made.iso)),
    ("installer-amd64", || installer::make(Arch::Amd64).map(|made| made.iso)),
];

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some((_, make)) = GUESTS.iter().find(|(name, _)| *name == wanted) else {
        eprintln!("usage: make-guest NAME, where NAME is one of:");
        for (name, _) in GUESTS {
            eprintln!("  {name}");
        }
        return ExitCode::from(2);
    };
    match make() {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("make-guest: {error}");
            ExitCode::FAILURE
        }
    }
}
