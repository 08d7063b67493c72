//! What reads and writes of the registers do.

use super::regs::{self, cpcr, cr, eem, int, rcr, register_at, tcr};
use super::{Chip, Rtl8139};
use crate::ctx::Ctx;

/// TPPoll.
const HPQ: u8 = 1 << 7;
const NPQ: u8 = 1 << 6;
const FSWINT: u8 = 1 << 0;
/// DTCCR: dump the counters.
const DUMP: u32 = 1 << 3;
/// The flash memory register: address, chip select and output enable (both active low), data.
const FLASH_ADDRESS: u32 = 0x1_ffff;
const FLASH_WRITABLE: u32 = 0xff1f_ffff;
const FLASH_ROMCSB: u32 = 1 << 20;
const FLASH_OEB: u32 = 1 << 19;

impl Rtl8139 {
    /// A read of any size and alignment. What is past the end is left alone.
    pub(super) fn read_registers(&mut self, cx: &Ctx<'_>, offset: u64, data: &mut [u8]) {
        let mut done = 0;
        while done < data.len() {
            let Ok(at) = u8::try_from(offset + done as u64) else { return };
            let (first, len) = register_at(at);
            let skip = usize::from(at - first);
            let value = self.read_register(cx, first).to_le_bytes();
            let bytes = &value[skip..usize::from(len)];
            let part = bytes.len().min(data.len() - done);
            data[done..done + part].copy_from_slice(&bytes[..part]);
            done += part;
        }
    }

    /// A write of any size and alignment.
    pub(super) fn write_registers(&mut self, cx: &mut Ctx<'_>, offset: u64, data: &[u8]) {
        let masked = self.regs.imr & int::ROK == 0;
        if !matches!(offset as u8, regs::TSD..regs::RBSTART | regs::CAPR..regs::CBR) {
            self.note_look(cx, offset);
        }
        let mut done = 0;
        while done < data.len() {
            let Ok(at) = u8::try_from(offset + done as u64) else { break };
            let (first, len) = register_at(at);
            let skip = usize::from(at - first);
            let part = (usize::from(len) - skip).min(data.len() - done);
            let (mut value, mut mask) = ([0; 4], [0; 4]);
            value[skip..skip + part].copy_from_slice(&data[done..done + part]);
            mask[skip..skip + part].fill(0xff);
            self.write_register(cx, first, u32::from_le_bytes(value), u32::from_le_bytes(mask));
            done += part;
        }
        if self.rx.waits() {
            // CAPR may have moved on, or a descriptor come back.
            self.receive(cx);
        }
        if masked && self.regs.imr & int::ROK != 0 {
            self.unmasked(cx);
        }
        self.update_irq(cx);
    }

    fn read_register(&mut self, cx: &Ctx<'_>, at: u8) -> u32 {
        let cplus = self.chip == Chip::CPlus;
        let regs = &mut self.regs;
        match at {
            regs::IDR..6 => regs.idr[usize::from(at)].into(),
            regs::MAR..regs::TSD => regs.mar[usize::from(at - regs::MAR)].into(),
            regs::TSD..regs::TSAD => {
                let n = usize::from(at - regs::TSD) / 4;
                // The dump is done as soon as it is asked for: its command bit reads 0.
                if n < 2 && self.sends_descriptors() { self.regs.dtccr[n] } else { self.regs.tsd[n] }
            }
            regs::TSAD..regs::RBSTART => regs.tsad[usize::from(at - regs::TSAD) / 4],
            regs::RBSTART => regs.rbstart,
            regs::CR => (regs.command | if regs.ring_empty() { cr::BUFE } else { 0 }).into(),
            regs::CAPR => regs.capr.into(),
            regs::CBR => regs.cbr.into(),
            regs::IMR => regs.imr.into(),
            regs::ISR => regs.isr.into(),
            regs::TCR => regs.tcr | self.chip.version(),
            regs::RCR => regs.rcr,
            regs::TCTR => regs.timer(cx.now()),
            regs::MPC => regs.missed,
            regs::CR9346 => (regs.eem << 6 | self.eeprom_pins()).into(),
            regs::CONFIG0 => self.rom_size().into(),
            regs::CONFIG1 => (regs.config1 | regs::CONFIG1_MAPPED).into(),
            regs::TIMER_INT => regs.timer_int,
            regs::MSR => regs.phy.media_status().into(),
            regs::CONFIG3 => regs.config3.into(),
            regs::CONFIG4 => regs.config4.into(),
            regs::MULINT => regs.multiple_interrupt.into(),
            regs::RERID => self.chip.revision().into(),
            regs::TSAD_ALL => regs.transmit_summary().into(),
            regs::BMCR..=regs::CSCR => {
                // Nothing else sets PUN here: there are no underruns.
                let changed = regs.isr & int::PUN != 0;
                regs.phy.read(at, changed).into()
            }
            _ if regs::STORE.contains(&at) => {
                regs.store.get(usize::from(at - regs::STORE.start)).copied().unwrap_or(0).into()
            }
            regs::FLASH => self.read_flash(),
            regs::CONFIG5 => regs.config5.into(),
            regs::CPCR if cplus => regs.cpcr.into(),
            0xe4 | 0xe8 if cplus => regs.rdsar[usize::from(at - regs::RDSAR) / 4],
            regs::ETTHR if cplus => regs.early_tx.into(),
            _ => 0,
        }
    }

    fn write_register(&mut self, cx: &mut Ctx<'_>, at: u8, value: u32, mask: u32) {
        let cplus = self.chip == Chip::CPlus;
        let merge = |old: u32| old & !mask | value & mask;
        let byte = value as u8;
        let word = value as u16;
        let regs = &mut self.regs;
        match at {
            regs::IDR..6 => regs.idr[usize::from(at)] = byte,
            regs::MAR..regs::TSD => regs.mar[usize::from(at - regs::MAR)] = byte,
            regs::TSD..regs::TSAD => self.write_status(cx, usize::from(at - regs::TSD) / 4, value, mask),
            regs::TSAD..regs::RBSTART => {
                let address = &mut regs.tsad[usize::from(at - regs::TSAD) / 4];
                *address = merge(*address);
                if self.sends_descriptors() {
                    // A new ring begins at its beginning.
                    self.restart_ring(usize::from(at - regs::TSAD) / 8);
                }
            }
            regs::RBSTART => regs.rbstart = merge(regs.rbstart),
            regs::CR => self.write_command(cx, byte),
            regs::CAPR => {
                let capr = merge(regs.capr.into()) as u16;
                if capr != regs.capr {
                    regs.capr = capr;
                    self.read_on();
                }
            }
            regs::IMR => regs.imr = merge(regs.imr.into()) as u16 & self.chip.interrupts(),
            regs::ISR => regs.isr &= !(word & mask as u16),
            regs::TCR => {
                regs.tcr = merge(regs.tcr) & tcr::WRITABLE;
                if regs.loopback() {
                    self.flush_receiver(cx);
                }
            }
            regs::RCR => regs.rcr = merge(regs.rcr) & rcr::WRITABLE,
            regs::TCTR => {
                regs.timer_base = cx.now();
                self.arm_match(cx);
            }
            regs::MPC => regs.missed = 0,
            regs::CR9346 => self.write_eeprom_command(byte),
            regs::TIMER_INT => {
                regs.timer_int = merge(regs.timer_int);
                self.arm_match(cx);
            }
            regs::CONFIG1 | regs::CONFIG3 | regs::CONFIG4 | regs::CONFIG5 => self.write_configuration(at, byte),
            regs::MULINT => regs.multiple_interrupt = merge(regs.multiple_interrupt.into()) as u16 & 0x0fff,
            regs::BMCR..=regs::CSCR => {
                regs.phy.write(at, word, mask as u16, regs.eem == eem::CONFIG_WRITE);
            }
            _ if regs::STORE.contains(&at) => {
                let bytes = value.to_le_bytes();
                if let Some(stored) = regs.store.get_mut(usize::from(at - regs::STORE.start)) {
                    *stored = bytes[0];
                }
            }
            regs::FLASH => regs.flash = merge(regs.flash) & FLASH_WRITABLE,
            regs::TPPOLL if cplus => {
                if byte & FSWINT != 0 {
                    regs.isr |= int::SWINT;
                }
                self.poll_rings(cx, byte & NPQ != 0, byte & HPQ != 0);
            }
            regs::CPCR if cplus => {
                let before = regs.cpcr;
                regs.cpcr = merge(regs.cpcr.into()) as u16 & cpcr::WRITABLE;
                let on = regs.cpcr & !before;
                if on & cpcr::TX != 0 {
                    self.keep_no_more(cx);
                    self.restart_ring(0);
                    self.restart_ring(1);
                }
                if on & cpcr::RX != 0 {
                    self.rx_index = 0;
                }
            }
            0xe4 | 0xe8 if cplus => {
                let address = &mut regs.rdsar[usize::from(at - regs::RDSAR) / 4];
                *address = merge(*address);
                self.rx_index = 0;
            }
            regs::ETTHR if cplus => regs.early_tx = byte & 0x3f,
            _ => {}
        }
    }

    /// TSD, or the dump command in its place.
    fn write_status(&mut self, cx: &mut Ctx<'_>, n: usize, value: u32, mask: u32) {
        if !self.sends_descriptors() {
            self.note_write(cx);
            return self.write_slot(cx, n, value, mask);
        }
        let Some(half) = self.regs.dtccr.get_mut(n) else { return };
        let merged = *half & !mask | value & mask;
        *half = if n == 0 { merged & !0x3f } else { merged };
        if n == 0 && merged & DUMP != 0 && self.pci.bus_master() && self.awake() {
            let [low, high] = self.regs.dtccr;
            cx.memory().write(u64::from(high) << 32 | u64::from(low), &self.tally.dump());
        }
    }

    fn write_command(&mut self, cx: &mut Ctx<'_>, value: u8) {
        if value & cr::RST != 0 {
            return self.soft_reset(cx);
        }
        let before = self.regs.command;
        self.regs.command = value & (cr::RE | cr::TE);
        let on = self.regs.command & !before;
        if on & cr::TE != 0 {
            // Sending begins with the first slot again (5.4).
            self.slot = 0;
            self.restart_ring(0);
            self.restart_ring(1);
            self.send_slots(cx);
        }
        if on & cr::RE != 0 {
            self.rx_index = 0;
        }
        if before & cr::RE != 0 && !self.regs.receiving() {
            self.flush_receiver(cx);
        }
    }

    /// The EEPROM's pins, where they are the software's to see.
    fn eeprom_pins(&self) -> u8 {
        if self.regs.eem == eem::PROGRAM { self.eeprom.read() } else { 0 }
    }

    fn write_eeprom_command(&mut self, value: u8) {
        self.regs.eem = value >> 6;
        self.eeprom.drive(if self.regs.eem == eem::PROGRAM { value } else { 0 });
        if self.regs.eem == eem::AUTO_LOAD {
            // It takes 2 ms, and the mode becomes normal by itself.
            self.auto_load();
            self.regs.eem = 0;
        }
    }

    fn write_configuration(&mut self, at: u8, value: u8) {
        if self.regs.eem != eem::CONFIG_WRITE && at != regs::CONFIG5 {
            return;
        }
        let (register, writable) = match at {
            regs::CONFIG1 => (&mut self.regs.config1, regs::CONFIG1_WRITABLE),
            regs::CONFIG3 => (&mut self.regs.config3, regs::CONFIG3_WRITABLE),
            regs::CONFIG4 => (&mut self.regs.config4, regs::CONFIG4_WRITABLE),
            _ => (&mut self.regs.config5, regs::CONFIG5_WRITABLE),
        };
        *register = *register & !writable | value & writable;
    }

    /// CONFIG0.BS (5.10): none, 8, 16, 32, 64 or 128 KiB of boot ROM.
    fn rom_size(&self) -> u8 {
        match self.rom.len() {
            0 => 0,
            len => (1..5).find(|&n| len <= 0x1000 << n).unwrap_or(5),
        }
    }

    /// The flash memory register gives the ROM's byte while it is told to; there is nothing to be written.
    fn read_flash(&self) -> u32 {
        let flash = self.regs.flash;
        if flash & (FLASH_ROMCSB | FLASH_OEB) != 0 {
            return flash;
        }
        flash & 0x00ff_ffff | u32::from(self.rom_byte((flash & FLASH_ADDRESS).into())) << 24
    }
}
