//! UHCI schedules that no driver builds: loops, illegal TDs, pointers outside RAM.
use super::*;
use std::time::Instant;

/// Runs the controller for one second, with register reads in between, and fails if the host needs too long for it.
#[track_caller]
fn run_one_second(driver: &mut Driver) {
    let begin = Instant::now();
    for _ in 0..50 {
        driver.bench.advance(20 * FRAME_NANOS);
        driver.bench.inl(USBCMD);
        driver.bench.inl(USBINTR);
    }
    assert!(begin.elapsed().as_secs() < 20, "the work per call is not bounded");
}

fn fill_frame_list(driver: &mut Driver, link: u32) {
    for n in 0..1024 {
        driver.poke(FRAME_LIST + 4 * n, link);
    }
}

#[test]
fn a_cyclic_schedule_ends() {
    // A QH that links to itself; two QHs that link to each other; a QH as its own element; a ring of TDs; a QH of such
    // a ring.
    let mut driver = Driver::running();
    driver.poke(QH, QH as u32 | 2);
    driver.poke(QH + 4, 1);
    fill_frame_list(&mut driver, QH as u32 | 2);
    run_one_second(&mut driver);
    driver.poke(QH, (QH + 16) as u32 | 2);
    driver.poke(QH + 16, QH as u32 | 2);
    driver.poke(QH + 20, 1);
    run_one_second(&mut driver);
    driver.poke(QH + 4, QH as u32 | 2);
    run_one_second(&mut driver);
    driver.put_td(0, TDS as u32, &TdSpec::new(IN, 99, 8));
    fill_frame_list(&mut driver, TDS as u32);
    run_one_second(&mut driver);
    driver.put_td(0, TDS as u32 | 4, &TdSpec::new(IN, 99, 8));
    driver.poke(QH, QH as u32 | 2);
    driver.poke(QH + 4, TDS as u32);
    fill_frame_list(&mut driver, QH as u32 | 2);
    run_one_second(&mut driver);
    assert_eq!(driver.bench.inw(USBCMD) & 1, 1, "the controller still runs");
}

#[test]
fn a_loop_that_completes_tds_runs_until_the_frame_is_full() {
    // The QH of a control transfer links back to itself, as drivers do for bandwidth reclamation.
    let mut driver = Driver::configured();
    driver.queue(&[TdSpec::new(SETUP, TABLET_ADDRESS, 8), TdSpec { ioc: true, ..TdSpec::new(IN, TABLET_ADDRESS, 1) }]);
    driver.poke(TDS, (TDS + 16) as u32);
    driver.poke(QH, QH as u32 | 2);
    driver.bench.memory.write(BUFFERS, &[0x80, 8, 0, 0, 0, 0, 1, 0]);
    driver.frames(1);
    assert!(!driver.td(1).status.active(), "both TDs complete in one frame although Vf is clear");
    run_one_second(&mut driver);
}

#[test]
fn qhs_that_exceed_the_bus_time_of_a_frame_are_skipped() {
    let mut driver = Driver::running();
    // One QH after another, 16 bytes each.
    let base = 0x12_0000_u64;
    for n in 0..50_000 {
        driver.poke(base + 16 * n, (base + 16 * (n + 1)) as u32 | 2);
        driver.poke(base + 16 * n + 4, 1);
    }
    fill_frame_list(&mut driver, base as u32 | 2);
    run_one_second(&mut driver);
}

#[test]
fn a_schedule_outside_ram_sets_host_system_error_and_stops_the_controller() {
    for link in [0xfee0_0000_u32 | 2, 0xa_0000 | 2, 0xfec0_0000, 0xffff_fff0, 0x4000_0000 | 2] {
        let mut driver = Driver::running();
        driver.bench.outw(USBSTS, 0x3f);
        fill_frame_list(&mut driver, link);
        driver.frames(2);
        assert_eq!(driver.usbsts(), 0x28, "Host System Error and HCHalted for link {link:x}");
        assert_eq!(driver.bench.guest_errors, ["schedule or buffer outside RAM"]);
        assert!(driver.irq());
        driver.bench.outw(USBSTS, 8);
        assert!(!driver.irq());
    }
    // The frame list itself, and a TD's buffer.
    let mut driver = Driver::running();
    driver.bench.outl(FRBASEADD, 0xfffff000);
    driver.frames(2);
    assert_eq!(driver.usbsts() & 0x28, 0x28);
    let mut driver = Driver::configured();
    driver.queue(&[TdSpec::new(SETUP, TABLET_ADDRESS, 8)]);
    driver.poke(TDS + 12, 0xfffffffc);
    driver.frames(2);
    assert_eq!(driver.usbsts() & 0x28, 0x28);
}

#[test]
fn an_illegal_pid_or_maxlen_sets_process_error_and_stops_the_controller() {
    let mut driver = Driver::running();
    driver.bench.outw(USBSTS, 0x3f);
    driver.queue(&[TdSpec { pid: 0x12, ..TdSpec::new(IN, 0, 8) }]);
    driver.frames(2);
    assert_eq!(driver.usbsts(), 0x30, "Host Controller Process Error and HCHalted");
    assert_eq!(driver.bench.guest_errors, ["TD with an illegal PID or MaxLen"]);
    let mut driver = Driver::running();
    driver.queue(&[TdSpec::new(OUT, 0, 1281)]);
    driver.frames(2);
    assert_eq!(driver.usbsts() & 0x30, 0x30);
    assert!(driver.irq());
}

#[test]
fn tds_of_any_legal_maxlen_complete() {
    for bytes in [0, 1, 9, 64, 1023, 1280] {
        for pid in [OUT, SETUP, IN] {
            let mut driver = Driver::configured();
            driver.queue(&[TdSpec { c_err: 1, ..TdSpec::new(pid, TABLET_ADDRESS, bytes) }]);
            driver.bench.memory.write(BUFFERS, &[0xff; 1280]);
            run_one_second(&mut driver);
            assert!(!driver.td(0).status.active(), "PID {pid:x}, MaxLen {bytes}: the TD is still active");
        }
    }
}

#[test]
fn the_schedule_is_not_read_without_bus_mastering() {
    let mut driver = Driver::running();
    fill_frame_list(&mut driver, 0xffff_fff0);
    driver.bench.config_write(4, 2, 1);
    run_one_second(&mut driver);
    assert_eq!(driver.bench.inw(USBCMD) & 1, 1);
}

#[test]
fn catching_up_after_a_long_delay_is_bounded_and_frnum_stays_exact() {
    let mut driver = Driver::configured();
    let before = driver.bench.inw(FRNUM);
    driver.bench.timers.clear();
    driver.bench.advance(1_000_000_000 * FRAME_NANOS / 1000);
    let begin = Instant::now();
    assert_eq!(driver.bench.inw(FRNUM), (u64::from(before) + 1_000_000) as u16 & 0x7ff);
    assert!(begin.elapsed().as_millis() < 2000);
}
