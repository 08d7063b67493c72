//! From the devices' interrupt outputs to the interrupt controllers' inputs.
//!
//! Sharers of a line are ORed here; PCI lines go through the PIIX3's PIRQ routing to ISA IRQs, which on this board are
//! also the IOAPIC's pins of the same number.

use pcvm_devices::pci::pirq::pirq_of;
use pcvm_devices::{Devfn, IrqLine};

/// Inputs of the interrupt controllers that this board drives.
const GSIS: usize = 16;

/// Who drives which line.
#[derive(Clone, Debug, Default)]
pub struct IrqRouter {
    /// By ISA IRQ: a bit for each device that drives it.
    isa: [u64; GSIS],
    /// By PIRQA# to PIRQD#: the same.
    pirq: [u64; 4],
    routes: [Option<u8>; 4],
    /// What the interrupt controllers were told last.
    told: u16,
}

impl IrqRouter {
    /// Device number `source` (below 64), which is PCI function `devfn` if it drives a PCI line, drives `line`. Gives the
    /// input that changes.
    pub fn set(&mut self, source: u8, devfn: Devfn, line: IrqLine, level: bool) -> Option<(u32, bool)> {
        let bit = 1u64 << (source & 63);
        let word = match line {
            IrqLine::Isa(irq) => self.isa.get_mut(usize::from(irq))?,
            IrqLine::Pci(pin) => &mut self.pirq[usize::from(pirq_of(devfn, pin))],
        };
        *word = if level { *word | bit } else { *word & !bit };
        let gsi = match line {
            IrqLine::Isa(irq) => irq,
            IrqLine::Pci(pin) => self.routes[usize::from(pirq_of(devfn, pin))]?,
        };
        self.changed(gsi)
    }

    /// New routes (ISA IRQs of PIRQA# to PIRQD#). Gives the inputs that change.
    pub fn route(&mut self, routes: [Option<u8>; 4]) -> Vec<(u32, bool)> {
        self.routes = routes.map(|irq| irq.filter(|&irq| usize::from(irq) < GSIS));
        (0..GSIS as u8).filter_map(|gsi| self.changed(gsi)).collect()
    }

    /// Every level again, for controllers that have forgotten them.
    pub fn levels(&self) -> impl Iterator<Item = (u32, bool)> + use<> {
        let told = self.told;
        (0..GSIS as u32).map(move |gsi| (gsi, told >> gsi & 1 == 1))
    }

    fn changed(&mut self, gsi: u8) -> Option<(u32, bool)> {
        let routed = (0..4).filter(|&n| self.routes[n] == Some(gsi)).any(|n| self.pirq[n] != 0);
        let level = routed || *self.isa.get(usize::from(gsi))? != 0;
        let bit = 1u16 << gsi;
        if (self.told & bit != 0) == level {
            return None;
        }
        self.told ^= bit;
        Some((gsi.into(), level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sharers_are_ored() {
        let mut router = IrqRouter::default();
        assert_eq!(router.set(1, Devfn::new(0, 0), IrqLine::Isa(4), true), Some((4, true)));
        assert_eq!(router.set(2, Devfn::new(0, 0), IrqLine::Isa(4), true), None);
        assert_eq!(router.set(1, Devfn::new(0, 0), IrqLine::Isa(4), false), None);
        assert_eq!(router.set(2, Devfn::new(0, 0), IrqLine::Isa(4), false), Some((4, false)));
    }

    #[test]
    fn a_pci_line_follows_its_route_even_while_asserted() {
        let mut router = IrqRouter::default();
        assert_eq!(router.set(1, Devfn::new(3, 0), IrqLine::Pci(0), true), None, "not routed yet");
        assert_eq!(router.route([None, None, Some(11), None]), [(11, true)]);
        assert_eq!(router.route([None, None, Some(10), None]), [(10, true), (11, false)]);
        assert_eq!(router.set(1, Devfn::new(3, 0), IrqLine::Pci(0), false), Some((10, false)));
    }

    #[test]
    fn an_isa_device_and_a_pci_line_share_an_input() {
        let mut router = IrqRouter::default();
        router.route([Some(9); 4]);
        assert_eq!(router.set(1, Devfn::new(1, 0), IrqLine::Isa(9), true), Some((9, true)));
        assert_eq!(router.set(2, Devfn::new(4, 0), IrqLine::Pci(0), true), None);
        assert_eq!(router.set(1, Devfn::new(1, 0), IrqLine::Isa(9), false), None);
        assert_eq!(router.set(2, Devfn::new(4, 0), IrqLine::Pci(0), false), Some((9, false)));
    }
}
