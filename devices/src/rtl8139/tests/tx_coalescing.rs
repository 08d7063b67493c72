//! TSD coalescing: when it starts, and when it stops.

use super::*;

/// Whether TSD writes may be coalesced, at the ports and at MMIO alike.
fn tsd_is_coalesced(bench: &Bench<Rtl8139>) -> bool {
    let first: Vec<u64> =
        bench.device.regions().iter().filter_map(|region| region.coalesce.first()).map(|range| range.start).collect();
    assert!(first == [0x10, 0x10] || first == [0x20, 0x20], "{first:x?}");
    first[0] == 0x10
}

fn send(bench: &mut Bench<Rtl8139>, n: u16) {
    bench.outl(TSD + 4 * (n & 3), 60);
}

/// A card that coalesces TSD after 32 prompt accesses.
fn coalescing_card() -> Bench<Rtl8139> {
    let mut bench = running();
    for n in 0..32 {
        assert!(!tsd_is_coalesced(&bench), "after {n} prompt accesses");
        send(&mut bench, n);
        bench.advance(10_000);
        bench.inl(TSD + 4 * (n & 3));
        bench.advance(10_000);
    }
    assert!(tsd_is_coalesced(&bench));
    bench
}

#[test]
fn tsd_is_coalesced_while_each_write_is_followed_by_an_access() {
    let mut bench = coalescing_card();
    for n in 0..1000 {
        send(&mut bench, n);
        bench.advance(20_000);
        assert_eq!(bench.inl(TSD + 4 * (n & 3)) & 0xa000, 0xa000);
    }
    assert!(tsd_is_coalesced(&bench));
    assert_eq!(sent(&mut bench).len(), 1032);
}

#[test]
fn one_access_after_four_slots_counts_as_prompt() {
    let mut bench = running();
    for n in 0..4 * 32 {
        send(&mut bench, n);
        bench.advance(20_000);
        if n & 3 == 3 {
            bench.inb(CR);
        }
    }
    assert!(tsd_is_coalesced(&bench));
}

#[test]
fn tsd_is_not_coalesced_for_a_driver_that_waits_for_interrupts() {
    let mut bench = running();
    for n in 0..1000 {
        send(&mut bench, n);
        bench.advance(if n & 1 == 0 { 5_000 } else { 400_000 });
        bench.inw(ISR);
        bench.outw(ISR, 0xffff);
        assert!(!tsd_is_coalesced(&bench));
    }
    for n in 0..1000 {
        send(&mut bench, n);
        bench.advance(400_000);
        bench.inb(CR);
        assert!(!tsd_is_coalesced(&bench), "late accesses do not count as prompt");
    }
}

#[test]
fn a_missing_access_ends_coalescing_and_doubles_the_trial() {
    let mut bench = coalescing_card();
    send(&mut bench, 0);
    bench.advance(400_000);
    assert!(tsd_is_coalesced(&bench));
    bench.advance(700_000);
    assert!(!tsd_is_coalesced(&bench), "two timers found the same TSD write without an access");
    let mut looks = 0;
    while !tsd_is_coalesced(&bench) {
        send(&mut bench, 1 + looks);
        bench.inb(CR);
        looks += 1;
    }
    assert_eq!(looks, 64);
}

#[test]
fn one_timer_between_a_write_and_its_access_does_not_end_coalescing() {
    let mut bench = coalescing_card();
    for n in 0..100 {
        send(&mut bench, n);
        bench.advance(500_000);
        bench.inb(CR);
        send(&mut bench, n + 1);
        bench.inb(CR);
    }
    assert!(tsd_is_coalesced(&bench));
}

#[test]
fn coalescing_ends_when_idle_at_a_reset_and_in_cplus_mode() {
    let mut bench = coalescing_card();
    bench.advance(3_000_000);
    assert!(!tsd_is_coalesced(&bench));
    assert!(bench.timers.is_empty(), "{:?}", bench.timers);
    let mut bench = coalescing_card();
    bench.outb(CR, 0x10);
    assert!(!tsd_is_coalesced(&bench));
    let mut bench = coalescing_card();
    bench.outw(CPCR, 1);
    assert!(!tsd_is_coalesced(&bench));
}
