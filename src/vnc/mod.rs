//! The VNC server: the screen over TCP, a Unix socket or WebSocket, with or without TLS.
//!
//! One thread serves all clients and sleeps until a socket has something, or, while a client waits for the screen to
//! change, looks at it up to thirty times a second. It works on copies of the adapter's registers and never holds the
//! board's lock while it draws or encodes. A client that does not read gets no update, so it keeps nobody waiting and
//! takes no more memory than one update.

mod auth;
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
mod wire;

pub use crate::display::Console;
pub use listen::{ListenError, Listeners};
pub use server::Server;

/// For the fuzzer: a client's bytes, through the session and WebSocket's framing. Nothing they can be does harm.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    use picture::{Damage, Picture};
    use session::{Options, Request, Session};
    let Some((&[kind, size], bytes)) = bytes.split_first_chunk::<2>() else { return };
    let options =
        Options { name: "fuzz".to_owned(), password: (kind & 1 != 0).then(|| b"secret".to_vec()), tls: kind & 2 != 0 };
    let side = u16::from(size) + 1;
    let picture = Picture::black(side, 100);
    let mut session = Session::new(options.into(), kind & 4 != 0, [kind; 16], picture.size());
    let mut socket = websocket::WebSocket::default();
    let (mut input, mut answer) = (Vec::new(), Vec::new());
    for part in bytes.chunks(usize::from(kind >> 4) + 1) {
        if kind & 8 == 0 {
            input.extend_from_slice(part);
        } else if socket.receive(part, &mut input, &mut answer).is_err() {
            return;
        }
        if session.receive(&mut input).is_err() {
            return;
        }
        if session.request.take() == Some(Request::StartTls) {
            session.tls_is_up();
        }
        let mut damage = Damage::none(picture.size());
        damage.add(picture.all());
        session.changed(picture.size(), &damage, None);
        session.set_absolute(kind & 0x80 != 0 && input.len() & 1 == 0);
        session.update(&picture, kind);
        let held = input.len() + session.out.len() + answer.len();
        assert!(held < 24 << 20, "a client of {} bytes takes {held}", bytes.len());
        session.out.clear();
        answer.clear();
        session.input.events.clear();
    }
    session.input.release_all();
}
