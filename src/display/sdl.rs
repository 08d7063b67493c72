//! `--display sdl`: a window, by SDL 2 (its API: wiki.libsdl.org/SDL2).
//!
//! The picture is scaled to the window with its proportions kept. Keys go to the machine while the window has the focus.
//! A click in it, or Ctrl-Alt-G, grabs mouse and keyboard (then also Alt-Tab and the like are the machine's); Ctrl-Alt-G
//! lets them go. Ctrl-Alt-F is full screen and back, Ctrl-Alt-U the window's own size. Closing it is pulling the plug.

use super::{DisplayError, Feed, Local, Pace, Waker, proportions};
use crate::keys;
use pcvm_devices::InputEvent;
use sdl2::event::{Event, EventSender, WindowEvent};
use sdl2::keyboard::Scancode;
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
/// A window without a picture yet: that of text.
const SIZE: (u32, u32) = (720, 400);
/// The smallest picture's window: 320 x 200 is doubled.
const LEAST_WIDTH: u32 = 600;

/// A window that is open and black.
pub struct Prepared {
    machine: Sender<Box<dyn Local>>,
    running: Running,
}

/// What wakes the window's thread: something was written to the adapter, or the thread is to end.
struct Woken;

/// The window's thread; it ends when this is dropped.
pub struct Running {
    quit: Arc<AtomicBool>,
    wake: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Prepared {
    /// Opens a window for the machine of that name. SDL is only ever used on the thread that this starts.
    pub fn open(name: &str) -> Result<Self, DisplayError> {
        let (opened, result) = channel();
        let (machine, machines) = channel();
        let quit = Arc::new(AtomicBool::new(false));
        let (name, ends) = (name.to_owned(), quit.clone());
        let thread = std::thread::Builder::new().name("display".to_owned()).spawn(move || match open(&name) {
            Ok((shown, sender)) => {
                let wake: Waker = Arc::new(move || drop(sender.push_custom_event(Woken)));
                let _ = opened.send(Ok(wake.clone()));
                run(shown, &machines, &ends, wake);
            }
            Err(why) => drop(opened.send(Err(why))),
        });
        let thread = thread.map_err(DisplayError::Host)?;
        match result.recv() {
            Ok(Ok(wake)) => Ok(Self { machine, running: Running { quit, wake, thread: Some(thread) } }),
            Ok(Err(why)) => Err(DisplayError::Window(why)),
            Err(_) => Err(DisplayError::Window("SDL does not work".to_owned())),
        }
    }

    /// Shows `machine`.
    pub fn start(self, machine: impl Local) -> Result<Running, DisplayError> {
        let gone = |_| DisplayError::Window("the window is gone".to_owned());
        self.machine.send(Box::new(machine)).map_err(gone)?;
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

/// What SDL has given us, to be let go in this order.
struct Shown {
    canvas: Canvas<Window>,
    pump: sdl2::EventPump,
    mouse: sdl2::mouse::MouseUtil,
    name: String,
    _video: sdl2::VideoSubsystem,
    _sdl: sdl2::Sdl,
}

fn open(name: &str) -> Result<(Shown, EventSender), String> {
    // Signals end the machine, see `machine::signals`.
    sdl2::hint::set("SDL_NO_SIGNAL_HANDLERS", "1");
    sdl2::hint::set("SDL_RENDER_SCALE_QUALITY", "linear");
    // Wayland's library complains on standard error where it is looked for in vain.
    let drivers = if std::env::var_os("XDG_RUNTIME_DIR").is_some() { "x11,wayland,KMSDRM" } else { "x11,KMSDRM" };
    sdl2::hint::set("SDL_VIDEODRIVER", drivers);
    let sdl = sdl2::init()?;
    let video = sdl.video().map_err(|_| no_display())?;
    if matches!(video.current_video_driver(), "dummy" | "offscreen" | "evdev") {
        return Err(no_display());
    }
    video.enable_screen_saver();
    let window = video.window(&title(name, false), SIZE.0, SIZE.1).position_centered().resizable().build();
    let canvas = window.map_err(|why| why.to_string())?.into_canvas().build().map_err(|why| why.to_string())?;
    let (pump, events) = (sdl.event_pump()?, sdl.event()?);
    events.register_custom_event::<Woken>()?;
    let mut shown = Shown { canvas, pump, mouse: sdl.mouse(), name: name.to_owned(), _video: video, _sdl: sdl };
    shown.canvas.set_draw_color(Color::BLACK);
    shown.canvas.clear();
    shown.canvas.present();
    Ok((shown, events.event_sender()))
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

fn run(mut shown: Shown, machines: &Receiver<Box<dyn Local>>, quit: &AtomicBool, call: Waker) {
    let Ok(machine) = machines.recv() else { return };
    let textures = shown.canvas.texture_creator();
    let mut window = Showing {
        machine,
        call,
        feed: Feed::default(),
        pace: Pace::new(Instant::now()),
        size: (0, 0),
        texture: None,
        blinks: None,
        opened: Instant::now(),
        textures: &textures,
        held: Vec::new(),
        buttons: 0,
        grabbed: false,
        swallowed: None,
    };
    while !quit.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= window.pace.next() {
            window.look(&mut shown, now);
        }
        if window.blinks.is_some_and(|at| now >= at) {
            window.blink(&mut shown, now);
        }
        window.feed.deliver(&*window.machine, now);
        let next = [Some(window.pace.next()), window.feed.next(now), window.blinks].into_iter().flatten().min();
        let next = next.unwrap_or(now);
        let left = next.saturating_duration_since(now).max(Duration::from_millis(1)).as_millis() as u32;
        let mut next = shown.pump.wait_event_timeout(left);
        while let Some(event) = next {
            window.event(&mut shown, event);
            next = shown.pump.poll_event();
        }
    }
    window.grab(&mut shown, false);
}

struct Showing<'a> {
    machine: Box<dyn Local>,
    call: Waker,
    feed: Feed,
    pace: Pace,
    /// Of the picture that is shown.
    size: (u32, u32),
    texture: Option<sdl2::render::Texture<'a>>,
    textures: &'a TextureCreator<WindowContext>,
    /// When what blinks comes or goes.
    blinks: Option<Instant>,
    opened: Instant,
    /// Keys that are held, as the machine knows it.
    held: Vec<u16>,
    buttons: u8,
    grabbed: bool,
    /// A key that was ours, until it is let go.
    swallowed: Option<u16>,
}

impl<'a> Showing<'a> {
    fn look(&mut self, shown: &mut Shown, now: Instant) {
        let call = self.pace.wants_call(now).then_some(&self.call);
        let changed = self.machine.look(call);
        self.pace.looked(now, changed);
        if changed || self.size == (0, 0) {
            self.show(shown);
        }
        if self.blinks.is_none() {
            self.blink(shown, now);
        }
    }

    /// The cursor, and what else blinks, comes or goes.
    fn blink(&mut self, shown: &mut Shown, now: Instant) {
        let (changed, next) = self.machine.blink(now.saturating_duration_since(self.opened));
        self.blinks = next.map(|next| self.opened + next);
        if changed {
            self.show(shown);
        }
    }

    /// Brings what has changed of the picture to the window.
    fn show(&mut self, shown: &mut Shown) {
        let canvas = self.machine.canvas();
        let frame = canvas.frame();
        let (width, height) = (frame.width, frame.height);
        let mut lines: Vec<u32> = canvas.changed_lines().collect();
        if (width, height) != self.size {
            if width == 0 || height == 0 {
                return;
            }
            self.texture = self
                .textures
                // Pixels as they are in memory: blue first.
                .create_texture_streaming(PixelFormatEnum::RGB888, width, height)
                .inspect_err(|why| tracing::warn!("--display sdl: {width} x {height}: {why}"))
                .ok();
            self.size = (width, height);
            lines = (0..height).collect();
            self.fit(shown);
        }
        let frame = self.machine.canvas().frame();
        for run in lines.chunk_by(|a, b| a + 1 == *b) {
            let Some(texture) = &mut self.texture else { break };
            let (first, count, row) = (run[0], run.len(), width as usize);
            let pixels = frame.pixels.get(first as usize * row..(first as usize + count) * row).unwrap_or_default();
            let part = Rect::new(0, first as i32, width, count as u32);
            let _ = texture.update(part, pixels.as_bytes(), row * 4);
        }
        self.draw(shown);
    }

    /// The window gets the size of the picture, unless a person or a full screen has given it one.
    fn fit(&self, shown: &mut Shown) {
        let window = shown.canvas.window_mut();
        let maximized = window.window_flags() & sdl2::sys::SDL_WindowFlags::SDL_WINDOW_MAXIMIZED as u32 != 0;
        if window.fullscreen_state() == FullscreenType::Off && !maximized {
            let (width, height) = window_size(self.size);
            let _ = window.set_size(width, height);
        }
    }

    fn draw(&self, shown: &mut Shown) {
        let canvas = &mut shown.canvas;
        canvas.clear();
        if let (Some(texture), Ok(size)) = (&self.texture, canvas.output_size()) {
            let _ = canvas.copy(texture, None, placed(self.size, size));
        }
        canvas.present();
    }

    fn event(&mut self, shown: &mut Shown, event: Event) {
        match event {
            Event::Quit { .. } => self.machine.quit(),
            Event::Window { win_event: WindowEvent::FocusLost, .. } => {
                self.grab(shown, false);
                self.release_all();
            }
            Event::Window { win_event: WindowEvent::Exposed | WindowEvent::SizeChanged(..), .. } => self.draw(shown),
            Event::RenderTargetsReset { .. } | Event::RenderDeviceReset { .. } => {
                // The texture is gone with its contents.
                self.size = (0, 0);
            }
            Event::KeyDown { scancode: Some(scancode), repeat, .. } => self.key(shown, scancode, true, repeat),
            Event::KeyUp { scancode: Some(scancode), .. } => self.key(shown, scancode, false, false),
            Event::MouseMotion { xrel, yrel, .. } if self.grabbed => self.pointer(xrel, yrel, 0),
            // A tablet's pointer is where the window's is: nothing need be grabbed.
            Event::MouseMotion { x, y, .. } if self.machine.absolute() => self.point(shown, Some((x, y)), 0),
            Event::MouseButtonDown { mouse_btn, x, y, .. } if !self.grabbed && self.machine.absolute() => {
                self.buttons |= button(mouse_btn);
                self.point(shown, Some((x, y)), 0);
            }
            Event::MouseButtonDown { mouse_btn, .. } => {
                if self.grabbed {
                    self.buttons |= button(mouse_btn);
                    self.pointer(0, 0, 0);
                } else {
                    self.grab(shown, true);
                }
            }
            Event::MouseButtonUp { mouse_btn, .. } if self.buttons & button(mouse_btn) != 0 => {
                self.buttons &= !button(mouse_btn);
                if self.grabbed { self.pointer(0, 0, 0) } else { self.point(shown, None, 0) }
            }
            Event::MouseWheel { y, direction, .. } => {
                let y = if direction == MouseWheelDirection::Flipped { -y } else { y };
                // SDL counts away from the user, the mouse towards.
                if self.grabbed {
                    self.pointer(0, 0, -y);
                } else if self.machine.absolute() {
                    self.point(shown, None, -y);
                }
            }
            Event::User { .. } => {
                // What SDL keeps of it is given back by that.
                let _ = event.as_user_event_type::<Woken>();
                return self.pace.called(Instant::now());
            }
            _ => return,
        }
        self.pace.typed(Instant::now());
    }

    fn pointer(&mut self, dx: i32, dy: i32, dz: i32) {
        self.feed.push([InputEvent::Mouse { dx, dy: -dy, dz, buttons: self.buttons }]);
    }

    /// The pointer is at a place in the window, or where it was.
    fn point(&mut self, shown: &Shown, at: Option<(i32, i32)>, dz: i32) {
        let place = at.and_then(|at| Some(pointed(self.size, shown.canvas.output_size().ok()?, at)));
        let (x, y) = place.unzip();
        self.feed.push([InputEvent::Pointer { x, y, dz, buttons: self.buttons }]);
    }

    fn key(&mut self, shown: &mut Shown, scancode: Scancode, down: bool, repeat: bool) {
        // SDL's scan codes are USB's usages.
        let Some(code) = keys::by_usage(scancode as u32) else { return };
        let holds = |keys: [u16; 2]| self.held.iter().any(|held| keys.contains(held));
        if down && holds(CTRL) && holds(ALT) && matches!(scancode, Scancode::G | Scancode::F | Scancode::U) {
            self.swallowed = Some(code);
            if !repeat {
                self.command(shown, scancode);
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
        // The machine's keyboard repeats keys itself.
        if !repeat {
            self.feed.push([InputEvent::Key { code, down }]);
        }
    }

    fn command(&mut self, shown: &mut Shown, key: Scancode) {
        match key {
            Scancode::G => self.grab(shown, !self.grabbed),
            Scancode::F => {
                let window = shown.canvas.window_mut();
                let off = window.fullscreen_state() == FullscreenType::Off;
                let _ = window.set_fullscreen(if off { FullscreenType::Desktop } else { FullscreenType::Off });
                if off {
                    self.grab(shown, true);
                }
            }
            _ => self.fit(shown),
        }
    }

    fn grab(&mut self, shown: &mut Shown, on: bool) {
        if self.grabbed == on {
            return;
        }
        self.grabbed = on;
        let window = shown.canvas.window_mut();
        window.set_keyboard_grab(on);
        shown.mouse.set_relative_mouse_mode(on);
        let _ = window.set_title(&title(&shown.name, on));
        if !on && std::mem::take(&mut self.buttons) != 0 {
            self.feed.push_always([InputEvent::Mouse { dx: 0, dy: 0, dz: 0, buttons: 0 }]);
        }
    }

    /// Another window gets the keys from now on.
    fn release_all(&mut self) {
        let held = std::mem::take(&mut self.held).into_iter();
        self.feed.push_always(held.map(|code| InputEvent::Key { code, down: false }));
    }
}

/// Left, right, middle, as the mouse has them.
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

/// The size of a window for a picture: its own, with square pixels, and twice that if it is small.
fn window_size(picture: (u32, u32)) -> (u32, u32) {
    let (width, height) = shape(picture);
    if width < LEAST_WIDTH { (width * 2, height * 2) } else { (width, height) }
}

/// Text and VBE's modes are shown pixel by pixel; the VGA's graphics modes fill a tube.
fn shape(picture: (u32, u32)) -> (u32, u32) {
    if picture.0 >= 720 || picture.1 > 400 {
        return (picture.0.max(1), picture.1.max(1));
    }
    let (width, height) = proportions(picture);
    (picture.0.max(1), (picture.0 * height).div_ceil(width).max(1))
}

/// Where a picture lies in a window of that size, as large as it goes.
fn placed(picture: (u32, u32), (width, height): (u32, u32)) -> Rect {
    let (x, y) = shape(picture);
    let by_width = u64::from(width) * u64::from(y) / u64::from(x);
    let (across, down) = if by_width <= u64::from(height) {
        (width, by_width as u32)
    } else {
        ((u64::from(height) * u64::from(x) / u64::from(y)) as u32, height)
    };
    Rect::new(((width - across.min(width)) / 2) as i32, ((height - down.min(height)) / 2) as i32, across, down)
}

/// What a tablet tells for a place in a window of that size: the picture's edge for what is beside it.
fn pointed((width, height): (u32, u32), size: (u32, u32), (x, y): (i32, i32)) -> (u16, u16) {
    let picture = placed((width, height), size);
    let scaled = |at: i32, from: i32, length: u32, pixels: u32| {
        let at =
            i64::from(at - from).clamp(0, i64::from(length.max(1)) - 1) * i64::from(pixels) / i64::from(length.max(1));
        crate::vnc::scale(at as u16, pixels as u16).unwrap_or(0)
    };
    (scaled(x, picture.x(), picture.width(), width), scaled(y, picture.y(), picture.height(), height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tablet_points_at_the_pixel_under_the_pointer() {
        let pixel = |told: u16, pixels: u32| u32::from(told) * (pixels - 1) / 0x7fff;
        for (size, at, expect) in [
            ((640, 480), (0, 0), (0, 0)),
            ((640, 480), (639, 479), (639, 479)),
            ((640, 480), (17, 300), (17, 300)),
            ((1920, 1080), (240, 0), (0, 0)),
            ((1920, 1080), (0, 540), (0, 240)),
            ((1920, 1080), (1919, 1079), (639, 479)),
            ((1280, 960), (101, 100), (50, 50)),
        ] {
            let (x, y) = pointed((640, 480), size, at);
            assert_eq!((pixel(x, 640), pixel(y, 480)), expect, "{at:?} of {size:?}");
        }
        assert_eq!(pointed((0, 0), (640, 480), (5, 5)), (0, 0));
    }

    #[test]
    fn windows_fit_their_pictures() {
        for (picture, window) in [
            ((720, 400), (720, 400)),
            ((640, 400), (640, 480)),
            ((320, 200), (640, 480)),
            ((640, 480), (640, 480)),
            ((1024, 768), (1024, 768)),
        ] {
            assert_eq!(window_size(picture), window, "{picture:?}");
        }
        assert_eq!(placed((640, 480), (640, 480)), Rect::new(0, 0, 640, 480));
        assert_eq!(placed((640, 480), (1920, 1080)), Rect::new(240, 0, 1440, 1080));
        assert_eq!(placed((640, 480), (640, 1000)), Rect::new(0, 260, 640, 480));
    }
}
