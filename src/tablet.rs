//! Absolute pointer coordinates: a pixel of the screen as an axis value of the USB tablet, 0 to 32767.

/// The axis value for pixel number `pixel` of `size` pixels; `None` for a pixel off the screen. Drivers convert the value
/// back to a pixel and round down, so this is the smallest value that they map to this pixel.
pub fn scale(pixel: u16, size: u16) -> Option<u16> {
    const AXIS_MAX: u32 = 0x7fff;
    let last = u32::from(size.checked_sub(1)?);
    (pixel < size).then(|| (u32::from(pixel) * AXIS_MAX).div_ceil(last.max(1)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_maps_the_axis_value_back_to_the_same_pixel() {
        for size in [1, 2, 320, 640, 720, 800, 1024, 1366, 1920, 2560] {
            for pixel in 0..size {
                let value = u32::from(scale(pixel, size).expect("the pixel is on the screen"));
                assert!(value <= 0x7fff, "{pixel} of {size}: axis value {value}");
                // Windows spreads the range over all pixels' width, X.Org over the distance to the last pixel.
                assert_eq!(value * u32::from(size) / 0x8000, u32::from(pixel), "Windows: {pixel} of {size}");
                assert_eq!(value * u32::from(size - 1) / 0x7fff, u32::from(pixel), "X.Org: {pixel} of {size}");
            }
            assert_eq!(scale(size, size), None);
        }
        assert_eq!(scale(0, 0), None);
    }
}
