//! Text formatting without `core::fmt`, which would double the size of a program.

/// A text of up to `N` bytes. Bytes beyond `N` are dropped.
#[derive(Clone, Copy, Debug)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Text<N> {
    /// An empty text.
    pub const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    /// The text.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether the text is empty.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Removes all bytes.
    pub const fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends a byte.
    pub fn byte(&mut self, byte: u8) -> &mut Self {
        if let Some(free) = self.bytes.get_mut(self.length) {
            *free = byte;
            self.length += 1;
        }
        self
    }

    /// Appends a string.
    pub fn put(&mut self, text: &str) -> &mut Self {
        self.put_bytes(text.as_bytes())
    }

    /// Appends bytes.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            self.byte(*byte);
        }
        self
    }

    /// Appends `digits` hexadecimal digits of `value`.
    pub fn hex(&mut self, value: u32, digits: u32) -> &mut Self {
        for n in (0..digits).rev() {
            let digit = (value >> (n * 4) & 15) as u8;
            self.byte(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
        }
        self
    }

    /// Appends a decimal number.
    pub fn decimal(&mut self, value: u32) -> &mut Self {
        self.decimal_wide(value, 0)
    }

    /// Appends a decimal number, padded with spaces on the left to `width`.
    pub fn decimal_wide(&mut self, mut value: u32, width: usize) -> &mut Self {
        let mut digits = [0_u8; 10];
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            count += 1;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        for _ in count..width {
            self.byte(b' ');
        }
        self.put_bytes(digits.get(10 - count..).unwrap_or_default())
    }

    /// Appends spaces up to `column`.
    pub fn pad(&mut self, column: usize) -> &mut Self {
        while self.length < column.min(N) {
            self.byte(b' ');
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_padded_and_columns_aligned() {
        let mut text = Text::<32>::new();
        text.put("a").pad(4).decimal(0).byte(b' ').decimal_wide(42, 5).byte(b' ').hex(0xbeef, 6);
        text.byte(b' ').decimal(u32::MAX);
        assert_eq!(text.bytes(), b"a   0    42 00beef 4294967295");
    }

    #[test]
    fn bytes_beyond_the_capacity_are_dropped() {
        let mut text = Text::<3>::new();
        text.put("abcdef").pad(10);
        assert_eq!(text.bytes(), b"abc");
    }
}
