//! ISR, IMR, INTA#, the timer, moderation.

use super::*;

fn slot(bench: &mut Bench<Rtl8139>, n: u16) {
    bench.outl(IO + 0x10 + 4 * (n & 3), 60);
}

fn acknowledge(bench: &mut Bench<Rtl8139>) {
    bench.outw(IO + 0x3e, 0xffff);
}

#[test]
fn inta_is_what_status_and_mask_have_in_common() {
    let mut bench = running();
    bench.outw(IO + 0x3c, 0);
    give(&mut bench, &frame(MAC, 100));
    assert_eq!((bench.inw(IO + 0x3e), bench.irq(INTA)), (1, false));
    assert_eq!(bench.inw(IO + 0x3e), 1, "reading changes nothing");
    bench.outw(IO + 0x3c, 0x0001);
    assert!(bench.irq(INTA));
    bench.outw(IO + 0x3e, 0xfffe);
    assert!(bench.irq(INTA), "only ones clear");
    bench.outb(IO + 0x3f, 0xff);
    assert_eq!(bench.inw(IO + 0x3e), 1, "not in the other byte");
    bench.outw(IO + 0x3e, 0x0001);
    assert_eq!((bench.inw(IO + 0x3e), bench.irq(INTA)), (0, false));
}

#[test]
fn a_batch_of_frames_is_one_interrupt_and_a_lone_one_comes_at_once() {
    let mut bench = running();
    bench.outl(IO + 0x44, 0x180a);
    bench.receive(NIC, (0..30).map(|_| frame(MAC, 1000).into()));
    assert_eq!((edges(&bench), bench.irq(INTA)), (1, true));
    acknowledge(&mut bench);
    give(&mut bench, &frame(MAC, 60));
    assert_eq!((edges(&bench), bench.irq(INTA)), (2, true));
}

#[test]
fn tctr_counts_the_pci_clock_and_timer_int_is_a_time() {
    let mut bench = running();
    bench.outl(IO + 0x48, 0);
    bench.advance(3_000);
    assert_eq!(bench.inl(IO + 0x48), 100);
    bench.outl(IO + 0x54, 1000);
    bench.advance(26_000);
    assert_eq!(bench.inw(IO + 0x3e), 0);
    bench.advance(1_100);
    assert_eq!((bench.inw(IO + 0x3e), bench.irq(INTA)), (0x4000, true));
    acknowledge(&mut bench);
    bench.advance(1_000_000_000);
    assert_eq!(bench.inw(IO + 0x3e), 0, "once until it comes round again");
    bench.advance(0x1_0000_0000 * 30);
    assert_eq!(bench.inw(IO + 0x3e), 0x4000);
    acknowledge(&mut bench);
    bench.outl(IO + 0x48, 1);
    bench.advance(30_000);
    assert_eq!(bench.inw(IO + 0x3e), 0x4000, "writing TCTR starts it at 0");
    acknowledge(&mut bench);
    bench.outl(IO + 0x54, 0);
    bench.outl(IO + 0x48, 1);
    bench.advance(200_000_000_000);
    assert_eq!(bench.inw(IO + 0x3e), 0, "0 is never");
}

#[test]
fn a_guest_that_sends_on_is_interrupted_once_for_all_its_slots() {
    let mut bench = running();
    for n in 0..8 {
        slot(&mut bench, n);
        acknowledge(&mut bench);
    }
    let before = edges(&bench);
    for n in 0..400 {
        slot(&mut bench, n);
        assert_eq!(bench.inl(IO + 0x10 + 4 * (n & 3)) & 0xa000, 0xa000, "the status is exact");
        assert_eq!(bench.inw(IO + 0x3e) & 4, 4);
        bench.advance(5_000);
        if bench.irq(INTA) {
            acknowledge(&mut bench);
        }
    }
    let count = edges(&bench) - before;
    assert_eq!(count, 100);
}

#[test]
fn the_last_frames_of_a_burst_are_announced_in_time() {
    let mut bench = running();
    for n in 0..8 {
        slot(&mut bench, n);
        acknowledge(&mut bench);
    }
    slot(&mut bench, 0);
    slot(&mut bench, 1);
    assert!(!bench.irq(INTA));
    bench.advance(260_000);
    assert!(bench.irq(INTA));
    acknowledge(&mut bench);
    bench.advance(10_000_000);
    assert!(!bench.irq(INTA));
}

#[test]
fn a_guest_that_waits_for_each_frame_is_soon_not_kept_waiting() {
    let mut bench = running();
    let start = bench.now();
    for n in 0..10_000 {
        slot(&mut bench, n);
        let mut waited = 0;
        while !bench.irq(INTA) {
            bench.advance(10_000);
            waited += 1;
            assert!(waited < 30);
        }
        acknowledge(&mut bench);
    }
    assert!(bench.now().since(start).as_micros() < 15 * 260, "{:?}", bench.now().since(start));
}

#[test]
fn whatever_else_happens_is_announced_at_once_and_so_is_what_waited() {
    let mut bench = running();
    for n in 0..8 {
        slot(&mut bench, n);
        acknowledge(&mut bench);
    }
    slot(&mut bench, 0);
    assert!(!bench.irq(INTA));
    give(&mut bench, &frame(MAC, 60));
    assert_eq!((bench.irq(INTA), bench.inw(IO + 0x3e)), (true, 5));
    bench.outw(IO + 0x3e, 1);
    assert!(bench.irq(INTA), "TOK is still there");
    bench.outw(IO + 0x3c, 0);
    bench.outw(IO + 0x3c, 0xffff);
    assert!(bench.irq(INTA), "and was announced before");
}
