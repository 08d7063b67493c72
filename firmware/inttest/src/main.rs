//! BIOS call test boot program: `firmware/build` builds it for 16-bit real mode.
#![cfg_attr(rom, no_std, no_main)]

#[cfg(rom)]
#[allow(unsafe_code, reason = "the entry code calls `guest_main` by name")]
mod rom {
    use pcvm_firmware_rt::Real;

    /// The entry code calls this. The boot disk is drive 80h.
    // SAFETY: no other symbol has this name, and the signature is the one that the entry code expects.
    #[unsafe(no_mangle)]
    extern "C" fn guest_main(_drive: u32) {
        pcvm_inttest::run(&mut Real);
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        pcvm_guest::die("inttest: panic\n")
    }
}

#[cfg(not(rom))]
fn main() {
    eprintln!("inttest is not a host program: build its disk with firmware/build");
    std::process::exit(2);
}
