//! Pointer and key events of control clients (QEMU QMP reference, `input-send-event`). Relative axes go to the PS/2 mouse,
//! absolute axes to the USB tablet, and buttons to the device that the client moved last.

use super::command::{key_value, no_screen};
use super::qmp::{Arguments, Failure};
use crate::machine::Handle;
use crate::tablet::scale;
use pcvm_devices::InputEvent;
use serde_json::Value;

/// Buttons that a client holds, and the device that it moved last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointer {
    buttons: u8,
    /// True: the tablet; false: the mouse; `None`: the client has moved neither.
    absolute: Option<bool>,
}

impl Pointer {
    fn event(&self, dz: i32) -> InputEvent {
        match self.absolute {
            Some(true) => InputEvent::Pointer { x: None, y: None, dz, buttons: self.buttons },
            _ => InputEvent::Mouse { dx: 0, dy: 0, dz, buttons: self.buttons },
        }
    }

    /// Selects the device that the client moves. If it is not the one moved last, the buttons held there are released.
    fn select(&mut self, absolute: bool, events: &mut Vec<InputEvent>) {
        if self.absolute == Some(!absolute) && self.buttons != 0 {
            events.push(Self { buttons: 0, ..*self }.event(0));
        }
        self.absolute = Some(absolute);
    }
}

/// Fails unless the machine has a tablet and a guest driver polls it.
fn require_tablet(tablet: Option<bool>) -> Result<(), Failure> {
    match tablet {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::generic("the guest has no driver for the tablet, or has not started it yet")),
        None => Err(Failure::generic("the machine has no absolute pointer: start it with --tablet")),
    }
}

/// `x-pointer-to`: moves the tablet's pointer to a pixel of the screen.
pub(super) fn point(
    mut arguments: Arguments,
    handle: &Handle,
    pointer: &mut Pointer,
) -> Result<Vec<InputEvent>, Failure> {
    let x = Arguments::required("x", arguments.integer("x")?)?;
    let y = Arguments::required("y", arguments.integer("y")?)?;
    arguments.end()?;
    require_tablet(handle.with_board(|board| board.tablet_in_use()))?;
    let (width, height) = handle.screen_size().ok_or_else(no_screen)?;
    let scaled = |pixel: i64, size: u32| scale(u16::try_from(pixel).ok()?, u16::try_from(size).ok()?);
    let (Some(x), Some(y)) = (scaled(x, width), scaled(y, height)) else {
        return Err(Failure::generic(format!("pixel {x}, {y} is outside the screen of {width} x {height} pixels")));
    };
    let mut events = Vec::new();
    pointer.select(true, &mut events);
    events.push(InputEvent::Pointer { x: Some(x), y: Some(y), dz: 0, buttons: pointer.buttons });
    Ok(events)
}

/// Converts a QMP `InputEvent` and appends the result to `events`. `tablet`: whether a guest driver polls the tablet; `None`
/// if the machine has no tablet.
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
                // The press of a wheel button is one step; its release is none.
                "wheel-up" => {
                    dz = -i32::from(down);
                    0
                }
                "wheel-down" => {
                    dz = i32::from(down);
                    0
                }
                _ => return Err(Failure::generic(format!("Parameter 'button' does not accept value '{button}'"))),
            };
            pointer.buttons = if down { pointer.buttons | bit } else { pointer.buttons & !bit };
            pointer.absolute.get_or_insert_with(|| tablet == Some(true));
            pointer.event(dz)
        }
        "rel" => {
            let axis = Arguments::required("axis", data.text("axis")?)?;
            let value = Arguments::required("value", data.integer("value")?)?.clamp(-4096, 4096) as i32;
            // In QMP positive y is down; in the mouse's protocol it is up.
            let (dx, dy) = if is_x(&axis)? { (value, 0) } else { (0, -value) };
            pointer.select(false, events);
            InputEvent::Mouse { dx, dy, dz: 0, buttons: pointer.buttons }
        }
        "abs" => {
            let axis = Arguments::required("axis", data.text("axis")?)?;
            let value = Arguments::required("value", data.integer("value")?)?;
            let value = u16::try_from(value).ok().filter(|&value| value <= 0x7fff);
            let value = value.ok_or_else(|| Failure::generic("Parameter 'value' expects 0 to 32767"))?;
            let (x, y) = if is_x(&axis)? { (Some(value), None) } else { (None, Some(value)) };
            require_tablet(tablet)?;
            pointer.select(true, events);
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

    /// Converts a client's events.
    fn convert(tablet: Option<bool>, values: &[Value]) -> Result<Vec<InputEvent>, String> {
        let (mut pointer, mut events) = (Pointer::default(), Vec::new());
        for value in values {
            input(value.clone(), tablet, &mut pointer, &mut events).map_err(|failure| failure.desc)?;
        }
        Ok(events)
    }

    fn mouse(dx: i32, dy: i32, buttons: u8) -> InputEvent {
        InputEvent::Mouse { dx, dy, dz: 0, buttons }
    }

    fn tablet(x: Option<u16>, y: Option<u16>, buttons: u8) -> InputEvent {
        InputEvent::Pointer { x, y, dz: 0, buttons }
    }

    #[test]
    fn buttons_go_to_the_device_that_was_moved_last() {
        let press = [button(true), button(false)];
        assert_eq!(convert(None, &press), Ok(vec![mouse(0, 0, 1), mouse(0, 0, 0)]));
        assert_eq!(convert(Some(false), &press), Ok(vec![mouse(0, 0, 1), mouse(0, 0, 0)]));
        assert_eq!(convert(Some(true), &press), Ok(vec![tablet(None, None, 1), tablet(None, None, 0)]));
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
            // Released on the mouse, then pressed on the tablet.
            mouse(0, 0, 0),
            tablet(Some(0x7fff), None, 1),
            tablet(None, Some(0), 1),
            tablet(None, None, 0),
            mouse(0, -5, 0),
        ];
        assert_eq!(convert(Some(true), &moves), Ok(expect.to_vec()));
    }

    #[test]
    fn an_absolute_position_needs_a_tablet_with_a_guest_driver() {
        for (tablet, value, why) in [
            (None, 5, "--tablet"),
            (Some(false), 5, "no driver"),
            (Some(true), -1, "0 to 32767"),
            (Some(true), 0x8000, "0 to 32767"),
        ] {
            let error = convert(tablet, &[axis("abs", "x", value)]).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(convert(Some(true), &[axis("abs", "z", 5)]).is_err());
    }
}
