//! Tests of IDE disks and CD-ROM drives (ATA/ATAPI-4, Programming Interface for Bus Master IDE Controller 1.0).

use crate::clock::Deadline;
use crate::expect::Drive;
use crate::{NotPassed, Outcome, SCRATCH, SCRATCH_LINEAR, Test, pci};
use pcvm_firmware_rt::FarPtr;
use pcvm_guest::{Machine, irq_vector, regs};

/// Command block and control block ports of the two channels.
const CHANNELS: [(u16, u16); 2] = [(0x1f0, 0x3f6), (0x170, 0x376)];
const BUSY: u8 = 0x80;
const DATA_REQUEST: u8 = 0x08;
const ERROR: u8 = 0x01;
const NO_INTERRUPTS: u8 = 0x02;
const IDENTIFY: u8 = 0xec;
const IDENTIFY_PACKET: u8 = 0xa1;
const READ_SECTORS: u8 = 0x20;
const READ_DMA: u8 = 0xc8;
const PACKET: u8 = 0xa0;
const PIC_1_MASK: u16 = 0x21;
const PIC_2_MASK: u16 = 0xa1;

/// Offset in scratch memory of data read by PIO.
const BY_PORT: u16 = 0x0000;
/// Offset of data read by bus master DMA.
const BY_DMA: u16 = 0x2000;
/// Offset of data read by the BIOS.
const BY_BIOS: u16 = 0x4000;
/// Offset of the PRD table.
const PRD: u16 = 0x7000;
const SECTORS: u8 = 8;
const BYTES: u16 = SECTORS as u16 * 512;

fn wait<M: Machine>(t: &mut Test<'_, M>, base: u16, what: &str) -> Result<u8, NotPassed> {
    let mut deadline = Deadline::after(t.m, 900);
    loop {
        let status = t.m.inb(base + 7);
        if status & BUSY == 0 {
            return Ok(status);
        }
        if deadline.passed(t.m) {
            t.fail(what)?;
        }
    }
}

/// Selects drive `n` (0 to 3) and returns its channel's command block port, or `None` if the channel has no drive.
fn select<M: Machine>(t: &mut Test<'_, M>, n: u16) -> Option<u16> {
    let (base, _) = *CHANNELS.get(usize::from(n / 2))?;
    t.m.outb(base + 6, 0xa0 | ((n & 1) as u8) << 4);
    let status = t.m.inb(base + 7);
    if status == 0xff || status == 0x7f {
        return None;
    }
    wait(t, base, "").ok()?;
    Some(base)
}

/// Reads IDENTIFY data of drive `n` to [`BY_PORT`], 256 words. `None` if the drive does not accept the command.
fn identify<M: Machine>(t: &mut Test<'_, M>, n: u16, command: u8) -> Option<u16> {
    let base = select(t, n)?;
    t.m.outb(base + 7, command);
    if t.m.inb(base + 7) == 0 {
        return None;
    }
    let status = wait(t, base, "").ok()?;
    if status & ERROR != 0 || status & DATA_REQUEST == 0 {
        return None;
    }
    t.m.insw(base, FarPtr::new(SCRATCH, BY_PORT), 256);
    Some(base)
}

fn same<M: Machine>(t: &mut Test<'_, M>, one: u16, other: u16, bytes: u16) -> bool {
    (0..bytes / 4)
        .all(|n| t.m.read32(FarPtr::new(SCRATCH, one + n * 4)) == t.m.read32(FarPtr::new(SCRATCH, other + n * 4)))
}

/// Runs `inner` with the drives' interrupts disabled (nIEN).
fn with_drive_irqs_disabled<M: Machine>(t: &mut Test<'_, M>, inner: fn(&mut Test<'_, M>) -> Outcome) -> Outcome {
    for (_, control) in CHANNELS {
        t.m.outb(control, NO_INTERRUPTS);
    }
    let outcome = inner(t);
    for (base, control) in CHANNELS {
        t.m.inb(base + 7);
        t.m.outb(control, 0);
    }
    outcome
}

/// Appends the model number of IDENTIFY data (words 27 to 46) to the note. The high byte of a word is the first letter.
fn model<M: Machine>(t: &mut Test<'_, M>) {
    let mut name = [0_u8; 40];
    let mut end = 0;
    for (n, letter) in name.iter_mut().enumerate() {
        *letter = t.scratch(BY_PORT + 54 + (n as u16 ^ 1));
        if *letter != b' ' && *letter != 0 {
            end = n + 1;
        }
    }
    t.note.put_bytes(name.get(..end.min(24)).unwrap_or_default());
}

/// The drives are the expected ones, and drive 0 reads the same by PIO, by bus master DMA and by INT 13h.
pub fn disk<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let first = with_drive_irqs_disabled(t, |t| {
        for n in (0..4_u16).rev() {
            let is_disk = identify(t, n, IDENTIFY).is_some();
            let packet = !is_disk && identify(t, n, IDENTIFY_PACKET).is_some();
            let ok = match t.expect.drives.get(usize::from(n)).copied().unwrap_or_default() {
                Drive::Unknown => true,
                Drive::None => !is_disk && !packet,
                Drive::Disk => is_disk,
                Drive::Cdrom => packet,
            };
            if !ok {
                let _ = t.fail("another drive than expected: hd");
                t.note.byte(b'a' + n as u8);
                return Err(NotPassed::Fail);
            }
        }
        let Some(base) = identify(t, 0, IDENTIFY) else { return Err(NotPassed::Absent) };
        model(t);
        let sectors = t.m.read32(FarPtr::new(SCRATCH, BY_PORT + 120));
        let note = t.note;
        check!(t, sectors >= u32::from(SECTORS), "IDENTIFY reports too few sectors")?;
        t.note = note;
        t.note.put(", ").decimal(sectors / 2).put(" KiB");

        task(t, base, READ_SECTORS);
        for n in 0..u16::from(SECTORS) {
            let status = wait(t, base, "READ SECTORS does not end")?;
            check!(t, status & (ERROR | DATA_REQUEST) == DATA_REQUEST, "READ SECTORS fails")?;
            t.m.insw(base, FarPtr::new(SCRATCH, BY_PORT + n * 512), 256);
        }
        t.note = note;
        t.note.put(", ").decimal(sectors / 2).put(" KiB");
        Ok(())
    });
    first?;
    let note = t.note;

    if t.findings.bus_master != 0 {
        dma(t)?;
        let equal = same(t, BY_PORT, BY_DMA, BYTES);
        check!(t, equal, "DMA reads other data than PIO")?;
    }
    let mut regs = regs! {
    eax: 0x0200 | u32::from(SECTORS),
    ebx: BY_BIOS.into(),
    ecx: 1,
    edx: 0x80,
    es: SCRATCH };
    t.bios(0x13, &mut regs);
    check!(t, !regs.cf() && regs.ah() == 0, "INT 13h does not read drive 80h")?;
    if t.drive == 0x80 {
        let equal = same(t, BY_PORT, BY_BIOS, BYTES);
        check!(t, equal, "INT 13h reads other data than PIO")?;
    }
    t.note = note;
    t.note.put(if t.findings.bus_master != 0 { "; PIO = DMA = INT 13h" } else { "; PIO = INT 13h" });
    Ok(())
}

fn task<M: Machine>(t: &mut Test<'_, M>, base: u16, command: u8) {
    for (register, value) in [(6, 0xe0), (2, SECTORS), (3, 0), (4, 0), (5, 0), (7, command)] {
        t.m.outb(base + register, value);
    }
}

/// READ DMA from drive 0 by the bus master, which must raise IRQ 14 once.
fn dma<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    let port = t.findings.bus_master;
    let (base, _) = CHANNELS[0];
    let mut from = 0;
    while let Some(function) = pci::next(t.m, from, 0) {
        from = u32::from(function) + 1;
        if pci::read(t.m, function, 8) >> 16 == 0x0101 {
            let command = pci::read(t.m, function, 4) & 0xffff;
            pci::write(t.m, function, 4, command | 4);
        }
    }
    t.m.fill(FarPtr::new(SCRATCH, BY_DMA), 0xe5, BYTES);
    t.m.write32(FarPtr::new(SCRATCH, PRD), SCRATCH_LINEAR + u32::from(BY_DMA));
    t.m.write32(FarPtr::new(SCRATCH, PRD + 4), 0x8000_0000 | u32::from(BYTES));
    let old = t.m.count_irq(14);
    let masks = (t.m.inb(PIC_1_MASK), t.m.inb(PIC_2_MASK));
    t.m.outb(PIC_1_MASK, masks.0 & !4);
    t.m.outb(PIC_2_MASK, masks.1 & !0x40);
    let before = t.m.irqs(14);
    // Stop the bus master, clear its status, set the direction to memory.
    t.m.outb(port, 0);
    t.m.outb(port + 2, 0x06);
    t.m.outl(port + 4, SCRATCH_LINEAR + u32::from(PRD));
    t.m.outb(port, 0x08);
    task(t, base, READ_DMA);
    t.m.outb(port, 0x09);
    let mut deadline = Deadline::after(t.m, 900);
    while t.m.irqs(14) == before && !deadline.passed(t.m) {}
    let interrupts = t.m.irqs(14).wrapping_sub(before);
    let status = t.m.inb(port + 2);
    t.m.outb(port, 0);
    t.m.outb(port + 2, 0x06);
    let drive = wait(t, base, "READ DMA does not end");
    t.m.outb(PIC_1_MASK, masks.0);
    t.m.outb(PIC_2_MASK, masks.1);
    t.m.write32(FarPtr::vector(irq_vector(14)), old);
    check!(t, drive? & ERROR == 0, "READ DMA fails")?;
    check_equal!(t, "interrupts on IRQ 14:", interrupts.into(), 1)?;
    check_equal!(t, "bus-master status:", u32::from(status & 0x07), 0x04)
}

/// The first CD-ROM drive reads block 0 by PIO. If [`Expect`](crate::Expect) names a CD-ROM drive, its disc must be a
/// copy of the self-test's image.
pub fn cdrom<M: Machine>(t: &mut Test<'_, M>) -> Outcome {
    with_drive_irqs_disabled(t, |t| {
        let Some(n) = (0..4).find(|n| identify(t, *n, IDENTIFY_PACKET).is_some()) else {
            let wanted = t.expect.drives.contains(&Drive::Cdrom);
            return if wanted { t.fail("there is no CD-ROM drive") } else { Err(NotPassed::Absent) };
        };
        model(t);
        let note = t.note;
        // The first commands may report UNIT ATTENTION.
        let ready = (0..4).any(|_| packet(t, n, [0; 12], 0).is_ok());
        if !ready && !t.expect.drives.contains(&Drive::Cdrom) {
            t.note = note;
            t.note.put(", no disc");
            return Ok(());
        }
        check!(t, ready, "TEST UNIT READY fails")?;
        let bytes = packet(t, n, [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], BY_BIOS)?;
        check_equal!(t, "READ CAPACITY gives bytes", bytes.into(), 8)?;
        let last = t.m.read32(FarPtr::new(SCRATCH, BY_BIOS)).swap_bytes();
        check_equal!(t, "bytes a block:", t.m.read32(FarPtr::new(SCRATCH, BY_BIOS + 4)).swap_bytes(), 2048)?;
        let bytes = packet(t, n, [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], BY_DMA)?;
        check_equal!(t, "READ(10) gives bytes", bytes.into(), 2048)?;
        if t.expect.drives.contains(&Drive::Cdrom) {
            // The disc is a copy of the boot disk, whose first sector is still at 7C00h.
            let same = (0..0x40).all(|at| t.m.read8(FarPtr::new(0x7c0, at)) == t.scratch(BY_DMA + at));
            check!(t, same, "block 0 is not what is on the disc")?;
        }
        t.note = note;
        t.note.put(", ").decimal((last + 1) * 2).put(" KiB disc read");
        Ok(())
    })
}

/// Sends a command packet and reads its data to offset `to`. Returns the number of bytes.
fn packet<M: Machine>(t: &mut Test<'_, M>, n: u16, command: [u8; 12], to: u16) -> Result<u16, NotPassed> {
    let Some(base) = select(t, n) else { return t.fail("the drive is gone").map(|()| 0) };
    for (register, value) in [(1, 0), (4, 0x00), (5, 0x08), (7, PACKET)] {
        t.m.outb(base + register, value);
    }
    let status = wait(t, base, "PACKET does not end")?;
    check!(t, status & (ERROR | DATA_REQUEST) == DATA_REQUEST, "PACKET is refused")?;
    for word in command.chunks_exact(2) {
        t.m.outw(base, u16::from_le_bytes([word[0], word[1]]));
    }
    let mut got = 0;
    for _ in 0..16 {
        let status = wait(t, base, "a packet command does not end")?;
        check!(t, status & ERROR == 0, "a packet command fails")?;
        if status & DATA_REQUEST == 0 {
            return Ok(got);
        }
        let bytes = u16::from_le_bytes([t.m.inb(base + 4), t.m.inb(base + 5)]).min(0x1000 - got);
        t.m.insw(base, FarPtr::new(SCRATCH, to + got), bytes / 2);
        got += bytes;
    }
    t.fail("a packet command gives too much").map(|()| 0)
}
