//! NBD handshake: fixed newstyle negotiation (doc/proto.md, "Newstyle negotiation").
//!
//! STARTTLS first if the URI asks for it, then structured replies, then GO with the server's block sizes. A server without
//! GO gets EXPORT_NAME. The number and the size of the server's replies are bounded, the link's deadline bounds the time.

use super::error::{NbdError, printable};
use super::link::Link;
use super::tls::TlsClient;
use super::wire::*;
use crate::config::nbd::NbdTarget;
use zerocopy::IntoBytes;
use zerocopy::byteorder::big_endian::U16;

/// Replies to one option; more are no answer but a flood.
const REPLIES_MAX: usize = 256;
/// Bytes of one reply: a name and a description.
const REPLY_MAX: u32 = 2 * STRING_MAX + 64;
/// Exports that an error names.
const NAMED_EXPORTS: usize = 10;
/// Characters of a server's text in an error.
const TEXT_MAX: usize = 200;
/// Zeros after the reply to EXPORT_NAME.
const EXPORT_NAME_ZEROS: usize = 124;

/// What the server said about the export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// In bytes.
    pub size: u64,
    pub flags: ExportFlags,
    /// Offsets and lengths of requests are multiples of this power of 2.
    pub min_block: u32,
    /// Bytes of data in a request: a multiple of `min_block`, and of the block size that the server prefers.
    pub max_payload: u32,
    /// Reads get structured replies.
    pub structured: bool,
}

/// Negotiates up to the transmission phase.
pub fn negotiate(link: &mut Link, target: &NbdTarget, tls: Option<&TlsClient>) -> Result<Export, NbdError> {
    let flags = greet(link)?;
    let fixed = flags & FIXED_NEWSTYLE != 0;
    let no_zeroes = flags & NO_ZEROES != 0;
    let client_flags = u32::from(flags & (FIXED_NEWSTYLE | NO_ZEROES));
    link.send_bytes(&client_flags.to_be_bytes())?;
    let mut negotiation = Negotiation { link, target };
    if let Some(tls) = tls {
        if !fixed {
            return Err(NbdError::TlsRefused(" (it has no options)".to_owned()));
        }
        negotiation.start_tls(tls)?;
    }
    if !fixed {
        return negotiation.export_name(no_zeroes);
    }
    let structured = negotiation.structured_replies()?;
    match negotiation.go(structured)? {
        Some(export) => Ok(export),
        None => Ok(Export { structured, ..negotiation.export_name(no_zeroes)? }),
    }
}

/// Reads the greeting. Gives the handshake flags.
fn greet(link: &mut Link) -> Result<u16, NbdError> {
    let mut bytes = [0; size_of::<Greeting>()];
    // The flags of oldstyle negotiation are elsewhere: wait only for the magic numbers.
    let (magics, flags) = bytes.split_at_mut(16);
    link.receive_bytes(magics).map_err(|error| match error {
        NbdError::TimedOut => NbdError::NoGreeting,
        error => error,
    })?;
    let mut numbers = magics.chunks_exact(8).map(parse::<zerocopy::byteorder::big_endian::U64>);
    let mut next = || numbers.next().flatten().map_or(0, |number| number.get());
    match (next(), next()) {
        (INIT_MAGIC, OPTION_MAGIC) => {}
        (INIT_MAGIC, OLDSTYLE_MAGIC) => return Err(NbdError::Oldstyle),
        _ => return Err(NbdError::NotNbd),
    }
    link.receive_bytes(flags)?;
    parse::<Greeting>(&bytes).map(|greeting| greeting.flags.get()).ok_or(NbdError::NotNbd)
}

struct Negotiation<'n> {
    link: &'n mut Link,
    target: &'n NbdTarget,
}

/// A reply's header and payload.
struct Reply {
    header: OptionReply,
    payload: Vec<u8>,
}

impl Reply {
    /// The server's words about an error, as the end of a sentence.
    fn words(&self) -> String {
        let text = printable(self.payload.trim_ascii(), TEXT_MAX);
        let meaning = match self.header.kind.get() {
            REP_ERR_UNSUP => "it does not know the option",
            REP_ERR_POLICY => "its policy forbids it",
            REP_ERR_INVALID => "it finds the request invalid",
            REP_ERR_PLATFORM => "its platform does not support it",
            REP_ERR_TLS_REQD => "it requires TLS",
            REP_ERR_UNKNOWN => "the export is not available",
            REP_ERR_SHUTDOWN => "it is shutting down",
            REP_ERR_TOO_BIG => "the request is too large for it",
            _ => "for an unknown reason",
        };
        if text.is_empty() { meaning.to_owned() } else { format!("{meaning} ({text})") }
    }
}

impl Negotiation<'_> {
    fn send_option(&mut self, option: u32, payload: &[u8]) -> Result<(), NbdError> {
        let header = OptionHeader::new(option, payload.len());
        let mut message = header.as_bytes().to_vec();
        message.extend_from_slice(payload);
        self.link.send_bytes(&message)
    }

    fn receive_reply(&mut self, option: u32) -> Result<Reply, NbdError> {
        let mut bytes = [0; size_of::<OptionReply>()];
        self.link.receive_bytes(&mut bytes)?;
        let header: OptionReply = parse(&bytes).ok_or(NbdError::protocol("a short reply"))?;
        header.check(option)?;
        if header.length.get() > REPLY_MAX {
            return Err(NbdError::protocol("an option's reply that is too long"));
        }
        let mut payload = vec![0; header.length.get() as usize];
        self.link.receive_bytes(&mut payload)?;
        Ok(Reply { header, payload })
    }

    /// Receives the replies to an option; `each` gets those before the last one. Gives the last one: ACK or an error.
    fn replies(
        &mut self,
        option: u32,
        mut each: impl FnMut(u32, &[u8]) -> Result<(), NbdError>,
    ) -> Result<Reply, NbdError> {
        for _ in 0..REPLIES_MAX {
            let reply = self.receive_reply(option)?;
            if reply.header.kind.get() == REP_ACK {
                if !reply.payload.is_empty() {
                    return Err(NbdError::protocol("an acknowledgement with data"));
                }
                return Ok(reply);
            }
            if reply.header.is_error() {
                return Ok(reply);
            }
            each(reply.header.kind.get(), &reply.payload)?;
        }
        Err(NbdError::protocol("replies to an option without end"))
    }

    fn start_tls(&mut self, tls: &TlsClient) -> Result<(), NbdError> {
        self.send_option(OPT_STARTTLS, &[])?;
        let unexpected = |_, _: &[u8]| Err(NbdError::protocol("an unexpected reply to STARTTLS"));
        let reply = self.replies(OPT_STARTTLS, unexpected)?;
        if reply.header.is_error() {
            return Err(NbdError::TlsRefused(format!(": {}", reply.words())));
        }
        self.link.start_tls(tls.config.clone(), tls.name.clone())
    }

    /// Whether the server will send structured replies.
    fn structured_replies(&mut self) -> Result<bool, NbdError> {
        self.send_option(OPT_STRUCTURED_REPLY, &[])?;
        let unexpected = |_, _: &[u8]| Err(NbdError::protocol("an unexpected reply to STRUCTURED_REPLY"));
        let reply = self.replies(OPT_STRUCTURED_REPLY, unexpected)?;
        match reply.header.kind.get() {
            REP_ERR_TLS_REQD => Err(NbdError::TlsRequired),
            kind => Ok(kind == REP_ACK),
        }
    }

    /// Chooses the export. None if the server does not know GO.
    fn go(&mut self, structured: bool) -> Result<Option<Export>, NbdError> {
        let name = self.target.export.as_bytes();
        let mut payload = (name.len() as u32).to_be_bytes().to_vec();
        payload.extend_from_slice(name);
        payload.extend_from_slice(&1u16.to_be_bytes());
        payload.extend_from_slice(&INFO_BLOCK_SIZE.to_be_bytes());
        self.send_option(OPT_GO, &payload)?;
        let (mut export, mut sizes) = (None, None);
        let reply = self.replies(OPT_GO, |kind, payload| {
            if kind != REP_INFO {
                return Err(NbdError::protocol("an unexpected reply to GO"));
            }
            let (kind, rest) = payload.split_at_checked(2).ok_or(NbdError::protocol("information without a type"))?;
            match parse::<U16>(kind).map(|kind| kind.get()) {
                Some(INFO_EXPORT) if rest.len() == size_of::<InfoExport>() => export = parse::<InfoExport>(rest),
                Some(INFO_BLOCK_SIZE) if rest.len() == size_of::<InfoBlockSize>() => {
                    sizes = parse::<InfoBlockSize>(rest);
                }
                Some(INFO_EXPORT | INFO_BLOCK_SIZE) => {
                    return Err(NbdError::protocol("information of a wrong length"));
                }
                // Names, descriptions, and what later versions add.
                _ => {}
            }
            Ok(())
        })?;
        match reply.header.kind.get() {
            REP_ACK => {
                let export = export.ok_or(NbdError::protocol("an export without a size"))?;
                check_export(&export, sizes.as_ref(), structured).map(Some)
            }
            REP_ERR_UNSUP => Ok(None),
            REP_ERR_TLS_REQD => Err(NbdError::TlsRequired),
            REP_ERR_UNKNOWN => Err(self.unknown_export()),
            _ => {
                let words = reply.words();
                self.abort();
                Err(NbdError::Refused(words))
            }
        }
    }

    /// Chooses the export of a server without GO, which gives no reason if it refuses.
    fn export_name(&mut self, no_zeroes: bool) -> Result<Export, NbdError> {
        self.send_option(OPT_EXPORT_NAME, self.target.export.as_bytes())?;
        let mut bytes = [0; size_of::<InfoExport>()];
        self.link.receive_bytes(&mut bytes).map_err(|error| match error {
            NbdError::Closed(_) => NbdError::UnknownExport {
                name: printable(self.target.export.as_bytes(), TEXT_MAX),
                exports: ", or refuses it without saying why".to_owned(),
            },
            error => error,
        })?;
        if !no_zeroes {
            self.link.skip(EXPORT_NAME_ZEROS)?;
        }
        let export: InfoExport = parse(&bytes).ok_or(NbdError::protocol("a short reply"))?;
        check_export(&export, None, false)
    }

    /// The error for an export that does not exist: names those that do.
    fn unknown_export(&mut self) -> NbdError {
        let exports = match self.list() {
            Ok(names) if names.is_empty() => " (it lists none)".to_owned(),
            Ok(names) => {
                let shown: Vec<_> = names.iter().take(NAMED_EXPORTS).map(|name| format!("'{name}'")).collect();
                let more = if names.len() > NAMED_EXPORTS { ", ..." } else { "" };
                format!(", but {}{more}", shown.join(", "))
            }
            Err(_) => String::new(),
        };
        self.abort();
        NbdError::UnknownExport { name: printable(self.target.export.as_bytes(), TEXT_MAX), exports }
    }

    fn list(&mut self) -> Result<Vec<String>, NbdError> {
        self.send_option(OPT_LIST, &[])?;
        let mut names = Vec::new();
        let reply = self.replies(OPT_LIST, |kind, payload| {
            let (length, rest) = payload.split_at_checked(4).ok_or(NbdError::protocol("a short name"))?;
            let length = parse::<zerocopy::byteorder::big_endian::U32>(length).map_or(0, |length| length.get());
            let name = rest.get(..length as usize).ok_or(NbdError::protocol("a name longer than its reply"))?;
            if kind == REP_SERVER && names.len() <= NAMED_EXPORTS {
                names.push(printable(name, TEXT_MAX));
            }
            Ok(())
        })?;
        if reply.header.is_error() { Err(NbdError::Refused(reply.words())) } else { Ok(names) }
    }

    /// Ends the negotiation politely. The server may close the connection without a reply.
    fn abort(&mut self) {
        if self.send_option(OPT_ABORT, &[]).is_ok() {
            self.link.close();
        }
    }
}

/// Checks what the server said about the export.
fn check_export(export: &InfoExport, sizes: Option<&InfoBlockSize>, structured: bool) -> Result<Export, NbdError> {
    let size = export.size.get();
    if size > i64::MAX as u64 {
        return Err(NbdError::protocol("an export larger than any file"));
    }
    // Without a word of the server, 512 bytes and 32 MiB suit every server (doc/proto.md, "Size constraints"). A size that
    // is not a multiple of 512 is then a file's, with blocks of 1 byte.
    let default_min = if size.is_multiple_of(512) { 512 } else { 1 };
    let (min, max) = sizes.map_or((default_min, PAYLOAD_MAX), |sizes| (sizes.min.get(), sizes.max.get()));
    let max_payload = max.min(PAYLOAD_MAX);
    if !min.is_power_of_two() || min > MIN_BLOCK_MAX || max_payload < min {
        return Err(NbdError::BlockSizes { min, max });
    }
    if !size.is_multiple_of(min.into()) {
        return Err(NbdError::PartialBlock { size, min });
    }
    // The server's preference is a power of 2 that is no less than the minimum; anything else is no advice.
    let preferred = sizes.map_or(min, |sizes| sizes.preferred.get());
    let unit = if preferred.is_power_of_two() && (min..=max_payload).contains(&preferred) { preferred } else { min };
    let max_payload = max_payload - max_payload % unit;
    Ok(Export { size, flags: ExportFlags(export.flags.get()), min_block: min, max_payload, structured })
}
