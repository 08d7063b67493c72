//! IRQ routing: from the devices' interrupt outputs to the inputs of the interrupt controllers.
//!
//! The router ORs the outputs that share a line. PCI lines go through the PIIX3's PIRQ routing to ISA IRQs, which on this
//! board are also the IOAPIC pins of the same number.

use pcvm_devices::pci::pirq::pirq_of;
use pcvm_devices::{Devfn, IrqLine};

/// Inputs of the interrupt controllers that the board drives.
const GSIS: usize = 16;

/// Which device drives which line.
#[derive(Clone, Debug, Default)]
pub struct IrqRouter {
    /// By ISA IRQ: a bit for each device that drives it.
    isa: [u64; GSIS],
    /// By PIRQA# to PIRQD#: the same.
    pirq: [u64; 4],
    routes: [Option<u8>; 4],
    /// The level of each input, a bit each, as last passed to the interrupt controllers.
    levels: u16,
}

impl IrqRouter {
    /// Device number `source` (below 64), PCI function `devfn` if it has one, drives `line`. Returns the input that changes.
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

    /// Replaces the routes (ISA IRQs of PIRQA# to PIRQD#). Returns the inputs that change.
    pub fn route(&mut self, routes: [Option<u8>; 4]) -> Vec<(u32, bool)> {
        self.routes = routes.map(|irq| irq.filter(|&irq| usize::from(irq) < GSIS));
        (0..GSIS as u8).filter_map(|gsi| self.changed(gsi)).collect()
    }

    /// All levels, for controllers that were reset.
    pub fn levels(&self) -> impl Iterator<Item = (u32, bool)> + use<> {
        let levels = self.levels;
        (0..GSIS as u32).map(move |gsi| (gsi, levels >> gsi & 1 == 1))
    }

    fn changed(&mut self, gsi: u8) -> Option<(u32, bool)> {
        let routed = (0..4).filter(|&n| self.routes[n] == Some(gsi)).any(|n| self.pirq[n] != 0);
        let level = routed || *self.isa.get(usize::from(gsi))? != 0;
        let bit = 1u16 << gsi;
        if (self.levels & bit != 0) == level {
            return None;
        }
        self.levels ^= bit;
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
