//! Service tests against the RTC's device model, and against ports and memory that the tests fill.

use crate::testbed::{Devices, Machine};
use pcvm_firmware_rt::{E820, FarPtr, Handoff, Hw, Regs, apm};

fn regs(ax: u16, bx: u16, cx: u16, dx: u16) -> Regs {
    let mut regs = Regs::with_ax(ax);
    regs.set_bx(bx);
    regs.set_cx(cx);
    regs.set_dx(dx);
    regs
}

fn word(machine: &Machine, at: usize) -> u16 {
    u16::from_le_bytes([machine.hw.memory[at], machine.hw.memory[at + 1]])
}

#[test]
fn the_data_areas_have_their_power_on_values() {
    let mut devices = Devices::new();
    // A serial port at 2F8h, a printer at 378h.
    devices.ports.extend([(0x2f9, 0), (0x2fa, 0x02), (0x378, 0)]);
    let mut machine = Machine::with(devices, Handoff::EMPTY);
    for (at, value) in [
        (0x00, 0x2f8),
        (0x02, 0),
        (0x08, 0x378),
        (0x0a, 0),
        (0x0e, 0x9fc0),
        (0x13, 639),
        (0x1a, 0x1e),
        (0x1c, 0x1e),
        (0x80, 0x1e),
        (0x82, 0x3e),
    ] {
        assert_eq!(word(&machine, 0x400 + at), value, "40:{at:02x}");
    }
    assert_eq!(machine.hw.memory[0x9_fc00], 1, "KiB of the extended BIOS data area");
    // Coprocessor, pointing device, 80x25, one serial and one parallel port.
    assert_eq!(machine.ax(0x11, 0).ax(), 0x4226);
    assert_eq!(machine.ax(0x12, 0).ax(), 639);
    assert_eq!(machine.hw.memory[0x400 + 0x7c], 1);
    assert_eq!(machine.hw.memory[0x400 + 0x78], 20);
}

#[test]
fn the_warm_boot_flag_survives_initialisation() {
    let mut machine = Machine::new();
    machine.hw.memory[0x472] = 0x34;
    machine.hw.memory[0x473] = 0x12;
    crate::services::init(&mut machine.bios());
    assert_eq!(word(&machine, 0x472), 0x1234);
}

#[test]
fn the_equipment_word_counts_the_floppy_drives_in_cmos() {
    for (types, bits) in [(0x00, 0x00), (0x40, 0x01), (0x44, 0x41), (0x04, 0x01)] {
        let mut machine = Machine::new();
        machine.hw.bus.cmos.outb(0x70, 0x10);
        machine.hw.bus.cmos.outb(0x71, types);
        crate::services::init(&mut machine.bios());
        assert_eq!(machine.ax(0x11, 0).al() & 0xc1, bits, "{types:02x}");
    }
}

#[test]
fn the_tick_count_starts_with_the_time_of_day() {
    let mut machine = Machine::new();
    // 21:09:58 is 76198 s.
    let regs = machine.ax(0x1a, 0x0000);
    let ticks = u32::from(regs.cx()) << 16 | u32::from(regs.dx());
    assert_eq!(ticks, (76_198u64 * 1_193_182 / 65_536) as u32);
    machine.run(1000);
    let after = machine.ax(0x1a, 0x0000);
    assert_eq!(after.dx() - regs.dx(), 18);
    assert_eq!(machine.hw.called.iter().filter(|&&n| n == 0x1c).count(), 18, "one INT 1Ch per tick");
}

#[test]
fn function_00h_returns_the_midnight_count_once() {
    let mut machine = Machine::new();
    machine.int(0x1a, regs(0x0100, 0, 0x18, 0x00af));
    machine.run(60);
    let regs = machine.ax(0x1a, 0x0000);
    assert_eq!((regs.al(), regs.cx(), regs.dx()), (1, 0, 0));
    assert_eq!(machine.ax(0x1a, 0x0000).al(), 0);
}

#[test]
fn the_rtc_is_read_and_set_in_each_of_its_formats() {
    for b in [0x02, 0x06, 0x00, 0x04] {
        let mut machine = Machine::new();
        machine.hw.bus.cmos.outb(0x70, 0x0b);
        machine.hw.bus.cmos.outb(0x71, b);
        let time = machine.ax(0x1a, 0x0200);
        assert_eq!((time.cf(), time.cx(), time.dx()), (false, 0x2109, 0x5800), "{b:02x}");
        let date = machine.ax(0x1a, 0x0400);
        assert_eq!((date.cf(), date.cx(), date.dx()), (false, 0x2026, 0x1122), "{b:02x}");
        for (hours, daylight) in [(0x00, 0), (0x12, 1), (0x13, 0), (0x23, 0)] {
            assert!(!machine.int(0x1a, regs(0x0300, 0, hours << 8 | 0x59, 0x3000 | daylight)).cf());
            let time = machine.ax(0x1a, 0x0200);
            assert_eq!((time.cx(), time.dx()), (hours << 8 | 0x59, 0x3000 | daylight), "{b:02x}");
        }
        assert!(!machine.int(0x1a, regs(0x0500, 0, 0x1999, 0x1231)).cf());
        let date = machine.ax(0x1a, 0x0400);
        assert_eq!((date.cx(), date.dx()), (0x1999, 0x1231), "{b:02x}");
    }
}

#[test]
fn reading_a_stopped_rtc_fails_until_it_is_set() {
    let mut machine = Machine::new();
    machine.hw.bus.cmos.outb(0x70, 0x0b);
    machine.hw.bus.cmos.outb(0x71, 0x82);
    assert!(machine.ax(0x1a, 0x0200).cf());
    assert!(machine.ax(0x1a, 0x0400).cf());
    // Setting the time starts the RTC.
    assert!(!machine.int(0x1a, regs(0x0300, 0, 0x1200, 0)).cf());
    assert!(!machine.ax(0x1a, 0x0200).cf());
}

#[test]
fn an_alarm_calls_int_4ah_once_and_a_second_alarm_is_refused() {
    let mut machine = Machine::new();
    // Two seconds from now.
    assert!(!machine.int(0x1a, regs(0x0600, 0, 0x2110, 0x0000)).cf());
    let second = machine.int(0x1a, regs(0x0600, 0, 0x2111, 0x0000));
    assert!(second.cf(), "an alarm is already set");
    machine.run(1500);
    assert!(!machine.hw.called.contains(&0x4a));
    machine.run(1000);
    assert_eq!(machine.hw.called.iter().filter(|&&n| n == 0x4a).count(), 1);
    assert!(!machine.ax(0x1a, 0x0700).cf());
    assert!(!machine.int(0x1a, regs(0x0600, 0, 0x2111, 0x0000)).cf());
}

#[test]
fn function_86h_waits_for_the_requested_time() {
    for (micros, most) in [(0u32, 100u64), (500, 700), (1_900, 2_200), (50_000, 52_000), (200_000, 203_000)] {
        let mut machine = Machine::new();
        let before = machine.hw.bus.now;
        let regs = machine.int(0x15, regs(0x8600, 0, (micros >> 16) as u16, micros as u16));
        let took = (machine.hw.bus.now - before) / 1000;
        assert!(!regs.cf());
        assert!((u64::from(micros)..most).contains(&took), "{micros} took {took} us");
        if micros > 10_000 {
            assert!(machine.hw.halts > 0, "the CPU halts");
        }
        assert_eq!(machine.bda(0xa0), 0);
    }
}

#[test]
fn function_86h_returns_even_if_irq_8_never_comes() {
    let mut machine = Machine::new();
    // As if a program had hooked INT 70h without chaining to the BIOS.
    machine.hw.bus.drop_irq8 = true;
    let regs = machine.int(0x15, regs(0x8600, 0, 0x0003, 0));
    assert!(!regs.cf());
    assert!((196_608_000..350_000_000).contains(&machine.hw.bus.now));
}

#[test]
fn function_83h_sets_its_flag_after_the_time_unless_cancelled() {
    let mut machine = Machine::new();
    let mut request = regs(0x8300, 0x0010, 0, 30_000);
    request.es = 0x2000;
    assert!(!machine.int(0x15, request).cf());
    assert!(machine.int(0x15, request).cf(), "only one wait at a time");
    assert!(machine.ax(0x15, 0x8600).cx() == 0);
    machine.run(25);
    assert_eq!(machine.hw.memory[0x2_0010], 0);
    machine.run(10);
    assert_eq!(machine.hw.memory[0x2_0010], 0x80);
    machine.hw.memory[0x2_0010] = 0;
    assert!(!machine.int(0x15, request).cf());
    assert!(!machine.ax(0x15, 0x8301).cf());
    machine.run(50);
    assert_eq!(machine.hw.memory[0x2_0010], 0);
    assert_eq!(machine.ax(0x15, 0x8302).ah(), 0x86);
}

#[test]
fn unsupported_functions_return_86h_and_hooks_return_success() {
    let mut machine = Machine::new();
    for ax in [0x0000, 0x2404, 0x4100, 0x8400, 0xc300, 0xc400, 0xd800, 0xe700, 0xe802, 0xe8ff, 0xff00] {
        let regs = machine.ax(0x15, ax);
        assert_eq!((regs.ah(), regs.cf()), (0x86, true), "{ax:04x}");
    }
    for ax in [0x8000, 0x8100, 0x8200, 0x8500, 0x9000, 0x9100] {
        let regs = machine.ax(0x15, ax);
        assert_eq!((regs.ah(), regs.cf()), (0, false), "{ax:04x}");
    }
    assert!(machine.ax(0x15, 0x4f1e).cf());
    assert!(machine.ax(0x1a, 0x0800).cf());
}

#[test]
fn functions_c0h_and_c1h_return_the_configuration_table_and_the_ebda() {
    let mut machine = Machine::new();
    let table = machine.ax(0x15, 0xc000);
    assert_eq!((table.es, table.bx(), table.ah(), table.cf()), (0xf000, 0xe6f5, 0, false));
    assert_eq!(machine.ax(0x15, 0xc100).es, 0x9fc0);
}

#[test]
fn function_24h_reads_and_switches_the_a20_gate() {
    let mut machine = Machine::new();
    assert_eq!(machine.ax(0x15, 0x2402).al(), 1);
    assert!(!machine.ax(0x15, 0x2400).cf());
    assert_eq!(machine.ax(0x15, 0x2402).al(), 0);
    assert!(!machine.ax(0x15, 0x2401).cf());
    assert!(machine.hw.a20);
    assert_eq!(machine.ax(0x15, 0x2403).bx(), 3);
}

fn with_memory(bytes: u32) -> Machine {
    let mut handoff = Handoff::EMPTY;
    handoff.extended_memory = bytes;
    Machine::with(Devices::new(), handoff)
}

#[test]
fn functions_88h_e801h_and_e881h_return_the_memory_size() {
    for (mib, kib_88, low, high) in [
        (0u32, 0, 0, 0),
        (7, 7 << 10, 7 << 10, 0),
        (15, 15 << 10, 15 << 10, 0),
        (63, 0xfc00, 15 << 10, 48 * 16),
        (64, 0xfc00, 15 << 10, 49 * 16),
        (3583, 0xfc00, 15 << 10, 3568 * 16),
    ] {
        let mut machine = with_memory(mib << 20);
        let regs = machine.ax(0x15, 0x8800);
        assert_eq!((regs.ax(), regs.cf()), (kib_88, false), "{mib} MiB");
        let regs = machine.ax(0x15, 0xe801);
        assert_eq!((regs.ax(), regs.bx(), regs.cx(), regs.dx()), (low, high, low, high), "{mib} MiB");
        assert!(!regs.cf());
        let regs = machine.ax(0x15, 0xe881);
        assert_eq!((regs.eax, regs.ebx, regs.ecx, regs.edx), (low.into(), high.into(), low.into(), high.into()));
    }
}

#[test]
fn function_e820h_returns_the_memory_map_range_by_range() {
    let mut handoff = Handoff::EMPTY;
    let ranges = [
        E820 { base: 0, base_high: 0, length: 0x9_fc00, length_high: 0, kind: 1 },
        E820 { base: 0xf_0000, base_high: 0, length: 0x1_0000, length_high: 0, kind: 2 },
        E820 { base: 0, base_high: 1, length: 0, length_high: 2, kind: 1 },
    ];
    handoff.e820[..3].copy_from_slice(&ranges);
    handoff.e820_count = 3;
    let mut machine = Machine::with(Devices::new(), handoff);
    for (size, given) in [(20, 20), (21, 20), (24, 24), (100, 24)] {
        let mut next = 0;
        for (n, range) in ranges.iter().enumerate() {
            machine.hw.memory[0x5_0010..0x5_0040].fill(0x55);
            let mut request = Regs::with_ax(0xe820);
            (request.eax, request.ebx, request.ecx, request.edx) = (0x1234_e820, next, size, 0x534d_4150);
            (request.es, request.edi) = (0x5000, 0x10);
            let regs = machine.int(0x15, request);
            assert_eq!((regs.eax, regs.ecx, regs.cf()), (0x534d_4150, given, false));
            let dword = |at: usize| u32::from_le_bytes(machine.hw.memory[0x5_0010 + at..][..4].try_into().unwrap());
            assert_eq!(
                [0, 4, 8, 12, 16].map(dword),
                [range.base, range.base_high, range.length, range.length_high, range.kind]
            );
            assert_eq!(dword(20), if given == 24 { 1 } else { 0x5555_5555 });
            assert_eq!(dword(24), 0x5555_5555);
            next = regs.ebx;
            assert_eq!(next, if n == 2 { 0 } else { n as u32 + 1 });
        }
    }
    for (ebx, ecx, edx) in [(3, 20, 0x534d_4150), (u32::MAX, 20, 0x534d_4150), (0, 19, 0x534d_4150), (0, 20, 0)] {
        let mut request = Regs::with_ax(0xe820);
        (request.ebx, request.ecx, request.edx) = (ebx, ecx, edx);
        let regs = machine.int(0x15, request);
        assert_eq!((regs.ah(), regs.cf()), (0x86, true));
    }
}

fn descriptors(machine: &mut Machine, limit: u32, from: u32, to: u32) {
    for (at, base) in [(0x10u16, from), (0x18, to)] {
        let table = FarPtr::new(0x6000, 0x100 + at);
        machine.hw.write32(table, limit & 0xffff | base << 16);
        machine.hw.write32(table.add(4), base >> 16 & 0xff | 0x9300 | base & 0xff00_0000 | limit & 0xf_0000);
    }
}

#[test]
fn function_87h_moves_blocks_between_its_descriptors() {
    for a20 in [true, false] {
        let mut machine = Machine::new();
        machine.hw.a20 = a20;
        machine.hw.memory[0x2_0000..0x2_0004].copy_from_slice(b"abcd");
        descriptors(&mut machine, 3, 0x2_0000, 0x10_0000);
        let mut request = regs(0x8700, 0, 2, 0);
        (request.es, request.esi) = (0x6000, 0x100);
        let done = machine.int(0x15, request);
        assert_eq!((done.ah(), done.cf()), (0, false));
        assert_eq!(&machine.hw.memory[0x10_0000..0x10_0004], b"abcd");
        assert_eq!(machine.hw.a20, a20, "A20 is unchanged");

        request.set_cx(3);
        let failed = machine.int(0x15, request);
        assert_eq!((failed.ah(), failed.cf()), (2, true), "beyond the limit");

        machine.hw.protected = true;
        request.set_cx(1);
        let failed = machine.int(0x15, request);
        assert_eq!((failed.ah(), failed.cf()), (0x86, true), "not under a memory manager");
    }
}

#[test]
fn function_89h_enters_protected_mode_with_all_irqs_masked() {
    let mut machine = Machine::new();
    let mut request = regs(0x8900, 0x2028, 0, 0);
    (request.es, request.esi) = (0x6000, 0x100);
    machine.int(0x15, request);
    assert!(machine.hw.protected && machine.hw.a20);
    assert_eq!(machine.hw.entered.map(|(table, _)| table), Some(FarPtr::new(0x6000, 0x100)));
    assert_eq!(machine.hw.bus.masks, [0xff, 0xff]);
}

fn with_bridge() -> Machine {
    let mut handoff = Handoff::EMPTY;
    handoff.last_bus = 1;
    let mut machine = Machine::with(Devices::new(), handoff);
    let mut put = |function: u32, register: u32, value: u32| {
        for n in 0..4 {
            machine.hw.bus.config.insert(function << 8 | (register + n), (value >> (8 * n)) as u8);
        }
    };
    // A host bridge, a device with three functions, and two network cards on bus 1.
    for (function, id, class, header) in [
        (0x0000, 0x1237_8086, 0x0600_0002, 0x00),
        (0x0008, 0x7000_8086, 0x0601_0000, 0x80),
        (0x0009, 0x7010_8086, 0x0101_8000, 0x00),
        (0x000b, 0x7113_8086, 0x0680_0003, 0x00),
        (0x0110, 0x8139_10ec, 0x0200_0020, 0x00),
        (0x0118, 0x8139_10ec, 0x0200_0020, 0x00),
    ] {
        put(function, 0x00, id);
        put(function, 0x08, class);
        put(function, 0x0c, header << 16);
        put(function, 0x3c, 0);
    }
    machine
}

#[test]
fn the_pci_bios_reports_its_version_and_rejects_undefined_functions() {
    let mut machine = with_bridge();
    let regs = machine.ax(0x1a, 0xb101);
    assert_eq!((regs.ah(), regs.al(), regs.bx(), regs.cl()), (0, 0x11, 0x0210, 1));
    assert_eq!((regs.edx, regs.cf()), (0x2049_4350, false));
    for ax in [0xb100, 0xb104, 0xb107, 0xb110] {
        let regs = machine.ax(0x1a, ax);
        assert_eq!((regs.ah(), regs.cf()), (0x81, true), "{ax:04x}");
    }
}

#[test]
fn pci_functions_are_found_by_id_and_by_class() {
    let mut machine = with_bridge();
    for (device, vendor, index, status, function) in [
        (0x1237, 0x8086, 0, 0x00, 0x0000),
        (0x7010, 0x8086, 0, 0x00, 0x0009),
        (0x7113, 0x8086, 0, 0x00, 0x000b),
        (0x7010, 0x8086, 1, 0x86, 0),
        (0x8139, 0x10ec, 0, 0x00, 0x0110),
        (0x8139, 0x10ec, 1, 0x00, 0x0118),
        (0x8139, 0x10ec, 2, 0x86, 0),
        (0x8139, 0xffff, 0, 0x83, 0),
    ] {
        let mut request = regs(0xb102, 0x5555, device, vendor);
        request.set_si(index);
        let found = machine.int(0x1a, request);
        assert_eq!((found.ah(), found.cf()), (status, status != 0), "{device:04x} {index}");
        if status == 0 {
            assert_eq!(found.bx(), function, "{device:04x} {index}");
        }
    }
    for (class, index, status, function) in [
        (0x06_0000, 0, 0x00, 0x0000),
        (0x01_0180, 0, 0x00, 0x0009),
        (0x02_0000, 1, 0x00, 0x0118),
        (0x03_0000, 0, 0x86, 0),
    ] {
        let mut request = Regs::with_ax(0xb103);
        request.ecx = class;
        request.set_si(index);
        let found = machine.int(0x1a, request);
        assert_eq!((found.ah(), found.cf()), (status, status != 0), "{class:06x}");
        if status == 0 {
            assert_eq!(found.bx(), function);
        }
    }
}

#[test]
fn pci_registers_are_accessed_in_all_sizes_and_bad_ones_are_refused() {
    let mut machine = with_bridge();
    let call = |machine: &mut Machine, al: u16, register: u16, ecx: u32| {
        let mut request = regs(0xb100 | al, 0x0009, 0, 0);
        request.ecx = ecx;
        request.set_di(register);
        machine.int(0x1a, request)
    };
    assert_eq!(call(&mut machine, 0x0a, 0x00, 0).ecx, 0x7010_8086);
    assert_eq!(call(&mut machine, 0x09, 0x02, 0xaaaa_aaaa).ecx, 0xaaaa_7010);
    assert_eq!(call(&mut machine, 0x08, 0x03, 0xaaaa_aaaa).ecx, 0xaaaa_aa70);
    call(&mut machine, 0x0d, 0x40, 0x1234_5678);
    call(&mut machine, 0x0c, 0x42, 0xffff_abcd);
    call(&mut machine, 0x0b, 0x41, 0xffff_ff99);
    assert_eq!(call(&mut machine, 0x0a, 0x40, 0).ecx, 0xabcd_9978);
    for (al, register) in
        [(0x09, 0x01), (0x0c, 0x03), (0x0a, 0x02), (0x0d, 0x01), (0x08, 0x100), (0x0b, 0xffff), (0x0a, 0x104)]
    {
        let regs = call(&mut machine, al, register, 0);
        assert_eq!((regs.ah(), regs.cf()), (0x87, true), "AL={al:02x} {register:04x}");
    }
}

/// A machine with a `$PIR` table of one entry, for device 3 of bus 0.
fn with_routing() -> Machine {
    let mut machine = with_bridge();
    let mut table = [0u8; 48];
    table[..4].copy_from_slice(b"$PIR");
    table[5] = 1;
    table[6] = 48;
    table[9] = 0x08;
    table[10] = 0x20;
    table[11] = 0x0c;
    table[33] = 0x18;
    for pin in 0..4 {
        table[34 + 3 * pin] = 0x60 + pin as u8;
        table[35 + 3 * pin] = 0x20;
        table[36 + 3 * pin] = 0x0c;
    }
    table[31] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    machine.hw.memory[0xf_4560..0xf_4590].copy_from_slice(&table);
    machine.hw.bus.ports.extend([(0x4d0, 0), (0x4d1, 0)]);
    machine
}

#[test]
fn irq_routing_options_are_returned_and_an_irq_is_routed() {
    let mut machine = with_bridge();
    assert_eq!(machine.ax(0x1a, 0xb10e).ah(), 0x81, "no table");

    let mut machine = with_routing();
    let mut request = Regs::with_ax(0xb10e);
    (request.es, request.edi) = (0x5000, 0);
    machine.hw.memory[0x5_0000] = 15;
    machine.hw.write32(FarPtr::new(0x5000, 2), 0x5100_0000);
    let small = machine.int(0x1a, request);
    assert_eq!((small.ah(), small.cf(), word(&machine, 0x5_0000)), (0x89, true, 16));
    let filled = machine.int(0x1a, request);
    assert_eq!((filled.ah(), filled.cf(), filled.bx()), (0, false, 0x0c20));
    assert_eq!(machine.hw.memory[0x5_1001..0x5_1005], [0x18, 0x60, 0x20, 0x0c]);

    for (device, irq, pin, status) in [
        (0x0018, 0x0a, 0x0a, 0x00),
        (0x0018, 0x0b, 0x0d, 0x00),
        (0x0018, 0x0c, 0x0a, 0x88),
        (0x0018, 0x0a, 0x0e, 0x88),
        (0x0018, 0x1a, 0x0a, 0x88),
        (0x0020, 0x0a, 0x0a, 0x88),
    ] {
        let regs = machine.int(0x1a, regs(0xb10f, device, irq << 8 | pin, 0));
        assert_eq!((regs.ah(), regs.cf()), (status, status != 0), "{device:04x} {irq:02x} {pin:02x}");
    }
    assert_eq!(machine.hw.bus.config[&0x0860], 0x0a);
    assert_eq!(machine.hw.bus.config[&0x0863], 0x0b);
    assert_eq!(machine.hw.bus.ports[&0x4d1], 0x0c, "level triggered");
}

fn apm(machine: &mut Machine, al: u16, bx: u16, cx: u16) -> (u8, bool, Regs) {
    let regs = machine.int(0x15, regs(0x5300 | al, bx, cx, 0));
    (regs.ah(), regs.cf(), regs)
}

#[test]
fn apm_allows_one_connection_at_a_time() {
    let mut machine = Machine::new();
    let (ah, cf, regs) = apm(&mut machine, 0, 0, 0);
    assert_eq!((ah, regs.al(), cf, regs.bx(), regs.cx()), (1, 2, false, 0x504d, 3));
    assert_eq!(apm(&mut machine, 0, 1, 0).0, 0x09);
    assert_eq!(apm(&mut machine, 4, 0, 0).0, 0x03, "not connected");
    for (al, status) in [(1, 0x02), (2, 0x05), (3, 0x07)] {
        assert!(!apm(&mut machine, al, 0, 0).1);
        for again in 1..=3 {
            let (ah, cf, _) = apm(&mut machine, again, 0, 0);
            assert_eq!((ah, cf), (status, true), "{al} {again}");
        }
        // The protected-mode interface disconnects like this.
        machine.hw.set(apm::CONNECTION, 0);
    }
    let (_, _, regs) = apm(&mut machine, 3, 0, 0);
    assert_eq!((regs.ax(), regs.ebx, regs.cx(), regs.dx()), (0xf000, 0xe074, 0xf000, 0xe000));
    assert_eq!((regs.esi, regs.di()), (0xffff_ffff, 0xffff));
    assert_eq!(apm(&mut machine, 5, 0, 0).0, 0x03, "the real-mode interface is not connected");
}

#[test]
fn apm_functions_return_their_status_codes() {
    let mut machine = Machine::new();
    apm(&mut machine, 1, 0, 0);
    for (al, bx, cx, status) in [
        (0x05, 0, 0, 0x00),
        (0x06, 0, 0, 0x00),
        (0x07, 0x0001, 0x0001, 0x00),
        (0x07, 0x0001, 0x0000, 0x0a),
        (0x07, 0x0001, 0x0004, 0x0a),
        (0x07, 0x0100, 0x0000, 0x00),
        (0x07, 0x01ff, 0x0001, 0x60),
        (0x07, 0x0000, 0x0001, 0x09),
        (0x07, 0xe000, 0x0001, 0x09),
        (0x08, 0x0001, 0x0000, 0x00),
        (0x08, 0x0001, 0x0002, 0x0a),
        (0x08, 0x0002, 0x0000, 0x09),
        (0x09, 0xffff, 0x0000, 0x00),
        (0x0a, 0x0001, 0x0000, 0x00),
        (0x0a, 0x8001, 0x0000, 0x09),
        (0x0b, 0x0000, 0x0000, 0x80),
        (0x0c, 0x0001, 0x0000, 0x00),
        (0x0d, 0x0001, 0x0001, 0x00),
        (0x0f, 0x0001, 0x0001, 0x00),
        (0x10, 0x0000, 0x0000, 0x00),
        (0x11, 0x0000, 0x0000, 0x0c),
        (0x80, 0x0000, 0x0000, 0x0c),
    ] {
        let (ah, cf, _) = apm(&mut machine, al, bx, cx);
        assert_eq!((ah, cf), (status, status != 0), "AL={al:02x} BX={bx:04x} CX={cx:04x}");
    }
    for (requested, negotiated) in
        [(0x0102, 0x0102), (0x0101, 0x0101), (0x0100, 0x0100), (0x0000, 0x0100), (0x0200, 0x0102)]
    {
        assert_eq!(apm(&mut machine, 0x0e, 0, requested).2.ax(), negotiated);
    }
    apm(&mut machine, 0x08, 1, 0);
    apm(&mut machine, 0x0f, 1, 0);
    assert_eq!(apm(&mut machine, 0, 0, 0).2.cx(), 0x1b);
}

#[test]
fn apm_powers_off_by_acpi_and_by_the_ports_of_emulators() {
    let mut handoff = Handoff::EMPTY;
    handoff.pm1a_control = 0xb004;
    handoff.slp_typ_s5 = 5;
    let mut machine = Machine::with(Devices::new(), handoff);
    apm(&mut machine, 1, 0, 0);
    assert_eq!(apm(&mut machine, 7, 1, 3).0, 0x60, "the machine does not power off");
    assert_eq!(machine.hw.bus.written[0], (0xb004, 2, 0x3400));
    let text: Vec<u8> = machine.hw.bus.written.iter().filter(|w| w.0 == 0x8900).map(|w| w.2 as u8).collect();
    assert_eq!(text, b"Shutdown");
}

fn with_serial() -> Machine {
    let mut devices = Devices::new();
    devices.ports.extend([(0x3f8, 0), (0x3f9, 0), (0x3fa, 0x02), (0x3fb, 0), (0x3fc, 0), (0x3fd, 0x60), (0x3fe, 0xb0)]);
    Machine::with(devices, Handoff::EMPTY)
}

#[test]
fn int_14h_sends_receives_and_configures_and_times_out() {
    let mut machine = with_serial();
    assert_eq!(machine.ax(0x14, 0x00e3).ax(), 0x60b0, "9600 8N1");
    let control: Vec<_> = machine.hw.bus.written.iter().map(|w| (w.0, w.2)).collect();
    assert_eq!(control, [(0x3fb, 0x83), (0x3f8, 12), (0x3f9, 0), (0x3fb, 3), (0x3f9, 0)]);
    assert_eq!(machine.ax(0x14, 0x0141).ax(), 0x6041);
    assert_eq!(machine.hw.bus.ports[&0x3f8], 0x41);
    let before = machine.hw.bus.now;
    assert_eq!(machine.ax(0x14, 0x0200).ah(), 0xe0, "no byte arrives");
    assert!((500_000_000..520_000_000).contains(&(machine.hw.bus.now - before)));
    machine.hw.bus.ports.insert(0x3fd, 0x63);
    assert_eq!(machine.ax(0x14, 0x0200).ax(), 0x0241, "a byte with an overrun error");
    assert_eq!(machine.ax(0x14, 0x0300).ax(), 0x63b0);
    // 19200 7E2 with a break.
    assert_eq!(machine.int(0x14, regs(0x0401, 0x0201, 0x0208, 0)).ax(), 0x63b0);
    assert_eq!(machine.hw.bus.ports[&0x3fb], 0x5e);
    assert_eq!(machine.int(0x14, regs(0x0501, 0x0003, 0, 0)).ax(), 0x63b0);
    assert_eq!(machine.int(0x14, regs(0x0500, 0, 0, 0)).bl(), 3);
    // Ports that do not exist, and an undefined function.
    for (ax, dx) in [(0x0300, 1), (0x0300, 4), (0x0300, 0xffff), (0x0600, 0)] {
        assert_eq!(machine.int(0x14, regs(ax, 0, 0, dx)).ax(), ax);
    }
}

#[test]
fn int_17h_prints_resets_and_times_out() {
    let mut devices = Devices::new();
    devices.ports.extend([(0x378, 0), (0x379, 0xd8), (0x37a, 0)]);
    let mut machine = Machine::with(devices, Handoff::EMPTY);
    assert_eq!(machine.ax(0x17, 0x0041).ah(), 0x90);
    let written: Vec<_> = machine.hw.bus.written.iter().map(|w| (w.0, w.2)).collect();
    assert_eq!(written, [(0x378, 0x41), (0x37a, 0x0d), (0x37a, 0x0c)]);
    assert_eq!(machine.ax(0x17, 0x0100).ah(), 0x90);
    machine.hw.bus.ports.insert(0x379, 0x57);
    let before = machine.hw.bus.now;
    assert_eq!(machine.ax(0x17, 0x0041).ah(), 0x19, "busy for too long");
    assert!((5_000_000_000..5_200_000_000).contains(&(machine.hw.bus.now - before)));
    assert_eq!(machine.int(0x17, regs(0x0200, 0, 0, 1)).ah(), 0x02);
}

#[test]
fn int_05h_prints_the_screen_unless_it_is_busy_or_has_no_printer() {
    let mut machine = Machine::new();
    machine.hw.memory[0x484] = 1;
    let printed = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let record = std::rc::Rc::clone(&printed);
    machine.hw.on_interrupt = Some(Box::new(move |_, number, regs| match (number, regs.ah()) {
        (0x10, 0x0f) => regs.set_ax(0x0203),
        (0x10, 0x08) => regs.set_ax(0x0700 | if regs.bh() == 0 { u16::from(b'x') } else { 0 }),
        (0x17, 0x00) => {
            record.borrow_mut().push(regs.al());
            regs.set_ah(0x90);
        }
        _ => {}
    }));
    machine.ax(0x05, 0);
    assert_eq!(*printed.borrow(), b"\r\nxx\r\nxx\r\n");
    assert_eq!(machine.hw.memory[0x500], 0);
    machine.hw.memory[0x500] = 1;
    machine.ax(0x05, 0);
    assert_eq!(printed.borrow().len(), 10, "ignored while a print is in progress");
    machine.hw.memory[0x500] = 0;
    machine.hw.on_interrupt = None;
    machine.ax(0x05, 0);
    assert_eq!(machine.hw.memory[0x500], 0xff, "no printer");
}

#[test]
fn a_fault_in_the_firmware_stops_the_cpu_and_one_in_a_program_does_not() {
    let mut machine = Machine::new();
    machine.hw.write32(FarPtr::new(0x7000, 0x100), 0x1234_5678);
    machine.ax(0x06, 0);
    assert_eq!(machine.hw.stops, 0);
    machine.hw.write32(FarPtr::new(0x7000, 0x100), 0xf000_5a7f);
    machine.ax(0x06, 0);
    assert_eq!(machine.hw.stops, 1);
    let text: Vec<u8> = machine.hw.bus.written.iter().filter(|w| w.0 == 0x402).map(|w| w.2 as u8).collect();
    assert_eq!(text, b"BIOS: panic at F000:5A7F\n");
}

#[test]
fn a_coprocessor_error_calls_the_nmi_handler() {
    let mut machine = Machine::new();
    let before = machine.hw.bus.eois;
    machine.ax(0x75, 0);
    assert_eq!(machine.hw.called.last(), Some(&0x02));
    assert_eq!(machine.hw.bus.eois, [before[0] + 1, before[1] + 1]);
    assert_eq!(machine.hw.bus.written, [(0xf0, 1, 0)]);
}

#[test]
fn irq_9_calls_int_0ah_if_a_program_has_hooked_it() {
    let mut machine = Machine::new();
    machine.hw.write32(FarPtr::vector(0x0a), 0xf000_1234);
    machine.ax(0x71, 0);
    assert!(!machine.hw.called.contains(&0x0a));
    machine.hw.write32(FarPtr::vector(0x0a), 0x2000_1234);
    let before = machine.hw.bus.eois;
    machine.ax(0x71, 0);
    assert_eq!(machine.hw.called.last(), Some(&0x0a));
    assert_eq!(machine.hw.bus.eois, [before[0], before[1] + 1], "the program sends EOI to the master");
}
