//! RTL8139 register reads and writes, and their side effects.

use super::regs::{self, cpcr, cr, eem, int, rcr, register_at, tcr};
use super::{Chip, Rtl8139};
use crate::ctx::Ctx;

/// TPPoll bits.
const TPPOLL_HPQ: u8 = 1 << 7;
const TPPOLL_NPQ: u8 = 1 << 6;
const TPPOLL_FSWINT: u8 = 1 << 0;
/// DTCCR.Cmd: dump the tally counters.
const DTCCR_CMD: u32 = 1 << 3;
/// The flash memory read/write register: address, ROMCSB and OEB (both active low), data.
const FLASH_ADDRESS: u32 = 0x1_ffff;
const FLASH_WRITABLE: u32 = 0xff1f_ffff;
const FLASH_ROMCSB: u32 = 1 << 20;
const FLASH_OEB: u32 = 1 << 19;

impl Rtl8139 {
    /// A read of any size and alignment. Bytes past the last register keep their preset value.
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
        let rok_masked = self.regs.imr & int::ROK == 0;
        if !matches!(offset as u8, regs::TSD..regs::RBSTART | regs::CAPR..regs::CBR) {
            self.note_synchronous_access(cx, offset);
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
        if self.rx.has_pending_frame() {
            // CAPR may have advanced, or a descriptor may have been returned.
            self.receive(cx);
        }
        if rok_masked && self.regs.imr & int::ROK != 0 {
            self.on_rok_unmasked(cx);
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
                // The dump completes at once, so DTCCR.Cmd reads 0.
                if n < 2 && self.cplus_tx() { self.regs.dtccr[n] } else { self.regs.tsd[n] }
            }
            regs::TSAD..regs::RBSTART => regs.tsad[usize::from(at - regs::TSAD) / 4],
            regs::RBSTART => regs.rbstart,
            regs::CR => (regs.cr | if regs.rx_ring_empty() { cr::BUFE } else { 0 }).into(),
            regs::CAPR => regs.capr.into(),
            regs::CBR => regs.cbr.into(),
            regs::IMR => regs.imr.into(),
            regs::ISR => regs.isr.into(),
            regs::TCR => regs.tcr | self.chip.hwverid(),
            regs::RCR => regs.rcr,
            regs::TCTR => regs.tctr(cx.now()),
            regs::MPC => regs.mpc,
            regs::CR9346 => (regs.eem << 6 | self.cr9346_pins()).into(),
            regs::CONFIG0 => self.config0_boot_rom().into(),
            regs::CONFIG1 => (regs.config1 | regs::CONFIG1_MAPPED).into(),
            regs::TIMER_INT => regs.timer_int,
            regs::MSR => regs.phy.msr().into(),
            regs::CONFIG3 => regs.config3.into(),
            regs::CONFIG4 => regs.config4.into(),
            regs::MULINT => regs.mulint.into(),
            regs::RERID => self.chip.revision().into(),
            regs::TSAD_ALL => regs.tsad_summary().into(),
            regs::BMCR..=regs::CSCR => {
                // ISR.PUN has no other cause here: there are no underruns.
                let changed = regs.isr & int::PUN != 0;
                regs.phy.read(at, changed).into()
            }
            _ if regs::SCRATCH.contains(&at) => {
                regs.scratch.get(usize::from(at - regs::SCRATCH.start)).copied().unwrap_or(0).into()
            }
            regs::FLASH => self.read_flash(),
            regs::CONFIG5 => regs.config5.into(),
            regs::CPCR if cplus => regs.cpcr.into(),
            regs::RDSAR | regs::RDSAR_HIGH if cplus => regs.rdsar[usize::from(at - regs::RDSAR) / 4],
            regs::ETTHR if cplus => regs.etthr.into(),
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
            regs::TSD..regs::TSAD => self.write_tsd_or_dtccr(cx, usize::from(at - regs::TSD) / 4, value, mask),
            regs::TSAD..regs::RBSTART => {
                let address = &mut regs.tsad[usize::from(at - regs::TSAD) / 4];
                *address = merge(*address);
                if self.cplus_tx() {
                    // Writing a transmit ring's address restarts the ring at descriptor 0.
                    self.restart_tx_ring(usize::from(at - regs::TSAD) / 8);
                }
            }
            regs::RBSTART => regs.rbstart = merge(regs.rbstart),
            regs::CR => self.write_cr(cx, byte),
            regs::CAPR => {
                let capr = merge(regs.capr.into()) as u16;
                if capr != regs.capr {
                    regs.capr = capr;
                    self.on_capr_written();
                }
            }
            regs::IMR => regs.imr = merge(regs.imr.into()) as u16 & self.chip.interrupts(),
            regs::ISR => regs.isr &= !(word & mask as u16),
            regs::TCR => {
                regs.tcr = merge(regs.tcr) & tcr::WRITABLE;
                if regs.loopback() {
                    self.discard_pending_frame(cx);
                }
            }
            regs::RCR => regs.rcr = merge(regs.rcr) & rcr::WRITABLE,
            regs::TCTR => {
                regs.tctr_base = cx.now();
                self.arm_tctr_timer(cx);
            }
            regs::MPC => regs.mpc = 0,
            regs::CR9346 => self.write_cr9346(byte),
            regs::TIMER_INT => {
                regs.timer_int = merge(regs.timer_int);
                self.arm_tctr_timer(cx);
            }
            regs::CONFIG1 | regs::CONFIG3 | regs::CONFIG4 | regs::CONFIG5 => self.write_config_register(at, byte),
            regs::MULINT => regs.mulint = merge(regs.mulint.into()) as u16 & 0x0fff,
            regs::BMCR..=regs::CSCR => {
                regs.phy.write(at, word, mask as u16, regs.eem == eem::CONFIG_WRITE);
            }
            _ if regs::SCRATCH.contains(&at) => {
                let bytes = value.to_le_bytes();
                if let Some(stored) = regs.scratch.get_mut(usize::from(at - regs::SCRATCH.start)) {
                    *stored = bytes[0];
                }
            }
            regs::FLASH => regs.flash = merge(regs.flash) & FLASH_WRITABLE,
            regs::TPPOLL if cplus => {
                if byte & TPPOLL_FSWINT != 0 {
                    regs.isr |= int::SWINT;
                }
                self.write_tppoll(cx, byte & TPPOLL_NPQ != 0, byte & TPPOLL_HPQ != 0);
            }
            regs::CPCR if cplus => {
                let before = regs.cpcr;
                regs.cpcr = merge(regs.cpcr.into()) as u16 & cpcr::WRITABLE;
                let set = regs.cpcr & !before;
                if set & cpcr::TX != 0 {
                    self.stop_tx_coalescing(cx);
                    self.restart_tx_ring(0);
                    self.restart_tx_ring(1);
                }
                if set & cpcr::RX != 0 {
                    self.rx_index = 0;
                }
            }
            regs::RDSAR | regs::RDSAR_HIGH if cplus => {
                let address = &mut regs.rdsar[usize::from(at - regs::RDSAR) / 4];
                *address = merge(*address);
                self.rx_index = 0;
            }
            regs::ETTHR if cplus => regs.etthr = byte & 0x3f,
            _ => {}
        }
    }

    /// TSD, or DTCCR in C+ mode.
    fn write_tsd_or_dtccr(&mut self, cx: &mut Ctx<'_>, n: usize, value: u32, mask: u32) {
        if !self.cplus_tx() {
            self.note_tsd_write(cx);
            return self.write_tsd(cx, n, value, mask);
        }
        let Some(dword) = self.regs.dtccr.get_mut(n) else { return };
        let merged = *dword & !mask | value & mask;
        *dword = if n == 0 { merged & !0x3f } else { merged };
        if n == 0 && merged & DTCCR_CMD != 0 && self.pci.bus_master() && self.in_d0() {
            let [low, high] = self.regs.dtccr;
            cx.memory().write(u64::from(high) << 32 | u64::from(low), &self.tally.dump());
        }
    }

    fn write_cr(&mut self, cx: &mut Ctx<'_>, value: u8) {
        if value & cr::RST != 0 {
            return self.soft_reset(cx);
        }
        let before = self.regs.cr;
        self.regs.cr = value & (cr::RE | cr::TE);
        let set = self.regs.cr & !before;
        if set & cr::TE != 0 {
            // Transmission restarts at slot 0 (5.4).
            self.tx_slot = 0;
            self.restart_tx_ring(0);
            self.restart_tx_ring(1);
            self.send_tx_slots(cx);
        }
        if set & cr::RE != 0 {
            self.rx_index = 0;
        }
        if before & cr::RE != 0 && !self.regs.receiver_enabled() {
            self.discard_pending_frame(cx);
        }
    }

    /// The EEPROM pins in 9346CR, visible in programming mode only.
    fn cr9346_pins(&self) -> u8 {
        if self.regs.eem == eem::PROGRAM { self.eeprom.pins() } else { 0 }
    }

    fn write_cr9346(&mut self, value: u8) {
        self.regs.eem = value >> 6;
        self.eeprom.set_pins(if self.regs.eem == eem::PROGRAM { value } else { 0 });
        if self.regs.eem == eem::AUTO_LOAD {
            // The chip takes 2 ms and returns to normal mode; this model does so at once.
            self.auto_load();
            self.regs.eem = 0;
        }
    }

    fn write_config_register(&mut self, at: u8, value: u8) {
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

    /// CONFIG0.BS (5.10): boot ROM size 0, 8, 16, 32, 64 or 128 KiB.
    fn config0_boot_rom(&self) -> u8 {
        match self.rom.len() {
            0 => 0,
            len => (1..5).find(|&n| len <= 0x1000 << n).unwrap_or(5),
        }
    }

    /// The flash register's data are a byte of the expansion ROM while chip select and output enable are active. The
    /// ROM cannot be programmed.
    fn read_flash(&self) -> u32 {
        let flash = self.regs.flash;
        if flash & (FLASH_ROMCSB | FLASH_OEB) != 0 {
            return flash;
        }
        flash & 0x00ff_ffff | u32::from(self.rom_byte((flash & FLASH_ADDRESS).into())) << 24
    }
}
