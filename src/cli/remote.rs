//! The commands for machines that run: `pcvm screenshot`, `screen`, `type`, `key`, `mouse`, `link` and `wait`.

use crate::control::client::{Client, ClientError};
use crate::keys;
use clap::Args;
use regex::RegexBuilder;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often `wait` looks.
const LOOK: Duration = Duration::from_millis(100);
/// How long a typed key is held, in milliseconds.
const TYPED: u64 = 20;
/// Between two movements of the mouse: a little more than a mouse at its usual 100 reports a second takes.
const MOVED: Duration = Duration::from_millis(20);
/// How long a button is held.
const CLICKED: Duration = Duration::from_millis(100);

/// `pcvm screenshot`.
#[derive(Debug, Args)]
pub struct ScreenshotArgs {
    /// The machine: its name, or the path of its control socket (with a slash)
    name: String,
    /// The file: NAME.png, or NAME.ppm; it is replaced
    file: PathBuf,
}

/// `pcvm screen`.
#[derive(Debug, Args)]
pub struct ScreenArgs {
    /// The machine: its name, or the path of its control socket (with a slash)
    name: String,
    /// As text, in UTF-8, row by row
    #[arg(long, required = true)]
    text: bool,
}

/// `pcvm type`.
#[derive(Debug, Args)]
pub struct TypeArgs {
    /// The machine: its name, or the path of its control socket (with a slash)
    name: String,
    /// What to type, on a US keyboard; a line feed is Enter
    #[arg(allow_hyphen_values = true)]
    text: String,
    /// Press Enter at the end
    #[arg(long)]
    enter: bool,
}

/// `pcvm key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The machine: its name, or the path of its control socket (with a slash)
    name: String,
    /// Keys, one after another; those that are joined by '-' are held together
    #[arg(required = true, allow_hyphen_values = true, value_name = "KEY")]
    keys: Vec<String>,
    /// How long keys are held, in milliseconds
    #[arg(long, value_name = "MS", default_value = "100", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    hold: u64,
}

/// `pcvm mouse`.
#[derive(Debug, Args)]
pub struct MouseArgs {
    /// The machine: its name, or the path of its control socket (with a slash)
    name: String,
    /// To the right, in the mouse's counts; the guest may make more or less of them
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-10_000..=10_000))]
    #[arg(required_unless_present = "to", requires = "dy")]
    dx: Option<i32>,
    /// Downwards
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-10_000..=10_000))]
    #[arg(required_unless_present = "to")]
    dy: Option<i32>,
    /// To this pixel of the screen, for a machine with --tablet whose guest has a driver for it
    #[arg(long, num_args = 2, value_names = ["X", "Y"], conflicts_with_all = ["dx", "dy"])]
    to: Option<Vec<u16>>,
    /// Press and release a button then
    #[arg(long, value_name = "BUTTON", value_parser = ["left", "middle", "right"])]
    click: Option<String>,
}

/// `pcvm link`.
#[derive(Debug, Args)]
pub struct LinkArgs {
    /// The machine: its name, or the path of its control socket (with a slash)
    name: String,
    /// The network card, 0 for the first --net
    nic: u8,
    /// The cable is plugged in ('up'), or pulled out ('down')
    #[arg(value_parser = ["up", "down"])]
    state: String,
}

/// `pcvm wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// The machine: its name, or the path of its control socket (with a slash)
    name: String,
    /// What to wait for: a regular expression that matches in the text screen (rows without trailing blanks, joined
    /// by line feeds; ^ and $ match at rows)
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    text: String,
    /// How long at most, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", allow_negative_numbers = true)]
    timeout: f64,
}

/// Why a command for a running machine failed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The machine.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A mistake in the command line.
    #[error("{0}")]
    Usage(String),
    /// There are no characters to print.
    #[error("the screen shows graphics, not text")]
    Graphics,
    /// It did not appear.
    #[error("'{text}' did not appear within {seconds} s")]
    Timeout {
        /// The expression.
        text: String,
        /// As given.
        seconds: f64,
    },
    /// Standard output.
    #[error("standard output: {}", crate::error::host_error(.0))]
    Output(std::io::Error),
}

fn rows(client: &mut Client) -> Result<Option<Vec<String>>, RemoteError> {
    let answer = client.execute("x-screen-text", json!({}))?;
    if answer.get("text").and_then(Value::as_bool) != Some(true) {
        return Ok(None);
    }
    let rows = answer.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(Some(rows.iter().map(|row| row.as_str().unwrap_or_default().trim_end().to_owned()).collect()))
}

impl ScreenshotArgs {
    /// Takes a picture.
    ///
    /// # Errors
    /// If the machine is not there or cannot write the file.
    pub fn run(self) -> Result<(), RemoteError> {
        let usage = |what: &str| RemoteError::Usage(format!("{}: {what}", self.file.display()));
        let format = match self.file.extension().and_then(|extension| extension.to_str()) {
            Some("png") => "png",
            Some("ppm") => "ppm",
            _ => return Err(usage("the name of a picture ends with .png or .ppm")),
        };
        // The machine writes it, and has a directory of its own.
        let path = std::path::absolute(&self.file).map_err(|error| usage(&crate::error::host_error(&error)))?;
        let path = path.to_str().ok_or_else(|| usage("the name is not UTF-8"))?;
        Client::connect(&self.name)?.execute("screendump", json!({ "filename": path, "format": format }))?;
        Ok(())
    }
}

impl ScreenArgs {
    /// Prints the screen.
    ///
    /// # Errors
    /// If the machine is not there or shows no text.
    pub fn run(self) -> Result<(), RemoteError> {
        let mut text = rows(&mut Client::connect(&self.name)?)?.ok_or(RemoteError::Graphics)?.join("\n");
        text.push('\n');
        std::io::stdout().write_all(text.as_bytes()).map_err(RemoteError::Output)
    }
}

fn send(client: &mut Client, keys: &[u16], hold: u64) -> Result<(), RemoteError> {
    // Scan codes with bit 7 for E0h; Pause has a number of its own.
    let number = |&code: &u16| match code {
        0x1e1 => 0xc6,
        code => code & 0x7f | if code & 0x100 != 0 { 0x80 } else { 0 },
    };
    let keys: Vec<_> = keys.iter().map(|code| json!({ "type": "number", "data": number(code) })).collect();
    client.execute("send-key", json!({ "keys": keys, "hold-time": hold }))?;
    Ok(())
}

impl TypeArgs {
    /// Types.
    ///
    /// # Errors
    /// If the machine is not there or a character cannot be typed; then nothing is.
    pub fn run(self) -> Result<(), RemoteError> {
        let mut text = self.text;
        if self.enter {
            text.push('\n');
        }
        let mut chords = Vec::new();
        for c in text.chars() {
            let (code, shift) = keys::by_char(c).ok_or_else(|| {
                RemoteError::Usage(format!("'{}' cannot be typed on a US keyboard", c.escape_debug()))
            })?;
            chords.push(if shift { vec![keys::SHIFT, code] } else { vec![code] });
        }
        let mut client = Client::connect(&self.name)?;
        chords.iter().try_for_each(|keys| send(&mut client, keys, TYPED))
    }
}

impl KeyArgs {
    /// Presses keys.
    ///
    /// # Errors
    /// If the machine is not there or there is no such key; then none is pressed.
    pub fn run(self) -> Result<(), RemoteError> {
        let chords = self.keys.iter().map(|text| keys::chord(text).map_err(|part| (text, part)));
        let chords = chords.collect::<Result<Vec<_>, _>>().map_err(|(text, part)| {
            let what = if part.is_empty() { "a key is missing".to_owned() } else { format!("'{part}' is no key") };
            RemoteError::Usage(format!("{text}: {what}"))
        })?;
        let mut client = Client::connect(&self.name)?;
        chords.iter().try_for_each(|keys| send(&mut client, keys, self.hold))
    }
}

impl MouseArgs {
    /// Moves the pointer, and clicks.
    ///
    /// # Errors
    /// If the machine is not there.
    pub fn run(self) -> Result<(), RemoteError> {
        let mut client = Client::connect(&self.name)?;
        if let Some([x, y]) = self.to.as_deref() {
            client.execute("x-pointer-to", json!({ "x": x, "y": y }))?;
            if self.click.is_some() {
                // Systems take a click for one that is where the pointer was a moment before.
                std::thread::sleep(MOVED);
            }
        }
        let mut send = |events: Value| client.execute("input-send-event", json!({ "events": events }));
        let (mut dx, mut dy) = (self.dx.unwrap_or(0), self.dy.unwrap_or(0));
        // A PS/2 mouse tells at most so much at a time, and a guest that is slow loses what does not fit into its queue.
        const STEP: i32 = 100;
        while dx != 0 || dy != 0 {
            let (x, y) = (dx.clamp(-STEP, STEP), dy.clamp(-STEP, STEP));
            let axis = |axis: &str, value: i32| json!({ "type": "rel", "data": { "axis": axis, "value": value } });
            send(json!([axis("x", x), axis("y", y)]))?;
            (dx, dy) = (dx - x, dy - y);
            std::thread::sleep(MOVED);
        }
        if let Some(button) = self.click {
            for down in [true, false] {
                send(json!([{ "type": "btn", "data": { "button": button, "down": down } }]))?;
                std::thread::sleep(CLICKED);
            }
        }
        Ok(())
    }
}

impl LinkArgs {
    /// Plugs a cable in, or pulls it out.
    ///
    /// # Errors
    /// If the machine or the card is not there.
    pub fn run(self) -> Result<(), RemoteError> {
        let Self { name, nic, state } = self;
        Client::connect(&name)?.execute("set_link", json!({ "name": format!("net{nic}"), "up": state == "up" }))?;
        Ok(())
    }
}

impl WaitArgs {
    /// Waits for text.
    ///
    /// # Errors
    /// If the machine is not there or ends, or it takes too long.
    pub fn run(self) -> Result<(), RemoteError> {
        let wanted = RegexBuilder::new(&self.text).multi_line(true).build().map_err(|error| {
            let why = error.to_string();
            RemoteError::Usage(format!(
                "--text: {}",
                why.lines().last().unwrap_or_default().trim().trim_start_matches("error: ")
            ))
        })?;
        let limit = Duration::try_from_secs_f64(self.timeout)
            .map_err(|_| RemoteError::Usage(format!("--timeout: {} is not a number of seconds", self.timeout)))?;
        let deadline = Instant::now().checked_add(limit);
        let mut client = Client::connect(&self.name)?;
        loop {
            if rows(&mut client)?.is_some_and(|rows| wanted.is_match(&rows.join("\n"))) {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(RemoteError::Timeout { text: self.text, seconds: self.timeout });
            }
            std::thread::sleep(LOOK);
        }
    }
}
