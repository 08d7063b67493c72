//! TSD among the registers that may be kept back, and not.

use super::*;

/// Whether writes to TSD may be kept back, by ports and by memory alike.
fn kept(bench: &Bench<Rtl8139>) -> bool {
    let first: Vec<u64> =
        bench.device.regions().iter().filter_map(|region| region.coalesce.first()).map(|range| range.start).collect();
    assert!(first == [0x10, 0x10] || first == [0x20, 0x20], "{first:x?}");
    first[0] == 0x10
}

fn send(bench: &mut Bench<Rtl8139>, n: u16) {
    bench.outl(IO + 0x10 + 4 * (n & 3), 60);
}

/// A card that was seen to be sent by with prompt looks.
fn keeping() -> Bench<Rtl8139> {
    let mut bench = running();
    for n in 0..32 {
        assert!(!kept(&bench), "{n}");
        send(&mut bench, n);
        bench.advance(10_000);
        bench.inl(IO + 0x10 + 4 * (n & 3));
        bench.advance(10_000);
    }
    assert!(kept(&bench));
    bench
}

#[test]
fn a_driver_that_looks_after_each_frame_is_spared_the_stop_at_tsd() {
    let mut bench = keeping();
    for n in 0..1000 {
        send(&mut bench, n);
        bench.advance(20_000);
        assert_eq!(bench.inl(IO + 0x10 + 4 * (n & 3)) & 0xa000, 0xa000);
    }
    assert!(kept(&bench));
    assert_eq!(sent(&mut bench).len(), 1032);
}

#[test]
fn four_slots_and_one_look_do_as_well() {
    let mut bench = running();
    for n in 0..4 * 32 {
        send(&mut bench, n);
        bench.advance(20_000);
        if n & 3 == 3 {
            bench.inb(IO + 0x37);
        }
    }
    assert!(kept(&bench));
}

#[test]
fn a_driver_that_waits_for_its_interrupt_is_not_made_to_wait_longer() {
    let mut bench = running();
    for n in 0..1000 {
        send(&mut bench, n);
        bench.advance(if n & 1 == 0 { 5_000 } else { 400_000 });
        bench.inw(IO + 0x3e);
        bench.outw(IO + 0x3e, 0xffff);
        assert!(!kept(&bench));
    }
    for n in 0..1000 {
        send(&mut bench, n);
        bench.advance(400_000);
        bench.inb(IO + 0x37);
        assert!(!kept(&bench), "nor one that looks when it has the time");
    }
}

#[test]
fn who_does_not_look_once_has_to_earn_it_again_and_longer() {
    let mut bench = keeping();
    send(&mut bench, 0);
    bench.advance(400_000);
    assert!(kept(&bench));
    bench.advance(700_000);
    assert!(!kept(&bench), "two timers found the same frame without a look");
    let mut looks = 0;
    while !kept(&bench) {
        send(&mut bench, 1 + looks);
        bench.inb(IO + 0x37);
        looks += 1;
    }
    assert_eq!(looks, 64);
}

#[test]
fn the_timer_between_a_frame_and_the_look_after_it_means_nothing() {
    let mut bench = keeping();
    for n in 0..100 {
        send(&mut bench, n);
        bench.advance(500_000);
        bench.inb(IO + 0x37);
        send(&mut bench, n + 1);
        bench.inb(IO + 0x37);
    }
    assert!(kept(&bench));
}

#[test]
fn it_ends_when_nothing_is_sent_at_a_reset_and_in_cplus_mode() {
    let mut bench = keeping();
    bench.advance(3_000_000);
    assert!(!kept(&bench));
    assert!(bench.timers.is_empty(), "{:?}", bench.timers);
    let mut bench = keeping();
    bench.outb(IO + 0x37, 0x10);
    assert!(!kept(&bench));
    let mut bench = keeping();
    bench.outw(IO + 0xe0, 1);
    assert!(!kept(&bench));
}
