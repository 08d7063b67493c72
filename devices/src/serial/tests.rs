use super::*;
use crate::testing::Bench;

const BASE: u16 = 0x3f8;
const COM1: CharId = CharId(0);
const IRQ: IrqLine = IrqLine::Isa(4);
/// DTR, RTS, OUT2.
const MCR_ON: u8 = 0x0b;

fn bench() -> Bench<Uart16550> {
    Bench::new(Uart16550::new(BASE, 4, COM1))
}

/// Programs 115200 baud, 8n1, FIFOs with trigger level 8, and `ier`.
fn open(ier: u8) -> Bench<Uart16550> {
    let mut com = bench();
    com.outb(BASE + 3, 0x80);
    com.outb(BASE, 1);
    com.outb(BASE + 1, 0);
    com.outb(BASE + 3, 0x03);
    com.outb(BASE + 2, 0x87);
    com.outb(BASE + 4, MCR_ON);
    com.outb(BASE + 1, ier);
    com
}

#[test]
fn a_reset_sets_the_data_sheets_values() {
    let mut com = bench();
    for (register, value) in [(1, 0), (2, 0x01), (3, 0), (4, 0), (5, 0x60), (6, 0xb0), (7, 0)] {
        assert_eq!(com.inb(BASE + register), value, "register {register}");
    }
    assert!(!com.irq(IRQ));
}

#[test]
fn the_registers_have_their_data_sheet_names() {
    let mut com = bench();
    let mut names = |lcr, width| {
        com.outb(BASE + 3, lcr);
        [0, 1, 2, 3, 7, 8].map(|offset| com.device.register_name(Access { tag: 0, offset, width }))
    };
    for width in [1, 2, 4] {
        let scratch_and_end = [Some("LCR"), Some("SCR"), None];
        assert_eq!(names(0x03, width)[..3], [Some("RBR/THR"), Some("IER"), Some("IIR/FCR")]);
        assert_eq!(names(0x83, width)[..3], [Some("DLL"), Some("DLM"), Some("IIR/FCR")]);
        assert_eq!(names(0x03, width)[3..], scratch_and_end);
    }
}

#[test]
fn a_16550a_is_detected() {
    let mut com = bench();
    com.outb(BASE + 1, 0xff);
    assert_eq!(com.inb(BASE + 1), 0x0f);
    com.outb(BASE + 1, 0);
    com.outb(BASE + 7, 0xa5);
    assert_eq!(com.inb(BASE + 7), 0xa5);
    com.outb(BASE + 2, 1);
    assert_eq!(com.inb(BASE + 2), 0xc1);
    // No LCR value selects the registers of an enhanced UART.
    for lcr in [0x80, 0xbf, 0xe0] {
        com.outb(BASE + 3, lcr);
        assert_eq!(com.inb(BASE + 2), 0xc1, "{lcr:02x}");
    }
    com.outb(BASE + 3, 0);
    com.outb(BASE + 4, 0x1a);
    assert_eq!(com.inb(BASE + 6) & 0xf0, 0x90, "loopback of RTS and OUT2");
    com.outb(BASE + 2, 0);
    assert_eq!(com.inb(BASE + 2) & 0xc0, 0);
}

#[test]
fn bytes_and_strings_written_to_thr_reach_the_host() {
    let mut com = open(0);
    com.outs(BASE, 1, b"hello");
    com.outb(BASE, b'!');
    assert_eq!(com.chars[&0], b"hello!");
    assert_eq!(com.inb(BASE + 5), 0x60);
    com.outb(BASE + 3, 0x83);
    com.outb(BASE, b'x');
    assert_eq!(com.chars[&0], b"hello!", "with DLAB set, the write goes to the divisor latch");
}

#[test]
fn every_write_to_thr_makes_an_interrupt_edge() {
    let mut com = open(0x02);
    assert!(com.irq(IRQ), "enabling it while the transmitter is empty raises it");
    assert_eq!(com.inb(BASE + 2), 0xc2);
    assert!(!com.irq(IRQ), "reading IIR clears it");
    assert_eq!(com.inb(BASE + 2), 0xc1);
    for n in 0..10 {
        let edges = com.edges[&IRQ];
        com.outb(BASE, b'a');
        assert!(com.irq(IRQ));
        assert_eq!(com.edges[&IRQ], edges + 1, "write {n}");
        if n % 2 == 0 {
            com.inb(BASE + 2);
        }
    }
    com.outb(BASE + 1, 0);
    assert!(!com.irq(IRQ));
    com.outb(BASE + 1, 2);
    assert!(com.irq(IRQ));
}

#[test]
fn received_data_interrupts_at_the_trigger_level_and_after_the_timeout() {
    let mut com = open(0x01);
    com.type_chars(COM1, b"1234567");
    assert!(!com.irq(IRQ));
    assert_eq!(com.inb(BASE + 5), 0x61);
    com.type_chars(COM1, b"8");
    assert!(com.irq(IRQ));
    assert_eq!(com.inb(BASE + 2), 0xc4);
    assert_eq!(com.inb(BASE), b'1');
    assert!(!com.irq(IRQ));
    com.advance(300_000);
    assert!(!com.irq(IRQ), "four characters of 10 bits are 347 us");
    com.advance(60_000);
    assert_eq!(com.inb(BASE + 2), 0xcc);
    assert!(com.irq(IRQ));
    let mut rest = [0; 7];
    com.ins(BASE, 1, &mut rest);
    assert_eq!(&rest, b"2345678");
    assert!(!com.irq(IRQ));
    assert_eq!(com.inb(BASE + 5), 0x60);
}

#[test]
fn bytes_beyond_the_fifo_wait_on_the_host_without_overrun() {
    let mut com = open(0x01);
    let text: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
    com.type_chars(COM1, &text);
    let read: Vec<u8> = (0..1000)
        .map(|_| {
            assert_eq!(com.inb(BASE + 5) & 3, 1, "data ready, no overrun");
            com.inb(BASE)
        })
        .collect();
    assert_eq!(read, text);
    assert_eq!(com.inb(BASE + 5) & 3, 0);
}

#[test]
fn without_fifos_the_receive_buffer_holds_one_character() {
    let mut com = open(0x01);
    com.outb(BASE + 2, 0);
    com.type_chars(COM1, b"ab");
    assert_eq!(com.inb(BASE + 2), 0x04);
    assert_eq!(com.inb(BASE), b'a');
    assert!(com.irq(IRQ), "the next character is received");
    assert_eq!(com.inb(BASE), b'b');
    assert!(!com.irq(IRQ));
}

#[test]
fn a_fifo_reset_drops_received_characters() {
    for (fcr, left) in [(0x83, 0), (0x85, 1), (0x01, 1), (0x00, 0)] {
        let mut com = open(0);
        com.type_chars(COM1, b"abc");
        com.outb(BASE + 2, fcr);
        assert_eq!(com.inb(BASE + 5) & 1, left, "FCR {fcr:02x}");
    }
}

#[test]
fn loopback_returns_data_and_modem_lines_and_sends_nothing_to_the_host() {
    let mut com = open(0x05);
    com.inb(BASE + 6);
    com.outb(BASE + 4, 0x1b);
    assert_eq!(com.inb(BASE + 6), 0xb0, "DTR, RTS and OUT2 loop back as DSR, CTS and DCD, as before");
    for n in 0..16 {
        com.outb(BASE, n);
    }
    assert_eq!(com.inb(BASE + 5), 0x61);
    com.outb(BASE, 99);
    assert_eq!(com.inb(BASE + 2), 0xc6);
    assert_eq!(com.inb(BASE + 5), 0x63, "overrun, cleared by the read");
    assert_eq!(com.inb(BASE + 5), 0x61);
    assert!(!com.irq(IRQ), "OUT2 is forced off");
    assert_eq!((0..16).map(|_| com.inb(BASE)).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
    assert!(!com.chars.contains_key(&0), "no byte left the chip");
    // Deltas of CTS, DSR, DCD and the trailing edge of RI.
    com.outb(BASE + 4, 0x1f);
    com.inb(BASE + 6);
    com.outb(BASE + 4, 0x10);
    assert_eq!(com.inb(BASE + 6), 0x0f);
    assert_eq!(com.inb(BASE + 6), 0x00);
    com.outb(BASE + 4, 0x14);
    assert_eq!(com.inb(BASE + 6), 0x40, "the leading edge of RI sets no delta");
}

#[test]
fn a_modem_status_change_interrupts() {
    let mut com = open(0x08);
    com.outb(BASE + 4, 0x10);
    com.outb(BASE + 4, MCR_ON);
    assert!(com.irq(IRQ));
    assert_eq!(com.inb(BASE + 2), 0xc0);
    assert_ne!(com.inb(BASE + 6) & 0x0f, 0);
    assert!(!com.irq(IRQ));
}

#[test]
fn out2_gates_the_interrupt() {
    let mut com = open(0x02);
    com.outb(BASE + 4, 0x03);
    assert!(!com.irq(IRQ));
    assert_eq!(com.inb(BASE + 2), 0xc2, "IIR is not gated");
}

#[test]
fn iir_shows_the_pending_interrupt_of_the_highest_priority() {
    let mut com = open(0x0f);
    com.outb(BASE + 4, 0x10);
    for _ in 0..17 {
        com.outb(BASE, 0);
    }
    assert_eq!(com.inb(BASE + 2), 0xc6);
    com.inb(BASE + 5);
    assert_eq!(com.inb(BASE + 2), 0xc4);
    while com.inb(BASE + 5) & 1 != 0 {
        com.inb(BASE);
    }
    assert_eq!(com.inb(BASE + 2), 0xc2);
    assert_eq!(com.inb(BASE + 2), 0xc0);
    com.inb(BASE + 6);
    assert_eq!(com.inb(BASE + 2), 0xc1);
}

#[test]
fn a_divisor_of_zero_is_harmless() {
    let mut com = open(0x01);
    com.outb(BASE + 3, 0x83);
    com.outb(BASE, 0);
    com.outb(BASE + 1, 0);
    com.outb(BASE + 3, 0x03);
    com.type_chars(COM1, b"x");
    com.outb(BASE, b'y');
    com.advance(1_000_000_000);
    assert_eq!(com.inb(BASE), b'x');
    assert_eq!(com.chars[&0], b"y");
}

#[test]
fn a_restored_state_continues_the_receive_timeout() {
    let mut com = open(0x01);
    com.type_chars(COM1, b"123");
    let state = Device::save(&com.device);
    let mut other = bench();
    Device::load(&mut other.device, state).unwrap();
    other.call(Device::resync);
    assert!(!other.irq(IRQ));
    other.advance(1_000_000);
    assert!(other.irq(IRQ), "the time-out expired after the restore");
    assert_eq!(other.inb(BASE), b'1');
}

#[test]
fn an_invalid_state_is_rejected() {
    let mut com = bench();
    let mut state = Device::save(&com.device);
    state.received = vec![0; 17];
    assert!(Device::load(&mut com.device, state).is_err());
    let mut state = Device::save(&com.device);
    state.mcr = 0xff;
    assert!(Device::load(&mut com.device, state).is_err());
}
