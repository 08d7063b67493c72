//! Boot device selection and loading: boot order, INT 18h and 19h (BIOS Boot Specification 1.01; IBM PS/2 and PC BIOS
//! Interface Technical Reference, "Interrupt 18h", "Interrupt 19h").
//!
//! The boot order is one list of all bootable devices. A device that does not boot is reported with the reason, and the
//! next one is tried; after the last one, a summary of all reasons is shown. The boot menu moves a device to the front.

mod console;
pub(crate) mod media;
mod menu;
mod order;
mod pnp;
mod roms;
mod targets;
#[cfg(test)]
mod tests;

use crate::{Bios, eltorito};
use core::cell::Cell;
use media::{DriveKind, Status};
use pcvm_firmware_rt::{FarPtr, Hw, Regs, bda, ebda, pnp as structure, shadow};
use targets::{TARGETS, Target};

/// Load address of a boot sector.
const BOOT_SECTOR: FarPtr = FarPtr::new(0, 0x7c00);
/// No device of the boot order is being booted.
const NO_TARGET: u8 = u8::MAX;

/// Why a device did not boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootError {
    message: &'static str,
    status: Status,
}

impl BootError {
    /// An error without a drive status.
    pub const fn new(message: &'static str) -> Self {
        Self { message, status: Status::OK }
    }

    /// An error with the status of the drive.
    pub const fn with_status(message: &'static str, status: Status) -> Self {
        Self { message, status }
    }

    /// The status of the drive, or `other` if there is none.
    pub fn status_or(self, other: Status) -> Status {
        if self.status == Status::OK { other } else { self.status }
    }
}

/// State of the boot code.
#[derive(Debug)]
pub struct State {
    console: console::State,
    roms: roms::State,
    /// The boot order.
    order: [Cell<Target>; TARGETS],
    count: Cell<u8>,
    /// Why each device of the boot order was not booted.
    errors: [Cell<Option<BootError>>; TARGETS],
    /// Position in the boot order of the device being booted, or [`NO_TARGET`].
    current: Cell<u8>,
    /// Index of the El Torito entry that was chosen from the menu.
    entry: Cell<u8>,
    /// An option ROM's own INT 19h handler is running.
    rom_int19: Cell<bool>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The state at power-on.
    pub const fn new() -> Self {
        Self {
            console: console::State::new(),
            roms: roms::State::new(),
            order: [const { Cell::new(Target::Drive(0)) }; TARGETS],
            count: Cell::new(0),
            errors: [const { Cell::new(None) }; TARGETS],
            current: Cell::new(NO_TARGET),
            entry: Cell::new(0),
            rom_int19: Cell::new(false),
        }
    }

    fn target(&self, position: u8) -> Option<Target> {
        (position < self.count.get()).then(|| self.order.get(usize::from(position)).map(Cell::get))?
    }

    fn set_error(&self, position: u8, error: Option<BootError>) {
        if let Some(slot) = self.errors.get(usize::from(position)) {
            slot.set(error);
        }
    }
}

/// Initialises the video adapter's option ROM.
pub fn init_video<H: Hw>(bios: &mut Bios<H>) {
    roms::init_video(bios);
    console::init(bios);
    console::init_screen(bios);
    console::text(bios, "pcvm BIOS: F12 or Esc for the boot menu\n");
}

/// Initialises all other option ROMs.
pub fn init_roms<H: Hw>(bios: &mut Bios<H>) {
    roms::init_others(bios);
}

/// Builds the boot order, shows the menu if requested, and boots.
pub fn run<H: Hw>(bios: &mut Bios<H>) {
    pnp::write_nodes(bios);
    targets::build_boot_order(bios);
    menu::open_if_requested(bios);
    shadow::lock(bios.hw);
    boot_from(bios, 0);
}

/// INT 18h: the booted code has failed; boots the next device.
pub fn int18<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    bios.hw.boot_again(0x18);
}

/// INT 19h: boots again, starting with the first device. If an option ROM's INT 19h handler chains to this one, boots
/// the next device.
pub fn int19<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    bios.hw.boot_again(0x19);
}

/// INT 18h and 19h, on an empty stack.
pub fn again<H: Hw>(bios: &mut Bios<H>, vector: u8) {
    match vector {
        0x18 => try_next(bios, BootError::new("gave up (INT 18h)")),
        _ if bios.state.boot.rom_int19.get() => try_next(bios, BootError::new("gave up (INT 19h)")),
        _ => boot_from(bios, 0),
    }
}

fn try_next<H: Hw>(bios: &mut Bios<H>, error: BootError) {
    let position = bios.state.boot.current.get();
    if position == NO_TARGET {
        return boot_from(bios, 0);
    }
    report_failure(bios, position, error);
    boot_from(bios, position.saturating_add(1));
}

/// Boots the device at this position of the boot order, or the first one after it that boots. Does not return on real
/// hardware.
fn boot_from<H: Hw>(bios: &mut Bios<H>, position: u8) {
    let mut position = position;
    loop {
        match bios.state.boot.target(position) {
            Some(target) => {
                eltorito::terminate(bios);
                bios.state.boot.current.set(position);
                bios.state.boot.set_error(position, None);
                console::text(bios, "Booting from ");
                targets::print_name(bios, target);
                console::text(bios, "\n");
                match boot_target(bios, target) {
                    Ok(()) => return,
                    Err(error) => report_failure(bios, position, error),
                }
                position += 1;
            }
            None => {
                if !all_failed(bios) {
                    return;
                }
                position = 0;
            }
        }
    }
}

fn report_failure<H: Hw>(bios: &mut Bios<H>, position: u8, error: BootError) {
    bios.state.boot.current.set(NO_TARGET);
    bios.state.boot.rom_int19.set(false);
    bios.state.boot.set_error(position, Some(error));
    console::text(bios, "  failed: ");
    print_error(bios, error);
}

fn print_error<H: Hw>(bios: &mut Bios<H>, error: BootError) {
    console::text(bios, error.message);
    if error.status != Status::OK {
        console::text(bios, ": ");
        console::text(bios, error.status.text());
    }
    console::text(bios, "\n");
}

/// Shows why each device failed, and waits for a key. Returns true to try all devices again; otherwise resets the
/// machine.
fn all_failed<H: Hw>(bios: &mut Bios<H>) -> bool {
    eltorito::terminate(bios);
    console::text(bios, "\nNo bootable device.\n");
    let mut position = 0;
    while let Some(target) = bios.state.boot.target(position) {
        console::text(bios, "  ");
        targets::print_name(bios, target);
        console::text(bios, ": ");
        let error = bios.state.boot.errors.get(usize::from(position)).and_then(Cell::get);
        print_error(bios, error.unwrap_or(BootError::new("not tried")));
        position += 1;
    }
    if position == 0 {
        console::text(bios, "  There is no drive and nothing else to boot from.\n");
    }
    let wait = bios.handoff.fail_wait;
    if wait == u32::MAX {
        console::text(bios, "Press F12 or Esc for the boot menu, any other key to try again.\n");
    } else {
        console::text(bios, "The machine is reset in ");
        console::number(bios, wait.div_ceil(1000));
        console::text(bios, " s. Press F12 or Esc for the boot menu, any other key to try again.\n");
    }
    match console::wait_key(bios, wait) {
        Some(console::Key::F12 | console::Key::Escape) => menu::show(bios),
        Some(_) => {}
        None => {
            bios.hw.reset();
            return false;
        }
    }
    true
}

/// Boots a device. On real hardware it returns only on failure.
fn boot_target<H: Hw>(bios: &mut Bios<H>, target: Target) -> Result<(), BootError> {
    let (at, drive) = match target {
        Target::Drive(index) => {
            let drive = media::drive(bios, index).ok_or(BootError::new("no such drive"))?;
            match drive.kind {
                DriveKind::Cdrom => {
                    targets::number_disks(bios);
                    let found = eltorito::find(bios, index)?;
                    let entry = found.entry(bios.state.boot.entry.get()).or(found.entry(0));
                    let loaded = eltorito::start(bios, index, &entry.ok_or(BootError::new("no boot image"))?)?;
                    (loaded.at, loaded.drive)
                }
                DriveKind::Hard => {
                    targets::make_first_disk(bios, index);
                    load_boot_sector(bios, index, true)?;
                    (BOOT_SECTOR, media::drive(bios, index).map_or(drive.number, |drive| drive.number))
                }
                DriveKind::Floppy => {
                    targets::number_disks(bios);
                    load_boot_sector(bios, index, false)?;
                    (BOOT_SECTOR, drive.number)
                }
            }
        }
        Target::Rom(n) => return boot_rom(bios, n),
    };
    enter(bios, at, drive);
    Ok(())
}

/// Loads and checks a boot sector.
fn load_boot_sector<H: Hw>(bios: &mut Bios<H>, index: u8, signature: bool) -> Result<(), BootError> {
    media::read(bios, index, 0, 1, BOOT_SECTOR).map_err(|status| BootError::with_status("cannot be read", status))?;
    check_boot_sector(bios.hw, signature)
}

/// Checks the loaded boot sector. A hard disk's needs the signature 55AAh; a floppy's does not, since those of DOS 1
/// have none and IBM's BIOS does not check it. A sector that cannot be code is rejected, as by the AT BIOS.
fn check_boot_sector<H: Hw>(hw: &mut H, signature: bool) -> Result<(), BootError> {
    if signature && !has_signature(hw, BOOT_SECTOR) {
        return Err(BootError::new("no boot signature (55AAh)"));
    }
    if !looks_like_code(hw, BOOT_SECTOR) {
        return Err(BootError::new("the boot sector is empty"));
    }
    Ok(())
}

/// Whether a sector ends with the signature 55AAh.
pub fn has_signature<H: Hw>(hw: &mut H, at: FarPtr) -> bool {
    hw.read16(at.add(510)) == 0xaa55
}

/// False if the first eight words are all the same: IBM's AT BIOS takes such a sector for one without a program.
pub fn looks_like_code<H: Hw>(hw: &mut H, at: FarPtr) -> bool {
    let first = hw.read16(at);
    (1..8).any(|n| hw.read16(at.add(n * 2)) != first)
}

/// Boots from an option ROM.
fn boot_rom<H: Hw>(bios: &mut Bios<H>, n: u8) -> Result<(), BootError> {
    let entry = bios.state.boot.roms.entry(n).ok_or(BootError::new("no such ROM"))?;
    match entry.method {
        roms::BootMethod::Bootstrap(at) => {
            let mut regs = Regs { es: structure::AT.segment, edi: u32::from(structure::AT.offset), ..Regs::default() };
            regs.set_ax(entry.function);
            bios.hw.call_far(at, &mut regs);
        }
        roms::BootMethod::Hooked19(handler) => {
            let vector = FarPtr::vector(0x19);
            let before = bios.hw.read32(vector);
            bios.state.boot.rom_int19.set(true);
            bios.hw.write32(vector, handler.to_u32());
            bios.hw.call_interrupt(0x19, &mut Regs::default());
            bios.hw.write32(vector, before);
        }
        roms::BootMethod::Disk(number) => {
            const READ_ONE: u32 = 0x0201;
            let mut regs = Regs { eax: READ_ONE, ecx: 1, edx: number.into(), ..Regs::default() };
            regs.es = BOOT_SECTOR.segment;
            regs.set_bx(BOOT_SECTOR.offset);
            regs.set_cf(true);
            bios.hw.call_interrupt(0x13, &mut regs);
            if regs.cf() {
                return Err(BootError::with_status("cannot be read", Status(regs.ah())));
            }
            check_boot_sector(bios.hw, true)?;
            enter(bios, BOOT_SECTOR, number);
            return Ok(());
        }
    }
    Err(BootError::new("returned without booting"))
}

/// Enters the loaded code with DL the drive (BIOS Boot Specification 1.01, 6.5.1; El Torito 1.0, section 4) and AX=AA55h,
/// the signature, as most BIOSes leave it. All other registers are zero, segment registers included: boot sectors rely on
/// that. ES:DI does not point to the Plug and Play installation structure, which is for the entry points of option ROMs.
pub fn enter<H: Hw>(bios: &mut Bios<H>, at: FarPtr, drive: u8) {
    // A later reset is a cold one unless the booted system sets the flag again.
    bios.hw.set(bda::RESET_FLAG, 0);
    // A call of the VGA BIOS that a failed boot abandoned does not return.
    for stack in 0..3 {
        let busy = ebda::current(bios.hw, ebda::VIDEO_BUSY.at.add(stack));
        bios.hw.write8(busy, 0);
    }
    let mut regs = Regs::with_ax(0xaa55);
    regs.set_dl(drive);
    bios.hw.enter(at, &regs);
}
