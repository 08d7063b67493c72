use super::media::fake_drives;
use super::*;
use crate::State as BiosState;
use pcvm_firmware_rt::fake::{Bus, Fake};
use pcvm_firmware_rt::{Flags, Handoff, OptionRom};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// CMOS RAM, a serial port at 3F8h and the debug console.
#[derive(Default)]
struct Ports {
    cmos: Vec<u8>,
    index: u8,
    typed: VecDeque<u8>,
    sent: Vec<u8>,
    debug: Vec<u8>,
    divisor_access: bool,
    /// The host bridge's configuration writes: address and value.
    config: Vec<(u32, u32)>,
    address: u32,
}

impl Bus for Ports {
    fn read(&mut self, port: u16, size: u8) -> u32 {
        match port {
            0x71 => self.cmos[usize::from(self.index)].into(),
            0x3fd => 0x20 | u32::from(!self.typed.is_empty()),
            0x3f8 => self.typed.pop_front().unwrap_or(0).into(),
            0xcfc => self.config.iter().rev().find(|(at, _)| *at == self.address).map_or(u32::MAX, |(_, value)| *value),
            // Device 4 is a bridge with secondary bus 5.
            0xcfd if size == 1 && self.address == 0x8000_2018 => 5,
            _ => u32::MAX,
        }
    }

    fn write(&mut self, port: u16, _size: u8, value: u32) {
        match port {
            0x70 => self.index = value as u8 & 0x7f,
            0x3fb => self.divisor_access = value & 0x80 != 0,
            0x3f8 if !self.divisor_access => self.sent.push(value as u8),
            0x402 => self.debug.push(value as u8),
            0xcf8 => self.address = value,
            0xcfc => self.config.push((self.address, value)),
            _ => {}
        }
    }
}

type Machine = Fake<Ports>;

fn machine() -> Machine {
    let mut machine = Fake::new(Ports { cmos: vec![0; 128], ..Ports::default() });
    machine.set(bda::COM1, 0x3f8);
    machine.set(bda::KEYBOARD_START, 0x1e);
    machine.set(bda::KEYBOARD_END, 0x3e);
    machine.set(bda::KEYBOARD_HEAD, 0x1e);
    machine.set(bda::KEYBOARD_TAIL, 0x1e);
    // The vector of the BIOS's own INT 19h.
    machine.write32(FarPtr::vector(0x19), 0xf000_e6f2);
    machine
}

/// Presses these keys one after another; each INT 16h call advances the tick count.
fn press(machine: &mut Machine, keys: &[u16]) {
    let mut keys: VecDeque<u16> = keys.iter().copied().collect();
    machine.on_interrupt = Some(Box::new(move |memory, number, regs| {
        if number != 0x16 {
            return;
        }
        memory[0x46c] = memory[0x46c].wrapping_add(1);
        match regs.ah() {
            0x11 => regs.set_flag(Flags::ZF, keys.is_empty()),
            _ => regs.set_ax(keys.pop_front().expect("a key is only read when there is one")),
        }
    }));
}

const NO_KEY: [u16; 0] = [];
const ESCAPE: u16 = 0x011b;
const F12: u16 = 0x8600;
const ENTER: u16 = 0x1c0d;

/// Boots, starting with the option ROMs; a failed boot resets the machine after 1 s. Returns the console output, and
/// the offset and drive number of the code that was entered.
fn boot_with(machine: &mut Machine, handoff: &Handoff) -> (String, Option<(u16, u8)>) {
    let state = BiosState::new();
    boot_in(machine, handoff, &state)
}

fn boot_in(machine: &mut Machine, handoff: &Handoff, state: &BiosState) -> (String, Option<(u16, u8)>) {
    let bios = &mut Bios { hw: machine, state, handoff };
    console::init(bios);
    init_roms(bios);
    run(bios);
    let text = String::from_utf8(std::mem::take(&mut machine.bus.debug)).unwrap();
    (text, machine.entered.map(|(at, regs)| (at.offset, regs.dl())))
}

fn handoff() -> Handoff {
    let mut handoff = Handoff::EMPTY;
    handoff.fail_wait = 1000;
    handoff
}

fn boot_sector(mark: u8) -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[..3].copy_from_slice(&[0xeb, 0xfe, mark]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Puts a boot order at 8000h.
fn ordered(machine: &mut Machine, order: &str) -> Handoff {
    machine.memory[0x8000..0x8000 + order.len()].copy_from_slice(order.as_bytes());
    let mut handoff = handoff();
    (handoff.boot_order, handoff.boot_order_size) = (0x8000, order.len() as u16);
    handoff
}

#[test]
fn a_boot_sector_starts_with_the_drive_in_dl_and_zero_in_the_segment_registers() {
    fake_drives::attach(&[(DriveKind::Hard, boot_sector(7))]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    let (output, entered) = boot_with(&mut machine, &handoff());
    assert_eq!(entered, Some((0x7c00, 0x80)));
    assert_eq!(machine.read8(FarPtr::new(0, 0x7c02)), 7);
    let (at, regs) = machine.entered.unwrap();
    assert_eq!((at.segment, regs), (0, Regs { eax: 0xaa55, edx: 0x80, ..Regs::default() }));
    assert!(output.ends_with("Booting from hard disk 1 (FAKE, 0 MiB)\n"), "{output}");
    assert_eq!(machine.bus.sent, output.replace('\n', "\r\n").as_bytes(), "the serial port shows the same");
}

#[test]
fn a_device_that_fails_is_reported_and_the_next_one_is_booted() {
    let unsigned = boot_sector(1)[..510].iter().copied().chain([0, 0]).collect::<Vec<u8>>();
    let mut empty = vec![0; 512];
    empty[510..].copy_from_slice(&[0x55, 0xaa]);
    fake_drives::attach(&[
        (DriveKind::Hard, unsigned.clone()),
        (DriveKind::Hard, empty),
        (DriveKind::Hard, vec![]),
        (DriveKind::Cdrom, vec![]),
        (DriveKind::Floppy, unsigned),
    ]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    let (output, entered) = boot_with(&mut machine, &handoff());
    assert_eq!(entered, Some((0x7c00, 0)), "a floppy needs no signature");
    for line in [
        "hard disk 1 (FAKE, 0 MiB)\n  failed: no boot signature (55AAh)\n",
        "hard disk 2 (FAKE, 0 MiB)\n  failed: the boot sector is empty\n",
        "hard disk 3 (FAKE, 0 MiB)\n  failed: cannot be read: no medium\n",
        "CD-ROM 1 (FAKE)\n  failed: no disc: no medium\n",
        "floppy 1\n",
    ] {
        assert!(output.contains(line), "no {line:?} in {output}");
    }
}

#[test]
fn when_no_device_boots_all_reasons_are_shown_and_the_machine_is_reset() {
    fake_drives::attach(&[(DriveKind::Cdrom, vec![]), (DriveKind::Hard, vec![0; 512])]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    let (output, entered) = boot_with(&mut machine, &handoff());
    assert_eq!((entered, machine.resets), (None, 1));
    let summary = output.split("No bootable device.\n").nth(1).unwrap();
    assert_eq!(
        summary,
        "  hard disk 1 (FAKE, 0 MiB): no boot signature (55AAh)\n  CD-ROM 1 (FAKE): no disc: no medium\n\
         The machine is reset in 1 s. Press F12 or Esc for the boot menu, any other key to try again.\n"
    );
    assert!((18..=20).contains(&machine.halts), "halts in 1 s: {}", machine.halts);
}

#[test]
fn a_machine_without_drives_and_roms_reports_that_it_has_none() {
    fake_drives::attach(&[]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    let (output, _) = boot_with(&mut machine, &handoff());
    assert!(output.contains("There is no drive and nothing else to boot from."), "{output}");
}

#[test]
fn a_key_press_tries_all_devices_again() {
    fake_drives::attach(&[(DriveKind::Hard, vec![0; 512])]);
    let mut machine = machine();
    press(&mut machine, &[ENTER, ENTER]);
    let (output, _) = boot_with(&mut machine, &handoff());
    assert_eq!(output.matches("Booting from").count(), 3);
}

#[test]
fn the_boot_order_is_that_of_the_file_then_of_cmos_then_the_default() {
    let drives = [DriveKind::Hard, DriveKind::Cdrom, DriveKind::Floppy, DriveKind::Hard].map(|kind| (kind, vec![]));
    let disk1 = "/pci@i0cf8/ide@1,1/drive@0/disk@0\n";
    let cd = "/pci@i0cf8/ide@1,1/drive@0/disk@1\n";
    let disk2 = "/pci@i0cf8/ide@1,1/drive@1/disk@1\n";
    let floppy = "/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n";
    let long = "/".repeat(4000);
    for (order, cmos, wanted) in [
        (String::new(), [0, 0], "hd1 hd2 cd1 fd1"),
        (String::new(), [0x30, 0x12], "hd1 hd2 fd1 cd1"),
        (String::new(), [0x00, 0x03], "cd1 hd1 hd2 fd1"),
        (format!("{cd}{disk1}\0"), [0, 0], "cd1 hd1 hd2 fd1"),
        (format!("{disk2}{floppy}"), [0, 0x03], "hd2 fd1 cd1 hd1"),
        (format!("{disk2}{floppy}HALT\n"), [0, 0x03], "hd2 fd1"),
        (format!("{disk2}HALT"), [0, 0x03], "hd2"),
        (format!("{disk2}{disk2}\0{cd}"), [0, 0], "hd2 hd1 cd1 fd1"),
        (format!("{long}\nnonsense\n/pci@i0cf8/ide@1,1/drive@7/disk@7\n{cd}"), [0, 0], "cd1 hd1 hd2 fd1"),
    ] {
        fake_drives::attach(&drives);
        let mut machine = machine();
        press(&mut machine, &NO_KEY);
        (machine.bus.cmos[0x38], machine.bus.cmos[0x3d]) = (cmos[0], cmos[1]);
        let handoff = ordered(&mut machine, &order);
        let (output, _) = boot_with(&mut machine, &handoff);
        let tried: Vec<String> = output
            .lines()
            .filter_map(|line| line.strip_prefix("Booting from "))
            .map(|line| line.split(" (").next().unwrap().replace("hard disk ", "hd").replace("CD-ROM ", "cd"))
            .map(|line| line.replace("floppy ", "fd"))
            .collect();
        assert_eq!(tried.join(" "), wanted, "{order:?} {cmos:?}");
    }
}

#[test]
fn the_booted_hard_disk_becomes_80h() {
    fake_drives::attach(&[(DriveKind::Hard, vec![]), (DriveKind::Hard, boot_sector(2))]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    let (_, entered) = boot_with(&mut machine, &handoff());
    assert_eq!(entered, Some((0x7c00, 0x80)));
    let state = BiosState::new();
    let bios = Bios { hw: &mut machine, state: &state, handoff: &Handoff::EMPTY };
    assert_eq!([0, 1].map(|index| media::drive(&bios, index).unwrap().number), [0x81, 0x80]);
}

/// The keys are in the keyboard buffer or the UART before the boot code looks for them.
#[test]
fn f12_or_esc_pressed_during_post_opens_the_menu() {
    let menu = "Boot from:\n  1. hard disk 1 (FAKE, 0 MiB)\n  2. floppy 1\n";
    let cases: [(&[u16], &[u8], bool); 8] = [
        (&[], b"", false),
        (&[ENTER], b"", false),
        (&[F12], b"", true),
        (&[ENTER, ESCAPE], b"", true),
        (&[], b"\x1b", true),
        (&[], b"\x1b[24~", true),
        (&[], b"\x1b[A", false),
        (&[], b"x", false),
    ];
    for (typed, sent, opens) in cases {
        fake_drives::attach(&[(DriveKind::Hard, boot_sector(1)), (DriveKind::Floppy, boot_sector(2))]);
        let mut machine = machine();
        press(&mut machine, &[u16::from(b'x'), u16::from(b'9'), u16::from(b'2')]);
        for (n, &key) in typed.iter().enumerate() {
            machine.write16(FarPtr::new(0x40, 0x1e + n as u16 * 2), key);
            machine.set(bda::KEYBOARD_TAIL, 0x20 + n as u16 * 2);
        }
        machine.bus.typed = sent.iter().copied().collect();
        let (output, entered) = boot_with(&mut machine, &handoff());
        assert_eq!(output.contains(menu), opens, "{typed:x?} {sent:?}: {output}");
        assert_eq!(entered, Some((0x7c00, if opens { 0 } else { 0x80 })));
        if typed == [ENTER] {
            assert_ne!(
                machine.get(bda::KEYBOARD_HEAD),
                machine.get(bda::KEYBOARD_TAIL),
                "other keys stay in the buffer"
            );
        }
    }
}

#[test]
fn the_menu_works_over_the_serial_port_alone() {
    fake_drives::attach(&[(DriveKind::Hard, boot_sector(1)), (DriveKind::Floppy, boot_sector(2))]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    machine.bus.typed = b"\x1b[24~2".iter().copied().collect();
    let (_, entered) = boot_with(&mut machine, &handoff());
    assert_eq!(entered, Some((0x7c00, 0)));
}

#[test]
fn a_configured_menu_wait_accepts_f12_and_esc() {
    for (menu, menu_wait, key, entered) in
        [(1, 0, F12, 0), (0, 500, F12, 0), (0, 500, ENTER, 0x80), (0, 0, F12, 0x80), (1, 0, ESCAPE, 0)]
    {
        fake_drives::attach(&[(DriveKind::Hard, boot_sector(1)), (DriveKind::Floppy, boot_sector(2))]);
        let mut machine = machine();
        press(&mut machine, &[key, u16::from(b'2')]);
        let mut handoff = handoff();
        (handoff.menu, handoff.menu_wait) = (menu, menu_wait);
        let (_, got) = boot_with(&mut machine, &handoff);
        assert_eq!(got, Some((0x7c00, entered)), "{menu} {menu_wait} {key:x}");
    }
}

#[test]
fn int18_boots_the_next_device_and_int19_the_first() {
    fake_drives::attach(&[(DriveKind::Hard, boot_sector(1)), (DriveKind::Floppy, boot_sector(2))]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    let (state, handoff) = (BiosState::new(), handoff());
    assert_eq!(boot_in(&mut machine, &handoff, &state).1, Some((0x7c00, 0x80)));
    let mut call = |interrupt: fn(&mut Bios<Machine>, &mut Regs)| {
        interrupt(&mut Bios { hw: &mut machine, state: &state, handoff: &handoff }, &mut Regs::default());
        let vector = machine.booted_again.take().unwrap();
        again(&mut Bios { hw: &mut machine, state: &state, handoff: &handoff }, vector);
        let output = String::from_utf8(std::mem::take(&mut machine.bus.debug)).unwrap();
        (output, machine.entered.take().map(|(_, regs)| regs.dl()))
    };
    let (output, entered) = call(int18);
    assert_eq!(output, "  failed: gave up (INT 18h)\nBooting from floppy 1\n");
    assert_eq!(entered, Some(0));
    assert_eq!(call(int19).1, Some(0x80));
    assert_eq!(call(int18).1, Some(0));
    let (output, entered) = call(int18);
    assert_eq!(entered, None);
    assert!(output.contains("  floppy 1: gave up (INT 18h)\n"), "{output}");
}

/// Puts an option ROM into memory; [`record_calls`] stands in for its code.
fn put_rom(machine: &mut Machine, segment: u16, pnp: Option<(u16, u16)>) {
    machine.write16(FarPtr::new(segment, 0), 0xaa55);
    machine.write8(FarPtr::new(segment, 2), 4);
    if let Some((connection, bootstrap)) = pnp {
        machine.write16(FarPtr::new(segment, 0x1a), 0x40);
        let mut header = [0u8; 32];
        header[..6].copy_from_slice(b"$PnP\x01\x02");
        header[0x10] = 0x80;
        header[0x16..0x18].copy_from_slice(&connection.to_le_bytes());
        header[0x1a..0x1c].copy_from_slice(&bootstrap.to_le_bytes());
        header[9] = 0u8.wrapping_sub(header.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
        machine.copy_out(&header, FarPtr::new(segment, 0x40));
        machine.copy_out(b"Network card\0", FarPtr::new(segment, 0x80));
    }
}

fn with_roms(roms: &[OptionRom]) -> Handoff {
    let mut handoff = handoff();
    handoff.rom_count = roms.len() as u16;
    handoff.roms[..roms.len()].copy_from_slice(roms);
    handoff
}

type Calls = Rc<RefCell<Vec<(FarPtr, Regs)>>>;

/// Records far calls and runs `then` for each.
fn record_calls(machine: &mut Machine, mut then: impl FnMut(&mut Vec<u8>, FarPtr) + 'static) -> Calls {
    let calls = Calls::default();
    let record = calls.clone();
    machine.on_call = Some(Box::new(move |memory, at, regs| {
        record.borrow_mut().push((at, *regs));
        then(memory, at);
    }));
    calls
}

#[test]
fn option_roms_are_initialised_and_their_bootstrap_entries_called_in_boot_order() {
    fake_drives::attach(&[(DriveKind::Hard, vec![])]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    put_rom(&mut machine, 0xc000, None);
    put_rom(&mut machine, 0xc800, Some((0, 0x123)));
    let calls = record_calls(&mut machine, |_, _| {});
    let roms = [OptionRom { segment: 0xc000, function: 0x10 }, OptionRom { segment: 0xc800, function: 0x18 }];
    let ordered = ordered(&mut machine, "/pci@i0cf8/ethernet@3/ethernet-phy@0");
    let mut handoff = with_roms(&roms);
    (handoff.boot_order, handoff.boot_order_size) = (ordered.boot_order, ordered.boot_order_size);
    init_video(&mut Bios { hw: &mut machine, state: &BiosState::new(), handoff: &handoff });
    machine.bus.debug.clear();
    let (output, _) = boot_with(&mut machine, &handoff);
    assert!(
        output.starts_with(
            "Booting from option ROM (Network card)\n  failed: returned without booting\nBooting from hard disk 1"
        ),
        "{output}"
    );
    let calls = calls.borrow();
    let called: Vec<FarPtr> = calls.iter().map(|(at, _)| *at).collect();
    assert_eq!(called, [FarPtr::new(0xc000, 3), FarPtr::new(0xc800, 3), FarPtr::new(0xc800, 0x123)]);
    for ((_, regs), function) in calls.iter().zip([0x10, 0x18]) {
        assert_eq!((regs.ax(), regs.bx(), regs.dx(), regs.es, regs.di()), (function, 0xffff, 0xffff, 0xf000, 0xe020));
    }
}

#[test]
fn a_connection_vector_adds_a_bootable_hard_disk() {
    fake_drives::attach(&[]);
    let mut machine = machine();
    machine.on_interrupt = Some(Box::new(|memory, number, regs| match (number, regs.ah()) {
        (0x13, 2) => {
            assert_eq!((regs.ax(), regs.cx(), regs.dl(), regs.es, regs.bx()), (0x0201, 1, 0x80, 0, 0x7c00));
            memory[0x7c00..0x7e00].copy_from_slice(&boot_sector(3));
            regs.set_cf(false);
        }
        _ => regs.set_flag(Flags::ZF, true),
    }));
    put_rom(&mut machine, 0xc800, Some((0x200, 0)));
    record_calls(&mut machine, |memory, at| {
        if at.offset == 0x200 {
            memory[0x475] += 1;
        }
    });
    let (output, entered) = boot_with(&mut machine, &with_roms(&[OptionRom { segment: 0xc800, function: 0x20 }]));
    assert_eq!(entered, Some((0x7c00, 0x80)));
    assert!(output.contains("hard disk of an option ROM (Network card)"), "{output}");
}

#[test]
fn a_rom_that_hooks_int19_becomes_one_entry_of_the_boot_order() {
    fake_drives::attach(&[(DriveKind::Hard, vec![])]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    put_rom(&mut machine, 0xd000, None);
    record_calls(&mut machine, |memory, _| memory[0x64..0x68].copy_from_slice(&0xd000_0050u32.to_le_bytes()));
    let (output, _) = boot_with(&mut machine, &with_roms(&[OptionRom { segment: 0xd000, function: 0xffff }]));
    assert!(output.contains("hard disk 1 (FAKE, 0 MiB)\n  failed"), "{output}");
    assert!(output.contains("Booting from option ROM\n  failed: returned without booting\n"), "{output}");
    assert_eq!(machine.called.iter().filter(|&&number| number == 0x19).count(), 1);
    assert_eq!(machine.read32(FarPtr::vector(0x19)), 0xf000_e6f2);
}

#[test]
fn damaged_option_roms_are_ignored() {
    fake_drives::attach(&[]);
    type Damage = fn(&mut Machine);
    let damages: [Damage; 5] = [
        |machine| machine.write8(FarPtr::new(0xc800, 0x41), 0),
        |machine| machine.write8(FarPtr::new(0xc800, 0x52), 1),
        |machine| machine.write8(FarPtr::new(0xc800, 0x45), 0),
        |machine| machine.write16(FarPtr::new(0xc800, 0x1a), 0xfff0),
        |machine| machine.write16(FarPtr::new(0xc800, 0), 0),
    ];
    for damage in damages {
        let mut machine = machine();
        press(&mut machine, &NO_KEY);
        put_rom(&mut machine, 0xc800, Some((0, 0x123)));
        damage(&mut machine);
        let (output, _) = boot_with(&mut machine, &with_roms(&[OptionRom { segment: 0xc800, function: 0x18 }]));
        assert!(output.contains("There is no drive and nothing else"), "{output}");
    }
    // A header chain that forms a loop.
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    put_rom(&mut machine, 0xc800, Some((0, 0x123)));
    machine.write16(FarPtr::new(0xc800, 0x46), 0x40);
    machine.write8(FarPtr::new(0xc800, 0x49), machine.memory[0xc8049].wrapping_sub(0x40));
    let (output, _) = boot_with(&mut machine, &with_roms(&[OptionRom { segment: 0xc800, function: 0x18 }]));
    assert_eq!(output.matches("Booting from").count(), roms::ENTRIES);
}

#[test]
fn the_plug_and_play_structure_and_device_nodes_are_well_formed() {
    assert_eq!(structure::STRUCTURE.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    assert_eq!(structure::AT.linear() % 16, 0);
    fake_drives::attach(&[]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    machine.set(bda::EQUIPMENT, 1);
    machine.set(bda::LPT1, 0x378);
    boot_with(&mut machine, &handoff());
    let (largest, count) = (machine.read16(structure::NODES), machine.read8(structure::NODES.add(2)));
    let mut at = structure::NODES.add(3);
    let mut names = Vec::new();
    let mut sizes = Vec::new();
    for n in 0..count {
        let size = machine.read16(at);
        let mut node = vec![0; size.into()];
        machine.copy_in(at, &mut node);
        assert_eq!(node[2], n, "handle");
        let letters = u16::from_be_bytes([node[3], node[4]]);
        let letter = |shift: u16| (b'@' + (letters >> shift & 0x1f) as u8) as char;
        names.push(format!("{}{}{}{:02X}{:02X}", letter(10), letter(5), letter(0), node[5], node[6]));
        // All resources here are small ones: the low three bits of the tag are the length.
        let (mut offset, mut ends) = (12, 0);
        while offset < node.len() {
            ends += u32::from(node[offset] >> 3 == 0x0f);
            offset += 1 + usize::from(node[offset] & 7);
        }
        assert_eq!((offset, ends), (node.len(), 3), "node {n}");
        sizes.push(size);
        at = at.add(size);
    }
    assert_eq!(sizes.iter().max(), Some(&largest));
    assert!(usize::from(at.offset - structure::NODES.offset) <= structure::NODES_SIZE);
    for name in ["PNP0000", "PNP0303", "PNP0F13", "PNP0B00", "PNP0700", "PNP0501", "PNP0400"] {
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name} in {names:?}");
    }
}

#[test]
fn shadow_ram_is_locked_before_the_boot_sector_runs() {
    fake_drives::attach(&[(DriveKind::Hard, boot_sector(1))]);
    let mut machine = machine();
    press(&mut machine, &NO_KEY);
    machine.bus.config = vec![(0x8000_0058, 0x3333_3000), (0x8000_005c, 0x0033_0000)];
    boot_with(&mut machine, &handoff());
    machine.bus.address = 0x8000_0058;
    assert_eq!(machine.bus.read(0xcfc, 4) & 0xf000, 0x1000);
}
