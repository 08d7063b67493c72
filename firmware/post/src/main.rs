//! POST ROM binary: `firmware/build` builds it for 32-bit flat mode.
#![cfg_attr(rom, no_std, no_main)]

#[cfg(rom)]
mod flat;

#[cfg(rom)]
#[allow(unsafe_code, reason = "the entry code calls `post_main` by name")]
mod rom {
    /// Fills in the handoff structure. The entry code in `flat` calls this, and then enters the 16-bit BIOS.
    // SAFETY: no other symbol has this name, and the signature is the one that the entry code expects.
    #[unsafe(no_mangle)]
    extern "C" fn post_main() {
        let mut hw = super::flat::FlatModeHw;
        let mut pci = pcvm_post::Pci::new();
        let mut handoff = pcvm_firmware_rt::Handoff::EMPTY;
        pcvm_post::power_on(&mut hw, &mut pci, &mut handoff);
        super::flat::store_handoff(&handoff);
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        super::flat::die("POST: panic\n")
    }
}

#[cfg(not(rom))]
fn main() {
    eprintln!("POST is not a host program: build its ROM with firmware/build");
    std::process::exit(2);
}
