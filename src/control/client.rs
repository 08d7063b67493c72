//! The other end: a program that has one thing to say to a machine.

use crate::error::host_error;
use crate::socket_path;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// A line of an answer has at most so many bytes.
const LINE_MAX: u64 = 16 << 20;
/// What a machine takes at most to answer, besides typing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine cannot be spoken to, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No place for sockets.
    #[error(transparent)]
    SocketPath(#[from] socket_path::SocketPathError),
    /// Nobody listens.
    #[error("no machine named '{name}' is running (nobody listens at {})", path.display())]
    NoMachine {
        /// As given.
        name: String,
        /// Where its socket would be.
        path: PathBuf,
    },
    /// The socket.
    #[error("{}: {}", path.display(), host_error(why))]
    Connect {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The connection broke off.
    #[error("the machine ended")]
    Ended,
    /// The connection broke off otherwise.
    #[error("the machine does not answer: {}", host_error(.0))]
    Broken(io::Error),
    /// This is no QMP.
    #[error("what listens there does not speak QMP")]
    NotQmp,
    /// The machine said so.
    #[error("{0}")]
    Refused(String),
}

/// A connection.
pub struct Client {
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects to a machine, by its name or the path of its socket.
    ///
    /// # Errors
    /// If it is not there.
    pub fn connect(name: &str) -> Result<Self, ClientError> {
        let path = socket_path::of_machine(name)?;
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Err(ClientError::NoMachine { name: name.to_owned(), path });
            }
            Err(why) => return Err(ClientError::Connect { path, why }),
        };
        stream.set_read_timeout(Some(PATIENCE)).map_err(ClientError::Broken)?;
        let mut client = Self { reader: BufReader::new(stream) };
        client.line()?.get("QMP").ok_or(ClientError::NotQmp)?;
        client.execute("qmp_capabilities", json!({}))?;
        Ok(client)
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// If the machine refuses or is gone.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, ClientError> {
        let request = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.reader.get_mut().write_all(request.as_bytes()).map_err(broken)?;
        loop {
            let mut answer = self.line()?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                let desc = error.get("desc").and_then(Value::as_str).unwrap_or("refused");
                return Err(ClientError::Refused(desc.to_owned()));
            }
            if answer.get("event").is_none() {
                return Err(ClientError::NotQmp);
            }
        }
    }

    fn line(&mut self) -> Result<Value, ClientError> {
        let mut line = Vec::new();
        self.reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).map_err(broken)?;
        if line.is_empty() {
            return Err(ClientError::Ended);
        }
        serde_json::from_slice(&line).map_err(|_| ClientError::NotQmp)
    }
}

fn broken(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => ClientError::Ended,
        _ => ClientError::Broken(error),
    }
}
