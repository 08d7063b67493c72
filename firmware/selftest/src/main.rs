//! Self-test boot program: `firmware/build` builds it for 16-bit real mode.
#![cfg_attr(rom, no_std, no_main)]

#[cfg(rom)]
#[allow(unsafe_code, reason = "the entry code calls `guest_main` by name")]
mod rom {
    use pcvm_firmware_rt::Real;

    /// The entry code calls this with the BIOS drive number of the boot disk.
    // SAFETY: no other symbol has this name, and the signature is the one that the entry code expects.
    #[unsafe(no_mangle)]
    extern "C" fn guest_main(drive: u32) {
        pcvm_selftest::run(&mut Real, pcvm_guest::parameters(), drive as u8);
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        pcvm_guest::die("selftest: panic\n")
    }
}

#[cfg(not(rom))]
fn main() {
    eprintln!("the self-test is not a host program: build its disk with firmware/build");
    std::process::exit(2);
}
