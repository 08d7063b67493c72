use super::*;
use crate::testing::{Bench, generic_tests};

const BASE: u16 = 0x3f8;
const COM1: CharId = CharId(0);
const IRQ: IrqLine = IrqLine::Isa(4);

fn bench() -> Bench<Uart16550> {
    Bench::new(Uart16550::new(BASE, 4, COM1))
}

#[test]
fn generic() {
    generic_tests(|| Uart16550::new(BASE, 4, COM1));
}
