//! Self-test: a boot disk that tests each device of the PC through BIOS calls, port I/O and memory.
//!
//! It prints one line for each test on the screen and on COM1, writes the results to the debug port (402h), and powers
//! the machine off by ACPI. It restores the device state that it changes.
//!
//! The host may patch into the image what the machine should have ([`Expect`]). Without that, it runs on any PC.

#![cfg_attr(rom, no_std)]
#![forbid(unsafe_code)]

/// [`Test::check`] with a condition that borrows the machine: evaluates it first.
macro_rules! check {
    ($t:expr, $holds:expr, $why:expr $(,)?) => {{
        let holds = $holds;
        $t.check(holds, $why)
    }};
}

/// [`Test::check_equal`] with values that borrow the machine: evaluates them first.
macro_rules! check_equal {
    ($t:expr, $what:expr, $got:expr, $wanted:expr $(,)?) => {{
        let (got, wanted): (u32, u32) = ($got, $wanted);
        $t.check_equal($what, got, wanted)
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

/// Reason for which a test ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPassed {
    /// The device is absent, and [`Expect`] does not require it.
    Absent,
    /// The device does not work as specified. [`Test::note`] has the reason.
    Fail,
}

/// Result of a test.
pub type Outcome = Result<(), NotPassed>;

/// Findings of tests for later tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings {
    /// Port of PM1a_CNT, 0 if unknown.
    pub pm1a_control: u16,
    /// Port of the ACPI PM timer, 0 if unknown.
    pub pm_timer: u16,
    /// SLP_TYP of S5. Bit 7: the value is known.
    pub sleep_type: u8,
    /// Port of the IDE controller's bus master registers, 0 if there are none.
    pub bus_master: u16,
}

/// Context of a test.
pub struct Test<'a, M> {
    /// The machine.
    pub m: &'a mut M,
    /// What the machine should have.
    pub expect: Expect,
    /// Findings of earlier tests.
    pub findings: Findings,
    /// BIOS drive number of the boot disk.
    pub drive: u8,
    /// What the test has seen, or why it failed.
    pub note: Text<50>,
    /// Further lines of output.
    pub lines: [Text<70>; 16],
    /// Number of these lines.
    pub line_count: usize,
    last: u32,
}

/// Segment of 64 KiB of scratch memory, which does not cross an ISA DMA page.
pub const SCRATCH: u16 = 0x2000;
/// Linear address of scratch memory.
pub const SCRATCH_LINEAR: u32 = 0x2_0000;

impl<'a, M: Machine> Test<'a, M> {
    /// A context without findings.
    pub fn new(m: &'a mut M, expect: Expect, drive: u8) -> Self {
        let last = Clock::now(m);
        Self {
            last,
            m,
            expect,
            findings: Findings::default(),
            drive,
            note: Text::new(),
            lines: [Text::new(); 16],
            line_count: 0,
        }
    }

    /// Fails the test with `why` unless `holds`.
    pub fn check(&mut self, holds: bool, why: &str) -> Outcome {
        if holds { Ok(()) } else { self.fail(why) }
    }

    /// Fails the test with `why`.
    pub fn fail(&mut self, why: &str) -> Outcome {
        self.note.clear();
        self.note.put(why);
        Err(NotPassed::Fail)
    }

    /// Fails the test with both values unless they are equal.
    pub fn check_equal(&mut self, what: &str, got: u32, wanted: u32) -> Outcome {
        if got == wanted {
            return Ok(());
        }
        let _ = self.fail(what);
        self.note.put(" ").hex(got, 4).put(", not ").hex(wanted, 4);
        Err(NotPassed::Fail)
    }

    /// Adds a line of output below the test's own.
    pub fn line(&mut self, line: Text<70>) {
        if let Some(free) = self.lines.get_mut(self.line_count) {
            *free = line;
            self.line_count += 1;
        }
    }

    /// Calls BIOS interrupt `number`.
    pub fn bios(&mut self, number: u8, regs: &mut Regs) {
        regs.flags = INTERRUPTS_ON;
        self.m.call_interrupt(number, regs);
    }

    /// Reads a byte of scratch memory.
    pub fn scratch(&mut self, offset: u16) -> u8 {
        self.m.read8(FarPtr::new(SCRATCH, offset))
    }

    /// The time in PIT clocks. Interrupts must be enabled. Monotonic, which `Clock::now` is not: the counter restarts
    /// before the timer interrupt increments the tick count.
    pub fn now(&mut self) -> u32 {
        let now = Clock::now(self.m);
        if (now.wrapping_sub(self.last) as i32) > 0 {
            self.last = now;
        }
        self.last
    }
}

/// FLAGS with IF set; bit 1 is always set.
const INTERRUPTS_ON: u16 = 0x0202;

/// Name and function of a test.
type Entry<M> = (&'static str, fn(&mut Test<'_, M>) -> Outcome);

/// All tests, in order: those on whose devices other tests depend come first.
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

/// Runs all tests and powers the machine off.
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
            Err(NotPassed::Fail) => failed += 1,
            Err(NotPassed::Absent) => {}
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
