use super::*;

/// GET_CONFIGURATION from a queue, with these changes.
fn transfer(change: impl Fn(&mut [Want; 3])) -> Host {
    let mut host = Host::configured();
    let mut wants = [SETUP, IN, OUT].map(|pid| Want::new(pid, TABLET_ADDRESS, if pid == SETUP { 8 } else { 1 }));
    wants[2].bytes = 0;
    change(&mut wants);
    host.queue(&wants);
    host.bench.memory.write(BUFFERS, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    host.bench.outw(IO + 2, 0x1f);
    host
}

#[test]
fn a_queue_is_worked_off_depth_first_within_a_frame() {
    let mut host = transfer(|wants| wants[2].interrupt = true);
    host.frames(1);
    for (n, actual) in [(0, 7), (1, 0), (2, 0x7ff)] {
        let control = host.td(n).control;
        assert_eq!((control.active(), control.actual(), control.errors()), (false, actual, 3), "{n}");
    }
    assert_eq!(host.data(1, 1), [1]);
    assert_eq!(host.peek(QUEUE + 4), 1, "the element pointer is at the end");
    assert_eq!(host.status(), 1);
    assert!(host.irq());
}

#[test]
fn a_queue_whose_links_are_breadth_first_takes_a_frame_per_td() {
    let mut host = transfer(|_| {});
    for n in 0..2 {
        host.poke(TDS + 16 * n, (TDS + 16 * (n + 1)) as u32);
    }
    for done in 1..=3 {
        host.frames(1);
        let active = (0..3).filter(|&n| host.td(n).control.active()).count();
        assert_eq!(active, 3 - done, "frame {done}");
    }
}

#[test]
fn breadth_follows_depth() {
    // Two queues: the second one's turn comes in the same frame.
    let mut host = transfer(|_| {});
    let second = QUEUE + 0x40;
    host.poke(QUEUE, second as u32 | 2);
    host.put_td(8, 1, &Want { interrupt: true, ..Want::new(IN, 99, 8) });
    host.poke(second, 1);
    host.poke(second + 4, (TDS + 16 * 8) as u32);
    host.frames(1);
    assert!(!host.td(2).control.active());
    assert_eq!(host.td(8).control.errors(), 2, "nobody has this address");
    assert!(host.td(8).control.timeout());
}

#[test]
fn a_short_packet_stops_the_queue_if_the_td_asks_for_that() {
    let mut host = transfer(|wants| (wants[1].bytes, wants[1].short) = (8, true));
    host.frames(1);
    assert!(!host.td(1).control.active() && host.td(2).control.active());
    assert_eq!((host.td(1).control.actual(), host.peek(QUEUE + 4)), (0, (TDS + 16) as u32 | 4));
    assert_eq!(host.status(), 1);
    host.bench.outw(IO + 4, 7);
    assert!(!host.irq(), "its interrupt is one of its own");
    host.bench.outw(IO + 4, 8);
    assert!(host.irq());
    host.frames(5);
    assert!(host.td(2).control.active(), "until software goes on");

    let mut host = transfer(|wants| wants[1].bytes = 8);
    host.frames(1);
    assert!(!host.td(2).control.active());
    assert_eq!(host.status(), 0);
}

#[test]
fn tries_without_an_answer_are_counted_down() {
    for (errors, frames) in [(1, 1), (3, 3)] {
        let mut host = Host::configured();
        host.queue(&[Want { errors, interrupt: true, ..Want::new(IN, 77, 8) }]);
        host.bench.outw(IO + 2, 0x1f);
        host.frames(frames - 1);
        assert!(host.td(0).control.active() && host.status() == 0);
        host.frames(1);
        let control = host.td(0).control;
        assert!(control.stalled() && control.timeout() && !control.active() && !control.babble());
        assert_eq!(host.status(), 3, "error, and complete");
    }
    let mut host = Host::configured();
    host.queue(&[Want { errors: 0, ..Want::new(IN, 77, 8) }]);
    host.frames(100);
    assert!(host.td(0).control.active() && host.td(0).control.timeout(), "0 is for ever");
}

#[test]
fn a_nak_is_noted_and_costs_no_try() {
    let mut host = Host::configured();
    host.poll(TABLET_ADDRESS, false, 8);
    host.frames(100);
    let control = host.td(0).control;
    assert!(control.active() && control.nak() && control.errors() == 3);
}

#[test]
fn a_packet_of_the_wrong_toggle_is_not_the_one_that_is_waited_for() {
    let mut host = Host::configured();
    host.poll(TABLET_ADDRESS, true, 8);
    host.input(InputEvent::Pointer { x: Some(1), y: Some(1), dz: 0, buttons: 0 });
    host.frames(1);
    assert_eq!(host.report(), None);
    host.input(InputEvent::Pointer { x: Some(2), y: Some(1), dz: 0, buttons: 0 });
    host.frames(1);
    assert_eq!(host.report(), Some(vec![0, 2, 0, 1, 0, 0]));
}

#[test]
fn a_packet_that_is_too_long_is_babble() {
    let mut host = Host::configured();
    host.poll(TABLET_ADDRESS, false, 5);
    host.input(InputEvent::Pointer { x: Some(1), y: Some(1), dz: 0, buttons: 0 });
    host.bench.outw(IO + 2, 0x1f);
    host.frames(1);
    let control = host.td(0).control;
    assert!(control.babble() && control.stalled() && !control.active());
    assert_eq!(host.status(), 3);
}

#[test]
fn only_the_speed_of_a_function_reaches_it() {
    let mut host = transfer(|wants| wants.iter_mut().for_each(|want| want.low_speed = true));
    host.frames(1);
    assert!(host.td(0).control.timeout());
}

#[test]
fn an_inactive_td_with_ioc_interrupts_every_time() {
    let mut host = Host::configured();
    host.queue(&[Want { interrupt: true, ..Want::new(IN, 1, 8) }]);
    host.poke(TDS + 4, host.td(0).control.with_active(false).into_bits());
    for _ in 0..3 {
        host.bench.outw(IO + 2, 0x1f);
        assert_eq!(host.status(), 0);
        host.frames(1);
        assert_eq!(host.status(), 1);
    }
}

#[test]
fn an_isochronous_td_is_done_after_one_try_and_passes_on() {
    let mut host = Host::configured();
    host.queue(&[Want::new(IN, 77, 8)]);
    host.put_td(0, QUEUE as u32 | 2, &Want::new(IN, 77, 8));
    host.put_td(1, 1, &Want { interrupt: true, ..Want::new(IN, 78, 8) });
    host.poke(TDS + 4, host.td(0).control.with_isochronous(true).into_bits());
    host.poke(QUEUE + 4, (TDS + 16) as u32);
    for n in 0..1024 {
        host.poke(LIST + 4 * n, TDS as u32);
    }
    host.bench.outw(IO + 2, 0x1f);
    host.frames(1);
    let control = host.td(0).control;
    assert!(!control.active() && control.timeout() && !control.stalled() && control.errors() == 3);
    assert_eq!(host.td(1).control.errors(), 2);
    assert_eq!(host.status(), 0);
}

#[test]
fn a_frame_has_room_for_so_much() {
    let mut host = Host::configured();
    // Low-speed transactions of 8 bytes take a ninth of a frame.
    let wants: Vec<_> = (0..20).map(|_| Want { low_speed: true, ..Want::new(SETUP, KEYBOARD_ADDRESS, 8) }).collect();
    host.queue(&wants);
    for n in 0..20 {
        host.bench.memory.write(BUFFERS + 0x100 * n, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    }
    let done = |host: &Host| (0..20).filter(|&n| !host.td(n).control.active()).count();
    host.frames(1);
    let first = done(&host);
    assert!((6..=9).contains(&first), "{first}");
    host.frames(1);
    assert_eq!(done(&host), 2 * first);
}

#[test]
fn single_steps_stop_after_every_transaction() {
    let mut host = transfer(|_| {});
    host.bench.outw(IO, 0x80);
    host.bench.outw(IO, 0xa0);
    for done in 1..=3 {
        host.bench.outw(IO, 0xa1);
        host.frames(1);
        assert_eq!(host.bench.inw(IO) & 1, 0, "stopped");
        assert_eq!((0..3).filter(|&n| !host.td(n).control.active()).count(), done);
    }
    let frame = host.bench.inw(IO + 6);
    host.bench.outw(IO, 0xa1);
    host.frames(1);
    assert_eq!(host.bench.inw(IO + 6), frame + 1, "the frame is over");
}
