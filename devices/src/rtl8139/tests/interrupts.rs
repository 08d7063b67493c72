//! ISR, IMR and INTA#, the timer, transmit interrupt moderation.

use super::*;

fn slot(bench: &mut Bench<Rtl8139>, n: u16) {
    bench.outl(TSD + 4 * (n & 3), 60);
}

fn acknowledge(bench: &mut Bench<Rtl8139>) {
    bench.outw(ISR, 0xffff);
}

#[test]
fn inta_is_isr_masked_by_imr() {
    let mut bench = running();
    bench.outw(IMR, 0);
    deliver(&mut bench, &frame(MAC, 100));
    assert_eq!((bench.inw(ISR), bench.irq(INTA)), (1, false));
    assert_eq!(bench.inw(ISR), 1, "a read changes nothing");
    bench.outw(IMR, 0x0001);
    assert!(bench.irq(INTA));
    bench.outw(ISR, 0xfffe);
    assert!(bench.irq(INTA), "only ones clear bits");
    bench.outb(ISR + 1, 0xff);
    assert_eq!(bench.inw(ISR), 1, "a byte write clears no bits of the other byte");
    bench.outw(ISR, 0x0001);
    assert_eq!((bench.inw(ISR), bench.irq(INTA)), (0, false));
}

#[test]
fn a_batch_of_frames_raises_one_interrupt_and_a_single_frame_interrupts_at_once() {
    let mut bench = running();
    bench.outl(RCR, 0x180a);
    bench.receive(NIC, (0..30).map(|_| frame(MAC, 1000).into()));
    assert_eq!((irq_edges(&bench), bench.irq(INTA)), (1, true));
    acknowledge(&mut bench);
    deliver(&mut bench, &frame(MAC, 60));
    assert_eq!((irq_edges(&bench), bench.irq(INTA)), (2, true));
}

#[test]
fn tctr_counts_the_pci_clock_and_timeout_is_set_when_it_reaches_timerint() {
    let mut bench = running();
    bench.outl(TCTR, 0);
    bench.advance(3_000);
    assert_eq!(bench.inl(TCTR), 100);
    bench.outl(TIMER_INT, 1000);
    bench.advance(26_000);
    assert_eq!(bench.inw(ISR), 0);
    bench.advance(1_100);
    assert_eq!((bench.inw(ISR), bench.irq(INTA)), (0x4000, true));
    acknowledge(&mut bench);
    bench.advance(1_000_000_000);
    assert_eq!(bench.inw(ISR), 0, "TimeOut is set once per wrap of TCTR");
    bench.advance(0x1_0000_0000 * 30);
    assert_eq!(bench.inw(ISR), 0x4000);
    acknowledge(&mut bench);
    bench.outl(TCTR, 1);
    bench.advance(30_000);
    assert_eq!(bench.inw(ISR), 0x4000, "a write to TCTR restarts it at 0");
    acknowledge(&mut bench);
    bench.outl(TIMER_INT, 0);
    bench.outl(TCTR, 1);
    bench.advance(200_000_000_000);
    assert_eq!(bench.inw(ISR), 0, "TimerInt 0 disables TimeOut");
}

#[test]
fn continuous_sending_interrupts_once_per_four_slots() {
    let mut bench = running();
    for n in 0..8 {
        slot(&mut bench, n);
        acknowledge(&mut bench);
    }
    let before = irq_edges(&bench);
    for n in 0..400 {
        slot(&mut bench, n);
        assert_eq!(bench.inl(TSD + 4 * (n & 3)) & 0xa000, 0xa000, "TSD has OWN and TOK at once");
        assert_eq!(bench.inw(ISR) & 4, 4);
        bench.advance(5_000);
        if bench.irq(INTA) {
            acknowledge(&mut bench);
        }
    }
    let count = irq_edges(&bench) - before;
    assert_eq!(count, 100);
}

#[test]
fn the_last_frames_of_a_burst_interrupt_within_the_delay() {
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
fn moderation_backs_off_for_a_guest_that_waits_for_each_frame() {
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
fn another_interrupt_cause_raises_inta_at_once() {
    let mut bench = running();
    for n in 0..8 {
        slot(&mut bench, n);
        acknowledge(&mut bench);
    }
    slot(&mut bench, 0);
    assert!(!bench.irq(INTA));
    deliver(&mut bench, &frame(MAC, 60));
    assert_eq!((bench.irq(INTA), bench.inw(ISR)), (true, 5));
    bench.outw(ISR, 1);
    assert!(bench.irq(INTA), "TOK is still set");
    bench.outw(IMR, 0);
    bench.outw(IMR, 0xffff);
    assert!(bench.irq(INTA), "an announced TOK interrupts again when unmasked");
}
