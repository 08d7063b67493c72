//! Tests of the loader on a fake machine.
