//! What each command does (QEMU QMP reference).

use super::qmp::{self, Arguments, Class, Failure, Outcome};
use crate::keys;
use crate::machine::Handle;
use crate::vnc::scale;
use pcvm_devices::InputEvent;
use pcvm_devices::vga::Frame;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

/// How long keys are held unless the client says otherwise (QMP reference, `send-key`).
const HOLD: Duration = Duration::from_millis(100);
/// How long they can be held.
const HOLD_MAX: i64 = 60_000;
/// Keys of one `send-key`.
const CHORD_MAX: usize = 64;

/// How a command goes on.
pub(super) enum Step {
    /// It is done.
    Done(Outcome),
    /// The main loop has something to do first.
    Events,
    /// These keys are to be typed first.
    Type(Vec<u16>, Duration),
    /// A thread does it.
    Dump(Dump),
}

/// A picture that is to be written to a file.
pub(super) struct Dump {
    path: PathBuf,
    png: bool,
}

/// All commands.
pub(super) const NAMES: [&str; 17] = [
    "cont",
    "input-send-event",
    "qmp_capabilities",
    "query-commands",
    "query-kvm",
    "query-name",
    "query-status",
    "query-version",
    "quit",
    "screendump",
    "send-key",
    "set_link",
    "stop",
    "system_powerdown",
    "system_reset",
    "x-pointer-to",
    "x-screen-text",
];

/// Carries out a command; `pointer` is what the client holds.
pub(super) fn run(
    name: &str,
    arguments: Arguments,
    handle: &Handle,
    machine: &str,
    pointer: &mut Pointer,
) -> Result<Step, Failure> {
    let mut arguments = arguments;
    let done = |value| Ok(Step::Done(Ok(value)));
    match name {
        "screendump" => return dump(arguments).map(Step::Dump),
        "send-key" => return send_key(arguments),
        "input-send-event" => {
            // Which display it comes from makes no difference: there is one.
            arguments.text("device")?;
            arguments.integer("head")?;
            let events = arguments.list("events")?;
            arguments.end()?;
            // All or none.
            let mut after = *pointer;
            let mut all = Vec::new();
            for event in events {
                input(event, handle, &mut after, &mut all)?;
            }
            *pointer = after;
            all.into_iter().for_each(|event| handle.input(event));
            return done(json!({}));
        }
        "x-pointer-to" => {
            point(arguments, handle, pointer)?.into_iter().for_each(|event| handle.input(event));
            return done(json!({}));
        }
        "set_link" => {
            // QEMU names cards; here they are numbered, net0 and so on.
            let name = Arguments::required("name", arguments.text("name")?)?;
            let up = Arguments::required("up", arguments.boolean("up")?)?;
            arguments.end()?;
            let number = name.strip_prefix("net").unwrap_or(&name).parse().ok();
            if !number.is_some_and(|number| handle.set_link(number, up)) {
                return Err(Failure::not_found(format!("Device '{name}' not found")));
            }
            return done(json!({}));
        }
        _ => arguments.end()?,
    }
    match name {
        "query-name" => done(json!({ "name": machine })),
        "query-version" => done(qmp::version()),
        "query-kvm" => done(json!({ "enabled": true, "present": true })),
        "query-commands" => done(NAMES.iter().map(|name| json!({ "name": name })).collect()),
        "query-status" => {
            let paused = handle.paused();
            done(json!({ "running": !paused, "status": if paused { "paused" } else { "running" } }))
        }
        "x-screen-text" => {
            let rows = handle.text_screen();
            done(json!({ "text": !rows.is_empty(), "rows": rows }))
        }
        "stop" => {
            handle.pause(true);
            Ok(Step::Events)
        }
        "cont" => {
            handle.pause(false);
            Ok(Step::Events)
        }
        "system_reset" => {
            handle.reset();
            Ok(Step::Events)
        }
        "quit" => {
            handle.quit();
            Ok(Step::Events)
        }
        "system_powerdown" => {
            handle.power_button();
            done(json!({}))
        }
        _ => Err(Failure {
            class: Class::CommandNotFound,
            desc: format!("The command {} has not been found", name.escape_debug()),
        }),
    }
}

fn dump(mut arguments: Arguments) -> Result<Dump, Failure> {
    let path = Arguments::required("filename", arguments.text("filename")?)?;
    arguments.text("device")?;
    if arguments.integer("head")?.is_some_and(|head| head != 0) {
        return Err(Failure::generic("there is only head 0"));
    }
    let png = match arguments.text("format")?.as_deref() {
        None | Some("ppm") => false,
        Some("png") => true,
        Some(_) => return Err(Failure::generic("Parameter 'format' expects 'ppm' or 'png'")),
    };
    arguments.end()?;
    if path.is_empty() {
        return Err(Failure::generic("Parameter 'filename' must not be empty"));
    }
    Ok(Dump { path: path.into(), png })
}

impl Dump {
    /// Draws and writes.
    pub fn write(self, handle: &Handle) -> Outcome {
        let frame = handle.screen().ok_or_else(|| Failure::generic("there is no screen"))?;
        let result = if self.png { write_png(&self.path, &frame) } else { write_ppm(&self.path, &frame) };
        result.map(|()| json!({})).map_err(|error| {
            Failure::generic(format!("{}: {}", self.path.display(), crate::config::host_error(&error)))
        })
    }
}

fn write_png(path: &PathBuf, frame: &Frame) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(&mut out, frame.width, frame.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&frame.rgb)?;
    writer.finish()?;
    out.flush()
}

fn write_ppm(path: &PathBuf, frame: &Frame) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    write!(file, "P6\n{} {}\n255\n", frame.width, frame.height)?;
    file.write_all(&frame.rgb)
}

/// QMP's KeyValue.
fn key_value(value: Value) -> Result<u16, Failure> {
    let mut value = Arguments::of("key", value)?;
    let kind = Arguments::required("type", value.text("type")?)?;
    let unknown = |key: String| Failure::generic(format!("'{key}' is no key"));
    let key = match kind.as_str() {
        "qcode" => {
            let name = Arguments::required("data", value.text("data")?)?;
            keys::by_name(&name).ok_or_else(|| unknown(name))?
        }
        "number" => {
            let number = Arguments::required("data", value.integer("data")?)?;
            u64::try_from(number).ok().and_then(keys::by_number).ok_or_else(|| unknown(number.to_string()))?
        }
        _ => return Err(Failure::generic("Parameter 'type' expects 'number' or 'qcode'")),
    };
    value.end()?;
    Ok(key)
}

fn send_key(mut arguments: Arguments) -> Result<Step, Failure> {
    let keys = arguments.list("keys")?;
    let hold = match arguments.integer("hold-time")? {
        None => HOLD,
        Some(millis @ 1..=HOLD_MAX) => Duration::from_millis(millis as u64),
        Some(_) => return Err(Failure::generic(format!("Parameter 'hold-time' expects 1 to {HOLD_MAX}"))),
    };
    arguments.end()?;
    if keys.is_empty() || keys.len() > CHORD_MAX {
        return Err(Failure::generic(format!("Parameter 'keys' expects 1 to {CHORD_MAX} keys")));
    }
    Ok(Step::Type(keys.into_iter().map(key_value).collect::<Result<_, _>>()?, hold))
}

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

/// Whether there is a tablet that the guest listens to.
fn tablet(handle: &Handle) -> Result<(), Failure> {
    match handle.tablet_in_use() {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::generic("the guest has no driver for the tablet, or none yet")),
        None => Err(Failure::generic("the machine has no absolute pointer (--tablet)")),
    }
}

/// The pointer to a pixel of the screen.
fn point(mut arguments: Arguments, handle: &Handle, pointer: &mut Pointer) -> Result<Vec<InputEvent>, Failure> {
    let x = Arguments::required("x", arguments.integer("x")?)?;
    let y = Arguments::required("y", arguments.integer("y")?)?;
    arguments.end()?;
    tablet(handle)?;
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

/// QMP's InputEvent.
fn input(value: Value, handle: &Handle, pointer: &mut Pointer, events: &mut Vec<InputEvent>) -> Result<(), Failure> {
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
            pointer.absolute.get_or_insert_with(|| handle.tablet_in_use() == Some(true));
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
            tablet(handle)?;
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
