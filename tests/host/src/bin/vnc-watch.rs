//! VNC client for benchmarks (`benches/screen`): measures what a client costs the VMM.
//!
//!     vnc-watch SOCKET tight|zrle PID FILE SECONDS AFTER
//!
//! It requests the next update as soon as it has received one, for AFTER seconds and then for SECONDS more. It prints
//! for those SECONDS: bytes received, updates, growth of FILE in bytes, nanoseconds that the threads of process PID ran
//! except the vCPU threads, and how often these threads were scheduled.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const RAW: i32 = 0;
const COPY_RECT: i32 = 1;
const TIGHT: i32 = 7;
const ZRLE: i32 = 16;
const DESKTOP_SIZE: i32 = -223;

struct Client {
    stream: BufReader<UnixStream>,
    bytes: u64,
    size: (u16, u16),
}

impl Client {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        self.bytes += N as u64;
        Ok(bytes)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        self.bytes += count as u64;
        Ok(())
    }

    fn connect(path: &str, encoding: i32) -> Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut client = Self { stream: BufReader::with_capacity(1 << 20, stream), bytes: 0, size: (0, 0) };
        client.take::<12>()?;
        client.send(b"RFB 003.008\n")?;
        let [methods] = client.take()?;
        client.skip(methods.into())?;
        client.send(&[1])?;
        client.take::<4>()?;
        client.send(&[1])?;
        let start: [u8; 24] = client.take()?;
        client.size = (u16::from_be_bytes([start[0], start[1]]), u16::from_be_bytes([start[2], start[3]]));
        client.skip(u32::from_be_bytes([start[20], start[21], start[22], start[23]]) as usize)?;
        // SetPixelFormat: 32 bits per pixel, 8 per colour.
        client.send(&[0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0])?;
        let encodings = [COPY_RECT, encoding, DESKTOP_SIZE];
        let mut message = vec![2, 0, 0, encodings.len() as u8];
        encodings.iter().for_each(|encoding| message.extend_from_slice(&encoding.to_be_bytes()));
        client.send(&message)?;
        Ok(client)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    fn request_update(&mut self, incremental: bool) -> Result<()> {
        let ((width, height), mut message) = (self.size, vec![3, incremental.into(), 0, 0, 0, 0]);
        message.extend_from_slice(&width.to_be_bytes());
        message.extend_from_slice(&height.to_be_bytes());
        self.send(&message)
    }

    /// Whether data arrives before the read timeout.
    fn has_more(&mut self) -> Result<bool> {
        use std::io::{BufRead, ErrorKind};
        match self.stream.fill_buf() {
            Ok([]) => Err("the VNC server closed the connection".into()),
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a FramebufferUpdate.
    fn update(&mut self) -> Result<()> {
        self.stream.get_mut().set_read_timeout(None)?;
        let [kind, _, high, low] = self.take()?;
        if kind != 0 {
            return Err(format!("unexpected message type {kind}").into());
        }
        for _ in 0..u16::from_be_bytes([high, low]) {
            let header: [u8; 12] = self.take()?;
            let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
            let (width, height) = (usize::from(number(4)), usize::from(number(6)));
            match i32::from_be_bytes([header[8], header[9], header[10], header[11]]) {
                RAW => self.skip(width * height * 4)?,
                COPY_RECT => self.skip(4)?,
                DESKTOP_SIZE => self.size = (number(4), number(6)),
                ZRLE => {
                    let length = u32::from_be_bytes(self.take()?);
                    self.skip(length as usize)?;
                }
                TIGHT => self.tight(width, height)?,
                other => return Err(format!("unexpected encoding {other}").into()),
            }
        }
        self.stream.get_mut().set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(())
    }

    fn tight(&mut self, width: usize, height: usize) -> Result<()> {
        let [control] = self.take()?;
        let row = |bits: usize| (width * bits).div_ceil(8);
        let mut length = row(24) * height;
        match control >> 4 {
            8 => return self.skip(3),
            9 => length = usize::MAX,
            kind if kind > 9 => return Err(format!("unexpected Tight compression {kind}").into()),
            kind if kind & 4 != 0 => match self.take()? {
                [0] | [2] => {}
                [1] => {
                    let [last] = self.take()?;
                    self.skip((usize::from(last) + 1) * 3)?;
                    length = row(if last == 1 { 1 } else { 8 }) * height;
                }
                [filter] => return Err(format!("unexpected Tight filter {filter}").into()),
            },
            _ => {}
        }
        if length >= 12 {
            let (mut shift, mut packed) = (0, 0);
            loop {
                let [byte] = self.take()?;
                let last = shift == 14 || byte < 0x80;
                packed |= usize::from(if shift == 14 { byte } else { byte & 0x7f }) << shift;
                shift += 7;
                if last {
                    break;
                }
            }
            length = packed;
        }
        self.skip(length)
    }
}

/// Run time in nanoseconds and number of time slices of a process's threads, except vCPU threads.
fn run_time(pid: &str) -> Result<(u64, u64)> {
    let (mut nanos, mut times) = (0, 0);
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let name = fs::read_to_string(task.join("comm"))?;
        if name.starts_with("vcpu") || name.starts_with("CPU ") {
            continue;
        }
        let text = fs::read_to_string(task.join("schedstat"))?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        nanos += numbers.next().ok_or("schedstat has fewer than three numbers")??;
        times += numbers.nth(1).ok_or("schedstat has fewer than three numbers")??;
    }
    Ok((nanos, times))
}

fn watch() -> Result<()> {
    let arguments: Vec<_> = env::args().collect();
    let [_, socket, encoding, pid, file, seconds, after] = arguments.as_slice() else {
        return Err("usage: vnc-watch SOCKET tight|zrle PID FILE SECONDS AFTER".into());
    };
    let (seconds, after) = (seconds.parse()?, Duration::from_secs(after.parse()?));
    let encoding = match encoding.as_str() {
        "tight" => TIGHT,
        "zrle" => ZRLE,
        other => return Err(format!("unknown encoding {other}: use tight or zrle").into()),
    };
    let mut client = Client::connect(socket, encoding)?;
    let grown = || fs::metadata(file).map(|file| file.len()).unwrap_or(0);
    let (mut updates, mut start) = (0_u64, None);
    let began = Instant::now();
    client.request_update(false)?;
    loop {
        let now = began.elapsed();
        if start.is_none() && now > after {
            start = Some((client.bytes, updates, grown(), run_time(pid)?));
        }
        if let Some((bytes, before, length, (nanos, times))) = start
            && now > after + Duration::from_secs(seconds)
        {
            let (later_nanos, later_times) = run_time(pid)?;
            let counted = [client.bytes - bytes, updates - before, grown() - length, later_nanos - nanos];
            println!("{} {} {} {} {}", counted[0], counted[1], counted[2], counted[3], later_times - times);
            return Ok(());
        }
        if client.has_more()? {
            client.update()?;
            updates += 1;
            client.request_update(true)?;
        }
    }
}

fn main() -> ExitCode {
    match watch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vnc-watch: {error}");
            ExitCode::FAILURE
        }
    }
}
