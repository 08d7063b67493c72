//! QMP commands and their effects (QEMU QMP reference).

use super::pointer::{self, Pointer};
use super::qmp::{self, Arguments, Class, Failure, Outcome};
use super::typist::{Text, can_type, no_key};
use super::{media, snapshot, stats};
use crate::config::parse;
use crate::key_pacing::PACE;
use crate::keys::{self, Keymap};
use crate::machine::Handle;
use pcvm_devices::NicId;
use pcvm_devices::vga::Bitmap;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Default hold time of `send-key` (QMP reference, `send-key`).
const HOLD: Duration = Duration::from_millis(100);
/// Longest hold time, in milliseconds.
const HOLD_MAX: i64 = 60_000;
/// Largest number of keys in one `send-key`.
const CHORD_MAX: usize = 64;

/// When the server replies to a command.
pub(super) enum CommandReply {
    /// At once, with this result.
    Done(Outcome),
    /// After the main loop has handled the machine event that the command posted.
    Events,
    /// After these keys have been typed and held for this time.
    Type(Vec<u16>, Duration),
    /// After this text has been typed.
    Text(Text),
    /// After a thread has done this.
    Thread(Job),
}

/// A command that can take long.
pub(super) struct Job {
    /// The thread's name.
    pub name: &'static str,
    /// The command. It gives the reply.
    pub work: Box<dyn FnOnce(&Handle) -> Outcome + Send>,
}

/// A pending `screendump`.
struct Dump {
    path: PathBuf,
    png: bool,
}

/// Names of all commands but those of [`media`].
const NAMES: [&str; 23] = [
    "cont",
    "input-send-event",
    "qmp_capabilities",
    "query-commands",
    "query-kvm",
    "query-name",
    "query-stats",
    "query-stats-schemas",
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
    "x-query-keymap",
    "x-screen-text",
    "x-trace-start",
    "x-trace-stop",
    "x-type",
];

/// Names of all commands, sorted.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = NAMES.into_iter().chain(media::NAMES).chain(snapshot::NAMES).collect();
    names.sort_unstable();
    names
}

/// Executes a command. `machine` is the machine's name, `keymap` its keyboard layout, `held` the state of the client's pointer.
pub(super) fn run(
    name: &str,
    arguments: Arguments,
    handle: &Handle,
    machine: &str,
    keymap: Keymap,
    held: &mut Pointer,
) -> Result<CommandReply, Failure> {
    let mut arguments = arguments;
    let done = |value| Ok(CommandReply::Done(Ok(value)));
    match name {
        "screendump" => {
            let dump = dump(arguments)?;
            let work = Box::new(move |handle: &Handle| dump.write(handle));
            return Ok(CommandReply::Thread(Job { name: "screendump", work }));
        }
        name if media::NAMES.contains(&name) => return media::run(name, arguments, handle),
        name if snapshot::NAMES.contains(&name) => return snapshot::run(name, arguments),
        "send-key" => return send_key(arguments),
        "x-type" => return type_text(arguments, keymap),
        "input-send-event" => {
            // There is one display, so the values are ignored.
            arguments.text("device")?;
            arguments.integer("head")?;
            let events = arguments.list("events")?;
            arguments.end()?;
            // Check all events before the first one is delivered.
            let tablet = handle.with_board(|board| board.tablet_in_use());
            let mut after = *held;
            let mut all = Vec::new();
            for event in events {
                pointer::input(event, tablet, &mut after, &mut all)?;
            }
            *held = after;
            all.into_iter().for_each(|event| handle.with_board(|board| board.input(event)));
            return done(json!({}));
        }
        "x-pointer-to" => {
            pointer::point(arguments, handle, held)?
                .into_iter()
                .for_each(|event| handle.with_board(|board| board.input(event)));
            return done(json!({}));
        }
        "set_link" => {
            // Cards are named net0, net1 ... in the order of --net.
            let name = Arguments::required("name", arguments.text("name")?)?;
            let up = Arguments::required("up", arguments.boolean("up")?)?;
            arguments.end()?;
            let number = name.strip_prefix("net").unwrap_or(&name).parse().ok();
            if !number.is_some_and(|number| handle.with_board(|board| board.set_link(NicId(number), up))) {
                return Err(Failure::not_found(format!("Device '{name}' not found")));
            }
            return done(json!({}));
        }
        "query-stats" => return done(stats::query(arguments, handle)?),
        "query-stats-schemas" => return done(stats::schemas(arguments, handle)?),
        "x-trace-start" => {
            let file = Arguments::required("file", arguments.text("file")?)?;
            let filter = arguments.text("filter")?.unwrap_or_default();
            arguments.end()?;
            let filter = filter.parse().unwrap_or_default();
            handle.start_trace(&PathBuf::from(file), &filter).map_err(|why| Failure::generic(why.to_string()))?;
            return done(json!({}));
        }
        _ => arguments.end()?,
    }
    match name {
        "query-name" => done(json!({ "name": machine })),
        "x-query-keymap" => done(json!({ "keymap": keymap.name() })),
        "query-version" => done(qmp::version()),
        "query-kvm" => done(json!({ "enabled": true, "present": true })),
        "query-commands" => done(names().iter().map(|name| json!({ "name": name })).collect()),
        "query-status" => {
            let status = match handle.paused() {
                false => "running",
                true if handle.drive_error() => "io-error",
                true => "paused",
            };
            done(json!({ "running": status == "running", "status": status }))
        }
        "x-screen-text" => {
            let rows = handle.text_screen().ok_or_else(no_screen)?;
            done(json!({ "text": !rows.is_empty(), "rows": rows }))
        }
        "x-trace-stop" => {
            if !handle.stop_trace() {
                return Err(Failure::generic("no trace is running"));
            }
            done(json!({}))
        }
        "stop" => {
            handle.pause(true);
            Ok(CommandReply::Events)
        }
        "cont" => {
            handle.pause(false);
            Ok(CommandReply::Events)
        }
        "system_reset" => {
            handle.reset();
            Ok(CommandReply::Events)
        }
        "quit" => {
            handle.quit();
            Ok(CommandReply::Events)
        }
        "system_powerdown" => {
            handle.with_board(|board| board.power_button());
            done(json!({}))
        }
        _ => Err(Failure {
            class: Class::CommandNotFound,
            desc: format!("The command {} has not been found", name.escape_debug()),
        }),
    }
}

pub(super) fn no_screen() -> Failure {
    Failure::generic("the machine has no screen (--vga none)")
}

fn dump(mut arguments: Arguments) -> Result<Dump, Failure> {
    let path = Arguments::required("filename", arguments.text("filename")?)?;
    arguments.text("device")?;
    if arguments.integer("head")?.is_some_and(|head| head != 0) {
        return Err(Failure::generic("Parameter 'head' expects 0: the machine has one screen"));
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
    /// Renders the screen and writes the file.
    fn write(self, handle: &Handle) -> Outcome {
        let bitmap = handle.screen().ok_or_else(no_screen)?;
        let result = if self.png { write_png(&self.path, &bitmap) } else { write_ppm(&self.path, &bitmap) };
        result
            .map(|()| json!({}))
            .map_err(|error| Failure::generic(format!("{}: {}", self.path.display(), crate::error::host_error(&error))))
    }
}

fn write_png(path: &PathBuf, bitmap: &Bitmap) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut encoder = png::Encoder::new(&mut out, bitmap.width, bitmap.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bitmap.rgb())?;
    writer.finish()?;
    out.flush()
}

fn write_ppm(path: &PathBuf, bitmap: &Bitmap) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    write!(file, "P6\n{} {}\n255\n", bitmap.width, bitmap.height)?;
    file.write_all(&bitmap.rgb())
}

/// The scan code of a QMP `KeyValue`.
pub(super) fn key_value(value: Value) -> Result<u16, Failure> {
    let mut value = Arguments::of("key", value)?;
    let kind = Arguments::required("type", value.text("type")?)?;
    let unknown = |key: String| Failure::generic(format!("'{key}' is not a key"));
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

fn send_key(mut arguments: Arguments) -> Result<CommandReply, Failure> {
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
    Ok(CommandReply::Type(keys.into_iter().map(key_value).collect::<Result<_, _>>()?, hold))
}

/// `x-type`: types `text`, on the layout `keymap`, one character each `pace` milliseconds.
fn type_text(mut arguments: Arguments, keymap: Keymap) -> Result<CommandReply, Failure> {
    let text = Arguments::required("text", arguments.text("text")?)?;
    let keymap = match arguments.text("keymap")? {
        Some(name) => parse::keymap(&name).map_err(|why| Failure::generic(why.to_string()))?,
        None => keymap,
    };
    let pace = match arguments.integer("pace")? {
        None => PACE,
        Some(millis @ 1..=HOLD_MAX) => Duration::from_millis(millis as u64),
        Some(_) => return Err(Failure::generic(format!("Parameter 'pace' expects 1 to {HOLD_MAX}"))),
    };
    arguments.end()?;
    if let Some(c) = text.chars().find(|&c| !can_type(c, keymap)) {
        return Err(Failure::generic(no_key(c, keymap)));
    }
    if text.is_empty() {
        return Ok(CommandReply::Done(Ok(json!({}))));
    }
    Ok(CommandReply::Text(Text { text, keymap, pace }))
}
