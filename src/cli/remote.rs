//! Commands for running machines, over the control socket: `pcvm screenshot`, `screen`, `type`, `key`, `mouse`, `link`,
//! `pause`, `resume`, `snapshot`, `rollback` and `wait`.

use crate::config::parse;
use crate::control::client::{Client, ClientError};
use crate::control::typist::{can_type, no_key};
use crate::keys::{self, Keymap};
use clap::Args;
use regex::RegexBuilder;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Interval at which `pcvm wait` polls the text screen.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Characters of `pcvm type` that are sent at a time: an interrupted one types no more than these.
const TYPE_PART: usize = 10;
/// Interval between two movements of the mouse. A PS/2 mouse sends at most 100 reports a second by default.
const MOVE_INTERVAL: Duration = Duration::from_millis(20);
/// Hold time of a mouse button.
const CLICK_HOLD: Duration = Duration::from_millis(100);

/// `pcvm screenshot`.
#[derive(Debug, Args)]
pub struct ScreenshotArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Output file, NAME.png or NAME.ppm; an existing file is overwritten
    file: PathBuf,
}

/// `pcvm screen`.
#[derive(Debug, Args)]
pub struct ScreenArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Print the text screen in UTF-8, row by row
    #[arg(long, required = true)]
    text: bool,
}

/// `pcvm type`.
#[derive(Debug, Args)]
pub struct TypeArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Text to type; a line feed is Enter
    #[arg(allow_hyphen_values = true)]
    text: String,
    /// Press Enter at the end
    #[arg(long)]
    enter: bool,
    /// Keyboard layout that the guest is set to [default: that of 'pcvm run --keymap']
    #[arg(long, value_name = "LAYOUT")]
    keymap: Option<String>,
    /// Time from one character to the next, 1 to 60000 milliseconds [default: 100, which Windows NT takes too]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pace: Option<u64>,
}

/// `pcvm key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Keys to press one after another; keys joined by '-' are held together
    #[arg(required = true, allow_hyphen_values = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Hold time, 1 to 60000 milliseconds
    #[arg(long, value_name = "MS", default_value = "100", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    hold: u64,
}

/// `pcvm mouse`.
#[derive(Debug, Args)]
pub struct MouseArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Movement to the right, in mouse counts; the guest may scale it
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-10_000..=10_000))]
    #[arg(required_unless_present = "to", requires = "dy")]
    dx: Option<i32>,
    /// Movement downwards, in mouse counts
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-10_000..=10_000))]
    #[arg(required_unless_present = "to")]
    dy: Option<i32>,
    /// Move to this pixel of the screen; needs a machine with --tablet and a guest driver for the tablet
    #[arg(long, num_args = 2, value_names = ["X", "Y"], conflicts_with_all = ["dx", "dy"])]
    to: Option<Vec<u16>>,
    /// Press and release this button after the movement
    #[arg(long, value_name = "BUTTON", value_parser = ["left", "middle", "right"])]
    click: Option<String>,
}

/// `pcvm link`.
#[derive(Debug, Args)]
pub struct LinkArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Network card, 0 for the first --net
    nic: u8,
    /// New state of the cable: connected ('up') or disconnected ('down')
    #[arg(value_parser = ["up", "down"])]
    state: String,
}

/// `pcvm pause` and `pcvm resume`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
}

/// `pcvm snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Name of the snapshot: letters, digits, '.', '_' and '-'
    snapshot: String,
    /// Comment, up to 1000 bytes
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// `pcvm rollback`.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Name of the snapshot
    snapshot: String,
    /// Keep what the disks have now as a snapshot of this name
    #[arg(long, value_name = "NAME")]
    keep: Option<String>,
}

/// `pcvm wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Regular expression to find in the text screen: rows without trailing blanks, joined by line feeds; ^ and $ match
    /// at the start and end of a row
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    text: String,
    /// Time limit in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", allow_negative_numbers = true, value_parser = seconds)]
    timeout: f64,
}

/// A number of seconds that fits into a [`Duration`].
fn seconds(text: &str) -> Result<f64, &'static str> {
    let seconds = text.parse().ok().filter(|&seconds| Duration::try_from_secs_f64(seconds).is_ok());
    seconds.ok_or("must be a number of seconds")
}

/// Why a command for a running machine failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The connection to the machine, or its error message.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A usage error.
    #[error("{0}")]
    Usage(String),
    /// The screen has no text.
    #[error("the screen is in a graphics mode and has no text; use 'pcvm screenshot'")]
    Graphics,
    /// The pattern did not match before the time limit.
    #[error("'{text}' did not appear within {seconds} s")]
    Timeout {
        /// The regular expression.
        text: String,
        /// The time limit as given.
        seconds: f64,
    },
    /// Standard output cannot be written.
    #[error("standard output: {}", crate::error::host_error(.0))]
    Output(std::io::Error),
}

/// The rows of the text screen without trailing blanks; `None` in a graphics mode.
fn rows(client: &mut Client) -> Result<Option<Vec<String>>, RemoteError> {
    let reply = client.execute("x-screen-text", json!({}))?;
    if reply.get("text").and_then(Value::as_bool) != Some(true) {
        return Ok(None);
    }
    let rows = reply.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(Some(rows.iter().map(|row| row.as_str().unwrap_or_default().trim_end().to_owned()).collect()))
}

impl ScreenshotArgs {
    /// Lets the machine write the file.
    ///
    /// # Errors
    /// If the file name is invalid, the machine is not running or it cannot write the file.
    pub fn run(self) -> Result<(), RemoteError> {
        let usage = |what: &str| RemoteError::Usage(format!("{}: {what}", self.file.display()));
        let format = match self.file.extension().and_then(|extension| extension.to_str()) {
            Some("png") => "png",
            Some("ppm") => "ppm",
            _ => return Err(usage("the file name must end with .png or .ppm")),
        };
        // The machine's process writes the file, and its working directory may differ from ours.
        let path = std::path::absolute(&self.file).map_err(|error| usage(&crate::error::host_error(&error)))?;
        let path = path.to_str().ok_or_else(|| usage("the file name must be UTF-8"))?;
        Client::connect(&self.name)?.execute("screendump", json!({ "filename": path, "format": format }))?;
        Ok(())
    }
}

impl ScreenArgs {
    /// Prints the text screen.
    ///
    /// # Errors
    /// If the machine is not running or is in a graphics mode.
    pub fn run(self) -> Result<(), RemoteError> {
        let mut text = rows(&mut Client::connect(&self.name)?)?.ok_or(RemoteError::Graphics)?.join("\n");
        text.push('\n');
        std::io::stdout().write_all(text.as_bytes()).map_err(RemoteError::Output)
    }
}

/// Sends one chord.
fn send(client: &mut Client, keys: &[u16], hold: u64) -> Result<(), RemoteError> {
    // QMP key numbers: the scan code, with bit 7 for the prefix E0h. Pause is C6h.
    let number = |&code: &u16| match code {
        0x1e1 => 0xc6,
        code => code & 0x7f | if code & 0x100 != 0 { 0x80 } else { 0 },
    };
    let keys: Vec<_> = keys.iter().map(|code| json!({ "type": "number", "data": number(code) })).collect();
    client.execute("send-key", json!({ "keys": keys, "hold-time": hold }))?;
    Ok(())
}

impl TypeArgs {
    /// Types the text, or nothing if a character has no key.
    ///
    /// # Errors
    /// If the machine is not running or a character has no key.
    pub fn run(self) -> Result<(), RemoteError> {
        let given = self.keymap.as_deref().map(parse::keymap).transpose();
        let given = given.map_err(|why| RemoteError::Usage(format!("--keymap: {why}")))?;
        let mut text = self.text;
        if self.enter {
            text.push('\n');
        }
        let check = |keymap: Keymap| match text.chars().find(|&c| !can_type(c, keymap)) {
            Some(c) => Err(RemoteError::Usage(no_key(c, keymap))),
            None => Ok(keymap),
        };
        given.map(check).transpose()?;
        let mut client = Client::connect(&self.name)?;
        let keymap = match given {
            Some(keymap) => keymap,
            None => {
                let reply = client.execute("x-query-keymap", json!({}))?;
                let name = reply.get("keymap").and_then(Value::as_str);
                check(name.and_then(Keymap::named).unwrap_or_default())?
            }
        };
        let characters: Vec<char> = text.chars().collect();
        for part in characters.chunks(TYPE_PART) {
            let mut arguments = json!({ "text": part.iter().collect::<String>(), "keymap": keymap.name() });
            if let (Some(pace), Some(object)) = (self.pace, arguments.as_object_mut()) {
                object.insert("pace".to_owned(), pace.into());
            }
            client.execute("x-type", arguments)?;
        }
        Ok(())
    }
}

impl KeyArgs {
    /// Presses the keys, or none if one is unknown.
    ///
    /// # Errors
    /// If the machine is not running or a key is unknown.
    pub fn run(self) -> Result<(), RemoteError> {
        let chords = self.keys.iter().map(|text| keys::chord(text).map_err(|part| (text, part)));
        let chords = chords.collect::<Result<Vec<_>, _>>().map_err(|(text, part)| {
            let what = if part.is_empty() { "a key is missing".to_owned() } else { format!("unknown key '{part}'") };
            RemoteError::Usage(format!("{text}: {what}"))
        })?;
        let mut client = Client::connect(&self.name)?;
        chords.iter().try_for_each(|keys| send(&mut client, keys, self.hold))
    }
}

impl MouseArgs {
    /// Moves the pointer, then clicks.
    ///
    /// # Errors
    /// If the machine is not running, or has no tablet for an absolute position.
    pub fn run(self) -> Result<(), RemoteError> {
        let mut client = Client::connect(&self.name)?;
        if let Some([x, y]) = self.to.as_deref() {
            client.execute("x-pointer-to", json!({ "x": x, "y": y }))?;
            if self.click.is_some() {
                // Some guests attribute a click to the previous position if it follows the movement at once.
                std::thread::sleep(MOVE_INTERVAL);
            }
        }
        let mut send = |events: Value| client.execute("input-send-event", json!({ "events": events }));
        let (mut dx, mut dy) = (self.dx.unwrap_or(0), self.dy.unwrap_or(0));
        // A PS/2 report holds -256 to 255 counts, and the mouse drops reports that a slow guest does not read.
        const STEP: i32 = 100;
        while dx != 0 || dy != 0 {
            let (x, y) = (dx.clamp(-STEP, STEP), dy.clamp(-STEP, STEP));
            let axis = |axis: &str, value: i32| json!({ "type": "rel", "data": { "axis": axis, "value": value } });
            send(json!([axis("x", x), axis("y", y)]))?;
            (dx, dy) = (dx - x, dy - y);
            std::thread::sleep(MOVE_INTERVAL);
        }
        if let Some(button) = self.click {
            for down in [true, false] {
                send(json!([{ "type": "btn", "data": { "button": button, "down": down } }]))?;
                std::thread::sleep(CLICK_HOLD);
            }
        }
        Ok(())
    }
}

impl PauseArgs {
    /// Pauses or resumes the machine.
    ///
    /// # Errors
    /// If the machine cannot be reached.
    pub fn run(self, pause: bool) -> Result<(), RemoteError> {
        Client::connect(&self.name)?.execute(if pause { "stop" } else { "cont" }, json!({}))?;
        Ok(())
    }
}

impl SnapshotArgs {
    /// Takes the snapshot.
    ///
    /// # Errors
    /// If the machine cannot be reached or a disk cannot have the snapshot.
    pub fn run(self) -> Result<(), RemoteError> {
        let Self { name, snapshot, comment } = self;
        let mut arguments = json!({ "name": snapshot });
        if let (Some(comment), Some(object)) = (comment, arguments.as_object_mut()) {
            object.insert("comment".to_owned(), comment.into());
        }
        Client::connect(&name)?.execute("x-disk-snapshot", arguments)?;
        Ok(())
    }
}

impl RollbackArgs {
    /// Rolls the disks back and resets the machine.
    ///
    /// # Errors
    /// If the machine cannot be reached or a disk does not have the snapshot.
    pub fn run(self) -> Result<(), RemoteError> {
        let Self { name, snapshot, keep } = self;
        let mut arguments = json!({ "name": snapshot });
        if let (Some(keep), Some(object)) = (keep, arguments.as_object_mut()) {
            object.insert("keep".to_owned(), keep.into());
        }
        Client::connect(&name)?.execute("x-disk-rollback", arguments)?;
        Ok(())
    }
}

impl LinkArgs {
    /// Connects or disconnects the cable.
    ///
    /// # Errors
    /// If the machine is not running or does not have the card.
    pub fn run(self) -> Result<(), RemoteError> {
        let Self { name, nic, state } = self;
        Client::connect(&name)?.execute("set_link", json!({ "name": format!("net{nic}"), "up": state == "up" }))?;
        Ok(())
    }
}

impl WaitArgs {
    /// Polls the text screen until the pattern matches.
    ///
    /// # Errors
    /// If the machine is not running or ends, or the time limit passes.
    pub fn run(self) -> Result<(), RemoteError> {
        let pattern = RegexBuilder::new(&self.text).multi_line(true).build().map_err(|error| {
            let why = error.to_string();
            RemoteError::Usage(format!(
                "--text: {}",
                why.lines().last().unwrap_or_default().trim().trim_start_matches("error: ")
            ))
        })?;
        let deadline = Instant::now().checked_add(Duration::from_secs_f64(self.timeout));
        let mut client = Client::connect(&self.name)?;
        loop {
            if rows(&mut client)?.is_some_and(|rows| pattern.is_match(&rows.join("\n"))) {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(RemoteError::Timeout { text: self.text, seconds: self.timeout });
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}
