//! Tests each device of the PC that it is booted on, the way a guest sees it: by the BIOS's services, by ports and by
//! memory. It prints a line for each on the screen and on COM1, tells whoever listens at port 402h, and switches the
//! machine off by ACPI.
//!
//! It knows nothing of the machine but what whoever boots it may have patched in ([`Expect`]), so it runs on other PCs as
//! well. What it changes in a device it puts back.

#![cfg_attr(rom, no_std)]
#![forbid(unsafe_code)]

/// [`Test::need`], with its condition worked out first: it may use the machine too.
macro_rules! need {
    ($t:expr, $right:expr, $why:expr $(,)?) => {{
        let right = $right;
        $t.need(right, $why)
    }};
}

/// [`Test::equal`], likewise.
macro_rules! equal {
    ($t:expr, $what:expr, $got:expr, $wanted:expr $(,)?) => {{
        let (got, wanted): (u32, u32) = ($got, $wanted);
        $t.equal($what, got, wanted)
    }};
}

mod acpi;
mod clock;
mod console;
mod cpu;
mod expect;
mod fw_cfg;
mod ide;
mod isa;
mod memory;
mod pci;
mod pir;
mod ps2;
mod rtc;
mod serial;
mod smbios;
mod timer;
mod vga;

#[cfg(test)]
mod tests;

pub use expect::Expect;

use clock::Clock;
use console::Console;
use pcvm_firmware_rt::{FarPtr, Regs};
use pcvm_guest::{Machine, Text};

/// Why a test ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The device is not there, and nobody said that it had to be.
    Absent,
    /// It does not do what it should; the note says what.
    Fail,
}

/// What a test says.
pub type Outcome = Result<(), Stop>;

/// What one test has found and a later one uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Port of PM1a control, 0 when unknown.
    pub pm1a_control: u16,
    /// Port of the power management timer, 0 when unknown.
    pub pm_timer: u16,
    /// SLP_TYP of S5, with bit 7 set when it is known.
    pub sleep_type: u8,
    /// Port of the IDE controller's bus-master registers, 0 when there is none.
    pub bus_master: u16,
}

/// What a test works with.
pub struct Test<'a, M> {
    /// The machine.
    pub m: &'a mut M,
    /// What should be there.
    pub expect: Expect,
    /// What earlier tests have found.
    pub facts: Facts,
    /// The BIOS's number of the disk that was booted.
    pub drive: u8,
    /// What was seen, or what is wrong.
    pub note: Text<50>,
    /// Further lines.
    pub lines: [Text<70>; 16],
    /// How many of them.
    pub line_count: usize,
    last: u32,
}

/// Scratch memory, 64 KiB that a DMA can reach in one piece.
pub const SCRATCH: u16 = 0x2000;
/// Where a piece of what lies elsewhere is looked at.
pub const SCRATCH_LINEAR: u32 = 0x2_0000;

impl<'a, M: Machine> Test<'a, M> {
    /// A machine about which nothing is known yet.
    pub fn new(m: &'a mut M, expect: Expect, drive: u8) -> Self {
        let last = Clock::now(m);
        Self {
            last,
            m,
            expect,
            facts: Facts::default(),
            drive,
            note: Text::new(),
            lines: [Text::new(); 16],
            line_count: 0,
        }
    }

    /// Ends the test with `why` unless `right`.
    pub fn need(&mut self, right: bool, why: &str) -> Outcome {
        if right { Ok(()) } else { self.fail(why) }
    }

    /// Ends the test.
    pub fn fail(&mut self, why: &str) -> Outcome {
        self.note.clear();
        self.note.put(why);
        Err(Stop::Fail)
    }

    /// Ends the test with what was read and what should have been unless they are the same.
    pub fn equal(&mut self, what: &str, got: u32, wanted: u32) -> Outcome {
        if got == wanted {
            return Ok(());
        }
        let _ = self.fail(what);
        self.note.put(" ").hex(got, 4).put(", not ").hex(wanted, 4);
        Err(Stop::Fail)
    }

    /// A line below the test's own.
    pub fn line(&mut self, line: Text<70>) {
        if let Some(place) = self.lines.get_mut(self.line_count) {
            *place = line;
            self.line_count += 1;
        }
    }

    /// Calls the BIOS.
    pub fn bios(&mut self, number: u8, regs: &mut Regs) {
        regs.flags = INTERRUPTS_ON;
        self.m.call_interrupt(number, regs);
    }

    /// Looks at a byte of scratch memory.
    pub fn scratch(&mut self, offset: u16) -> u8 {
        self.m.read8(FarPtr::new(SCRATCH, offset))
    }

    /// The time, which goes on while interrupts are on. It never goes back: between the end of a count and its interrupt
    /// the clock would.
    pub fn now(&mut self) -> u32 {
        let now = Clock::now(self.m);
        if (now.wrapping_sub(self.last) as i32) > 0 {
            self.last = now;
        }
        self.last
    }
}

/// IF, and the bit that is always set.
const INTERRUPTS_ON: u16 = 0x0202;

/// A test by its name.
type Entry<M> = (&'static str, fn(&mut Test<'_, M>) -> Outcome);

/// All tests, in order: first those that everything else counts on.
const fn tests<M: Machine>() -> [Entry<M>; 25] {
    [
        ("memory map", memory::map),
        ("memory", memory::pattern),
        ("block move", memory::block_move),
        ("processor", cpu::processor),
        ("A20 line", cpu::a20),
        ("8259 PIC", isa::pic),
        ("8254 PIT", timer::pit),
        ("MC146818 RTC", rtc::rtc),
        ("CMOS memory", rtc::cmos),
        ("8237 DMA", isa::dma),
        ("8042, keyboard", ps2::keyboard),
        ("PS/2 mouse", ps2::mouse),
        ("serial ports", serial::ports),
        ("PCI", pci::functions),
        ("PCI interrupts", pir::routing),
        ("IDE disk", ide::disk),
        ("CD-ROM", ide::cdrom),
        ("ACPI tables", acpi::tables),
        ("ACPI PM timer", acpi::pm_timer),
        ("SMBIOS", smbios::tables),
        ("fw_cfg", fw_cfg::directory),
        ("VGA text", vga::text),
        ("VGA mode 13h", vga::pixels),
        ("VBE", vga::vbe),
        ("ACPI power-off", acpi::power_off_known),
    ]
}

/// Runs all tests and switches the machine off.
pub fn run<M: Machine>(m: &mut M, parameters: &[u8], drive: u8) {
    Clock::start(m);
    let mut console = Console::new(m);
    let mut test = Test::new(m, Expect::from_parameters(parameters), drive);
    console.line(test.m, b"pcvm self-test", None);
    let begin = test.now();
    let (mut passed, mut failed) = (0, 0);
    for (name, run) in tests::<M>() {
        test.note.clear();
        test.line_count = 0;
        let start = test.now();
        let outcome = run(&mut test);
        let took = Clock::tenths(test.now().wrapping_sub(start));
        match outcome {
            Ok(()) => passed += 1,
            Err(Stop::Fail) => failed += 1,
            Err(Stop::Absent) => {}
        }
        console.result(test.m, name, outcome, took, test.note.bytes());
        for line in test.lines.iter().take(test.line_count) {
            console.line(test.m, line.bytes(), None);
        }
    }
    let took = Clock::tenths(test.now().wrapping_sub(begin));
    console.summary(test.m, passed, failed, took);
    acpi::power_off(&mut test);
    console.line(test.m, b"The machine does not switch itself off.", None);
    loop {
        test.m.wait_for_interrupt();
    }
}
