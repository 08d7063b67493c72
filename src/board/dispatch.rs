//! Port and MMIO dispatch: which device answers an access of a vCPU.

use super::trace::{Address, Class, Stamp, Value};
use super::{Board, CONFIG_PORTS};
use pcvm_devices::{Access, CONFIG_TAG};

impl Board {
    /// Before an access: brings a device with an armed timer up to the time.
    #[inline]
    fn bring_up_to_time(&mut self, device: usize) {
        let next = self.devices.get(device).and_then(|slot| slot.next_wake);
        if next.is_some_and(|at| at <= self.clock.now()) {
            self.fire_due_timers(device);
        }
    }

    /// A vCPU reads a register of a device.
    #[inline]
    pub(super) fn read_device(&mut self, device: usize, at: Access, address: Address, data: &mut [u8]) {
        self.bring_up_to_time(device);
        self.call(device, |slot, cx| {
            slot.stats.reads += 1;
            slot.chip.read(cx, at, data);
        });
        if self.tracer.is_some() {
            self.trace_access(device, at, address, data, false);
        }
    }

    /// A vCPU writes a register of a device.
    #[inline]
    pub(super) fn write_device(&mut self, device: usize, at: Access, address: Address, data: &[u8]) {
        self.bring_up_to_time(device);
        // Before the call, so that the access comes before its consequences.
        if self.tracer.is_some() {
            self.trace_access(device, at, address, data, true);
        }
        self.call(device, |slot, cx| {
            slot.stats.writes += 1;
            slot.chip.write(cx, at, data);
        });
    }

    #[cold]
    fn trace_access(&mut self, device: usize, at: Access, address: Address, data: &[u8], write: bool) {
        let Some(tracer) = &mut self.tracer else { return };
        let Some(kind) = tracer.device(Class::Access, device) else { return };
        let register = self.devices.get(device).and_then(|slot| slot.chip.register_name(at)).unwrap_or("-");
        let (verb, value) = (if write { "write" } else { "read" }, Value { data, width: at.width });
        let now = Stamp { time: self.clock.now(), vcpu: self.vcpu };
        tracer.line(now, Class::Access, format_args!("{verb:<5} {kind} {address} {register} {value}"));
    }

    /// Counts and records an access of one byte or more that no device answers.
    #[inline]
    fn unclaimed(&mut self, address: Address, data: Option<&[u8]>) {
        *(if data.is_some() { &mut self.stats.unclaimed_writes } else { &mut self.stats.unclaimed_reads }) += 1;
        if self.tracer.is_some() {
            self.trace_unclaimed(address, data);
        }
    }

    #[cold]
    fn trace_unclaimed(&mut self, address: Address, data: Option<&[u8]>) {
        self.trace(Class::Unclaimed, |tracer, now| match data {
            Some(data) => {
                let value = Value { data, width: data.len() as u8 };
                tracer.line(now, Class::Unclaimed, format_args!("write {address} {value}"));
            }
            None => tracer.line(now, Class::Unclaimed, format_args!("read  {address}")),
        });
    }

    /// `out` and `outs`: `data` is one or more accesses of `width` bytes to one port.
    #[inline]
    pub fn port_out(&mut self, port: u16, width: u8, data: &[u8]) {
        if let Some((device, at)) = self.whole(port, width, data.len()) {
            return self.write_device(device, at, Address::Port(port), data);
        }
        self.ports_write(port, width, data);
    }

    #[cold]
    fn ports_write(&mut self, port: u16, width: u8, data: &[u8]) {
        for element in data.chunks(usize::from(width.max(1))) {
            self.port_write(port, element);
        }
    }

    /// `in` and `ins`.
    #[inline]
    pub fn port_in(&mut self, port: u16, width: u8, data: &mut [u8]) {
        match *data {
            [ref mut byte] => *byte = 0xff,
            _ => data.fill(0xff),
        }
        if let Some((device, at)) = self.whole(port, width, data.len()) {
            return self.read_device(device, at, Address::Port(port), data);
        }
        self.ports_read(port, width, data);
    }

    #[cold]
    fn ports_read(&mut self, port: u16, width: u8, data: &mut [u8]) {
        for element in data.chunks_mut(usize::from(width.max(1))) {
            self.port_read(port, element);
        }
    }

    /// The device that answers an access of `len` bytes as a whole: a single access within the device's ports, or any
    /// access to its FIFO. Nearly every access is one of these.
    #[inline]
    fn whole(&self, port: u16, width: u8, len: usize) -> Option<(usize, Access)> {
        let decoder = self.io.get(usize::from(self.ports[usize::from(port)]).wrapping_sub(1))?;
        let offset = port - decoder.first;
        let whole = decoder.fifo && offset == 0
            || len == usize::from(width)
                && len <= usize::from(decoder.last - port) + 1
                && !CONFIG_PORTS.contains(&port);
        whole.then_some((decoder.device.into(), Access { tag: decoder.tag, offset: offset.into(), width }))
    }

    /// The region at a port, how far into it the port lies and how many bytes are left of it.
    fn io_at(&self, port: u16) -> Option<(usize, u8, u64, usize)> {
        let decoder = self.io.get(usize::from(self.ports[usize::from(port)]).checked_sub(1)?)?;
        let offset = port - decoder.first;
        Some((decoder.device.into(), decoder.tag, offset.into(), usize::from(decoder.last - port) + 1))
    }

    fn port_write(&mut self, port: u16, data: &[u8]) {
        if CONFIG_PORTS.contains(&port) && self.config_write(port, data) {
            return;
        }
        let width = data.len() as u8;
        let (mut done, mut claimed) = (0, false);
        while done < data.len() {
            let Some(port) = port.checked_add(done as u16) else { break };
            let Some((device, tag, offset, left)) = self.io_at(port) else {
                done += 1;
                continue;
            };
            let part = &data[done..data.len().min(done + left)];
            let at = Access { tag, offset, width: width.min(part.len() as u8) };
            self.write_device(device, at, Address::Port(port), part);
            done += part.len();
            claimed = true;
        }
        if !claimed {
            self.unclaimed(Address::Port(port), Some(data));
        }
    }

    fn port_read(&mut self, port: u16, data: &mut [u8]) {
        if CONFIG_PORTS.contains(&port) && self.config_read(port, data) {
            return;
        }
        let len = data.len();
        let (mut done, mut claimed) = (0, false);
        while done < len {
            let Some(port) = port.checked_add(done as u16) else { break };
            let Some((device, tag, offset, left)) = self.io_at(port) else {
                done += 1;
                continue;
            };
            let part = &mut data[done..len.min(done + left)];
            let at = Access { tag, offset, width: part.len() as u8 };
            done += part.len();
            self.read_device(device, at, Address::Port(port), part);
            claimed = true;
        }
        if !claimed {
            self.unclaimed(Address::Port(port), None);
        }
    }

    /// Configuration mechanism #1. False if the access is for another device.
    fn config_write(&mut self, port: u16, data: &[u8]) -> bool {
        if self.config_address.write(port, data) {
            return true;
        }
        let Some((devfn, register)) = self.config_address.decode(port) else { return false };
        if let Some(device) = self.functions[usize::from(devfn.0)] {
            let data = &data[..data.len().min(usize::from(0xd00 - port))];
            let at = Access { tag: CONFIG_TAG, offset: register.into(), width: data.len() as u8 };
            self.write_device(device.into(), at, Address::Config(devfn, register), data);
        } else {
            self.unclaimed(Address::Config(devfn, register), Some(data));
        }
        true
    }

    fn config_read(&mut self, port: u16, data: &mut [u8]) -> bool {
        if self.config_address.read(port, data) {
            return true;
        }
        let Some((devfn, register)) = self.config_address.decode(port) else { return false };
        if let Some(device) = self.functions[usize::from(devfn.0)] {
            let len = data.len().min(usize::from(0xd00 - port));
            let at = Access { tag: CONFIG_TAG, offset: register.into(), width: len as u8 };
            self.read_device(device.into(), at, Address::Config(devfn, register), &mut data[..len]);
        } else {
            self.unclaimed(Address::Config(devfn, register), None);
        }
        true
    }

    fn mem_at(&self, addr: u64) -> Option<(usize, u8, u64, usize)> {
        let mapped = self.mem.iter().find(|m| {
            m.region.video.is_none() && addr.checked_sub(m.region.base).is_some_and(|at| at < m.region.len)
        })?;
        let offset = addr - mapped.region.base;
        let left = usize::try_from(mapped.region.len - offset).unwrap_or(usize::MAX);
        Some((mapped.device.into(), mapped.region.tag, offset, left))
    }

    /// The offset in video memory of an address in a window, and the bytes left in the window. The guest reaches a window
    /// without an exit; writes that were coalesced before the window was mapped, and the access that drained them, come
    /// this way.
    fn video_at(&self, addr: u64) -> Option<(u64, usize)> {
        self.mem.iter().find_map(|m| {
            let offset = addr.checked_sub(m.region.base).filter(|&at| at < m.region.len)?;
            let left = usize::try_from(m.region.len - offset).unwrap_or(usize::MAX);
            m.region.video.map(|at| (at + offset, left))
        })
    }

    /// A vCPU writes memory that is not in a slot, or in a read-only one.
    pub fn mem_write(&mut self, addr: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let Some(at) = addr.checked_add(done as u64) else { return };
            let Some((device, tag, offset, left)) = self.mem_at(at) else {
                if let Some((video, left)) = self.video_at(at) {
                    let part = &data[done..data.len().min(done.saturating_add(left))];
                    self.memory.write_video(video, part);
                    if self.video.has_subscribers() {
                        self.wake_subscribers();
                    }
                    done += part.len();
                    continue;
                }
                // Shadow RAM with writes enabled and reads disabled takes the write; elsewhere this does nothing.
                if (0xc_0000..0x10_0000).contains(&at) {
                    self.memory.write(at, &data[done..=done]);
                } else if done == 0 {
                    self.unclaimed(Address::Mem(at), Some(data));
                }
                done += 1;
                continue;
            };
            let part = &data[done..data.len().min(done.saturating_add(left))];
            let access = Access { tag, offset, width: part.len() as u8 };
            self.write_device(device, access, Address::Mem(at), part);
            done += part.len();
        }
    }

    /// A vCPU reads memory that is not in a slot.
    pub fn mem_read(&mut self, addr: u64, data: &mut [u8]) {
        data.fill(0xff);
        let len = data.len();
        let mut done = 0;
        while done < len {
            let Some(at) = addr.checked_add(done as u64) else { return };
            let Some((device, tag, offset, left)) = self.mem_at(at) else {
                if let Some((video, left)) = self.video_at(at) {
                    let end = len.min(done.saturating_add(left));
                    self.memory.read_video(video, &mut data[done..end]);
                    done = end;
                    continue;
                }
                if done == 0 {
                    self.unclaimed(Address::Mem(at), None);
                }
                done += 1;
                continue;
            };
            let part = &mut data[done..len.min(done.saturating_add(left))];
            let access = Access { tag, offset, width: part.len() as u8 };
            done += part.len();
            self.read_device(device, access, Address::Mem(at), part);
        }
    }
}
