//! SDL 2 window (`--display sdl`; API: wiki.libsdl.org/SDL2).
//!
//! The picture is scaled to the window and keeps its aspect ratio. Keys go to the guest while the window has the focus: by
//! their place on the keyboard, or with `--keymap` by the characters that they type here. A
//! click in the window, or Ctrl-Alt-G, grabs mouse and keyboard: the guest then also gets Alt-Tab and the window manager's
//! other keys. Ctrl-Alt-G releases them. Ctrl-Alt-F toggles full screen, Ctrl-Alt-U resizes the window to the picture.
//! Closing the window ends the machine at once.

use super::{DisplayError, aspect_ratio};
use crate::keys::{self, Keymap, KeysymKeyboard, keysym_of};
use crate::screen::Feed;
use crate::screen::{LocalScreen, PollPace, Waker};
use crate::tablet;
use pcvm_devices::InputEvent;
use sdl2::event::{Event, EventSender, WindowEvent};
use sdl2::keyboard::{Keycode, Scancode};
use sdl2::mouse::{MouseButton, MouseWheelDirection};
use sdl2::pixels::{Color, PixelFormatEnum};
use sdl2::rect::Rect;
use sdl2::render::{Canvas, TextureCreator};
use sdl2::video::{FullscreenType, Window, WindowContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

const CTRL: [u16; 2] = [0x1d, 0x11d];
const ALT: [u16; 2] = [0x38, 0x138];
/// The window's size before the first picture: that of 80 x 25 text.
const INITIAL_SIZE: (u32, u32) = (720, 400);
/// A picture narrower than this is shown at double size.
const WINDOW_WIDTH_MIN: u32 = 600;

/// An open, black window.
pub struct Prepared {
    screen: Sender<Box<dyn LocalScreen>>,
    running: Running,
}

/// SDL user event that wakes the window's thread: the guest wrote to the display adapter, or the thread must end.
struct WakeEvent;

/// The window's thread; dropping this ends it.
pub struct Running {
    quit: Arc<AtomicBool>,
    wake: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Prepared {
    /// Opens a window for the machine named `name`. Only the thread started here calls SDL.
    pub fn open(name: &str, keymap: Option<Keymap>) -> Result<Self, DisplayError> {
        let (opened, result) = channel();
        let (screen, screens) = channel();
        let quit = Arc::new(AtomicBool::new(false));
        let (name, thread_quit) = (name.to_owned(), quit.clone());
        let thread = std::thread::Builder::new().name("display".to_owned()).spawn(move || match open(&name) {
            Ok((sdl, sender)) => {
                let wake: Waker = Arc::new(move || drop(sender.push_custom_event(WakeEvent)));
                let _ = opened.send(Ok(wake.clone()));
                run(sdl, &screens, &thread_quit, wake, keymap);
            }
            Err(why) => drop(opened.send(Err(why))),
        });
        let thread = thread.map_err(DisplayError::Host)?;
        match result.recv() {
            Ok(Ok(wake)) => Ok(Self { screen, running: Running { quit, wake, thread: Some(thread) } }),
            Ok(Err(why)) => Err(DisplayError::Window(why)),
            Err(_) => Err(DisplayError::Window("SDL crashed while it opened the window".to_owned())),
        }
    }

    /// Starts to show `screen`.
    pub fn start(self, screen: impl LocalScreen) -> Result<Running, DisplayError> {
        let gone = |_| DisplayError::Window("the window's thread has ended".to_owned());
        self.screen.send(Box::new(screen)).map_err(gone)?;
        Ok(self.running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.quit.store(true, Ordering::Relaxed);
        (self.wake)();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// SDL's objects, in the order in which they must be dropped.
struct SdlWindow {
    canvas: Canvas<Window>,
    pump: sdl2::EventPump,
    mouse: sdl2::mouse::MouseUtil,
    name: String,
    _video: sdl2::VideoSubsystem,
    _sdl: sdl2::Sdl,
}

fn open(name: &str) -> Result<(SdlWindow, EventSender), String> {
    // pcvm handles SIGINT and SIGTERM itself, see `machine::signals`.
    sdl2::hint::set("SDL_NO_SIGNAL_HANDLERS", "1");
    sdl2::hint::set("SDL_RENDER_SCALE_QUALITY", "linear");
    // Without XDG_RUNTIME_DIR, libwayland prints an error to standard error.
    let drivers = if std::env::var_os("XDG_RUNTIME_DIR").is_some() { "x11,wayland,KMSDRM" } else { "x11,KMSDRM" };
    sdl2::hint::set("SDL_VIDEODRIVER", drivers);
    let sdl = sdl2::init()?;
    let video = sdl.video().map_err(|_| no_display())?;
    if matches!(video.current_video_driver(), "dummy" | "offscreen" | "evdev") {
        return Err(no_display());
    }
    video.enable_screen_saver();
    let window =
        video.window(&title(name, false), INITIAL_SIZE.0, INITIAL_SIZE.1).position_centered().resizable().build();
    let canvas = window.map_err(|why| why.to_string())?.into_canvas().build().map_err(|why| why.to_string())?;
    let (pump, events) = (sdl.event_pump()?, sdl.event()?);
    events.register_custom_event::<WakeEvent>()?;
    let mut sdl = SdlWindow { canvas, pump, mouse: sdl.mouse(), name: name.to_owned(), _video: video, _sdl: sdl };
    sdl.canvas.set_draw_color(Color::BLACK);
    sdl.canvas.clear();
    sdl.canvas.present();
    Ok((sdl, events.event_sender()))
}

fn no_display() -> String {
    match (std::env::var("DISPLAY"), std::env::var("WAYLAND_DISPLAY")) {
        (Ok(display), _) | (_, Ok(display)) => format!("display '{display}' cannot be opened"),
        _ => "there is no display (DISPLAY is not set)".to_owned(),
    }
}

fn title(name: &str, grabbed: bool) -> String {
    let name: String = name.chars().filter(|&c| c != '\0').collect();
    if grabbed { format!("pcvm: {name} - Ctrl-Alt-G releases mouse and keyboard") } else { format!("pcvm: {name}") }
}

fn run(
    mut sdl: SdlWindow,
    screens: &Receiver<Box<dyn LocalScreen>>,
    quit: &AtomicBool,
    waker: Waker,
    keymap: Option<Keymap>,
) {
    // A window without --keymap sends keys by their place and needs no text.
    let text = sdl._video.text_input();
    if keymap.is_some() {
        text.start()
    } else {
        text.stop()
    }
    let Ok(screen) = screens.recv() else { return };
    let textures = sdl.canvas.texture_creator();
    let mut window = WindowLoop {
        screen,
        waker,
        feed: Feed::default(),
        pace: PollPace::new(Instant::now()),
        size: (0, 0),
        texture: None,
        next_blink: None,
        opened: Instant::now(),
        textures: &textures,
        held: Vec::new(),
        keyboard: KeysymKeyboard::new(keymap.unwrap_or_default()),
        by_character: keymap.is_some(),
        untyped: None,
        repeats: false,
        typed: Vec::new(),
        buttons: 0,
        grabbed: false,
        swallowed: None,
    };
    while !quit.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= window.pace.next_poll() {
            window.poll(&mut sdl, now);
        }
        if window.next_blink.is_some_and(|at| now >= at) {
            window.blink(&mut sdl, now);
        }
        window.feed.deliver(&*window.screen, now);
        let next =
            [Some(window.pace.next_poll()), window.feed.next(now), window.next_blink].into_iter().flatten().min();
        let next = next.unwrap_or(now);
        let left = next.saturating_duration_since(now).max(Duration::from_millis(1)).as_millis() as u32;
        let mut next = sdl.pump.wait_event_timeout(left);
        while let Some(event) = next {
            window.event(&mut sdl, event);
            next = sdl.pump.poll_event();
        }
    }
    window.grab(&mut sdl, false);
}

struct WindowLoop<'a> {
    screen: Box<dyn LocalScreen>,
    waker: Waker,
    feed: Feed,
    pace: PollPace,
    /// Size of the texture, in pixels.
    size: (u32, u32),
    texture: Option<sdl2::render::Texture<'a>>,
    textures: &'a TextureCreator<WindowContext>,
    /// When the cursor or another blinking part changes its phase.
    next_blink: Option<Instant>,
    opened: Instant,
    /// Codes of the keys of this host's keyboard that are down.
    held: Vec<u16>,
    keyboard: KeysymKeyboard,
    /// Keys are sent by the characters that they type, not by their place.
    by_character: bool,
    /// The key that was pressed last, if the text that it types has not arrived.
    untyped: Option<u16>,
    /// The last key event was a repetition.
    repeats: bool,
    /// Keys that are down and were sent as these keysyms.
    typed: Vec<(u16, u32)>,
    buttons: u8,
    grabbed: bool,
    /// The key of a Ctrl-Alt command: the guest does not get its release either.
    swallowed: Option<u16>,
}

impl<'a> WindowLoop<'a> {
    fn poll(&mut self, sdl: &mut SdlWindow, now: Instant) {
        let waker = self.pace.wants_waker(now).then_some(&self.waker);
        let changed = self.screen.poll(waker);
        self.pace.polled(now, changed);
        if changed || self.size == (0, 0) {
            self.show(sdl);
        }
        if self.next_blink.is_none() {
            self.blink(sdl, now);
        }
    }

    /// Shows or hides the cursor and other blinking parts, and schedules their next phase.
    fn blink(&mut self, sdl: &mut SdlWindow, now: Instant) {
        let (changed, next) = self.screen.blink(now.saturating_duration_since(self.opened));
        self.next_blink = next.map(|next| self.opened + next);
        if changed {
            self.show(sdl);
        }
    }

    /// Copies the changed lines to the texture and presents it.
    fn show(&mut self, sdl: &mut SdlWindow) {
        let canvas = self.screen.canvas();
        let frame = canvas.frame();
        let (width, height) = (frame.width, frame.height);
        let mut lines: Vec<u32> = canvas.changed_lines().collect();
        if (width, height) != self.size {
            if width == 0 || height == 0 {
                return;
            }
            self.texture = self
                .textures
                // SDL's RGB888 is the canvas's 00RRGGBBh in native byte order.
                .create_texture_streaming(PixelFormatEnum::RGB888, width, height)
                .inspect_err(|why| tracing::warn!("--display sdl: no texture of {width} x {height}: {why}"))
                .ok();
            self.size = (width, height);
            lines = (0..height).collect();
            self.fit(sdl);
        }
        let frame = self.screen.canvas().frame();
        for run in lines.chunk_by(|a, b| a + 1 == *b) {
            let Some(texture) = &mut self.texture else { break };
            let (first, count, row) = (run[0], run.len(), width as usize);
            let pixels = frame.pixels.get(first as usize * row..(first as usize + count) * row).unwrap_or_default();
            let part = Rect::new(0, first as i32, width, count as u32);
            let _ = texture.update(part, pixels.as_bytes(), row * 4);
        }
        self.draw(sdl);
    }

    /// Resizes the window to the picture, unless it is maximized or in full screen.
    fn fit(&self, sdl: &mut SdlWindow) {
        let window = sdl.canvas.window_mut();
        let maximized = window.window_flags() & sdl2::sys::SDL_WindowFlags::SDL_WINDOW_MAXIMIZED as u32 != 0;
        if window.fullscreen_state() == FullscreenType::Off && !maximized {
            let (width, height) = window_size(self.size);
            let _ = window.set_size(width, height);
        }
    }

    fn draw(&self, sdl: &mut SdlWindow) {
        let canvas = &mut sdl.canvas;
        canvas.clear();
        if let (Some(texture), Ok(size)) = (&self.texture, canvas.output_size()) {
            let _ = canvas.copy(texture, None, picture_rect(self.size, size));
        }
        canvas.present();
    }

    fn event(&mut self, sdl: &mut SdlWindow, event: Event) {
        match event {
            Event::Quit { .. } => self.screen.quit(),
            Event::Window { win_event: WindowEvent::FocusLost, .. } => {
                self.grab(sdl, false);
                self.release_all();
            }
            Event::Window { win_event: WindowEvent::Exposed | WindowEvent::SizeChanged(..), .. } => self.draw(sdl),
            Event::RenderTargetsReset { .. } | Event::RenderDeviceReset { .. } => {
                // The texture's contents are lost: size (0, 0) makes the next poll create it anew.
                self.size = (0, 0);
            }
            Event::KeyDown { scancode: Some(scancode), repeat, keycode, .. } => {
                self.key(sdl, scancode, keycode, true, repeat);
            }
            Event::KeyUp { scancode: Some(scancode), .. } => self.key(sdl, scancode, None, false, false),
            Event::TextInput { text, .. } if self.by_character => self.text(&text),
            Event::MouseMotion { xrel, yrel, .. } if self.grabbed => self.pointer(xrel, yrel, 0),
            // A tablet follows the window's pointer without a grab.
            Event::MouseMotion { x, y, .. } if self.screen.absolute() => self.point(sdl, Some((x, y)), 0),
            Event::MouseButtonDown { mouse_btn, x, y, .. } if !self.grabbed && self.screen.absolute() => {
                self.buttons |= button(mouse_btn);
                self.point(sdl, Some((x, y)), 0);
            }
            Event::MouseButtonDown { mouse_btn, .. } => {
                if self.grabbed {
                    self.buttons |= button(mouse_btn);
                    self.pointer(0, 0, 0);
                } else {
                    self.grab(sdl, true);
                }
            }
            Event::MouseButtonUp { mouse_btn, .. } if self.buttons & button(mouse_btn) != 0 => {
                self.buttons &= !button(mouse_btn);
                if self.grabbed { self.pointer(0, 0, 0) } else { self.point(sdl, None, 0) }
            }
            Event::MouseWheel { y, direction, .. } => {
                let y = if direction == MouseWheelDirection::Flipped { -y } else { y };
                // SDL counts motion away from the user as positive, the PC mouse motion towards the user.
                if self.grabbed {
                    self.pointer(0, 0, -y);
                } else if self.screen.absolute() {
                    self.point(sdl, None, -y);
                }
            }
            Event::User { .. } => {
                // Frees the event's payload.
                let _ = event.as_user_event_type::<WakeEvent>();
                return self.pace.woken(Instant::now());
            }
            _ => return,
        }
        self.pace.expedite(Instant::now());
    }

    /// Mouse movement, wheel steps and buttons.
    fn pointer(&mut self, dx: i32, dy: i32, dz: i32) {
        self.feed.push([InputEvent::Mouse { dx, dy: -dy, dz, buttons: self.buttons }]);
    }

    /// Tablet position, wheel steps and buttons; `at` is in window coordinates, `None` if the pointer has not moved.
    fn point(&mut self, sdl: &SdlWindow, at: Option<(i32, i32)>, dz: i32) {
        let axes = at.and_then(|at| Some(tablet_axes(self.size, sdl.canvas.output_size().ok()?, at)));
        let (x, y) = axes.unzip();
        self.feed.push([InputEvent::Pointer { x, y, dz, buttons: self.buttons }]);
    }

    fn key(&mut self, sdl: &mut SdlWindow, scancode: Scancode, keycode: Option<Keycode>, down: bool, repeat: bool) {
        // SDL's scan codes are USB HID usages.
        let Some(code) = keys::by_usage(scancode as u32) else { return };
        let holds = |keys: [u16; 2]| self.held.iter().any(|held| keys.contains(held));
        let shortcut = holds(CTRL) || holds([keys::ALT, keys::LEFT_META]);
        if down && holds(CTRL) && holds(ALT) && matches!(scancode, Scancode::G | Scancode::F | Scancode::U) {
            self.swallowed = Some(code);
            if !repeat {
                self.command(sdl, scancode);
            }
            return;
        }
        if self.swallowed == Some(code) {
            self.swallowed = None;
            if !down {
                return;
            }
        }
        if down && !self.held.contains(&code) {
            self.held.push(code);
        } else if !down {
            if !self.held.contains(&code) {
                return;
            }
            self.held.retain(|&held| held != code);
        }
        // The emulated keyboard generates its own typematic repeat.
        self.repeats = repeat;
        if repeat {
            return;
        }
        self.untyped = None;
        self.keyboard.set_locks(self.feed.locks(&*self.screen));
        if let Some(at) = self.typed.iter().position(|(typed, _)| *typed == code) {
            let (_, keysym) = self.typed.swap_remove(at);
            self.keyboard.keysym(keysym, false);
        } else if down && self.by_character && keys::layout::has_characters(code) {
            match keycode.and_then(|key| char::from_u32(key.into_i32() as u32)).filter(|c| !c.is_control()) {
                // No text comes for a key with Ctrl.
                Some(c) if shortcut => {
                    self.typed.push((code, keysym_of(c)));
                    self.keyboard.keysym(keysym_of(c), true);
                }
                _ => self.untyped = Some(code),
            }
        } else if down || !self.by_character || !keys::layout::has_characters(code) {
            self.keyboard.code(code, down);
        }
        self.feed.push(self.keyboard.events.drain(..));
    }

    /// The characters that the key pressed last types, or that dead keys and an input method make.
    fn text(&mut self, text: &str) {
        if self.repeats {
            return;
        }
        self.keyboard.set_locks(self.feed.locks(&*self.screen));
        let count = text.chars().count();
        for (n, c) in text.chars().enumerate() {
            let keysym = keysym_of(c);
            self.keyboard.keysym(keysym, true);
            match self.untyped.take_if(|_| n + 1 == count) {
                // Held as long as its key.
                Some(code) => self.typed.push((code, keysym)),
                None => self.keyboard.keysym(keysym, false),
            }
        }
        self.feed.push(self.keyboard.events.drain(..));
    }

    fn command(&mut self, sdl: &mut SdlWindow, key: Scancode) {
        match key {
            Scancode::G => self.grab(sdl, !self.grabbed),
            Scancode::F => {
                let window = sdl.canvas.window_mut();
                let off = window.fullscreen_state() == FullscreenType::Off;
                let _ = window.set_fullscreen(if off { FullscreenType::Desktop } else { FullscreenType::Off });
                if off {
                    self.grab(sdl, true);
                }
            }
            _ => self.fit(sdl),
        }
    }

    fn grab(&mut self, sdl: &mut SdlWindow, on: bool) {
        if self.grabbed == on {
            return;
        }
        self.grabbed = on;
        let window = sdl.canvas.window_mut();
        window.set_keyboard_grab(on);
        sdl.mouse.set_relative_mouse_mode(on);
        let _ = window.set_title(&title(&sdl.name, on));
        if !on && std::mem::take(&mut self.buttons) != 0 {
            self.feed.push_always([InputEvent::Mouse { dx: 0, dy: 0, dz: 0, buttons: 0 }]);
        }
    }

    /// Releases all held keys: the window lost the focus and will not see their releases.
    fn release_all(&mut self) {
        self.held.clear();
        self.typed.clear();
        self.untyped = None;
        self.keyboard.release_all();
        self.feed.push_always(self.keyboard.events.drain(..));
    }
}

/// The bit of a button in [`InputEvent`]'s mask: left, right, middle.
fn button(button: MouseButton) -> u8 {
    match button {
        MouseButton::Left => 1,
        MouseButton::Right => 2,
        MouseButton::Middle => 4,
        MouseButton::X1 => 8,
        MouseButton::X2 => 16,
        MouseButton::Unknown => 0,
    }
}

/// The window size for a picture: its displayed size, doubled if it is narrower than [`WINDOW_WIDTH_MIN`].
fn window_size(picture: (u32, u32)) -> (u32, u32) {
    let (width, height) = displayed_size(picture);
    if width < WINDOW_WIDTH_MIN { (width * 2, height * 2) } else { (width, height) }
}

/// A picture's size in square pixels: text and VBE modes as they are, the VGA's graphics modes stretched to their aspect
/// ratio.
fn displayed_size(picture: (u32, u32)) -> (u32, u32) {
    if picture.0 >= 720 || picture.1 > 400 {
        return (picture.0.max(1), picture.1.max(1));
    }
    let (width, height) = aspect_ratio(picture);
    (picture.0.max(1), (picture.0 * height).div_ceil(width).max(1))
}

/// The rectangle of a picture in a window of the given size: as large as fits, centred.
fn picture_rect(picture: (u32, u32), (width, height): (u32, u32)) -> Rect {
    let (x, y) = displayed_size(picture);
    let by_width = u64::from(width) * u64::from(y) / u64::from(x);
    let (across, down) = if by_width <= u64::from(height) {
        (width, by_width as u32)
    } else {
        ((u64::from(height) * u64::from(x) / u64::from(y)) as u32, height)
    };
    Rect::new(((width - across.min(width)) / 2) as i32, ((height - down.min(height)) / 2) as i32, across, down)
}

/// The tablet's axis values for a position in a window of the given size; beside the picture, those of its edge.
fn tablet_axes((width, height): (u32, u32), size: (u32, u32), (x, y): (i32, i32)) -> (u16, u16) {
    let picture = picture_rect((width, height), size);
    let scaled = |at: i32, from: i32, length: u32, pixels: u32| {
        let at =
            i64::from(at - from).clamp(0, i64::from(length.max(1)) - 1) * i64::from(pixels) / i64::from(length.max(1));
        tablet::scale(at as u16, pixels as u16).unwrap_or(0)
    };
    (scaled(x, picture.x(), picture.width(), width), scaled(y, picture.y(), picture.height(), height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tablet_points_at_the_pixel_under_the_pointer() {
        let pixel = |axis: u16, pixels: u32| u32::from(axis) * (pixels - 1) / 0x7fff;
        for (size, at, expect) in [
            ((640, 480), (0, 0), (0, 0)),
            ((640, 480), (639, 479), (639, 479)),
            ((640, 480), (17, 300), (17, 300)),
            ((1920, 1080), (240, 0), (0, 0)),
            ((1920, 1080), (0, 540), (0, 240)),
            ((1920, 1080), (1919, 1079), (639, 479)),
            ((1280, 960), (101, 100), (50, 50)),
        ] {
            let (x, y) = tablet_axes((640, 480), size, at);
            assert_eq!((pixel(x, 640), pixel(y, 480)), expect, "{at:?} of {size:?}");
        }
        assert_eq!(tablet_axes((0, 0), (640, 480), (5, 5)), (0, 0));
    }

    #[test]
    fn a_picture_fills_its_window_and_keeps_its_aspect_ratio() {
        for (picture, window) in [
            ((720, 400), (720, 400)),
            ((640, 400), (640, 480)),
            ((320, 200), (640, 480)),
            ((640, 480), (640, 480)),
            ((1024, 768), (1024, 768)),
        ] {
            assert_eq!(window_size(picture), window, "{picture:?}");
        }
        assert_eq!(picture_rect((640, 480), (640, 480)), Rect::new(0, 0, 640, 480));
        assert_eq!(picture_rect((640, 480), (1920, 1080)), Rect::new(240, 0, 1440, 1080));
        assert_eq!(picture_rect((640, 480), (640, 1000)), Rect::new(0, 260, 640, 480));
    }
}
