//! Counters of a whole machine as a flat list of names and values: exits, accesses by device, IRQs, disk and network
//! operations.

use super::Handle;
use std::collections::BTreeMap;

/// A counter and its value.
pub type Counter = (String, u64);

impl Handle {
    /// The counters of the machine since it was built, virtual time first. Names are stable: `uptime-ns`, `resets`,
    /// `device.KIND.reads`, `irq.14`, `disk.hda.read-bytes`, `nic.0.tx-frames`, ... The second and further devices of a kind
    /// are numbered: `device.serial.1.reads`.
    pub fn machine_counters(&self) -> Vec<Counter> {
        let mut counters = vec![("uptime-ns".to_owned(), self.now())];
        let board = self.with_board(|board| board.stats());
        counters.push(("resets".to_owned(), board.resets));
        counters.push(("unclaimed.reads".to_owned(), board.unclaimed_reads));
        counters.push(("unclaimed.writes".to_owned(), board.unclaimed_writes));
        let mut numbers = BTreeMap::new();
        for device in &board.devices {
            let number = numbers.entry(device.kind).and_modify(|n| *n += 1).or_insert(0_u32);
            let name = match number {
                0 => format!("device.{}", device.kind),
                n => format!("device.{}.{n}", device.kind),
            };
            for (what, value) in [
                ("reads", device.reads),
                ("writes", device.writes),
                ("wakes", device.wakes),
                ("guest-errors", device.guest_errors),
            ] {
                counters.push((format!("{name}.{what}"), value));
            }
        }
        let raised = board.irqs_raised.iter().enumerate().filter(|(_, raised)| **raised != 0);
        counters.extend(raised.map(|(irq, raised)| (format!("irq.{irq}"), *raised)));
        for drive in self.drive_stats() {
            let name = drive.name.clone();
            counters.extend(fields(&drive).into_iter().map(|(what, value)| (format!("disk.{name}.{what}"), value)));
        }
        for (n, port) in self.port_stats().iter().enumerate() {
            counters.extend(fields(port).into_iter().map(|(what, value)| (format!("nic.{n}.{what}"), value)));
        }
        counters
    }

    /// The exits of each vCPU, by reason.
    pub fn vcpu_counters(&self) -> Vec<Vec<Counter>> {
        self.exits().iter().map(fields).collect()
    }
}

/// The numbers among a structure's fields.
fn fields(stats: &impl serde::Serialize) -> Vec<Counter> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(stats) else { return Vec::new() };
    fields.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?))).collect()
}
