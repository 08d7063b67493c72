//! Copy of the guest's screen for VNC clients, with damage tracking in tiles and scroll detection.

use pcvm_devices::vga::{Bitmap, Canvas};

/// Side of a damage tile, in pixels.
pub const TILE: usize = 16;
/// Longest scroll that is detected, in lines up or down.
const SCROLL_MAX: usize = 64;
/// Lines that vote on the distance of a scroll: from this many to less than twice as many.
const PROBES: usize = 16;

/// A rectangle of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u16,
    /// Top edge.
    pub y: u16,
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

impl Rect {
    /// The area that both cover; `None` if they do not overlap.
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

/// A picture of 1 to 65,535 pixels on each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u16,
    height: u16,
    /// 00RRGGBBh, line by line.
    pixels: Vec<u32>,
}

impl Picture {
    /// A black picture; a side of 0 becomes 1.
    pub fn black(width: u16, height: u16) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self { width, height, pixels: vec![0; usize::from(width) * usize::from(height)] }
    }

    /// A copy of a bitmap, cut off at 65,535 pixels on each side.
    pub fn from_frame(frame: &Bitmap) -> Self {
        let side = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        let mut picture = Self::black(side(frame.width), side(frame.height));
        for y in 0..usize::from(picture.height) {
            picture.copy_line(y, frame);
        }
        picture
    }

    /// Copies the lines that the last drawing of `canvas` changed, and gives what changed. The picture must have been a
    /// copy of the canvas before that drawing.
    pub fn follow(&mut self, canvas: &Canvas) -> PictureChange {
        let frame = canvas.frame();
        let (width, height) = self.size();
        if (frame.width, frame.height) != (width.into(), height.into()) {
            *self = Self::from_frame(frame);
            return PictureChange::Resized;
        }
        let mut damage = Damage::none(self.size());
        let lines: Vec<usize> = canvas.changed_lines().map(|y| y as usize).collect();
        for &y in &lines {
            damage.mark_differences(y, frame.line(y as u32), self.line(y));
        }
        if damage.is_empty() {
            return PictureChange::Unchanged;
        }
        let scroll = if damage.is_wide() { self.scroll(frame, &lines) } else { None };
        for y in lines {
            self.copy_line(y, frame);
        }
        PictureChange::Damaged(damage, scroll)
    }

    /// Copies line `y` of `frame`.
    fn copy_line(&mut self, y: usize, frame: &Bitmap) {
        let width = usize::from(self.width);
        let to = self.pixels.get_mut(y * width..(y + 1) * width).unwrap_or_default();
        let from = frame.line(y as u32);
        let width = to.len().min(from.len());
        to[..width].copy_from_slice(&from[..width]);
    }

    /// Width and height.
    pub fn size(&self) -> (u16, u16) {
        (self.width, self.height)
    }

    /// The whole of it.
    pub fn all(&self) -> Rect {
        Rect { x: 0, y: 0, width: self.width, height: self.height }
    }

    /// The picture at another size: cut off, or extended with black to the right and below.
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

    /// Finds a vertical scroll that accounts for most of the difference between this picture and `next`, of the same size;
    /// `changed` holds every line that differs.
    fn scroll(&self, next: &Bitmap, changed: &[usize]) -> Option<Scroll> {
        let new = |y: usize| next.line(y as u32);
        let changed: Vec<usize> = changed.iter().copied().filter(|&y| new(y) != self.line(y)).collect();
        let (first, last) = (*changed.first()?, *changed.last()?);
        let span = last + 1 - first;
        if span < 2 * TILE {
            return None;
        }
        // A line of one colour matches at many distances and is no evidence.
        let uniform = |line: &[u32]| line.get(1..).unwrap_or_default() == &line[..line.len().saturating_sub(1)];
        let evidence: Vec<usize> = (first..=last).filter(|&y| !uniform(new(y))).collect();
        if evidence.len() < TILE {
            return None;
        }
        let source = |y: usize, by: isize| y.checked_add_signed(by).filter(|from| (first..=last).contains(from));
        let matches = |y: usize, by: isize| source(y, by).is_some_and(|from| new(y) == self.line(from));
        // A sample of lines votes on the distance; then all lines must confirm it.
        let limit = SCROLL_MAX.min(span / 2) as isize;
        let probes: Vec<usize> = evidence.iter().copied().step_by(evidence.len() / PROBES).collect();
        let distances = (-limit..=limit).filter(|&by| by != 0);
        let votes =
            distances.map(|by| (probes.iter().filter(|&&y| matches(y, by)).count(), std::cmp::Reverse(by.abs()), by));
        let (votes, _, by) = votes.max()?;
        if votes * 3 < probes.len() || evidence.iter().filter(|&&y| matches(y, by)).count() * 2 < evidence.len() {
            return None;
        }
        // The longest run of lines that moved, with the lines of one colour between them.
        let (mut best, mut start) = (first..first, None);
        for y in first..=last + 1 {
            match (y <= last && matches(y, by), start) {
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
        if best.len() < TILE {
            return None;
        }
        let mut rest = Damage::none(self.size());
        for &y in changed.iter().filter(|y| !best.contains(y)) {
            rest.mark_differences(y, new(y), self.line(y));
        }
        let from = (best.start as isize + by) as u16;
        let to = Rect { x: 0, y: best.start as u16, width: self.width, height: best.len() as u16 };
        Some(Scroll { to, from, rest })
    }
}

/// How a picture changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PictureChange {
    /// Not at all.
    Unchanged,
    /// The size changed.
    Resized,
    /// Pixels changed; a scroll may account for most of them.
    Damaged(Damage, Option<Scroll>),
}

/// A block of whole lines that moved up or down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scroll {
    /// Its new position.
    pub to: Rect,
    /// Its first line before.
    pub from: u16,
    /// The damage that the scroll does not account for.
    pub rest: Damage,
}

/// The changed parts of a picture, in tiles of [`TILE`] by [`TILE`] pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    size: (u16, u16),
    /// Tiles in a row.
    columns: usize,
    tiles: Vec<bool>,
    /// For each row of tiles: the first damaged line, and the line after the last.
    lines: Vec<(u16, u16)>,
    any: bool,
}

/// An empty range of lines.
const NO_LINES: (u16, u16) = (u16::MAX, 0);

impl Damage {
    /// No damage in a picture of this size.
    pub fn none(size: (u16, u16)) -> Self {
        let (columns, rows) = (usize::from(size.0).div_ceil(TILE), usize::from(size.1).div_ceil(TILE));
        Self { size, columns, tiles: vec![false; columns * rows], lines: vec![NO_LINES; rows], any: false }
    }

    /// The picture's size.
    pub fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Whether an eighth of the damaged rows' tiles is damaged; only then is a search for a scroll of whole lines worth it.
    pub fn is_wide(&self) -> bool {
        let rows = self.tiles.chunks_exact(self.columns.max(1));
        let damaged = rows.map(|row| row.iter().filter(|&&tile| tile).count()).filter(|&tiles| tiles > 0);
        let (rows, tiles) = damaged.fold((0, 0), |(rows, all), tiles| (rows + 1, all + tiles));
        tiles * 8 >= rows * self.columns
    }

    /// Whether there is no damage.
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    fn mark_differences(&mut self, y: usize, a: &[u32], b: &[u32]) {
        if a == b {
            return;
        }
        let start = y / TILE * self.columns;
        let row = self.tiles.get_mut(start..start + self.columns).unwrap_or_default();
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<TILE>(), b.as_chunks::<TILE>());
        for (tile, (a, b)) in row.iter_mut().zip(a.iter().zip(b)) {
            *tile |= a != b;
        }
        if a_rest != b_rest
            && let Some(tile) = row.last_mut()
        {
            *tile = true;
        }
        self.add_lines(y / TILE, (y as u16, y as u16 + 1));
        self.any = true;
    }

    fn add_lines(&mut self, row: usize, (first, end): (u16, u16)) {
        if let Some(lines) = self.lines.get_mut(row) {
            *lines = (lines.0.min(first), lines.1.max(end));
        }
    }

    /// The columns and rows of the tiles that a rectangle overlaps.
    fn tiles_of(&self, rect: Rect) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let (right, bottom) =
            (usize::from(rect.x) + usize::from(rect.width), usize::from(rect.y) + usize::from(rect.height));
        let rows = self.tiles.len() / self.columns.max(1);
        let columns = usize::from(rect.x) / TILE..right.div_ceil(TILE).min(self.columns);
        (columns, usize::from(rect.y) / TILE..bottom.div_ceil(TILE).min(rows))
    }

    /// Marks a rectangle as damaged.
    pub fn add(&mut self, rect: Rect) {
        if rect.width == 0 || rect.height == 0 {
            return;
        }
        let (columns, rows) = self.tiles_of(rect);
        for row in rows {
            let start = row * self.columns;
            self.tiles.get_mut(start + columns.start..start + columns.end).unwrap_or_default().fill(true);
            let (top, bottom) = ((row * TILE) as u16, ((row + 1) * TILE).min(self.size.1.into()) as u16);
            self.add_lines(row, (rect.y.max(top), rect.y.saturating_add(rect.height).min(bottom)));
        }
        self.any = self.tiles.contains(&true);
    }

    /// Adds the damage of another picture of the same size.
    pub fn merge(&mut self, other: &Self) {
        self.tiles.iter_mut().zip(&other.tiles).for_each(|(tile, other)| *tile |= other);
        other.lines.iter().enumerate().for_each(|(row, &lines)| self.add_lines(row, lines));
        self.any |= other.any;
    }

    /// Removes the damage within `requested` as rectangles of at most `area` pixels (or one row of tiles) and passes each to
    /// `take`, until that refuses one, which stays.
    pub fn take(&mut self, requested: Rect, area: usize, mut take: impl FnMut(Rect) -> bool) {
        let (columns, rows) = self.tiles_of(requested);
        let mut row = rows.start;
        while row < rows.end && self.any {
            let runs = self.runs(row, &columns);
            if runs.is_empty() {
                row += 1;
                continue;
            }
            // Joins rows of tiles with the same runs.
            let widest = runs.iter().map(|run| run.len() * TILE * TILE).max().unwrap_or(1);
            let most = (area / widest).max(1);
            let mut end = row + 1;
            while end < rows.end && end - row < most && self.runs(end, &columns) == runs {
                end += 1;
            }
            // Leaves out the undamaged lines at the top and the bottom.
            let (y, bottom) = (usize::from(self.lines[row].0), usize::from(self.lines[end - 1].1));
            for run in runs {
                let (x, right) = (run.start * TILE, (run.end * TILE).min(self.size.0.into()));
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
            for row in row..end {
                if self.runs(row, &(0..self.columns)).is_empty() {
                    self.lines[row] = NO_LINES;
                }
            }
            row = end;
        }
        self.any = self.tiles.contains(&true);
    }

    /// The runs of damaged tiles in a row, within `columns`.
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
        /// Sets the pixels, line by line.
        pub fn fill_with(&mut self, f: impl FnMut() -> u32) {
            self.pixels.fill_with(f);
        }

        /// The picture as a canvas holds it.
        pub fn frame(&self) -> Bitmap {
            Bitmap { width: self.width.into(), height: self.height.into(), pixels: self.pixels.clone() }
        }

        /// The change that is reported when the screen shows `next`.
        fn change_to(&self, next: &Self) -> PictureChange {
            let mut canvas = Canvas::default();
            canvas.set_frame(self.frame());
            canvas.set_frame(next.frame());
            let mut picture = self.clone();
            let change = picture.follow(&canvas);
            assert!(picture == *next);
            change
        }

        fn damage(&self, before: &Self) -> Damage {
            match before.change_to(self) {
                PictureChange::Damaged(damage, _) => damage,
                _ => Damage::none(self.size()),
            }
        }

        fn scroll_from(&self, before: &Self) -> Option<Scroll> {
            match before.change_to(self) {
                PictureChange::Damaged(_, scroll) => scroll,
                _ => None,
            }
        }
    }

    /// A picture of pseudo-random pixels.
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
    fn damage_covers_the_changed_pixels_and_is_taken_once() {
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
        assert_eq!(all, [(0, 0, 16, 1), (96, 49, 4, 1)]);
        assert!(damage.is_empty());
        assert!(after.damage(&after).is_empty());
    }

    #[test]
    fn rectangles_are_joined_up_to_the_area_and_stay_damaged_if_refused() {
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
        assert_eq!(taken, [0, 32], "take() refused the second");
        let mut left = 0;
        damage.take(Rect { x: 0, y: 0, width: 64, height: 64 }, 1 << 20, |rect| {
            left += u32::from(rect.width) * u32::from(rect.height);
            true
        });
        assert_eq!(left, 64 * 32);
    }

    #[test]
    fn a_scroll_is_detected_in_both_directions() {
        let before = noise(64, 200, 1);
        for by in [16_usize, 8, 1] {
            let mut after = before.clone();
            // Lines 20 to 179 move up; the last ones are new.
            for y in 20..180 - by {
                let line = before.line(y + by).to_vec();
                after.pixels[y * 64..(y + 1) * 64].copy_from_slice(&line);
            }
            after.pixels[(180 - by) * 64..180 * 64].fill(7);
            let scroll = after.scroll_from(&before).unwrap();
            assert_eq!(scroll.to, Rect { x: 0, y: 20, width: 64, height: 160 - by as u16 });
            assert_eq!(usize::from(scroll.from), 20 + by);
            let mut back = before.scroll_from(&after).unwrap();
            assert_eq!((back.to.y, back.from), (20 + by as u16, 20));
            // The rest covers the lines that scrolled in.
            let mut covered = [false; 200];
            back.rest.take(before.all(), 1 << 20, |rect| {
                covered[usize::from(rect.y)..usize::from(rect.y + rect.height)].fill(true);
                true
            });
            assert!((20..20 + by).all(|y| covered[y]));
        }
    }

    #[test]
    fn a_picture_that_follows_a_canvas_equals_it_and_reports_its_changes() {
        let mut canvas = Canvas::default();
        let mut picture = Picture::black(33, 50);
        canvas.set_frame(noise(33, 50, 1).frame());
        // A new canvas of the same size counts as damaged, not as resized.
        assert!(matches!(picture.follow(&canvas), PictureChange::Damaged(..)));
        assert_eq!(picture, noise(33, 50, 1));
        let mut next = noise(33, 50, 2);
        next.pixels[33 * 10..33 * 40].copy_from_slice(&picture.pixels[33 * 10..33 * 40]);
        canvas.set_frame(next.frame());
        let PictureChange::Damaged(damage, None) = picture.follow(&canvas) else { panic!() };
        assert_eq!(picture, next);
        let rows: Vec<bool> = damage.tiles.chunks(damage.columns).map(|row| row[0]).collect();
        assert_eq!(rows, [true, false, true, true], "lines 10 to 39 did not change");
        assert!(!canvas.set_frame(next.frame()));
        assert_eq!(picture.follow(&canvas), PictureChange::Unchanged);
        canvas.set_frame(noise(34, 50, 3).frame());
        assert_eq!(picture.follow(&canvas), PictureChange::Resized);
        assert_eq!(picture, noise(34, 50, 3));
    }

    #[test]
    fn every_one_of_successive_scrolls_is_detected() {
        let all = noise(64, 1000, 4);
        let part = |top: usize| {
            let mut picture = Picture::black(64, 200);
            picture.pixels.copy_from_slice(&all.pixels[top * 64..(top + 200) * 64]);
            picture
        };
        let mut canvas = Canvas::default();
        canvas.set_frame(part(0).frame());
        let mut picture = part(0);
        for top in (16..700).step_by(16) {
            canvas.set_frame(part(top).frame());
            let PictureChange::Damaged(_, Some(scroll)) = picture.follow(&canvas) else { panic!("{top}") };
            assert_eq!((scroll.to.y, scroll.to.height, scroll.from), (0, 184, 16));
        }
    }

    #[test]
    fn unrelated_pictures_are_not_a_scroll() {
        assert_eq!(noise(64, 200, 1).scroll_from(&noise(64, 200, 2)), None);
        assert_eq!(noise(64, 200, 1).scroll_from(&Picture::black(64, 200)), None);
        assert_eq!(Picture::black(64, 200).scroll_from(&noise(64, 200, 2)), None);
    }

    #[test]
    fn a_picture_is_cut_off_or_padded_to_another_size() {
        let picture = noise(20, 10, 3);
        let small = picture.fitted((8, 4));
        assert_eq!(small.line(3), &picture.line(3)[..8]);
        let large = picture.fitted((30, 20));
        assert_eq!((&large.line(9)[..20], &large.line(9)[20..]), (picture.line(9), &[0; 10][..]));
        assert!(large.line(10).iter().all(|&pixel| pixel == 0));
    }
}
