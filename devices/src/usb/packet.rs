//! What goes over the bus: transactions and their answers (USB 1.1, chapter 8).

/// A data packet of a function here: at most [`MAX`] bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packet {
    bytes: [u8; MAX],
    len: u8,
}

/// The largest packet of every endpoint here.
pub(super) const MAX: usize = 8;

impl Packet {
    /// As many of `bytes` as a packet takes.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut packet = Self { bytes: [0; MAX], len: bytes.len().min(MAX) as u8 };
        for (to, from) in packet.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        packet
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

/// What a function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Taken.
    Ack,
    /// Data, DATA1 if `toggle`; the host acknowledges it.
    Data { toggle: bool, packet: Packet },
    /// Not now.
    Nak,
    /// Never.
    Stall,
    /// Nothing.
    Silence,
}
