//! VNC server (RFB protocol, RFC 6143) over TCP, a Unix socket or WebSocket, with or without TLS.
//!
//! One thread serves all clients. It sleeps in poll(2); while a client has a FramebufferUpdateRequest pending, it polls the
//! guest's screen up to 30 times a second. It works on copies of the display adapter's registers and never holds the
//! board's lock while it draws or encodes. A client that does not read gets no further update, so it delays no other
//! client and holds at most one update in memory.
//!
//! Layers: `server` (event loop), `connection` (socket, TLS, WebSocket), `session` (RFB messages), `encode` (encodings),
//! `picture` (damage and scrolls).

mod auth;
mod connection;
#[cfg(test)]
mod decode;
mod encode;
mod input;
mod listen;
mod picture;
mod pixels;
mod server;
pub mod session;
#[cfg(test)]
mod tests;
mod websocket;

pub use listen::{ListenError, Listeners};
pub use server::Server;

/// Fuzz target: `bytes` as a client's input through the WebSocket framing and the session.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    use picture::{Damage, Picture};
    use session::{Session, SessionOptions, SessionRequest};
    let Some((&[kind, size], bytes)) = bytes.split_first_chunk::<2>() else { return };
    let password = (kind & 1 != 0).then(|| b"secret".to_vec());
    let options = SessionOptions { name: "fuzz".to_owned(), password, tls: kind & 2 != 0, ..Default::default() };
    let side = u16::from(size) + 1;
    let picture = Picture::black(side, 100);
    let mut session = Session::new(options.into(), kind & 4 != 0, [kind; 16], picture.size());
    let mut socket = websocket::WebSocket::default();
    let (mut input, mut reply) = (Vec::new(), Vec::new());
    for part in bytes.chunks(usize::from(kind >> 4) + 1) {
        if kind & 8 == 0 {
            input.extend_from_slice(part);
        } else if socket.receive(part, &mut input, &mut reply).is_err() {
            return;
        }
        if session.receive(&mut input).is_err() {
            return;
        }
        if session.request.take() == Some(SessionRequest::StartTls) {
            session.tls_established();
        }
        let mut damage = Damage::none(picture.size());
        damage.add(picture.all());
        session.screen_changed(picture.size(), &damage, None);
        session.set_absolute(kind & 0x80 != 0 && input.len() & 1 == 0);
        session.update(&picture, kind);
        let memory = input.len() + session.out.len() + reply.len();
        assert!(memory < 24 << 20, "{} bytes from the client made the server hold {memory} bytes", bytes.len());
        session.out.clear();
        reply.clear();
        session.input.events.clear();
    }
    session.input.release_all();
}
