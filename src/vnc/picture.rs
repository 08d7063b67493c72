//! What clients are shown: pixels, the parts of them that changed, and how far they scrolled.

use pcvm_devices::vga::Frame;

/// Side of the squares in which changes are counted, in pixels.
pub const TILE: usize = 16;
/// How far up or down a scroll is looked for, in lines.
const SCROLL_MAX: usize = 64;

/// A rectangle that lies within a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// From the left.
    pub x: u16,
    /// From the top.
    pub y: u16,
    /// Pixels of a line.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

impl Rect {
    /// What both cover.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let span = |a: u16, a_len: u16, b: u16, b_len: u16| {
            let start = a.max(b);
            let end = (u32::from(a) + u32::from(a_len)).min(u32::from(b) + u32::from(b_len));
            let len = end.checked_sub(start.into()).filter(|&len| len > 0)?;
            Some((start, len as u16))
        };
        let (x, width) = span(self.x, self.width, other.x, other.width)?;
        let (y, height) = span(self.y, self.height, other.y, other.height)?;
        Some(Self { x, y, width, height })
    }
}

/// A picture: at least one pixel, and at most 65,535 on each side.
#[derive(Clone, Debug)]
pub struct Picture {
    width: u16,
    height: u16,
    /// 00RRGGBBh, line by line.
    pixels: Vec<u32>,
    /// Of every line, once a scroll has been looked for.
    hashes: Vec<u64>,
}

impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        (self.size(), &self.pixels) == (other.size(), &other.pixels)
    }
}

/// Of a line's pixels: four at a time, because each product waits for the one before.
fn hash(line: &[u32]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut lanes = [0xcbf2_9ce4_8422_2325_u64, 1, 2, 3];
    let (eights, rest) = line.as_chunks::<8>();
    for eight in eights {
        for (lane, pair) in lanes.iter_mut().zip(eight.as_chunks::<2>().0) {
            *lane = (*lane ^ (u64::from(pair[0]) | u64::from(pair[1]) << 32)).wrapping_mul(PRIME);
        }
    }
    let values = rest.iter().map(|&pixel| u64::from(pixel)).chain(lanes);
    values.fold(0, |hash, value| (hash ^ value).wrapping_mul(PRIME).rotate_left(23))
}

impl Picture {
    /// All black.
    pub fn black(width: u16, height: u16) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self { width, height, pixels: vec![0; usize::from(width) * usize::from(height)], hashes: Vec::new() }
    }

    /// The screen, as far as it can be told to clients.
    pub fn from_frame(frame: &Frame) -> Self {
        let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        let mut picture = Self::black(side(frame.width), side(frame.height));
        for y in 0..usize::from(picture.height) {
            picture.convert(y, frame);
        }
        picture
    }

    /// The same, if the picture of another frame is known: lines that both have are not converted again.
    pub fn after(frame: &Frame, last: &Frame, picture: &Self) -> Self {
        let side = |n: u32| u16::try_from(n).ok();
        let size = side(frame.width).zip(side(frame.height));
        if size != Some(picture.size()) || (last.width, last.height) != (frame.width, frame.height) {
            return Self::from_frame(frame);
        }
        let mut next = Self { pixels: picture.pixels.clone(), hashes: Vec::new(), ..*picture };
        let bytes = frame.width as usize * 3;
        let lines = frame.rgb.chunks_exact(bytes.max(1)).zip(last.rgb.chunks_exact(bytes.max(1)));
        for (y, _) in lines.enumerate().filter(|(_, (line, before))| line != before) {
            next.convert(y, frame);
        }
        next
    }

    /// Takes over a line.
    fn convert(&mut self, y: usize, frame: &Frame) {
        let (width, bytes) = (usize::from(self.width), frame.width as usize * 3);
        let to = self.pixels.get_mut(y * width..(y + 1) * width).unwrap_or_default();
        let from = frame.rgb.get(y * bytes..(y + 1) * bytes).unwrap_or_default();
        // Four bytes at a time, the last of which is not wanted; the last pixel has no fourth.
        let (most, last) = from.split_at(from.len().saturating_sub(3));
        let whole = most.len() / 3;
        for (pixel, at) in to.iter_mut().zip((0..whole).map(|n| n * 3)) {
            if let Some(&[red, green, blue, _]) = from.get(at..at + 4).and_then(|four| four.first_chunk::<4>()) {
                *pixel = u32::from_be_bytes([0, red, green, blue]);
            }
        }
        if let (Some(pixel), &[red, green, blue]) = (to.get_mut(whole), last) {
            *pixel = u32::from_be_bytes([0, red, green, blue]);
        }
    }

    /// Width and height.
    pub fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// The whole of it.
    pub fn all(&self) -> Rect {
        Rect { x: 0, y: 0, width: self.width, height: self.height }
    }

    /// Cut off, or with black to the right and below.
    pub fn fitted(&self, (width, height): (u16, u16)) -> Self {
        let mut picture = Self::black(width, height);
        let lines = self.pixels.chunks_exact(self.width.into());
        for (to, from) in picture.pixels.chunks_exact_mut(picture.width.into()).zip(lines) {
            let len = to.len().min(from.len());
            to[..len].copy_from_slice(&from[..len]);
        }
        picture
    }

    /// The lines of a rectangle.
    pub fn lines(&self, rect: Rect) -> impl Iterator<Item = &[u32]> {
        let columns = usize::from(rect.x)..usize::from(rect.x) + usize::from(rect.width);
        self.pixels
            .chunks_exact(self.width.into())
            .skip(rect.y.into())
            .take(rect.height.into())
            .map(move |line| line.get(columns.clone()).unwrap_or_default())
    }

    fn line(&self, y: usize) -> &[u32] {
        let width = usize::from(self.width);
        self.pixels.get(y * width..(y + 1) * width).unwrap_or_default()
    }

    /// What differs from a picture of the same size.
    pub fn damage(&self, before: &Self) -> Damage {
        let mut damage = Damage::none(self.size());
        for y in 0..usize::from(self.height) {
            damage.mark_differences(y, self.line(y), before.line(y));
        }
        damage
    }

    /// How the lines of `before` moved to become this picture, if most of what changed is that.
    pub fn scroll(&mut self, before: &Self) -> Option<Scroll> {
        let height = usize::from(self.height);
        let first = (0..height).find(|&y| self.line(y) != before.line(y))?;
        let last = (0..height).rev().find(|&y| self.line(y) != before.line(y))?;
        let changed = last + 1 - first;
        if changed < 2 * TILE {
            return None;
        }
        // Lines of one colour fit everywhere and say nothing.
        let plain = |line: &[u32]| line.windows(2).all(|pair| pair[0] == pair[1]);
        let telling: Vec<usize> = (first..=last).filter(|&y| !plain(self.line(y))).collect();
        if telling.len() < TILE {
            return None;
        }
        let hashed = |lines: &Self| (0..height).map(|y| hash(lines.line(y))).collect();
        let old = if before.hashes.len() == height { before.hashes.clone() } else { hashed(before) };
        self.hashes =
            (0..height).map(|y| if self.line(y) == before.line(y) { old[y] } else { hash(self.line(y)) }).collect();
        let (this, new) = (&*self, &self.hashes);
        let came_from = |y: usize, by: isize| y.checked_add_signed(by).filter(|from| (first..=last).contains(from));
        let fits = |y: usize, by: isize| came_from(y, by).is_some_and(|from| old.get(from) == new.get(y));
        let limit = SCROLL_MAX.min(changed / 2) as isize;
        let by = (-limit..=limit)
            .filter(|&by| by != 0)
            .max_by_key(|&by| (telling.iter().filter(|&&y| fits(y, by)).count(), std::cmp::Reverse(by.abs())))?;
        if telling.iter().filter(|&&y| fits(y, by)).count() * 2 < telling.len() {
            return None;
        }
        // The longest run of lines that moved, blank ones between them too.
        let (mut best, mut start) = (first..first, None);
        for y in first..=last + 1 {
            match (y <= last && fits(y, by), start) {
                (true, None) => start = Some(y),
                (false, Some(begin)) => {
                    if y - begin > best.len() {
                        best = begin..y;
                    }
                    start = None;
                }
                _ => {}
            }
        }
        // A hash may lie.
        let same = |y: usize| came_from(y, by).is_some_and(|from| this.line(y) == before.line(from));
        if best.len() < TILE || !best.clone().all(same) {
            return None;
        }
        let mut left = Damage::none(this.size());
        for y in first..=last {
            if !best.contains(&y) {
                left.mark_differences(y, this.line(y), before.line(y));
            }
        }
        let from = (best.start as isize + by) as u16;
        let to = Rect { x: 0, y: best.start as u16, width: this.width, height: best.len() as u16 };
        Some(Scroll { to, from, left })
    }
}

/// Lines that moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scroll {
    /// Where they are now.
    pub to: Rect,
    /// The line at which they began before.
    pub from: u16,
    /// What changed besides.
    pub left: Damage,
}

/// Parts of a picture, as a set of tiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    size: (u16, u16),
    columns: usize,
    tiles: Vec<bool>,
    any: bool,
}

impl Damage {
    /// Nothing of a picture of this size.
    pub fn none(size: (u16, u16)) -> Self {
        let (columns, rows) = (usize::from(size.0).div_ceil(TILE), usize::from(size.1).div_ceil(TILE));
        Self { size, columns, tiles: vec![false; columns * rows], any: false }
    }

    /// Of a picture of which size.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Whether a good part of the rows that it touches is damaged: less is no scroll of whole lines that is worth a search.
    pub fn is_wide(&self) -> bool {
        let rows = self.tiles.chunks_exact(self.columns.max(1));
        let touched = rows.map(|row| row.iter().filter(|&&tile| tile).count()).filter(|&tiles| tiles > 0);
        let (rows, tiles) = touched.fold((0, 0), |(rows, all), tiles| (rows + 1, all + tiles));
        tiles * 8 >= rows * self.columns
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    fn mark_differences(&mut self, y: usize, a: &[u32], b: &[u32]) {
        if a == b {
            return;
        }
        let start = y / TILE * self.columns;
        let row = self.tiles.get_mut(start..start + self.columns).unwrap_or_default();
        for ((tile, a), b) in row.iter_mut().zip(a.chunks(TILE)).zip(b.chunks(TILE)) {
            *tile |= a != b;
        }
        self.any = true;
    }

    /// The tiles that a rectangle touches.
    fn tiles_of(&self, rect: Rect) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let (right, bottom) =
            (usize::from(rect.x) + usize::from(rect.width), usize::from(rect.y) + usize::from(rect.height));
        let rows = self.tiles.len() / self.columns.max(1);
        let columns = usize::from(rect.x) / TILE..right.div_ceil(TILE).min(self.columns);
        (columns, usize::from(rect.y) / TILE..bottom.div_ceil(TILE).min(rows))
    }

    fn set(&mut self, rect: Rect, value: bool) {
        let (columns, rows) = self.tiles_of(rect);
        for row in rows {
            let start = row * self.columns;
            self.tiles.get_mut(start + columns.start..start + columns.end).unwrap_or_default().fill(value);
        }
        self.any = self.tiles.contains(&true);
    }

    /// Adds a rectangle.
    pub fn add(&mut self, rect: Rect) {
        self.set(rect, true);
    }

    /// Adds what another of the same size has.
    pub fn merge(&mut self, other: &Self) {
        self.tiles.iter_mut().zip(&other.tiles).for_each(|(tile, other)| *tile |= other);
        self.any |= other.any;
    }

    /// Takes out rectangles that cover what there is within `wanted`, each with at most `area` pixels (or one row of
    /// tiles), as long as `take` wants more.
    pub fn take(&mut self, wanted: Rect, area: usize, mut take: impl FnMut(Rect) -> bool) {
        let (columns, rows) = self.tiles_of(wanted);
        let mut row = rows.start;
        while row < rows.end && self.any {
            let runs = self.runs(row, &columns);
            if runs.is_empty() {
                row += 1;
                continue;
            }
            // Rows of tiles with the same runs are taken together.
            let widest = runs.iter().map(|run| run.len() * TILE * TILE).max().unwrap_or(1);
            let most = (area / widest).max(1);
            let mut end = row + 1;
            while end < rows.end && end - row < most && self.runs(end, &columns) == runs {
                end += 1;
            }
            for run in runs {
                let (x, y) = (run.start * TILE, row * TILE);
                let (right, bottom) = ((run.end * TILE).min(self.size.0.into()), (end * TILE).min(self.size.1.into()));
                let rect = Rect { x: x as u16, y: y as u16, width: (right - x) as u16, height: (bottom - y) as u16 };
                if !take(rect) {
                    self.any = self.tiles.contains(&true);
                    return;
                }
                for row in row..end {
                    let start = row * self.columns;
                    self.tiles.get_mut(start + run.start..start + run.end).unwrap_or_default().fill(false);
                }
            }
            row = end;
        }
        self.any = self.tiles.contains(&true);
    }

    fn runs(&self, row: usize, columns: &std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        for column in columns.clone() {
            if self.tiles.get(row * self.columns + column) == Some(&true) {
                match runs.last_mut() {
                    Some(run) if run.end == column => run.end += 1,
                    _ => runs.push(column..column + 1),
                }
            }
        }
        runs
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    impl Picture {
        /// Draws, pixel by pixel.
        pub fn fill_with(&mut self, f: impl FnMut() -> u32) {
            self.pixels.fill_with(f);
        }
    }

    pub fn noise(width: u16, height: u16, seed: u32) -> Picture {
        let mut state = seed;
        let mut picture = Picture::black(width, height);
        picture.pixels.fill_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        });
        picture
    }

    #[test]
    fn damage_is_what_changed_and_is_taken_once() {
        let before = Picture::black(100, 50);
        let mut after = before.clone();
        after.pixels[0] = 1;
        after.pixels[49 * 100 + 99] = 1;
        let mut damage = after.damage(&before);
        let mut all = Vec::new();
        damage.take(after.all(), 1 << 20, |rect| {
            all.push((rect.x, rect.y, rect.width, rect.height));
            true
        });
        assert_eq!(all, [(0, 0, 16, 16), (96, 48, 4, 2)]);
        assert!(damage.is_empty());
        assert!(after.damage(&after).is_empty());
    }

    #[test]
    fn rectangles_are_joined_bounded_and_kept_if_not_wanted() {
        let mut damage = Damage::none((64, 64));
        damage.add(Rect { x: 0, y: 0, width: 64, height: 64 });
        let mut count = 0;
        damage.clone().take(Rect { x: 0, y: 0, width: 64, height: 64 }, 1 << 20, |rect| {
            assert_eq!((rect.width, rect.height), (64, 64));
            count += 1;
            true
        });
        assert_eq!(count, 1);
        let mut taken = Vec::new();
        damage.take(Rect { x: 0, y: 0, width: 64, height: 64 }, 2048, |rect| {
            taken.push(rect.y);
            taken.len() < 2
        });
        assert_eq!(taken, [0, 32], "the second was refused");
        let mut left = 0;
        damage.take(Rect { x: 0, y: 0, width: 64, height: 64 }, 1 << 20, |rect| {
            left += u32::from(rect.width) * u32::from(rect.height);
            true
        });
        assert_eq!(left, 64 * 32);
    }

    #[test]
    fn a_scroll_is_found_in_both_directions() {
        let before = noise(64, 200, 1);
        for by in [16_usize, 8, 1] {
            let mut after = before.clone();
            // Lines 20 to 179 move up; the last ones are new.
            for y in 20..180 - by {
                let line = before.line(y + by).to_vec();
                after.pixels[y * 64..(y + 1) * 64].copy_from_slice(&line);
            }
            after.pixels[(180 - by) * 64..180 * 64].fill(7);
            let scroll = after.scroll(&before).unwrap();
            assert_eq!(scroll.to, Rect { x: 0, y: 20, width: 64, height: 160 - by as u16 });
            assert_eq!(usize::from(scroll.from), 20 + by);
            let mut back = before.clone().scroll(&after).unwrap();
            assert_eq!((back.to.y, back.from), (20 + by as u16, 20));
            // What is left covers the lines that came in.
            let mut covered = [false; 200];
            back.left.take(before.all(), 1 << 20, |rect| {
                covered[usize::from(rect.y)..usize::from(rect.y + rect.height)].fill(true);
                true
            });
            assert!((20..20 + by).all(|y| covered[y]));
        }
    }

    #[test]
    fn a_picture_after_another_is_the_picture() {
        let frame = |seed: u32, width: u32| {
            let picture = noise(width as u16, 50, seed);
            let rgb = picture.pixels.iter().flat_map(|pixel| pixel.to_be_bytes().into_iter().skip(1)).collect();
            (Frame { width, height: 50, rgb }, picture)
        };
        let (first, picture) = frame(1, 33);
        assert_eq!(Picture::from_frame(&first), picture);
        let (mut second, _) = frame(2, 33);
        second.rgb[33 * 3 * 10..33 * 3 * 40].copy_from_slice(&first.rgb[33 * 3 * 10..33 * 3 * 40]);
        let after = Picture::after(&second, &first, &picture);
        assert_eq!(after, Picture::from_frame(&second));
        assert_ne!(after, picture);
        let (wider, expect) = frame(3, 34);
        assert_eq!(Picture::after(&wider, &second, &after), expect);
        assert_eq!(Picture::after(&first, &Frame::default(), &Picture::black(1, 1)), picture);
    }

    #[test]
    fn what_only_changed_is_no_scroll() {
        assert_eq!(noise(64, 200, 1).scroll(&noise(64, 200, 2)), None);
        assert_eq!(noise(64, 200, 1).scroll(&Picture::black(64, 200)), None);
        assert_eq!(Picture::black(64, 200).scroll(&noise(64, 200, 2)), None);
        let same = noise(64, 200, 1);
        assert_eq!(same.clone().scroll(&same), None);
    }

    #[test]
    fn another_size_is_cut_off_or_padded() {
        let picture = noise(20, 10, 3);
        let small = picture.fitted((8, 4));
        assert_eq!(small.line(3), &picture.line(3)[..8]);
        let large = picture.fitted((30, 20));
        assert_eq!((&large.line(9)[..20], &large.line(9)[20..]), (picture.line(9), &[0; 10][..]));
        assert!(large.line(10).iter().all(|&pixel| pixel == 0));
    }
}
