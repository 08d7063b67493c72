//! Servers that violate the protocol: each gets an error, none a panic, a hang or memory.

use super::server::{
    Abilities, Server, chunk, greeting, info_export, info_sizes, negotiate, option_reply, simple, u64_at,
};
use super::*;
use crate::block::nbd::wire::*;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

/// Opens a disk at a server that plays `script` on each connection.
fn open_at(script: impl Fn(&UnixStream) + Send + 'static) -> (Result<NbdClient, NbdError>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nbd");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            script(&stream);
        }
    });
    (open(&socket, "disk", 0), dir)
}

/// Sends bytes, then closes when the client has.
fn send(mut stream: &UnixStream, bytes: &[u8]) {
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
}

fn skip(mut stream: &UnixStream, bytes: usize) {
    let _ = stream.read_exact(&mut vec![0; bytes]);
}

const GO_LEN: usize = 16 + 4 + 4 + 2 + 2;

/// The greeting, no structured replies, and these replies to GO.
fn answer_go(stream: &UnixStream, replies: &[Vec<u8>]) {
    let mut out = stream;
    let _ = out.write_all(&greeting(3));
    skip(stream, 4 + 16);
    let _ = out.write_all(&option_reply(OPT_STRUCTURED_REPLY, REP_ERR_UNSUP, &[]));
    skip(stream, GO_LEN);
    send(stream, &replies.concat());
}

#[test]
fn every_bad_greeting_is_refused_by_its_name() {
    let oldstyle = [&INIT_MAGIC.to_be_bytes()[..], &OLDSTYLE_MAGIC.to_be_bytes(), &[0; 136]].concat();
    for (bytes, expect) in [
        (&b""[..], "the server closed the connection"),
        (b"NBDM", "the server closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "the peer is not an NBD server"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer is not an NBD server"),
        (b"NBDMAGICGARBAGE!\0\0", "the peer is not an NBD server"),
        (&oldstyle, "the server has oldstyle negotiation only"),
    ] {
        let bytes = bytes.to_vec();
        let error = open_at(move |stream| send(stream, &bytes)).0.unwrap_err().to_string();
        assert!(error.starts_with(expect), "{error}");
    }
}

#[test]
fn every_bad_reply_to_an_option_is_refused() {
    let go = |kind, payload: &[u8]| option_reply(OPT_GO, kind, payload);
    let export = |size| go(REP_INFO, &info_export(size, 1));
    let sizes = |sizes| [export(1 << 20), go(REP_INFO, &info_sizes(sizes)), go(REP_ACK, &[])].to_vec();
    let mut no_magic = go(REP_ACK, &[]);
    no_magic[0] = 1;
    let mut huge = go(REP_INFO, &[]);
    huge[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    let short_list = [0, 0, 0, 9, b'x'];
    for (replies, expect) in [
        (vec![go(REP_ACK, &[])], "an export without a size"),
        (vec![go(REP_ACK, b"x")], "an acknowledgement with data"),
        (vec![no_magic], "without its magic number"),
        (vec![option_reply(OPT_LIST, REP_ACK, &[])], "a reply to an option that was not sent"),
        (vec![huge], "too long"),
        (vec![go(REP_INFO, &[0])], "information without a type"),
        (vec![go(REP_INFO, &[0, 0, 1])], "information of a wrong length"),
        (vec![go(REP_INFO, &[0, 3, 1])], "information of a wrong length"),
        (vec![go(REP_SERVER, &[0; 4])], "an unexpected reply to GO"),
        (vec![export(u64::MAX), go(REP_ACK, &[])], "larger than any file"),
        (vec![go(REP_INFO, &[0, 9]); 300], "without end"),
        (vec![go(REP_ERR_POLICY, b"go\x1b[2Jaway")], "it (go?[2Jaway)"),
        (vec![go(REP_ERR_SHUTDOWN, &[])], "it is shutting down"),
        (vec![go(REP_ERR_TLS_REQD, &[])], "write nbds://"),
        (vec![go(0x8000_00ff, &[])], "for an unknown reason"),
        (vec![go(REP_ERR_UNKNOWN, &[])], "no export 'disk'"),
        (vec![go(REP_ERR_UNKNOWN, &[]), option_reply(OPT_LIST, REP_SERVER, &short_list)], "no export 'disk'"),
        (vec![go(REP_ERR_UNKNOWN, &[]), option_reply(OPT_LIST, REP_ACK, &[])], "it lists none"),
        (sizes((0, 512, 4096)), "minimum 0"),
        (sizes((3, 512, 4096)), "minimum 3"),
        (sizes((1 << 17, 1 << 17, 1 << 20)), "minimum 131072"),
        (sizes((4096, 4096, 512)), "maximum 512"),
        (vec![export(1000), go(REP_INFO, &info_sizes((512, 512, 4096))), go(REP_ACK, &[])], "blocks of 512 bytes"),
    ] {
        let error = open_at(move |stream| answer_go(stream, &replies)).0.unwrap_err().to_string();
        assert!(error.contains(expect) && !error.contains('\x1b'), "{expect}: {error}");
    }
}

#[test]
fn an_unknown_export_is_refused_with_the_names_of_the_others() {
    let server = Server::new(512, Abilities::default());
    let error = open(server.socket(), "dis", 0).unwrap_err().to_string();
    assert_eq!(error, "the server has no export 'dis', but 'disk', 'other'");
    let server = Server::new(512, Abilities { go: false, ..Abilities::default() });
    let error = open(server.socket(), "dis", 0).unwrap_err().to_string();
    assert_eq!(error, "the server has no export 'dis', or refuses it without saying why");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let start = Instant::now();
    let (result, _dir) = open_at(|_| std::thread::sleep(Duration::from_secs(60)));
    assert!(matches!(result, Err(NbdError::NoGreeting)), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_server_that_says_one_byte_at_a_time_is_given_up() {
    let start = Instant::now();
    let (result, _dir) = open_at(|mut stream| {
        for byte in greeting(3).into_iter().chain(std::iter::repeat(0)) {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    assert_eq!(result.unwrap_err().to_string(), "the server did not answer in time");
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// The error of a read of 4 KiB at 8192, or of a flush, that a server answers with what `reply` makes of its cookie.
fn request_error(
    abilities: Abilities,
    read: bool,
    reply: impl Fn(u64) -> Vec<u8> + Send + 'static,
) -> Result<(), Option<i32>> {
    let (client, _dir) = open_at(move |stream| {
        if let Ok(Some(_)) = negotiate(stream, &abilities, 1 << 20) {
            let mut header = [0; 28];
            let mut input = stream;
            if input.read_exact(&mut header).is_ok() {
                send(stream, &reply(u64_at(&header, 8)));
            }
        }
    });
    let client = client.unwrap();
    let result = if read { client.read_at(&mut [0; 4096], 8192) } else { client.flush() };
    result.map_err(|error| error.raw_os_error())
}

#[test]
fn every_bad_reply_to_a_read_breaks_the_connection() {
    let data = |offset: u64, len: usize| [&offset.to_be_bytes()[..], &vec![7; len]].concat();
    let hole = |offset: u64, len: u32| [&offset.to_be_bytes()[..], &len.to_be_bytes()].concat();
    let error = |error: u32, claimed: u16, text: &[u8]| {
        chunk(CHUNK_ERROR_BIT | 1, 1, 1, &[&error.to_be_bytes()[..], &claimed.to_be_bytes(), text].concat())
    };
    let done = |kind, payload: &[u8]| chunk(kind, CHUNK_DONE, 1, payload);
    let more = |kind, payload: &[u8]| chunk(kind, 0, 1, payload);
    let mut overlong = done(CHUNK_OFFSET_DATA, &data(8192, 4096));
    overlong[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("half a header", vec![0x66, 0x8e]),
        ("no magic", vec![1; 64]),
        ("a simple reply", simple(0, 1, &[7; 4096])),
        ("another cookie", chunk(CHUNK_OFFSET_DATA, 1, 2, &data(8192, 4096))),
        ("no data", done(CHUNK_NONE, &[])),
        ("no end", more(CHUNK_NONE, &[])),
        ("none with data", done(CHUNK_NONE, b"x")),
        ("less data", done(CHUNK_OFFSET_DATA, &data(8192, 4095))),
        ("more data", done(CHUNK_OFFSET_DATA, &data(8192, 4097))),
        ("data before", done(CHUNK_OFFSET_DATA, &data(8191, 4096))),
        ("data far before", done(CHUNK_OFFSET_DATA, &data(0, 4096))),
        ("data after", done(CHUNK_OFFSET_DATA, &data(u64::MAX, 4096))),
        ("an overlong chunk", overlong),
        ("an offset without data", done(CHUNK_OFFSET_DATA, &data(8192, 0))),
        ("no offset", done(CHUNK_OFFSET_DATA, &[0; 7])),
        ("overlap", [more(1, &data(8192, 2048)), done(1, &data(8192 + 2047, 2049))].concat()),
        ("overlap with a hole", [more(1, &data(8192, 4096)), done(CHUNK_OFFSET_HOLE, &hole(8192, 1))].concat()),
        ("a gap", [more(1, &data(8192, 2048)), done(1, &data(8192 + 2049, 2047))].concat()),
        ("an empty hole", done(CHUNK_OFFSET_HOLE, &hole(8192, 0))),
        ("a large hole", done(CHUNK_OFFSET_HOLE, &hole(8192, u32::MAX))),
        ("a short hole", done(CHUNK_OFFSET_HOLE, &hole(8192, 4096)[..11])),
        ("block status", done(5, &[0; 12])),
        ("an unknown chunk", done(0x77, &[])),
        ("an error of zero", error(0, 0, b"")),
        ("an error with an overlong message", error(5, 100, b"short")),
        ("a short error", done(CHUNK_ERROR_BIT | 1, &[0; 5])),
        ("a long error", done(CHUNK_ERROR_BIT | 1, &[1; 8000])),
        ("errors without end", vec![more(CHUNK_ERROR_BIT | 1, &[0, 0, 0, 5, 0, 0]); 100].concat()),
    ];
    let df = Abilities::default();
    let no_df = Abilities { flags: df.flags & !ExportFlags::SEND_DF, ..df };
    for abilities in [df, no_df] {
        for (what, reply) in cases.clone() {
            assert_eq!(request_error(abilities, true, move |_| reply.clone()), Err(Some(libc::EIO)), "{what}");
        }
    }
    let unstructured = Abilities { structured: false, ..df };
    for (what, reply) in [
        ("a structured reply", done(CHUNK_OFFSET_DATA, &data(8192, 4096))),
        ("another cookie", simple(0, 2, &[0; 4096])),
        ("less data", simple(0, 1, &[0; 4095])),
        ("data after an error", simple(5, 1, &[0; 4096])),
    ] {
        assert_eq!(request_error(unstructured, true, move |_| reply.clone()), Err(Some(libc::EIO)), "{what}");
    }
}

#[test]
fn every_bad_reply_to_a_flush_breaks_the_connection() {
    for (what, reply) in [
        ("data", chunk(CHUNK_OFFSET_DATA, 1, 1, &[0; 9])),
        ("a chunk that is not the last", chunk(CHUNK_NONE, 0, 1, &[])),
        ("another cookie", chunk(CHUNK_NONE, 1, 2, &[])),
        ("no magic", vec![9; 20]),
        ("data after a simple reply", simple(0, 1, b"xyz")),
    ] {
        assert_eq!(request_error(Abilities::default(), false, move |_| reply.clone()), Err(Some(libc::EIO)), "{what}");
    }
}

#[test]
fn errors_of_the_server_reach_the_caller_and_keep_the_connection() {
    let text = b"\0\0\0\x1c\0\x04full";
    let offset = b"\0\0\0\x05\0\x00\0\0\0\0\0\0\x20\x10";
    let data = [&8192u64.to_be_bytes()[..], &[7; 4096]].concat();
    let first = chunk(CHUNK_OFFSET_DATA, 0, 1, &data);
    let late = [first.clone(), chunk(CHUNK_ERROR_BIT | 2, 1, 1, offset)].concat();
    for (read, reply, expect) in [
        (true, chunk(CHUNK_ERROR_BIT | 1, 1, 1, text), Err(Some(libc::ENOSPC))),
        (true, late, Err(Some(libc::EIO))),
        (true, [first, chunk(CHUNK_NONE, 1, 1, &[])].concat(), Ok(())),
        (false, chunk(CHUNK_ERROR_BIT | 1, 1, 1, text), Err(Some(libc::ENOSPC))),
        (false, chunk(CHUNK_ERROR_BIT | 0x77, 1, 1, b"\0\0\x12\x34\0\0and more"), Err(Some(libc::EINVAL))),
        (false, simple(1, 1, &[]), Err(Some(libc::EPERM))),
        (false, simple(0, 1, &[]), Ok(())),
    ] {
        assert_eq!(request_error(Abilities::default(), read, move |_| reply.clone()), expect);
    }
}

#[test]
fn the_fuzz_target_survives_random_servers() {
    use proptest::prelude::*;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    runner
        .run(&prop::collection::vec(any::<u8>(), 0..2000), |bytes| {
            crate::block::nbd::fuzz(&bytes);
            Ok(())
        })
        .unwrap();
}
