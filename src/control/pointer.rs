//! What clients do with the pointer and keys (QEMU QMP reference, `input-send-event`): relative axes and buttons are the
//! mouse's, absolute axes the tablet's, and buttons are those of what the client moved last.

use super::command::key_value;
use super::qmp::{Arguments, Failure};
use crate::machine::Handle;
use crate::tablet::scale;
use pcvm_devices::InputEvent;
use serde_json::Value;

/// The buttons that a client holds, and what it moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointer {
    buttons: u8,
    /// The tablet, else the mouse; none before either was moved.
    absolute: Option<bool>,
}

impl Pointer {
    fn event(&self, dz: i32) -> InputEvent {
        match self.absolute {
            Some(true) => InputEvent::Pointer { x: None, y: None, dz, buttons: self.buttons },
            _ => InputEvent::Mouse { dx: 0, dy: 0, dz, buttons: self.buttons },
        }
    }

    /// Buttons are those of what is moved: before that moves, others are let go.
    fn moves(&mut self, absolute: bool, events: &mut Vec<InputEvent>) {
        if self.absolute == Some(!absolute) && self.buttons != 0 {
            events.push(Self { buttons: 0, ..*self }.event(0));
        }
        self.absolute = Some(absolute);
    }
}

/// Fails unless there is a tablet that the guest listens to.
fn needed(tablet: Option<bool>) -> Result<(), Failure> {
    match tablet {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::generic("the guest has no driver for the tablet, or none yet")),
        None => Err(Failure::generic("the machine has no absolute pointer (--tablet)")),
    }
}

/// The pointer to a pixel of the screen.
pub(super) fn point(
    mut arguments: Arguments,
    handle: &Handle,
    pointer: &mut Pointer,
) -> Result<Vec<InputEvent>, Failure> {
    let x = Arguments::required("x", arguments.integer("x")?)?;
    let y = Arguments::required("y", arguments.integer("y")?)?;
    arguments.end()?;
    needed(handle.tablet_in_use())?;
    let (width, height) = handle.screen_size().ok_or_else(|| Failure::generic("there is no screen"))?;
    let scaled = |pixel: i64, size: u32| scale(u16::try_from(pixel).ok()?, u16::try_from(size).ok()?);
    let (Some(x), Some(y)) = (scaled(x, width), scaled(y, height)) else {
        return Err(Failure::generic(format!("{x}, {y} is not on the screen, which is {width} x {height}")));
    };
    let mut events = Vec::new();
    pointer.moves(true, &mut events);
    events.push(InputEvent::Pointer { x: Some(x), y: Some(y), dz: 0, buttons: pointer.buttons });
    Ok(events)
}

/// QMP's InputEvent, added to `events`. `tablet`: whether the guest listens to the tablet, if there is one.
pub(super) fn input(
    value: Value,
    tablet: Option<bool>,
    pointer: &mut Pointer,
    events: &mut Vec<InputEvent>,
) -> Result<(), Failure> {
    let mut event = Arguments::of("events", value)?;
    let kind = Arguments::required("type", event.text("type")?)?;
    let mut data = event.object("data")?;
    event.end()?;
    let event = match kind.as_str() {
        "key" => {
            let down = Arguments::required("down", data.boolean("down")?)?;
            InputEvent::Key { code: key_value(Arguments::required("key", data.optional("key"))?)?, down }
        }
        "btn" => {
            let down = Arguments::required("down", data.boolean("down")?)?;
            let button = Arguments::required("button", data.text("button")?)?;
            let mut dz = 0;
            let bit = match button.as_str() {
                "left" => 1,
                "right" => 2,
                "middle" => 4,
                "side" => 8,
                "extra" => 16,
                // A notch of the wheel counts when it begins.
                "wheel-up" => {
                    dz = -i32::from(down);
                    0
                }
                "wheel-down" => {
                    dz = i32::from(down);
                    0
                }
                _ => return Err(Failure::generic(format!("'{button}' is no button of the mouse"))),
            };
            pointer.buttons = if down { pointer.buttons | bit } else { pointer.buttons & !bit };
            pointer.absolute.get_or_insert_with(|| tablet == Some(true));
            pointer.event(dz)
        }
        "rel" => {
            let axis = Arguments::required("axis", data.text("axis")?)?;
            let value = Arguments::required("value", data.integer("value")?)?.clamp(-4096, 4096) as i32;
            // QMP counts downwards, the mouse upwards.
            let (dx, dy) = if is_x(&axis)? { (value, 0) } else { (0, -value) };
            pointer.moves(false, events);
            InputEvent::Mouse { dx, dy, dz: 0, buttons: pointer.buttons }
        }
        "abs" => {
            let axis = Arguments::required("axis", data.text("axis")?)?;
            let value = Arguments::required("value", data.integer("value")?)?;
            let value = u16::try_from(value).ok().filter(|&value| value <= 0x7fff);
            let value = value.ok_or_else(|| Failure::generic("Parameter 'value' expects 0 to 32767"))?;
            let (x, y) = if is_x(&axis)? { (Some(value), None) } else { (None, Some(value)) };
            needed(tablet)?;
            pointer.moves(true, events);
            InputEvent::Pointer { x, y, dz: 0, buttons: pointer.buttons }
        }
        _ => return Err(Failure::generic("Parameter 'type' expects 'key', 'btn', 'rel' or 'abs'")),
    };
    data.end()?;
    events.push(event);
    Ok(())
}

fn is_x(axis: &str) -> Result<bool, Failure> {
    match axis {
        "x" => Ok(true),
        "y" => Ok(false),
        _ => Err(Failure::generic("Parameter 'axis' expects 'x' or 'y'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn axis(kind: &str, axis: &str, value: i64) -> Value {
        json!({ "type": kind, "data": { "axis": axis, "value": value } })
    }

    fn button(down: bool) -> Value {
        json!({ "type": "btn", "data": { "button": "left", "down": down } })
    }

    /// What a client's events become.
    fn all(tablet: Option<bool>, values: &[Value]) -> Result<Vec<InputEvent>, String> {
        let (mut pointer, mut events) = (Pointer::default(), Vec::new());
        for value in values {
            input(value.clone(), tablet, &mut pointer, &mut events).map_err(|failure| failure.desc)?;
        }
        Ok(events)
    }

    fn mouse(dx: i32, dy: i32, buttons: u8) -> InputEvent {
        InputEvent::Mouse { dx, dy, dz: 0, buttons }
    }

    fn at(x: Option<u16>, y: Option<u16>, buttons: u8) -> InputEvent {
        InputEvent::Pointer { x, y, dz: 0, buttons }
    }

    #[test]
    fn buttons_are_those_of_what_was_moved_last() {
        let press = [button(true), button(false)];
        assert_eq!(all(None, &press), Ok(vec![mouse(0, 0, 1), mouse(0, 0, 0)]));
        assert_eq!(all(Some(false), &press), Ok(vec![mouse(0, 0, 1), mouse(0, 0, 0)]));
        assert_eq!(all(Some(true), &press), Ok(vec![at(None, None, 1), at(None, None, 0)]));
        let moves = [
            axis("rel", "x", 5),
            button(true),
            axis("abs", "x", 0x7fff),
            axis("abs", "y", 0),
            button(false),
            axis("rel", "y", 5),
        ];
        let expect = [
            mouse(5, 0, 0),
            mouse(0, 0, 1),
            // Let go where it was pressed, and held where it is now.
            mouse(0, 0, 0),
            at(Some(0x7fff), None, 1),
            at(None, Some(0), 1),
            at(None, None, 0),
            mouse(0, -5, 0),
        ];
        assert_eq!(all(Some(true), &moves), Ok(expect.to_vec()));
    }

    #[test]
    fn a_position_is_taken_only_for_a_tablet_that_is_in_use() {
        for (tablet, value, why) in [
            (None, 5, "--tablet"),
            (Some(false), 5, "no driver"),
            (Some(true), -1, "0 to 32767"),
            (Some(true), 0x8000, "0 to 32767"),
        ] {
            let error = all(tablet, &[axis("abs", "x", value)]).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(all(Some(true), &[axis("abs", "z", 5)]).is_err());
    }
}
