//! The power-on code as it runs on a machine: built for 32-bit code by `firmware/build`.
#![cfg_attr(rom, no_std, no_main)]

#[cfg(rom)]
mod real;

#[cfg(rom)]
#[allow(unsafe_code, reason = "the entry code calls `post_main` by name")]
mod rom {
    /// Called by the entry code in `real`. Fills the handoff structure; the entry code then goes on to the 16-bit BIOS.
    // SAFETY: no other symbol has this name, and the signature is the one that the entry code expects.
    #[unsafe(no_mangle)]
    extern "C" fn post_main() {
        let mut hw = super::real::Real;
        let mut pci = pcvm_post::Pci::new();
        let mut handoff = pcvm_firmware_rt::Handoff::EMPTY;
        pcvm_post::power_on(&mut hw, &mut pci, &mut handoff);
        super::real::hand_over(&handoff);
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        super::real::die("POST: panic\n")
    }
}

#[cfg(not(rom))]
fn main() {
    eprintln!("this is firmware: firmware/build makes it");
    std::process::exit(2);
}
