//! Generic tests, random scripts and damaged states for every device: a short form of what the fuzz targets do.
//!
//! Every device of `pcvm_devices::testing::subjects::SUBJECTS` takes part. Each test divides the list among threads and
//! names the device that fails.

use pcvm_devices::testing::subjects::{self, SUBJECTS, Subject, random};

/// Runs `test` for every subject, on as many threads as the host has CPUs, and fails with the names of those that failed.
fn for_every_subject(test: fn(&Subject)) {
    let failed = std::sync::Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(subject) = SUBJECTS.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    if std::panic::catch_unwind(|| test(subject)).is_err() {
                        failed.lock().unwrap().push(subject.name);
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner().unwrap(), [""; 0]);
}

#[test]
fn every_device_passes_the_generic_tests() {
    for_every_subject(|subject| (subject.generic)());
}

#[test]
fn no_random_script_makes_a_device_panic() {
    for_every_subject(|subject| random(subject.random.0, subject.random.1, subject.play));
}

#[test]
fn a_damaged_state_does_no_harm() {
    for_every_subject(|subject| random(50, 400, subject.damage));
}

#[test]
fn a_register_reads_the_same_before_and_after_a_late_timer_fires() {
    for_every_subject(|subject| random(60, 300, subject.late));
}

#[test]
fn no_random_script_makes_the_pci_configuration_address_panic() {
    random(1500, 300, subjects::config_address);
}

#[test]
fn subject_names_are_unique() {
    for subject in SUBJECTS {
        assert!(std::ptr::eq(subjects::subject(subject.name).unwrap(), subject), "{}", subject.name);
    }
}
