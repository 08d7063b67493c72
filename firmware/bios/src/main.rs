//! BIOS ROM binary: `firmware/build` builds it for 16-bit real mode.
#![cfg_attr(rom, no_std, no_main)]

#[cfg(rom)]
#[allow(unsafe_code, reason = "`rt::entry` calls these functions by name; no other symbol has these names")]
mod rom {
    use pcvm_bios::{Bios, State};
    use pcvm_firmware_rt::entry::{self, Local};
    use pcvm_firmware_rt::{Real, Regs};

    static STATE: Local<State> = Local::new(State::new());

    /// The entry code calls this once, after the 32-bit power-on code.
    #[unsafe(no_mangle)]
    extern "C" fn bios_main() {
        pcvm_bios::main(
            &mut Bios { hw: &mut Real, state: STATE.get(), handoff: entry::handoff() },
            entry::offsets(),
            entry::iret(),
        );
    }

    /// The entry code calls this on an empty stack when the booted system calls INT 18h or 19h.
    #[unsafe(no_mangle)]
    extern "C" fn bios_boot_again(vector: u32) {
        pcvm_bios::boot::again(
            &mut Bios { hw: &mut Real, state: STATE.get(), handoff: entry::handoff() },
            vector as u8,
        );
    }

    /// The entry code calls this for every interrupt.
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
    eprintln!("the BIOS is not a host program: build its ROM with firmware/build");
    std::process::exit(2);
}
