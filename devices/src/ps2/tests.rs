use super::*;
use crate::testing::{Bench, generic_tests};

#[test]
fn generic() {
    generic_tests(Ps2Controller::new);
}
