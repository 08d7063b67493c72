//! The four slots, loopback.

use super::*;

const BUFFER: u64 = 0x4_0000;

fn send(bench: &mut Bench<Rtl8139>, slot: u16, bytes: &[u8]) -> u32 {
    let at = BUFFER + 0x800 * u64::from(slot);
    bench.memory.write(at, bytes);
    bench.outl(IO + 0x20 + 4 * slot, at as u32);
    bench.outl(IO + 0x10 + 4 * slot, bytes.len() as u32 | 0x0010_0000);
    bench.inl(IO + 0x10 + 4 * slot)
}

#[test]
fn slots_send_what_they_hold_and_say_so() {
    let mut bench = running();
    for (slot, len) in [(0, 60), (1, 61), (2, 1514), (3, 1792), (0, 100)] {
        let bytes = frame(OTHER, len);
        assert_eq!(send(&mut bench, slot, &bytes), 0x0010_a000 | len as u32, "OWN, TOK, threshold and size");
        assert_eq!(sent(&mut bench), [bytes]);
    }
    assert_eq!(bench.inw(IO + 0x60), 0xf00f);
    assert_eq!(bench.inw(IO + 0x3e), 0x0004);
    bench.outl(IO + 0x1c, 0x2000);
    assert_eq!(bench.inw(IO + 0x60), 0x700f, "a write clears what the last transmission left");
}

#[test]
fn slots_are_sent_in_order_from_the_first_on() {
    let mut bench = running();
    for slot in [1, 2, 3] {
        assert_eq!(send(&mut bench, slot, &frame(OTHER, 100 + usize::from(slot))) & 0xa000, 0);
    }
    assert_eq!(bench.inw(IO + 0x60), 0x0001);
    assert!(sent(&mut bench).is_empty());
    send(&mut bench, 0, &frame(OTHER, 100));
    let lengths: Vec<_> = sent(&mut bench).iter().map(Vec::len).collect();
    assert_eq!(lengths, [100, 101, 102, 103]);
    bench.outb(IO + 0x37, 0x08);
    bench.outb(IO + 0x37, 0x0c);
    send(&mut bench, 0, &frame(OTHER, 100));
    assert_eq!(sent(&mut bench).len(), 1, "the first one is the next after TE was off");
}

#[test]
fn nothing_is_sent_before_the_transmitter_is_on() {
    let mut bench = card();
    assert_eq!(send(&mut bench, 0, &frame(OTHER, 80)) & 0xa000, 0);
    assert!(sent(&mut bench).is_empty());
    bench.outb(IO + 0x37, 0x04);
    assert_eq!(sent(&mut bench).len(), 1);
    bench.config_write(4, 2, 3);
    assert_eq!(send(&mut bench, 1, &frame(OTHER, 80)) & 0xa000, 0, "no bus master");
    bench.config_write(4, 2, 7);
    assert_eq!(sent(&mut bench).len(), 1);
}

#[test]
fn short_frames_are_padded_with_zeros_and_too_short_ones_are_no_frames() {
    let mut bench = running();
    for (slot, len) in [(0, 0), (1, 1), (2, 13)] {
        assert_eq!(send(&mut bench, slot, &vec![0xee; len]) & 0xa000, 0xa000);
    }
    assert!(sent(&mut bench).is_empty());
    let bytes = frame(OTHER, 42);
    send(&mut bench, 3, &bytes);
    assert_eq!(sent(&mut bench), [[bytes, vec![0; 18]].concat()]);
}

#[test]
fn frames_that_are_too_long_are_aborted() {
    let mut bench = running();
    assert_eq!(send(&mut bench, 0, &vec![0; 1793]) & 0x4000_a000, 0x4000_2000);
    assert_eq!((bench.inw(IO + 0x3e), bench.inw(IO + 0x60)), (0x0008, 0x001f));
    assert!(sent(&mut bench).is_empty());
    bench.outl(IO + 0x40, bench.device.regs.tcr | 1);
    assert_eq!(send(&mut bench, 1, &frame(OTHER, 60)) & 0xa000, 0xa000, "sending goes on");
}

#[test]
fn the_guest_may_append_the_fcs_itself() {
    let mut bench = running();
    bench.outl(IO + 0x40, 0x0301_0700);
    let body = frame(OTHER, 60);
    send(&mut bench, 0, &[&body[..], &crc(&body)].concat());
    assert_eq!(sent(&mut bench), std::slice::from_ref(&body));
    send(&mut bench, 1, &[&body[..], &[1, 2, 3, 4]].concat());
    send(&mut bench, 2, &[1, 2, 3]);
    assert!(sent(&mut bench).is_empty(), "nobody takes a frame with a wrong FCS");
}

#[test]
fn a_frame_comes_back_in_loopback_and_goes_nowhere_else() {
    let mut bench = running();
    bench.outl(IO + 0x40, 0x0306_0700);
    let bytes = frame(MAC, 100);
    send(&mut bench, 0, &bytes);
    assert!(sent(&mut bench).is_empty());
    assert_eq!(bench.inw(IO + 0x3e), 0x0005);
    assert_eq!(memory(&bench, RING, 4), [0x01, 0x40, 104, 0]);
    assert_eq!(memory(&bench, RING + 4, 104), [&bytes[..], &crc(&bytes)].concat());
    send(&mut bench, 1, &frame(OTHER, 100));
    assert_eq!(bench.inw(IO + 0x3a), 108, "the filter is the same");
    give(&mut bench, &frame(MAC, 100));
    assert_eq!(bench.inw(IO + 0x3a), 108, "nothing comes from the cable");
}

#[test]
fn errors_and_runts_are_received_when_asked_for() {
    let mut bench = running();
    // Loopback, and no FCS from the chip.
    bench.outl(IO + 0x40, 0x0307_0700);
    let runt = frame(MAC, 20);
    let (runt, wrong) = ([&runt[..], &crc(&runt)].concat(), frame(MAC, 100));
    for (rcr, cbr, isr) in [(0x0a, 0, 0x0006), (0x1a, 28, 0x0007), (0x3a, 28 + 28 + 104, 0x0007)] {
        bench.outl(IO + 0x44, rcr);
        bench.outw(IO + 0x3e, 0xffff);
        bench.outb(IO + 0x37, 0x08);
        bench.outb(IO + 0x37, 0x0c);
        send(&mut bench, 0, &runt);
        send(&mut bench, 1, &wrong);
        assert_eq!((bench.inw(IO + 0x3a), bench.inw(IO + 0x3e)), (cbr, isr), "{rcr:x}");
    }
    assert_eq!(memory(&bench, RING, 4), [0x11, 0x40, 24, 0]);
    assert_eq!(memory(&bench, RING + 56, 4), [0x04, 0x40, 100, 0]);
}
