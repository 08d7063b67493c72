use super::*;
use std::time::Instant;

/// Runs for a second, in which a guest's processors also look at the registers, and says how many TDs and QHs there were.
#[track_caller]
fn survives(host: &mut Host) {
    let begin = Instant::now();
    for _ in 0..50 {
        host.bench.advance(20 * FRAME);
        host.bench.inl(IO);
        host.bench.inl(IO + 4);
    }
    assert!(begin.elapsed().as_secs() < 20, "bounded work");
}

fn everywhere(host: &mut Host, link: u32) {
    for n in 0..1024 {
        host.poke(LIST + 4 * n, link);
    }
}

#[test]
fn a_schedule_that_goes_round_ends() {
    // A QH that leads to itself; two that lead to each other; one within itself; TDs in a ring; queues of such.
    let mut host = Host::running();
    host.poke(QUEUE, QUEUE as u32 | 2);
    host.poke(QUEUE + 4, 1);
    everywhere(&mut host, QUEUE as u32 | 2);
    survives(&mut host);
    host.poke(QUEUE, (QUEUE + 16) as u32 | 2);
    host.poke(QUEUE + 16, QUEUE as u32 | 2);
    host.poke(QUEUE + 20, 1);
    survives(&mut host);
    host.poke(QUEUE + 4, QUEUE as u32 | 2);
    survives(&mut host);
    host.put_td(0, TDS as u32, &Want::new(IN, 99, 8));
    everywhere(&mut host, TDS as u32);
    survives(&mut host);
    host.put_td(0, TDS as u32 | 4, &Want::new(IN, 99, 8));
    host.poke(QUEUE, QUEUE as u32 | 2);
    host.poke(QUEUE + 4, TDS as u32);
    everywhere(&mut host, QUEUE as u32 | 2);
    survives(&mut host);
    assert_eq!(host.bench.inw(IO) & 1, 1, "it runs on");
}

#[test]
fn a_round_in_which_something_is_done_goes_on_until_the_frame_is_full() {
    // The queue of a control transfer behind one that leads back to it, as drivers do for bandwidth.
    let mut host = Host::configured();
    host.queue(&[Want::new(SETUP, TABLET_ADDRESS, 8), Want { interrupt: true, ..Want::new(IN, TABLET_ADDRESS, 1) }]);
    host.poke(TDS, (TDS + 16) as u32);
    host.poke(QUEUE, QUEUE as u32 | 2);
    host.bench.memory.write(BUFFERS, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    host.frames(1);
    assert!(!host.td(1).control.active(), "both in one frame, though breadth first");
    survives(&mut host);
}

#[test]
fn more_queues_than_a_frame_has_time_for_are_left() {
    let mut host = Host::running();
    // One after another, 16 bytes each.
    let base = 0x12_0000_u64;
    for n in 0..50_000 {
        host.poke(base + 16 * n, (base + 16 * (n + 1)) as u32 | 2);
        host.poke(base + 16 * n + 4, 1);
    }
    everywhere(&mut host, base as u32 | 2);
    survives(&mut host);
}

#[test]
fn a_schedule_where_no_memory_is_stops_the_controller() {
    for link in [0xfee0_0000_u32 | 2, 0xa_0000 | 2, 0xfec0_0000, 0xffff_fff0, 0x4000_0000 | 2] {
        let mut host = Host::running();
        host.bench.outw(IO + 2, 0x3f);
        everywhere(&mut host, link);
        host.frames(2);
        assert_eq!(host.status(), 0x28, "host system error, halted: {link:x}");
        assert!(host.irq());
        host.bench.outw(IO + 2, 8);
        assert!(!host.irq());
    }
    // The frame list itself, and a TD's data.
    let mut host = Host::running();
    host.bench.outl(IO + 8, 0xfffff000);
    host.frames(2);
    assert_eq!(host.status() & 0x28, 0x28);
    let mut host = Host::configured();
    host.queue(&[Want::new(SETUP, TABLET_ADDRESS, 8)]);
    host.poke(TDS + 12, 0xfffffffc);
    host.frames(2);
    assert_eq!(host.status() & 0x28, 0x28);
}

#[test]
fn nonsense_stops_the_controller() {
    let mut host = Host::running();
    host.bench.outw(IO + 2, 0x3f);
    host.queue(&[Want { pid: 0x12, ..Want::new(IN, 0, 8) }]);
    host.frames(2);
    assert_eq!(host.status(), 0x30, "process error, halted");
    let mut host = Host::running();
    host.queue(&[Want::new(OUT, 0, 1281)]);
    host.frames(2);
    assert_eq!(host.status() & 0x30, 0x30);
    assert!(host.irq());
}

#[test]
fn the_longest_packets_reach_nobody_and_do_no_harm() {
    for bytes in [0, 1, 9, 64, 1023, 1280] {
        for pid in [OUT, SETUP, IN] {
            let mut host = Host::configured();
            host.queue(&[Want { errors: 1, ..Want::new(pid, TABLET_ADDRESS, bytes) }]);
            host.bench.memory.write(BUFFERS, &[0xff; 1280]);
            survives(&mut host);
            assert!(!host.td(0).control.active(), "{pid:x} of {bytes}");
        }
    }
}

#[test]
fn without_bus_mastering_nothing_is_read() {
    let mut host = Host::running();
    everywhere(&mut host, 0xffff_fff0);
    host.bench.config_write(4, 2, 1);
    survives(&mut host);
    assert_eq!(host.bench.inw(IO) & 1, 1);
}

#[test]
fn a_host_that_was_away_makes_up_for_no_more_than_it_should() {
    let mut host = Host::configured();
    let before = host.bench.inw(IO + 6);
    host.bench.timers.clear();
    host.bench.advance(1_000_000_000 * FRAME / 1000);
    let begin = Instant::now();
    assert_eq!(host.bench.inw(IO + 6), (u64::from(before) + 1_000_000) as u16 & 0x7ff);
    assert!(begin.elapsed().as_millis() < 2000);
}
