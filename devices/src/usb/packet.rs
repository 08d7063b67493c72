//! USB data packets and handshakes (USB 1.1, chapter 8).

/// The payload of a data packet, at most [`MAX_PACKET`] bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DataPacket {
    bytes: [u8; MAX_PACKET],
    len: u8,
}

/// wMaxPacketSize of every endpoint here, in bytes.
pub(super) const MAX_PACKET: usize = 8;

impl DataPacket {
    /// A packet with the first [`MAX_PACKET`] bytes of `bytes`.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut packet = Self { bytes: [0; MAX_PACKET], len: bytes.len().min(MAX_PACKET) as u8 };
        for (to, from) in packet.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        packet
    }

    /// The payload.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

/// A function's response to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// ACK: the data were accepted.
    Ack,
    /// A data packet, DATA1 if `toggle`, else DATA0. The host acknowledges it.
    Data { toggle: bool, packet: DataPacket },
    /// NAK: no data, or no buffer space, at this time.
    Nak,
    /// STALL: the endpoint is halted or the request is not supported.
    Stall,
    /// No response; the host's bus turn-around timer expires.
    Timeout,
}
