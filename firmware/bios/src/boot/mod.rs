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
use media::{Kind, Status};
use pcvm_firmware_rt::{FarPtr, Hw, Regs, bda, pnp as structure, shadow};
use targets::{TARGETS, Target};

/// Load address of a boot sector.
const BOOT_SECTOR: FarPtr = FarPtr::new(0, 0x7c00);
/// No device of the boot order is being booted.
const NOTHING: u8 = u8::MAX;

/// Why a device did not boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    what: &'static str,
    status: Status,
}

impl Reason {
    /// An error without a drive status.
    pub const fn new(what: &'static str) -> Self {
        Self { what, status: Status::OK }
    }

    /// An error with the status of the drive.
    pub const fn because(what: &'static str, status: Status) -> Self {
        Self { what, status }
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
    reasons: [Cell<Option<Reason>>; TARGETS],
    /// Position in the boot order of the device being booted, or [`NOTHING`].
    current: Cell<u8>,
    /// Index of the El Torito entry that was chosen from the menu.
    entry: Cell<u8>,
    /// An option ROM's own INT 19h handler is running.
    hooked: Cell<bool>,
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
            reasons: [const { Cell::new(None) }; TARGETS],
            current: Cell::new(NOTHING),
            entry: Cell::new(0),
            hooked: Cell::new(false),
        }
    }

    fn target(&self, place: u8) -> Option<Target> {
        (place < self.count.get()).then(|| self.order.get(usize::from(place)).map(Cell::get))?
    }

    fn set_reason(&self, place: u8, reason: Option<Reason>) {
        if let Some(slot) = self.reasons.get(usize::from(place)) {
            slot.set(reason);
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
    targets::list(bios);
    menu::offer(bios);
    shadow::lock(bios.hw);
    from(bios, 0);
}

/// INT 18h: the booted code has failed; boots the next device.
pub fn int18<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    bios.hw.boot_again(0x18);
}

/// INT 19h: boots again, starting with the first device. If an option ROM's INT 19h handler chains to this one, boots the
/// next device.
pub fn int19<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    bios.hw.boot_again(0x19);
}

/// INT 18h and 19h, on an empty stack.
pub fn again<H: Hw>(bios: &mut Bios<H>, vector: u8) {
    match vector {
        0x18 => give_up(bios, Reason::new("gave up (INT 18h)")),
        _ if bios.state.boot.hooked.get() => give_up(bios, Reason::new("gave up (INT 19h)")),
        _ => from(bios, 0),
    }
}

fn give_up<H: Hw>(bios: &mut Bios<H>, reason: Reason) {
    let place = bios.state.boot.current.get();
    if place == NOTHING {
        return from(bios, 0);
    }
    failed(bios, place, reason);
    from(bios, place.saturating_add(1));
}

/// Boots the device at this position of the boot order, or the first one after it that boots. Does not return on real
/// hardware.
fn from<H: Hw>(bios: &mut Bios<H>, place: u8) {
    let mut place = place;
    loop {
        match bios.state.boot.target(place) {
            Some(target) => {
                eltorito::end(bios);
                bios.state.boot.current.set(place);
                bios.state.boot.set_reason(place, None);
                console::text(bios, "Booting from ");
                targets::name(bios, target);
                console::text(bios, "\n");
                match boot(bios, target) {
                    Ok(()) => return,
                    Err(reason) => failed(bios, place, reason),
                }
                place += 1;
            }
            None => {
                if !nothing_left(bios) {
                    return;
                }
                place = 0;
            }
        }
    }
}

fn failed<H: Hw>(bios: &mut Bios<H>, place: u8, reason: Reason) {
    bios.state.boot.current.set(NOTHING);
    bios.state.boot.hooked.set(false);
    bios.state.boot.set_reason(place, Some(reason));
    console::text(bios, "  failed: ");
    say(bios, reason);
}

fn say<H: Hw>(bios: &mut Bios<H>, reason: Reason) {
    console::text(bios, reason.what);
    if reason.status != Status::OK {
        console::text(bios, ": ");
        console::text(bios, reason.status.text());
    }
    console::text(bios, "\n");
}

/// Shows why each device failed, and waits for a key. Returns true to try all devices again; otherwise resets the
/// machine.
fn nothing_left<H: Hw>(bios: &mut Bios<H>) -> bool {
    eltorito::end(bios);
    console::text(bios, "\nNo bootable device.\n");
    let mut place = 0;
    while let Some(target) = bios.state.boot.target(place) {
        console::text(bios, "  ");
        targets::name(bios, target);
        console::text(bios, ": ");
        let reason = bios.state.boot.reasons.get(usize::from(place)).and_then(Cell::get);
        say(bios, reason.unwrap_or(Reason::new("not tried")));
        place += 1;
    }
    if place == 0 {
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
        Some(console::Key::F12 | console::Key::Escape) => menu::choose(bios),
        Some(_) => {}
        None => {
            bios.hw.reset();
            return false;
        }
    }
    true
}

/// Boots a device. On real hardware it returns only on failure.
fn boot<H: Hw>(bios: &mut Bios<H>, target: Target) -> Result<(), Reason> {
    let (at, drive) = match target {
        Target::Drive(index) => {
            let drive = media::drive(bios, index).ok_or(Reason::new("no such drive"))?;
            match drive.kind {
                Kind::Cdrom => {
                    targets::order_disks(bios);
                    let found = eltorito::find(bios, index)?;
                    let entry = found.entry(bios.state.boot.entry.get()).or(found.entry(0));
                    let loaded = eltorito::start(bios, index, &entry.ok_or(Reason::new("no boot image"))?)?;
                    (loaded.at, loaded.drive)
                }
                Kind::Hard => {
                    targets::put_first(bios, index);
                    sector(bios, index, true)?;
                    (BOOT_SECTOR, media::drive(bios, index).map_or(drive.number, |drive| drive.number))
                }
                Kind::Floppy => {
                    targets::order_disks(bios);
                    sector(bios, index, false)?;
                    (BOOT_SECTOR, drive.number)
                }
            }
        }
        Target::Rom(n) => return rom(bios, n),
    };
    enter(bios, at, drive);
    Ok(())
}

/// Loads and checks a boot sector.
fn sector<H: Hw>(bios: &mut Bios<H>, index: u8, signature: bool) -> Result<(), Reason> {
    media::read(bios, index, 0, 1, BOOT_SECTOR).map_err(|status| Reason::because("cannot be read", status))?;
    check(bios.hw, signature)
}

/// Checks the loaded boot sector. A hard disk's needs the signature 55AAh; a floppy's does not, since those of DOS 1 have
/// none and IBM's BIOS does not check it. A sector that cannot be code is rejected, as by the AT BIOS.
fn check<H: Hw>(hw: &mut H, signature: bool) -> Result<(), Reason> {
    if signature && !has_signature(hw, BOOT_SECTOR) {
        return Err(Reason::new("no boot signature (55AAh)"));
    }
    if !looks_like_code(hw, BOOT_SECTOR) {
        return Err(Reason::new("the boot sector is empty"));
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
fn rom<H: Hw>(bios: &mut Bios<H>, n: u8) -> Result<(), Reason> {
    let entry = bios.state.boot.roms.entry(n).ok_or(Reason::new("no such ROM"))?;
    match entry.kind {
        roms::Kind::Bootstrap(at) => {
            let mut regs = Regs { es: structure::AT.segment, edi: u32::from(structure::AT.offset), ..Regs::default() };
            regs.set_ax(entry.function);
            bios.hw.call_far(at, &mut regs);
        }
        roms::Kind::Hooked19(handler) => {
            let vector = FarPtr::vector(0x19);
            let before = bios.hw.read32(vector);
            bios.state.boot.hooked.set(true);
            bios.hw.write32(vector, handler.to_u32());
            bios.hw.call_interrupt(0x19, &mut Regs::default());
            bios.hw.write32(vector, before);
        }
        roms::Kind::Disk(number) => {
            const READ_ONE: u32 = 0x0201;
            let mut regs = Regs { eax: READ_ONE, ecx: 1, edx: number.into(), ..Regs::default() };
            regs.es = BOOT_SECTOR.segment;
            regs.set_bx(BOOT_SECTOR.offset);
            regs.set_cf(true);
            bios.hw.call_interrupt(0x13, &mut regs);
            if regs.cf() {
                return Err(Reason::because("cannot be read", Status(regs.ah())));
            }
            check(bios.hw, true)?;
            enter(bios, BOOT_SECTOR, number);
            return Ok(());
        }
    }
    Err(Reason::new("returned without booting"))
}

/// Enters the loaded code with the registers of the BIOS Boot Specification: DL is the drive, ES:DI the Plug and Play
/// installation structure, all other registers are zero.
pub fn enter<H: Hw>(bios: &mut Bios<H>, at: FarPtr, drive: u8) {
    // A later reset is a cold one unless the booted system sets the flag again.
    bios.hw.set(bda::RESET_FLAG, 0);
    let mut regs = Regs { es: structure::AT.segment, edi: u32::from(structure::AT.offset), ..Regs::default() };
    regs.set_dl(drive);
    bios.hw.enter(at, &regs);
}
