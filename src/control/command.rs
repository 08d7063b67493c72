//! What each command does (QEMU QMP reference).

use super::pointer::{self, Pointer};
use super::qmp::{self, Arguments, Class, Failure, Outcome};
use crate::keys;
use crate::machine::Handle;
use pcvm_devices::vga::Bitmap;
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

/// Carries out a command; `held` is what the client holds.
pub(super) fn run(
    name: &str,
    arguments: Arguments,
    handle: &Handle,
    machine: &str,
    held: &mut Pointer,
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
            let tablet = handle.tablet_in_use();
            let mut after = *held;
            let mut all = Vec::new();
            for event in events {
                pointer::input(event, tablet, &mut after, &mut all)?;
            }
            *held = after;
            all.into_iter().for_each(|event| handle.input(event));
            return done(json!({}));
        }
        "x-pointer-to" => {
            pointer::point(arguments, handle, held)?.into_iter().for_each(|event| handle.input(event));
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
            let rows = handle.text_screen().ok_or_else(no_screen)?;
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

fn no_screen() -> Failure {
    Failure::generic("the machine has no screen (--vga none)")
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
        let frame = handle.screen().ok_or_else(no_screen)?;
        let result = if self.png { write_png(&self.path, &frame) } else { write_ppm(&self.path, &frame) };
        result
            .map(|()| json!({}))
            .map_err(|error| Failure::generic(format!("{}: {}", self.path.display(), crate::error::host_error(&error))))
    }
}

fn write_png(path: &PathBuf, frame: &Bitmap) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(&mut out, frame.width, frame.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&frame.rgb())?;
    writer.finish()?;
    out.flush()
}

fn write_ppm(path: &PathBuf, frame: &Bitmap) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    write!(file, "P6\n{} {}\n255\n", frame.width, frame.height)?;
    file.write_all(&frame.rgb())
}

/// QMP's KeyValue.
pub(super) fn key_value(value: Value) -> Result<u16, Failure> {
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
