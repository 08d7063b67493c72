//! WebSocket server protocol (RFC 6455): the HTTP upgrade, and binary frames in both directions.
//!
//! Deliberately missing: extensions, and text frames, which VNC clients do not send.

use sha1::{Digest, Sha1};

/// Longest upgrade request, in bytes.
const REQUEST_MAX: usize = 8192;
/// Appended to Sec-WebSocket-Key before hashing (RFC 6455, section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Longest payload of a frame that is sent: its length has 16 bits.
const PAYLOAD_MAX: usize = 0xffff;

// Opcodes (RFC 6455, section 5.2).
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The client closed the connection or violates the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WsClosed;

/// State of one connection.
#[derive(Debug, Default)]
pub struct WebSocket {
    open: bool,
    /// The upgrade request, later the header of a frame or the payload of a control frame.
    buffer: Vec<u8>,
    frame: Option<WsFrame>,
}

/// A frame whose payload has not arrived completely.
#[derive(Debug)]
struct WsFrame {
    opcode: u8,
    /// Bytes of payload to come.
    left: u64,
    mask: [u8; 4],
    /// Index of the next byte in the mask.
    mask_at: usize,
}

impl WebSocket {
    /// Whether the upgrade is done.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Parses received bytes: appends data to `payload`, and the bytes to send back to `reply`.
    pub fn receive(&mut self, bytes: &[u8], payload: &mut Vec<u8>, reply: &mut Vec<u8>) -> Result<(), WsClosed> {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if let Some(frame) = &mut self.frame {
                let len = usize::try_from(frame.left).unwrap_or(usize::MAX).min(rest.len());
                let (now, later) = rest.split_at(len);
                let to = if frame.opcode < CLOSE { &mut *payload } else { &mut self.buffer };
                for &byte in now {
                    to.push(byte ^ frame.mask[frame.mask_at % 4]);
                    frame.mask_at = (frame.mask_at + 1) % 4;
                }
                frame.left -= len as u64;
                rest = later;
                if frame.left == 0 {
                    self.end_frame(reply)?;
                }
                continue;
            }
            self.buffer.push(byte);
            rest = rest.get(1..).unwrap_or_default();
            if self.open {
                self.begin_frame(reply)?;
            } else if self.buffer.ends_with(b"\r\n\r\n") {
                self.upgrade(reply)?;
            } else if self.buffer.len() > REQUEST_MAX {
                return Err(WsClosed);
            }
        }
        Ok(())
    }

    fn upgrade(&mut self, reply: &mut Vec<u8>) -> Result<(), WsClosed> {
        let request = String::from_utf8_lossy(&self.buffer).into_owned();
        self.buffer.clear();
        let header = |name: &str| {
            request.lines().skip(1).find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let upgrades = header("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        let key = header("Sec-WebSocket-Key").filter(|_| upgrades && request.starts_with("GET "));
        let Some(key) = key else {
            reply.extend_from_slice(
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 31\r\n\r\n\
                  Only VNC over WebSocket is here",
            );
            return Err(WsClosed);
        };
        let accept = base64(&Sha1::digest(format!("{key}{GUID}")));
        let binary = header("Sec-WebSocket-Protocol")
            .is_some_and(|protocols| protocols.split(',').any(|protocol| protocol.trim() == "binary"));
        let protocol = if binary { "Sec-WebSocket-Protocol: binary\r\n" } else { "" };
        reply.extend_from_slice(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
            )
            .as_bytes(),
        );
        self.open = true;
        Ok(())
    }

    /// Starts a frame if `buffer` holds its complete header.
    fn begin_frame(&mut self, reply: &mut Vec<u8>) -> Result<(), WsClosed> {
        let (Some(&first), Some(&second)) = (self.buffer.first(), self.buffer.get(1)) else { return Ok(()) };
        let (opcode, short) = (first & 0xf, second & 0x7f);
        // RFC 6455, section 5: clients must mask, RSV bits need an extension, control frames have at most 125 bytes.
        let valid = matches!(opcode, CONTINUATION | BINARY) || matches!(opcode, CLOSE | PING | PONG) && short < 126;
        if second & 0x80 == 0 || first & 0x70 != 0 || !valid {
            return Err(WsClosed);
        }
        let len_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some(&[a, b, c, d]) = self.buffer.get(2 + len_bytes..6 + len_bytes) else { return Ok(()) };
        let left = match len_bytes {
            0 => short.into(),
            _ => self
                .buffer
                .get(2..2 + len_bytes)
                .unwrap_or_default()
                .iter()
                .fold(0, |len, &byte| len << 8 | u64::from(byte)),
        };
        self.buffer.clear();
        self.frame = Some(WsFrame { opcode, left, mask: [a, b, c, d], mask_at: 0 });
        if left == 0 { self.end_frame(reply) } else { Ok(()) }
    }

    fn end_frame(&mut self, reply: &mut Vec<u8>) -> Result<(), WsClosed> {
        let payload = std::mem::take(&mut self.buffer);
        match self.frame.take().map(|frame| frame.opcode) {
            Some(PING) => Self::put_frame(PONG, &payload, reply),
            Some(CLOSE) => {
                Self::put_frame(CLOSE, payload.get(..2).unwrap_or_default(), reply);
                return Err(WsClosed);
            }
            _ => {}
        }
        Ok(())
    }

    fn put_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
        out.push(0x80 | opcode);
        match u8::try_from(payload.len()) {
            Ok(len @ 0..126) => out.push(len),
            _ => {
                out.push(126);
                out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
    }

    /// Appends `data` as binary frames.
    pub fn send(&self, data: &[u8], out: &mut Vec<u8>) {
        data.chunks(PAYLOAD_MAX).for_each(|part| Self::put_frame(BINARY, part, out));
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let bits = part.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - part.len()));
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= part.len() { digit.into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upgrade_example_of_rfc_6455_gets_its_accept_key() {
        let mut socket = WebSocket::default();
        let (mut payload, mut reply) = (Vec::new(), Vec::new());
        let request = b"GET /chat HTTP/1.1\r\nHost: server\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat, binary\r\n\r\n";
        for byte in request {
            assert!(!socket.is_open());
            socket.receive(&[*byte], &mut payload, &mut reply).unwrap();
        }
        assert!(socket.is_open() && payload.is_empty());
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{reply}");
        assert!(reply.contains("Sec-WebSocket-Protocol: binary\r\n") && reply.ends_with("\r\n\r\n"));
    }

    fn open() -> WebSocket {
        WebSocket { open: true, ..WebSocket::default() }
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut out = vec![first];
        match payload.len() {
            len @ 0..126 => out.push(0x80 | len as u8),
            len => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        out
    }

    #[test]
    fn frames_are_parsed_from_any_split_and_pings_between_them_are_answered() {
        let data: Vec<u8> = (0..1000_u32).map(|n| n as u8).collect();
        let mut stream = masked(0x02, &data[..100]);
        stream.extend(masked(0x89, b"are you there"));
        stream.extend(masked(0x80, &data[100..]));
        stream.extend(masked(0x82, b""));
        for size in [1, 3, 5000] {
            let mut socket = open();
            let (mut payload, mut reply) = (Vec::new(), Vec::new());
            for part in stream.chunks(size) {
                socket.receive(part, &mut payload, &mut reply).unwrap();
            }
            assert_eq!(payload, data);
            assert_eq!(reply, [&[0x8a, 13][..], b"are you there"].concat());
        }
    }

    #[test]
    fn a_protocol_violation_or_close_frame_ends_the_connection() {
        let (mut payload, mut reply) = (Vec::new(), Vec::new());
        for bytes in [
            &[0x82, 0x01, 0x55][..],
            &[0xc2, 0x81],
            &[0x81, 0x81],
            &[0x89, 0xfe],
            &[0x83, 0x80],
            &masked(0x88, &[3, 0xe8]),
        ] {
            assert_eq!(open().receive(bytes, &mut payload, &mut reply), Err(WsClosed), "{bytes:x?}");
        }
        assert_eq!(reply, [0x88, 2, 3, 0xe8], "a close frame is answered");
        let mut socket = WebSocket::default();
        assert_eq!(socket.receive(&[b'x'; REQUEST_MAX + 2], &mut payload, &mut reply), Err(WsClosed));
        let mut socket = WebSocket::default();
        reply.clear();
        assert_eq!(socket.receive(b"GET / HTTP/1.1\r\n\r\n", &mut payload, &mut reply), Err(WsClosed));
        assert!(reply.starts_with(b"HTTP/1.1 400 "));
        // The announced length of a frame allocates no memory.
        let mut socket = open();
        socket
            .receive(
                &[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
                &mut payload,
                &mut reply,
            )
            .unwrap();
        payload.clear();
        socket.receive(&[0; 100], &mut payload, &mut reply).unwrap();
        assert_eq!(payload.len(), 100);
    }

    #[test]
    fn data_is_sent_in_frames_of_at_most_65535_bytes() {
        let mut out = Vec::new();
        open().send(b"abc", &mut out);
        assert_eq!(out, [0x82, 3, b'a', b'b', b'c']);
        out.clear();
        open().send(&vec![7; 70_000], &mut out);
        assert_eq!(out.len(), 4 + 65_535 + 4 + 4465);
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
    }
}
