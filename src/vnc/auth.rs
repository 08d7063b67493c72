//! VNC Authentication (RFC 6143, section 7.2.2): the client encrypts a 16-byte challenge by DES. The key is the password's
//! first 8 bytes, with the bits of each byte reversed.

use des::Des;
use des::cipher::{BlockEncrypt, KeyInit};

/// The correct response to `challenge`.
pub fn response(password: &[u8], challenge: &[u8; 16]) -> [u8; 16] {
    let mut key = [0; 8];
    key.iter_mut().zip(password).for_each(|(key, byte)| *key = byte.reverse_bits());
    let des = Des::new(&key.into());
    let mut answer = *challenge;
    for block in answer.chunks_exact_mut(8) {
        des.encrypt_block(block.into());
    }
    answer
}

/// Compares in constant time, so that the time does not tell an attacker how much of a response is correct.
pub fn same(a: &[u8; 16], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | a ^ b) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_is_des_with_reversed_key_bits_and_eight_characters_count() {
        // FIPS 81's example: the key 0123456789ABCDEFh encrypts "Now is t" to 3FA40E8A984D4815h.
        let password = [0x01_u8, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].map(u8::reverse_bits);
        let answer = response(&password, b"Now is tNow is t");
        assert_eq!(answer[..8], [0x3f, 0xa4, 0x0e, 0x8a, 0x98, 0x4d, 0x48, 0x15]);
        assert_eq!(answer[8..], answer[..8]);
        assert_eq!(
            response(b"12345678", &[7; 16]),
            response(b"123456789", &[7; 16]),
            "characters after the eighth are ignored"
        );
        assert!(same(&answer, &answer) && !same(&answer, &[0; 16]) && !same(&answer, &answer[..8]));
    }
}
