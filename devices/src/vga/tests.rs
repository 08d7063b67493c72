use super::*;
use crate::testing::{Bench, generic_tests};

fn rom() -> Vec<u8> {
    (0..0x9800u32).map(|n| (n * 7) as u8).collect()
}

fn bench() -> Bench<Vga> {
    Bench::new(Vga::new(Vga::DEFAULT_VRAM, rom()))
}

#[test]
fn generic() {
    generic_tests(|| Vga::new(Vga::DEFAULT_VRAM, rom()));
}
