//! QMP wire format (QEMU, "QMP Protocol Specification"): JSON requests, and JSON replies and events, one per line.
//!
//! Deliberately missing: out-of-band execution (capability `oob`).

use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Length limit of a request, in bytes.
pub const REQUEST_MAX: usize = 64 << 10;

/// A command from a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The command's name.
    pub execute: String,
    /// The command's arguments.
    pub arguments: Map<String, Value>,
    /// The client's identifier, which the reply repeats.
    pub id: Option<Value>,
}

/// QMP's error classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Every error without a class of its own.
    Generic,
    /// The command does not exist, or is not valid in this phase of the connection.
    CommandNotFound,
    /// A device in the arguments is not active.
    DeviceNotActive,
    /// A device in the arguments does not exist.
    DeviceNotFound,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error class, for programs.
    pub class: Class,
    /// The message, for people.
    pub desc: String,
}

impl Failure {
    /// An error of class `DeviceNotFound`.
    pub fn not_found(desc: impl Into<String>) -> Self {
        Self { class: Class::DeviceNotFound, desc: desc.into() }
    }

    /// An error of class `GenericError`.
    pub fn generic(desc: impl Into<String>) -> Self {
        Self { class: Class::Generic, desc: desc.into() }
    }
}

/// Result of a command: the value of `return`, or the error.
pub type Outcome = Result<Value, Failure>;

/// The reply to a command.
pub fn reply(outcome: Outcome, id: Option<Value>) -> Value {
    let mut object = match outcome {
        Ok(value) => json!({ "return": value }),
        Err(Failure { class, desc }) => {
            let class = match class {
                Class::Generic => "GenericError",
                Class::CommandNotFound => "CommandNotFound",
                Class::DeviceNotActive => "DeviceNotActive",
                Class::DeviceNotFound => "DeviceNotFound",
            };
            json!({ "error": { "class": class, "desc": desc } })
        }
    };
    if let (Some(id), Some(object)) = (id, object.as_object_mut()) {
        object.insert("id".to_owned(), id);
    }
    object
}

/// An event with the current time.
pub fn event(name: &str, data: Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timestamp = json!({ "seconds": now.as_secs(), "microseconds": now.subsec_micros() });
    match data {
        Value::Null => json!({ "event": name, "timestamp": timestamp }),
        data => json!({ "event": name, "data": data, "timestamp": timestamp }),
    }
}

/// pcvm's version in the form of QMP's `VersionInfo`.
pub fn version() -> Value {
    let mut numbers = env!("CARGO_PKG_VERSION").split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let (major, minor, micro) = (next(), next(), next());
    json!({
        "qemu": { "major": major, "minor": minor, "micro": micro },
        "package": concat!("pcvm ", env!("CARGO_PKG_VERSION")),
    })
}

/// The greeting that a client receives first.
pub fn greeting() -> Value {
    json!({ "QMP": { "version": version(), "capabilities": [] } })
}

/// Parses requests from a byte stream.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// Bytes up to the end of the line are discarded, after a syntax error.
    skipping: bool,
}

impl Reader {
    /// Appends received bytes. The caller then takes all complete requests before it appends more.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.skipping {
            match bytes.iter().position(|&byte| byte == b'\n') {
                None => return,
                Some(end) => {
                    self.skipping = false;
                    bytes = bytes.get(end..).unwrap_or_default();
                }
            }
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes of an incomplete request that are kept: at most [`REQUEST_MAX`] and what was fed last.
    pub fn buffered(&self) -> usize {
        self.bytes.len()
    }

    /// The next request, or its error with its identifier; `None` if the request is incomplete. `ended`: the client has
    /// closed its side, so an incomplete request is an error.
    pub fn next(&mut self, ended: bool) -> Option<Result<Request, (Failure, Option<Value>)>> {
        let mut values = serde_json::Deserializer::from_slice(&self.bytes).into_iter::<Value>();
        let first = values.next();
        let used = values.byte_offset();
        match first {
            None => {
                self.bytes.clear();
                None
            }
            Some(Ok(value)) => {
                self.bytes.drain(..used);
                Some(check(value))
            }
            Some(Err(error)) if error.is_eof() && self.bytes.len() < REQUEST_MAX && !ended => None,
            Some(Err(error)) => {
                let why = if error.is_eof() && !ended {
                    format!("QMP input exceeds {REQUEST_MAX} bytes")
                } else {
                    "Invalid JSON syntax".to_owned()
                };
                self.skip_line(used);
                Some(Err((Failure::generic(why), None)))
            }
        }
    }

    fn skip_line(&mut self, from: usize) {
        match self.bytes.iter().skip(from).position(|&byte| byte == b'\n') {
            Some(end) => drop(self.bytes.drain(..=from + end)),
            None => {
                self.bytes.clear();
                self.skipping = true;
            }
        }
    }
}

/// Converts a JSON value into a request.
fn check(value: Value) -> Result<Request, (Failure, Option<Value>)> {
    let Value::Object(mut object) = value else {
        return Err((Failure::generic("QMP input must be a JSON object"), None));
    };
    let id = object.remove("id");
    let fail = |desc: String| Err((Failure::generic(desc), id.clone()));
    let execute = match object.remove("execute") {
        Some(Value::String(name)) => name,
        Some(_) => return fail("QMP input member 'execute' must be a string".to_owned()),
        None if object.contains_key("exec-oob") => return fail("QMP input member 'exec-oob' is unexpected".to_owned()),
        None => return fail("QMP input lacks member 'execute'".to_owned()),
    };
    let arguments = match object.remove("arguments") {
        None => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        Some(_) => return fail("QMP input member 'arguments' must be an object".to_owned()),
    };
    if let Some(member) = object.keys().next() {
        return fail(format!("QMP input member '{member}' is unexpected"));
    }
    Ok(Request { execute, arguments, id })
}

/// The arguments of a command. Each is removed as it is read; [`Arguments::end`] rejects the rest.
pub struct Arguments(pub Map<String, Value>);

impl Arguments {
    /// Removes an optional argument.
    pub fn optional(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn wrong(name: &str, expected: &str) -> Failure {
        Failure::generic(format!("Invalid parameter type for '{name}', expected: {expected}"))
    }

    /// Removes an optional string.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        match self.optional(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Self::wrong(name, "string")),
        }
    }

    /// Removes an optional integer.
    pub fn integer(&mut self, name: &str) -> Result<Option<i64>, Failure> {
        self.optional(name).map(|value| value.as_i64().ok_or_else(|| Self::wrong(name, "integer"))).transpose()
    }

    /// Removes an optional boolean.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, Failure> {
        self.optional(name).map(|value| value.as_bool().ok_or_else(|| Self::wrong(name, "boolean"))).transpose()
    }

    /// Removes a required array.
    pub fn list(&mut self, name: &str) -> Result<Vec<Value>, Failure> {
        match Self::required(name, self.optional(name))? {
            Value::Array(list) => Ok(list),
            _ => Err(Self::wrong(name, "array")),
        }
    }

    /// Removes a required object.
    pub fn object(&mut self, name: &str) -> Result<Self, Failure> {
        Self::of(name, Self::required(name, self.optional(name))?)
    }

    /// Converts `value`, the argument `name`, to an object.
    pub fn of(name: &str, value: Value) -> Result<Self, Failure> {
        match value {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(Self::wrong(name, "object")),
        }
    }

    /// Fails if the argument is missing.
    pub fn required<T>(name: &str, value: Option<T>) -> Result<T, Failure> {
        value.ok_or_else(|| Failure::generic(format!("Parameter '{name}' is missing")))
    }

    /// Fails if an argument is left.
    pub fn end(self) -> Result<(), Failure> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Failure::generic(format!("Parameter '{name}' is unexpected"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut Reader, ended: bool) -> Vec<Result<String, String>> {
        std::iter::from_fn(|| reader.next(ended))
            .map(|next| next.map(|request| request.execute).map_err(|(failure, _)| failure.desc))
            .collect()
    }

    #[test]
    fn requests_are_parsed_from_chunks_of_any_size() {
        let stream = br#"{"execute":"a"} {"execute" : "b","arguments":{"x":1},"id":[7]}
            {"execute":"c"}"#;
        for size in [1, 2, 7, 1000] {
            let mut reader = Reader::default();
            let mut got = Vec::new();
            for part in stream.chunks(size) {
                reader.feed(part);
                got.extend(all(&mut reader, false));
            }
            assert_eq!(got, ["a", "b", "c"].map(|name| Ok(name.to_owned())), "{size}");
        }
    }

    #[test]
    fn an_invalid_request_is_reported_and_skipped() {
        for (text, why) in [
            ("nonsense", "Invalid JSON syntax"),
            ("{\"execute\": }", "Invalid JSON syntax"),
            ("\u{1b}[A", "Invalid JSON syntax"),
            ("[]", "QMP input must be a JSON object"),
            ("7", "QMP input must be a JSON object"),
            ("{}", "QMP input lacks member 'execute'"),
            ("{\"execute\":1}", "QMP input member 'execute' must be a string"),
            ("{\"execute\":\"a\",\"arguments\":[]}", "QMP input member 'arguments' must be an object"),
            ("{\"execute\":\"a\",\"control\":1}", "QMP input member 'control' is unexpected"),
            ("{\"exec-oob\":\"a\"}", "QMP input member 'exec-oob' is unexpected"),
        ] {
            let mut reader = Reader::default();
            reader.feed(format!("{text}\n{{\"execute\":\"stop\"}}\n").as_bytes());
            assert_eq!(all(&mut reader, false), [Err(why.to_owned()), Ok("stop".to_owned())], "{text}");
        }
    }

    #[test]
    fn a_request_without_an_end_is_bounded_in_memory() {
        let mut reader = Reader::default();
        let mut errors = 0;
        for _ in 0..1000 {
            reader.feed(&[b'['; 1000]);
            errors += all(&mut reader, false).len();
            assert!(reader.bytes.len() <= REQUEST_MAX + 1000);
        }
        assert_eq!(errors, 1, "one error for the whole line");
        reader.feed(b"\n{\"execute\":\"stop\"}");
        assert_eq!(all(&mut reader, false), [Ok("stop".to_owned())]);
        let mut reader = Reader::default();
        reader.feed(b"{\"execute\":\"");
        for _ in 0..100 {
            reader.feed(&[b'x'; 1000]);
            errors += all(&mut reader, false).len();
        }
        assert_eq!(errors, 2);
        let mut reader = Reader::default();
        reader.feed(b"{\"execute\"");
        assert_eq!(all(&mut reader, true).len(), 1, "the end of the stream within a request");
    }

    #[test]
    fn arguments_of_a_wrong_type_and_unknown_ones_are_rejected() {
        let arguments = |value: Value| Arguments(value.as_object().unwrap().clone());
        let mut given = arguments(json!({"name": 5, "n": "x", "rest": 1}));
        assert_eq!(given.text("name").unwrap_err().desc, "Invalid parameter type for 'name', expected: string");
        assert_eq!(given.integer("n").unwrap_err().desc, "Invalid parameter type for 'n', expected: integer");
        assert_eq!(given.list("keys").unwrap_err().desc, "Parameter 'keys' is missing");
        assert_eq!(given.end().unwrap_err().desc, "Parameter 'rest' is unexpected");
    }
}
