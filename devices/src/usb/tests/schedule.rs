//! Schedule traversal: queues, TD status, bus time, single-stepping.
use super::*;

/// A queue with a GET_CONFIGURATION transfer, modified by `change`.
fn transfer(change: impl Fn(&mut [TdSpec; 3])) -> Driver {
    let mut driver = Driver::configured();
    let mut specs = [SETUP, IN, OUT].map(|pid| TdSpec::new(pid, TABLET_ADDRESS, if pid == SETUP { 8 } else { 1 }));
    specs[2].bytes = 0;
    change(&mut specs);
    driver.queue(&specs);
    driver.bench.memory.write(BUFFERS, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    driver.bench.outw(USBSTS, 0x1f);
    driver
}

#[test]
fn a_depth_first_queue_completes_in_one_frame() {
    let mut driver = transfer(|specs| specs[2].ioc = true);
    driver.frames(1);
    for (n, actual) in [(0, 7), (1, 0), (2, 0x7ff)] {
        let status = driver.td(n).status;
        assert_eq!((status.active(), status.act_len(), status.c_err()), (false, actual, 3), "TD {n}");
    }
    assert_eq!(driver.data(1, 1), [1]);
    assert_eq!(driver.peek(QH + 4), 1, "the element link pointer has T set");
    assert_eq!(driver.usbsts(), 1);
    assert!(driver.irq());
}

#[test]
fn a_breadth_first_queue_takes_one_frame_per_td() {
    let mut driver = transfer(|_| {});
    for n in 0..2 {
        driver.poke(TDS + 16 * n, (TDS + 16 * (n + 1)) as u32);
    }
    for done in 1..=3 {
        driver.frames(1);
        let active = (0..3).filter(|&n| driver.td(n).status.active()).count();
        assert_eq!(active, 3 - done, "frame {done}");
    }
}

#[test]
fn the_next_qh_runs_in_the_same_frame() {
    // The second of two QHs.
    let mut driver = transfer(|_| {});
    let second = QH + 0x40;
    driver.poke(QH, second as u32 | 2);
    driver.put_td(8, 1, &TdSpec { ioc: true, ..TdSpec::new(IN, 99, 8) });
    driver.poke(second, 1);
    driver.poke(second + 4, (TDS + 16 * 8) as u32);
    driver.frames(1);
    assert!(!driver.td(2).status.active());
    assert_eq!(driver.td(8).status.c_err(), 2, "no function has this address");
    assert!(driver.td(8).status.crc_timeout());
}

#[test]
fn a_short_packet_stops_the_queue_if_spd_is_set() {
    let mut driver = transfer(|specs| (specs[1].bytes, specs[1].spd) = (8, true));
    driver.frames(1);
    assert!(!driver.td(1).status.active() && driver.td(2).status.active());
    assert_eq!((driver.td(1).status.act_len(), driver.peek(QH + 4)), (0, (TDS + 16) as u32 | 4));
    assert_eq!(driver.usbsts(), 1);
    driver.bench.outw(USBINTR, 7);
    assert!(!driver.irq(), "the short packet interrupt is disabled");
    driver.bench.outw(USBINTR, 8);
    assert!(driver.irq());
    driver.frames(5);
    assert!(driver.td(2).status.active(), "the queue stays stopped until software advances it");

    let mut driver = transfer(|specs| specs[1].bytes = 8);
    driver.frames(1);
    assert!(!driver.td(2).status.active());
    assert_eq!(driver.usbsts(), 0);
}

#[test]
fn a_timeout_decrements_c_err_until_the_td_stalls() {
    for (c_err, frames) in [(1, 1), (3, 3)] {
        let mut driver = Driver::configured();
        driver.queue(&[TdSpec { c_err, ioc: true, ..TdSpec::new(IN, 77, 8) }]);
        driver.bench.outw(USBSTS, 0x1f);
        driver.frames(frames - 1);
        assert!(driver.td(0).status.active() && driver.usbsts() == 0);
        driver.frames(1);
        let status = driver.td(0).status;
        assert!(status.stalled() && status.crc_timeout() && !status.active() && !status.babble());
        assert_eq!(driver.usbsts(), 3, "USB Error Interrupt and USBINT");
    }
    let mut driver = Driver::configured();
    driver.queue(&[TdSpec { c_err: 0, ..TdSpec::new(IN, 77, 8) }]);
    driver.frames(100);
    assert!(driver.td(0).status.active() && driver.td(0).status.crc_timeout(), "C_ERR 0 means no limit");
}

#[test]
fn a_nak_sets_its_status_bit_and_leaves_c_err_unchanged() {
    let mut driver = Driver::configured();
    driver.poll(TABLET_ADDRESS, false, 8);
    driver.frames(100);
    let status = driver.td(0).status;
    assert!(status.active() && status.nak() && status.c_err() == 3);
}

#[test]
fn a_packet_with_the_wrong_data_toggle_is_discarded() {
    let mut driver = Driver::configured();
    driver.poll(TABLET_ADDRESS, true, 8);
    driver.input(InputEvent::Pointer { x: Some(1), y: Some(1), dz: 0, buttons: 0 });
    driver.frames(1);
    assert_eq!(driver.report(), None);
    driver.input(InputEvent::Pointer { x: Some(2), y: Some(1), dz: 0, buttons: 0 });
    driver.frames(1);
    assert_eq!(driver.report(), Some(vec![0, 2, 0, 1, 0, 0]));
}

#[test]
fn a_packet_longer_than_maxlen_sets_babble_and_stalls_the_td() {
    let mut driver = Driver::configured();
    driver.poll(TABLET_ADDRESS, false, 5);
    driver.input(InputEvent::Pointer { x: Some(1), y: Some(1), dz: 0, buttons: 0 });
    driver.bench.outw(USBSTS, 0x1f);
    driver.frames(1);
    let status = driver.td(0).status;
    assert!(status.babble() && status.stalled() && !status.active());
    assert_eq!(driver.usbsts(), 3);
}

#[test]
fn a_transaction_at_the_wrong_speed_times_out() {
    let mut driver = transfer(|specs| specs.iter_mut().for_each(|spec| spec.low_speed = true));
    driver.frames(1);
    assert!(driver.td(0).status.crc_timeout());
}

#[test]
fn an_inactive_td_with_ioc_interrupts_in_every_frame() {
    let mut driver = Driver::configured();
    driver.queue(&[TdSpec { ioc: true, ..TdSpec::new(IN, 1, 8) }]);
    driver.poke(TDS + 4, driver.td(0).status.with_active(false).into_bits());
    for _ in 0..3 {
        driver.bench.outw(USBSTS, 0x1f);
        assert_eq!(driver.usbsts(), 0);
        driver.frames(1);
        assert_eq!(driver.usbsts(), 1);
    }
}

#[test]
fn an_isochronous_td_is_retired_after_one_attempt() {
    let mut driver = Driver::configured();
    driver.queue(&[TdSpec::new(IN, 77, 8)]);
    driver.put_td(0, QH as u32 | 2, &TdSpec::new(IN, 77, 8));
    driver.put_td(1, 1, &TdSpec { ioc: true, ..TdSpec::new(IN, 78, 8) });
    driver.poke(TDS + 4, driver.td(0).status.with_ios(true).into_bits());
    driver.poke(QH + 4, (TDS + 16) as u32);
    for n in 0..1024 {
        driver.poke(FRAME_LIST + 4 * n, TDS as u32);
    }
    driver.bench.outw(USBSTS, 0x1f);
    driver.frames(1);
    let status = driver.td(0).status;
    assert!(!status.active() && status.crc_timeout() && !status.stalled() && status.c_err() == 3);
    assert_eq!(driver.td(1).status.c_err(), 2);
    assert_eq!(driver.usbsts(), 0);
}

#[test]
fn bus_time_limits_the_transactions_of_a_frame() {
    let mut driver = Driver::configured();
    // A low-speed transaction of 8 bytes takes a ninth of a frame.
    let specs: Vec<_> =
        (0..20).map(|_| TdSpec { low_speed: true, ..TdSpec::new(SETUP, KEYBOARD_ADDRESS, 8) }).collect();
    driver.queue(&specs);
    for n in 0..20 {
        driver.bench.memory.write(BUFFERS + 0x100 * n, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    }
    let done = |driver: &Driver| (0..20).filter(|&n| !driver.td(n).status.active()).count();
    driver.frames(1);
    let first = done(&driver);
    assert!((6..=9).contains(&first), "{first} transactions");
    driver.frames(1);
    assert_eq!(done(&driver), 2 * first);
}

#[test]
fn swdbg_stops_the_controller_after_every_transaction() {
    let mut driver = transfer(|_| {});
    driver.bench.outw(USBCMD, 0x80);
    driver.bench.outw(USBCMD, 0xa0);
    for done in 1..=3 {
        driver.bench.outw(USBCMD, 0xa1);
        driver.frames(1);
        assert_eq!(driver.bench.inw(USBCMD) & 1, 0, "RS is clear after a transaction");
        assert_eq!((0..3).filter(|&n| !driver.td(n).status.active()).count(), done);
    }
    let frame = driver.bench.inw(FRNUM);
    driver.bench.outw(USBCMD, 0xa1);
    driver.frames(1);
    assert_eq!(driver.bench.inw(FRNUM), frame + 1, "the end of the schedule ends the frame");
}
