//! The self-test as it is booted: built for 16-bit code by `firmware/build`.
#![cfg_attr(rom, no_std, no_main)]

#[cfg(rom)]
#[allow(unsafe_code, reason = "the entry code calls `guest_main` by name")]
mod rom {
    use pcvm_firmware_rt::Real;

    /// Called by the entry code; `drive` is the BIOS's number of the disk that was booted.
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
    eprintln!("this is a guest: firmware/build makes it");
    std::process::exit(2);
}
