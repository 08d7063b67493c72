//! The BIOS as it runs on a machine: built for 16-bit code by `firmware/build`.
#![cfg_attr(rom, no_std, no_main)]

#[cfg(rom)]
#[allow(unsafe_code, reason = "`rt::entry` calls these functions by name; no other symbol has these names")]
mod rom {
    use pcvm_bios::{Bios, State};
    use pcvm_firmware_rt::entry::{self, Local};
    use pcvm_firmware_rt::{Real, Regs};

    static STATE: Local<State> = Local::new(State::new());

    /// Called by the entry code, once, after the 32-bit power-on code.
    #[unsafe(no_mangle)]
    extern "C" fn bios_main() {
        pcvm_bios::main(
            &mut Bios { hw: &mut Real, state: STATE.get(), handoff: entry::handoff() },
            entry::offsets(),
            entry::iret(),
        );
    }

    /// Called by the entry code, on an empty stack, when what was booted wants something else to be booted.
    #[unsafe(no_mangle)]
    extern "C" fn bios_boot_again(vector: u32) {
        pcvm_bios::boot::again(
            &mut Bios { hw: &mut Real, state: STATE.get(), handoff: entry::handoff() },
            vector as u8,
        );
    }

    /// Called by the entry code for every interrupt.
    #[unsafe(no_mangle)]
    extern "C" fn bios_interrupt(regs: &mut Regs) {
        pcvm_bios::interrupt(&mut Bios { hw: &mut Real, state: STATE.get(), handoff: entry::handoff() }, regs);
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        entry::die("BIOS: panic\n")
    }
}

#[cfg(not(rom))]
fn main() {
    eprintln!("this is firmware: firmware/build makes it");
    std::process::exit(2);
}
