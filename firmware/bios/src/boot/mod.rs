//! From the option ROMs to the boot sector: INT 18h and 19h (BIOS Boot Specification 1.01; IBM PS/2 and PC BIOS Interface
//! Technical Reference, "Interrupt 18h", "Interrupt 19h").
//!
//! Everything that can be booted is one list in the order in which it is tried. What fails says why, and the next is
//! tried; at the list's end all reasons are shown together. The menu only puts another device first.

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

/// Where a boot sector goes.
const BOOT_SECTOR: FarPtr = FarPtr::new(0, 0x7c00);
/// Of something that has not been tried.
const NOTHING: u8 = u8::MAX;

/// Why something does not boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    what: &'static str,
    status: Status,
}

impl Reason {
    /// In words.
    pub const fn new(what: &'static str) -> Self {
        Self { what, status: Status::OK }
    }

    /// In words, and what the drive said.
    pub const fn because(what: &'static str, status: Status) -> Self {
        Self { what, status }
    }

    /// What the drive said, or something else if it said nothing.
    pub fn status_or(self, other: Status) -> Status {
        if self.status == Status::OK { other } else { self.status }
    }
}

/// What is remembered about the way to the boot sector.
#[derive(Debug)]
pub struct State {
    console: console::State,
    roms: roms::State,
    /// What is tried, in order.
    order: [Cell<Target>; TARGETS],
    count: Cell<u8>,
    /// Why each was not booted.
    reasons: [Cell<Option<Reason>>; TARGETS],
    /// The place in the order of what is being booted, or [`NOTHING`].
    current: Cell<u8>,
    /// The El Torito entry that was chosen from the menu.
    entry: Cell<u8>,
    /// A ROM's own INT 19h runs.
    hooked: Cell<bool>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// At power-on.
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
    console::text(bios, "pcvm BIOS: F12 or Esc for the boot menu\n");
}

/// Initialises all other option ROMs.
pub fn init_roms<H: Hw>(bios: &mut Bios<H>) {
    roms::init_others(bios);
}

/// Lets the user choose, if he wants to, and boots.
pub fn run<H: Hw>(bios: &mut Bios<H>) {
    pnp::write_nodes(bios);
    targets::list(bios);
    menu::offer(bios);
    shadow::lock(bios.hw);
    from(bios, 0);
}

/// INT 18h: what was booted gives up: on to the next device.
pub fn int18<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    bios.hw.boot_again(0x18);
}

/// INT 19h: boot again, from the first device on. From a ROM that took INT 19h for itself and hands on to whoever had it
/// before: the next one.
pub fn int19<H: Hw>(bios: &mut Bios<H>, _regs: &mut Regs) {
    bios.hw.boot_again(0x19);
}

/// What interrupts 18h and 19h do, on an empty stack.
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

/// Boots what is in this place of the order, or what comes after it. On a real machine it does not return.
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

/// Says what was tried and why it failed, and waits. Returns whether to try everything again; else the machine is reset.
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

/// Boots a device. On a real machine it only returns if that fails.
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

/// Loads a boot sector.
fn sector<H: Hw>(bios: &mut Bios<H>, index: u8, signature: bool) -> Result<(), Reason> {
    media::read(bios, index, 0, 1, BOOT_SECTOR).map_err(|status| Reason::because("cannot be read", status))?;
    check(bios.hw, signature)
}

/// A hard disk's boot sector has a signature. A floppy's need not: those of DOS 1 have none, and IBM's BIOS does not ask for
/// it; but like the AT's, this one does not run what cannot be code.
fn check<H: Hw>(hw: &mut H, signature: bool) -> Result<(), Reason> {
    if signature && !has_signature(hw, BOOT_SECTOR) {
        return Err(Reason::new("no boot signature (55AAh)"));
    }
    if !looks_like_code(hw, BOOT_SECTOR) {
        return Err(Reason::new("the boot sector is empty"));
    }
    Ok(())
}

/// Whether a sector ends with 55AAh.
pub fn has_signature<H: Hw>(hw: &mut H, at: FarPtr) -> bool {
    hw.read16(at.add(510)) == 0xaa55
}

/// IBM's AT BIOS takes a sector whose first 16 bytes are all the same words for one without a program.
pub fn looks_like_code<H: Hw>(hw: &mut H, at: FarPtr) -> bool {
    let first = hw.read16(at);
    (1..8).any(|n| hw.read16(at.add(n * 2)) != first)
}

/// Boots by an option ROM.
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
    Err(Reason::new("came back"))
}

/// Enters what was loaded, as the BIOS Boot Specification and those who came before it want it: DL the drive, ES:DI the
/// Plug and Play installation structure, everything else zero.
pub fn enter<H: Hw>(bios: &mut Bios<H>, at: FarPtr, drive: u8) {
    // What a reset means from here on is not known to be a warm one.
    bios.hw.set(bda::RESET_FLAG, 0);
    let mut regs = Regs { es: structure::AT.segment, edi: u32::from(structure::AT.offset), ..Regs::default() };
    regs.set_dl(drive);
    bios.hw.enter(at, &regs);
}
