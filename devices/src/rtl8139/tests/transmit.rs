//! The four transmit slots of C mode, and loopback.

use super::*;

const BUFFER: u64 = 0x4_0000;

fn send(bench: &mut Bench<Rtl8139>, slot: u16, bytes: &[u8]) -> u32 {
    let at = BUFFER + 0x800 * u64::from(slot);
    bench.memory.write(at, bytes);
    bench.outl(TSAD + 4 * slot, at as u32);
    bench.outl(TSD + 4 * slot, bytes.len() as u32 | 0x0010_0000);
    bench.inl(TSD + 4 * slot)
}

#[test]
fn slots_send_their_frames_and_report_the_status() {
    let mut bench = running();
    for (slot, len) in [(0, 60), (1, 61), (2, 1514), (3, 1792), (0, 100)] {
        let bytes = frame(OTHER, len);
        assert_eq!(send(&mut bench, slot, &bytes), 0x0010_a000 | len as u32, "OWN, TOK, threshold and size");
        assert_eq!(sent(&mut bench), [bytes]);
    }
    assert_eq!(bench.inw(TSAD_ALL), 0xf00f);
    assert_eq!(bench.inw(ISR), 0x0004);
    bench.outl(TSD + 12, 0x2000);
    assert_eq!(bench.inw(TSAD_ALL), 0x700f, "a write clears the status of the last transmission");
}

#[test]
fn slots_are_sent_in_order_from_slot_0() {
    let mut bench = running();
    for slot in [1, 2, 3] {
        assert_eq!(send(&mut bench, slot, &frame(OTHER, 100 + usize::from(slot))) & 0xa000, 0);
    }
    assert_eq!(bench.inw(TSAD_ALL), 0x0001);
    assert!(sent(&mut bench).is_empty());
    send(&mut bench, 0, &frame(OTHER, 100));
    let lengths: Vec<_> = sent(&mut bench).iter().map(Vec::len).collect();
    assert_eq!(lengths, [100, 101, 102, 103]);
    bench.outb(CR, 0x08);
    bench.outb(CR, 0x0c);
    send(&mut bench, 0, &frame(OTHER, 100));
    assert_eq!(sent(&mut bench).len(), 1, "setting TE restarts at slot 0");
}

#[test]
fn slots_wait_for_te_and_bus_mastering() {
    let mut bench = card();
    assert_eq!(send(&mut bench, 0, &frame(OTHER, 80)) & 0xa000, 0);
    assert!(sent(&mut bench).is_empty());
    bench.outb(CR, 0x04);
    assert_eq!(sent(&mut bench).len(), 1);
    bench.config_write(4, 2, 3);
    assert_eq!(send(&mut bench, 1, &frame(OTHER, 80)) & 0xa000, 0, "bus mastering is disabled");
    bench.config_write(4, 2, 7);
    assert_eq!(sent(&mut bench).len(), 1);
}

#[test]
fn short_frames_are_padded_and_frames_without_a_header_are_dropped() {
    let mut bench = running();
    for (slot, len) in [(0, 0), (1, 1), (2, 13)] {
        assert_eq!(send(&mut bench, slot, &vec![0xee; len]) & 0xa000, 0xa000);
    }
    assert!(sent(&mut bench).is_empty());
    assert_eq!(bench.guest_errors, ["transmit frame shorter than an Ethernet header"; 3]);
    let bytes = frame(OTHER, 42);
    send(&mut bench, 3, &bytes);
    assert_eq!(sent(&mut bench), [[bytes, vec![0; 18]].concat()]);
}

#[test]
fn frames_longer_than_1792_bytes_are_aborted() {
    let mut bench = running();
    assert_eq!(send(&mut bench, 0, &vec![0; 1793]) & 0x4000_a000, 0x4000_2000);
    assert_eq!((bench.inw(ISR), bench.inw(TSAD_ALL)), (0x0008, 0x001f));
    assert_eq!(bench.guest_errors, ["TSD.SIZE above 1792 bytes"]);
    assert!(sent(&mut bench).is_empty());
    bench.outl(TCR, bench.device.regs.tcr | 1);
    assert_eq!(send(&mut bench, 1, &frame(OTHER, 60)) & 0xa000, 0xa000, "the next slot is sent");
}

#[test]
fn a_frame_with_the_guests_own_fcs_is_sent_only_if_the_fcs_is_right() {
    let mut bench = running();
    bench.outl(TCR, 0x0301_0700);
    let body = frame(OTHER, 60);
    send(&mut bench, 0, &[&body[..], &crc(&body)].concat());
    assert_eq!(sent(&mut bench), std::slice::from_ref(&body));
    send(&mut bench, 1, &[&body[..], &[1, 2, 3, 4]].concat());
    send(&mut bench, 2, &[1, 2, 3]);
    assert!(sent(&mut bench).is_empty(), "a frame with a wrong FCS is dropped");
}

#[test]
fn a_loopback_frame_is_received_and_not_sent() {
    let mut bench = running();
    bench.outl(TCR, 0x0306_0700);
    let bytes = frame(MAC, 100);
    send(&mut bench, 0, &bytes);
    assert!(sent(&mut bench).is_empty());
    assert_eq!(bench.inw(ISR), 0x0005);
    assert_eq!(memory(&bench, RING, 4), [0x01, 0x40, 104, 0]);
    assert_eq!(memory(&bench, RING + 4, 104), [&bytes[..], &crc(&bytes)].concat());
    send(&mut bench, 1, &frame(OTHER, 100));
    assert_eq!(bench.inw(CBR), 108, "the address filter applies to loopback");
    deliver(&mut bench, &frame(MAC, 100));
    assert_eq!(bench.inw(CBR), 108, "no frame is received from the host in loopback");
}

#[test]
fn errors_and_runts_are_received_if_rcr_accepts_them() {
    let mut bench = running();
    // TCR: loopback, and no FCS by the chip.
    bench.outl(TCR, 0x0307_0700);
    let runt = frame(MAC, 20);
    let (runt, wrong) = ([&runt[..], &crc(&runt)].concat(), frame(MAC, 100));
    for (rcr, cbr, isr) in [(0x0a, 0, 0x0006), (0x1a, 28, 0x0007), (0x3a, 28 + 28 + 104, 0x0007)] {
        bench.outl(RCR, rcr);
        bench.outw(ISR, 0xffff);
        bench.outb(CR, 0x08);
        bench.outb(CR, 0x0c);
        send(&mut bench, 0, &runt);
        send(&mut bench, 1, &wrong);
        assert_eq!((bench.inw(CBR), bench.inw(ISR)), (cbr, isr), "{rcr:x}");
    }
    assert_eq!(memory(&bench, RING, 4), [0x11, 0x40, 24, 0]);
    assert_eq!(memory(&bench, RING + 56, 4), [0x04, 0x40, 100, 0]);
}
