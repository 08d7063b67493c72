//! libFuzzer target: the QMP request reader, fed with a client's bytes in parts of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pcvm::control::qmp::{REQUEST_MAX, Reader};

fuzz_target!(|bytes: &[u8]| {
    let Some((&size, bytes)) = bytes.split_first() else { return };
    let mut reader = Reader::default();
    for part in bytes.chunks(usize::from(size) * 64 + 1) {
        reader.feed(part);
        while reader.next(false).is_some() {}
        assert!(reader.buffered() <= REQUEST_MAX + part.len());
    }
    while reader.next(true).is_some() {}
});
