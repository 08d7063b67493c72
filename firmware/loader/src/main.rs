//! Kernel loader ROM: `firmware/build` builds it for 16-bit real mode.
#![cfg_attr(rom, no_std, no_main)]

#[cfg(rom)]
mod start;

#[cfg(rom)]
#[allow(unsafe_code, reason = "the entry code calls `loader_main` by name")]
mod rom {
    use pcvm_firmware_rt::Real;

    /// The entry code calls this. It returns only if the kernel cannot be started.
    // SAFETY: no other symbol has this name, and the signature is the one that the entry code expects.
    #[unsafe(no_mangle)]
    extern "C" fn loader_main() {
        match pcvm_loader::load(&mut Real, super::start::parameters()) {
            Ok(entry) => super::start::enter(entry),
            Err(why) => pcvm_loader::report(&mut Real, why),
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        loop {
            core::hint::spin_loop();
        }
    }
}

#[cfg(not(rom))]
fn main() {
    eprintln!("the kernel loader is not a host program: build its ROM with firmware/build");
    std::process::exit(2);
}
