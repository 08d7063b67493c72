//! Bus of the instruction emulator: RAM, ROM and the display adapter.

use super::trace::Address;
use super::{Board, Mapped};
use crate::emulator::{Bus, NotEmulated};
use pcvm_devices::{Access, Memory};
use vm_memory::{VolatileMemory, VolatileSlice};

impl Board {
    /// Whether the display adapter answers a port.
    fn is_adapters_port(&self, port: u16) -> bool {
        let decoder = self.io.get(usize::from(self.ports[usize::from(port)]).wrapping_sub(1));
        decoder.is_some_and(|decoder| self.roles.vga == Some(decoder.device.into()))
    }

    /// Whether the display adapter answers these bytes of memory and accesses to them exit.
    fn is_adapters_memory(&self, at: u64, len: usize) -> bool {
        let has = |Mapped { region, .. }: &Mapped| {
            region.video.is_none() && at >= region.base && at - region.base + len as u64 <= region.len
        };
        self.mem.iter().find(|mapped| has(mapped)).is_some_and(|mapped| self.roles.vga == Some(mapped.device.into()))
    }
}

/// The bus of the instruction emulator while the board is locked.
pub struct EmulatorBus<'a> {
    board: &'a mut Board,
    memory: &'a Memory,
    /// Direct-mapped cache of pages. No access on this bus changes what they are.
    pages: [Option<Page<'a>>; PAGES],
    /// The display adapter's trapping window below C0000h, once it was found in the memory map.
    window: Option<Window>,
    /// The last register read and its value; none after a write.
    last: Option<(u64, u32)>,
    /// The guest has read the same value from a register twice: it polls for a change that takes time.
    polls: bool,
}

/// Pages of RAM that a burst finds without a search: code, stack and data of a program.
const PAGES: usize = 16;

/// A page: its address, and its memory if it is RAM, which may be read-only as a shadowed ROM is.
#[derive(Clone, Copy)]
struct Page<'a> {
    at: u32,
    slice: Option<VolatileSlice<'a>>,
    writable: bool,
}

/// The display adapter's window: its addresses, none of them if it does not trap, and who answers.
#[derive(Clone, Copy)]
struct Window {
    base: u32,
    len: u32,
    device: usize,
    tag: u8,
    /// [`Board::map_version`] when it was found.
    version: u32,
}

/// Marks a port, as opposed to a memory address, in [`EmulatorBus::last`].
const PORT: u64 = 1 << 32;
const VGA_WINDOW: std::ops::Range<u32> = 0xa_0000..0xc_0000;

impl<'a> EmulatorBus<'a> {
    /// The bus of `board`, whose guest memory is `memory`.
    pub fn new(board: &'a mut Board, memory: &'a Memory) -> Self {
        Self { board, memory, pages: [None; PAGES], window: None, last: None, polls: false }
    }

    /// The access to the display adapter's window, if these bytes lie in it. No other device answers there.
    #[inline]
    fn window(&mut self, at: u32, len: usize) -> Option<(usize, Access)> {
        let window = match self.window {
            Some(window) if window.version == self.board.map_version => window,
            _ => self.find_window(),
        };
        let offset = at.wrapping_sub(window.base);
        (offset < window.len && len <= (window.len - offset) as usize)
            .then_some((window.device, Access { tag: window.tag, offset: offset.into(), width: len as u8 }))
    }

    #[cold]
    fn find_window(&mut self) -> Window {
        let adapter = self.board.roles.vga;
        let traps = |mapped: &&Mapped| {
            mapped.region.video.is_none()
                && adapter == Some(mapped.device.into())
                && VGA_WINDOW.contains(&u32::try_from(mapped.region.base).unwrap_or(0))
        };
        let window = match self.board.mem.iter().find(traps) {
            Some(Mapped { device, region }) => Window {
                base: region.base as u32,
                len: region.len.min(VGA_WINDOW.len() as u64) as u32,
                device: (*device).into(),
                tag: region.tag,
                version: self.board.map_version,
            },
            None => Window { base: VGA_WINDOW.start, len: 0, device: 0, tag: 0, version: self.board.map_version },
        };
        self.window = Some(window);
        window
    }

    /// The page of an address, if it is RAM that can be read, or written.
    #[inline]
    fn ram(&mut self, at: u32, write: bool) -> Option<VolatileSlice<'a>> {
        let page = match self.pages[(at >> 12) as usize % PAGES] {
            Some(page) if page.at == at & !0xfff => page,
            _ => self.find_page(at & !0xfff),
        };
        page.slice.filter(|_| page.writable || !write)
    }

    #[cold]
    fn find_page(&mut self, at: u32) -> Page<'a> {
        let mut slice = None;
        self.memory.for_each_run(at.into(), 0x1000, false, |found, _| slice = found);
        let slice = slice.filter(|slice| slice.len() == 0x1000);
        let page = Page { at, slice, writable: self.memory.is_ram(at.into(), 0x1000, true) };
        self.pages[(at >> 12) as usize % PAGES] = Some(page);
        page
    }

    /// Whether the guest polls a register.
    pub fn polls(&self) -> bool {
        self.polls
    }

    /// Whether work was deferred that needs the lock released.
    pub fn has_work(&self) -> bool {
        self.board.has_work()
    }

    fn note_read(&mut self, register: u64, data: &[u8]) {
        let value = data.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
        self.polls = self.last.replace((register, value)) == Some((register, value));
    }
}

impl Bus for EmulatorBus<'_> {
    #[inline]
    fn read(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated> {
        if let Some((device, access)) = self.window(at, data.len()) {
            data.fill(0xff);
            self.board.read_device(device, access, Address::Mem(at.into()), data);
            return Ok(());
        }
        if let Some(page) = self.ram(at, false) {
            let at = (at & 0xfff) as usize;
            match data.len() {
                1 => data.copy_from_slice(&page.get_ref::<u8>(at).map_err(|_| NotEmulated)?.load().to_ne_bytes()),
                2 => data.copy_from_slice(&page.get_ref::<u16>(at).map_err(|_| NotEmulated)?.load().to_ne_bytes()),
                4 => data.copy_from_slice(&page.get_ref::<u32>(at).map_err(|_| NotEmulated)?.load().to_ne_bytes()),
                len => drop(page.subslice(at, len).map_err(|_| NotEmulated)?.copy_to(data)),
            }
            return Ok(());
        }
        if self.is_device(at, data.len()) {
            self.board.mem_read(at.into(), data);
            self.note_read(at.into(), data);
            return Ok(());
        }
        self.read_code(at, data)
    }

    #[inline]
    fn write(&mut self, at: u32, data: &[u8]) -> Result<(), NotEmulated> {
        if let Some((device, access)) = self.window(at, data.len()) {
            self.last = None;
            self.board.write_device(device, access, Address::Mem(at.into()), data);
            return Ok(());
        }
        if let Some(page) = self.ram(at, true) {
            let at = (at & 0xfff) as usize;
            match *data {
                [a] => page.get_ref::<u8>(at).map_err(|_| NotEmulated)?.store(a),
                [a, b] => page.get_ref::<u16>(at).map_err(|_| NotEmulated)?.store(u16::from_ne_bytes([a, b])),
                [a, b, c, d] => {
                    page.get_ref::<u32>(at).map_err(|_| NotEmulated)?.store(u32::from_ne_bytes([a, b, c, d]))
                }
                _ => page.subslice(at, data.len()).map_err(|_| NotEmulated)?.copy_from(data),
            }
            return Ok(());
        }
        if !self.is_device(at, data.len()) {
            return Err(NotEmulated);
        }
        self.board.mem_write(at.into(), data);
        self.last = None;
        Ok(())
    }

    fn is_device(&mut self, at: u32, len: usize) -> bool {
        self.board.is_adapters_memory(at.into(), len)
    }

    fn read_code(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated> {
        if self.read_table(at, data).is_ok() || self.board.rom.read(&self.board.shadow, at.into(), data) {
            Ok(())
        } else {
            Err(NotEmulated)
        }
    }

    fn read_table(&mut self, at: u32, data: &mut [u8]) -> Result<(), NotEmulated> {
        if !self.memory.is_ram(at.into(), data.len() as u64, false) {
            return Err(NotEmulated);
        }
        self.memory.read(at.into(), data);
        Ok(())
    }

    fn port_in(&mut self, port: u16, data: &mut [u8]) -> Result<(), NotEmulated> {
        if !self.board.is_adapters_port(port) {
            return Err(NotEmulated);
        }
        self.board.port_in(port, data.len() as u8, data);
        self.note_read(PORT | u64::from(port), data);
        Ok(())
    }

    fn port_out(&mut self, port: u16, data: &[u8]) -> Result<(), NotEmulated> {
        if !self.board.is_adapters_port(port) {
            return Err(NotEmulated);
        }
        self.board.port_out(port, data.len() as u8, data);
        self.last = None;
        Ok(())
    }
}
