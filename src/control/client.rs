//! QMP client for the commands that control a running machine (`pcvm screen`, `pcvm type` ...).

use crate::error::host_error;
use crate::socket_path;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Length limit of a reply's line, in bytes.
const LINE_MAX: u64 = 16 << 20;
/// Time limit for a reply.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a command for a running machine failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The directory of control sockets is unknown.
    #[error(transparent)]
    SocketPath(#[from] socket_path::SocketPathError),
    /// No process listens on the machine's control socket.
    #[error("no machine named '{name}' is running: no process listens on {}", path.display())]
    NoMachine {
        /// As given.
        name: String,
        /// The path of its control socket.
        path: PathBuf,
    },
    /// The host kernel refused the connection.
    #[error("socket {}: {}", path.display(), host_error(why))]
    Connect {
        /// The path of the control socket.
        path: PathBuf,
        /// The host kernel's error.
        why: io::Error,
    },
    /// The machine closed the connection.
    #[error("the machine ended")]
    Ended,
    /// There was no reply within the time limit.
    #[error("the machine did not reply within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// Reading or writing failed.
    #[error("connection to the machine: {}", host_error(.0))]
    Broken(io::Error),
    /// A reply that is not QMP.
    #[error("the process that listens on {} does not speak QMP", .0.display())]
    NotQmp(PathBuf),
    /// The machine's error message.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a machine's control socket, with capabilities negotiated.
pub struct Client {
    path: PathBuf,
    reader: BufReader<UnixStream>,
}

impl Client {
    /// Connects to a machine by its name, or by the path of its control socket.
    ///
    /// # Errors
    /// If the machine is not running or does not speak QMP.
    pub fn connect(name: &str) -> Result<Self, ClientError> {
        let path = socket_path::of_machine(name)?;
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Err(ClientError::NoMachine { name: name.to_owned(), path });
            }
            Err(why) => return Err(ClientError::Connect { path, why }),
        };
        stream.set_read_timeout(Some(TIMEOUT)).map_err(ClientError::Broken)?;
        let mut client = Self { path, reader: BufReader::new(stream) };
        client.line()?.get("QMP").ok_or_else(|| client.not_qmp())?;
        client.execute("qmp_capabilities", json!({}))?;
        Ok(client)
    }

    /// Sends a command and returns its reply. Events that arrive before the reply are ignored.
    ///
    /// # Errors
    /// If the machine rejects the command, ends or does not reply.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, ClientError> {
        let request = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.reader.get_mut().write_all(request.as_bytes()).map_err(broken)?;
        loop {
            let mut reply = self.line()?;
            if let Some(value) = reply.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = reply.get("error") {
                let desc = error.get("desc").and_then(Value::as_str).unwrap_or("refused");
                return Err(ClientError::Refused(desc.to_owned()));
            }
            if reply.get("event").is_none() {
                return Err(self.not_qmp());
            }
        }
    }

    fn not_qmp(&self) -> ClientError {
        ClientError::NotQmp(self.path.clone())
    }

    fn line(&mut self) -> Result<Value, ClientError> {
        let mut line = Vec::new();
        self.reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).map_err(broken)?;
        if line.is_empty() {
            return Err(ClientError::Ended);
        }
        serde_json::from_slice(&line).map_err(|_| self.not_qmp())
    }
}

fn broken(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => ClientError::Ended,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Timeout,
        _ => ClientError::Broken(error),
    }
}
