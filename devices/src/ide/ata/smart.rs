//! SMART (ATA/ATAPI-6, 8.54; attribute layout of SFF-8035i, which all tools read).
//!
//! The drive always reports good health. It has the common attributes, an empty error log, a self-test log (each test
//! passes at once) and the 32 host vendor specific logs.

use super::super::action::{CommandContext, DriveAction};
use super::super::regs::{AtaError, SECTOR_SIZE, TaskFile};
use super::{ActiveCommand, Ata};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// SMART subcommands, in the Features register.
mod subcommand {
    pub const READ_DATA: u8 = 0xd0;
    /// Obsolete.
    pub const READ_THRESHOLDS: u8 = 0xd1;
    pub const ATTRIBUTE_AUTOSAVE: u8 = 0xd2;
    /// Obsolete.
    pub const SAVE_ATTRIBUTE_VALUES: u8 = 0xd3;
    pub const EXECUTE_OFF_LINE_IMMEDIATE: u8 = 0xd4;
    pub const READ_LOG: u8 = 0xd5;
    pub const WRITE_LOG: u8 = 0xd6;
    pub const ENABLE_OPERATIONS: u8 = 0xd8;
    pub const DISABLE_OPERATIONS: u8 = 0xd9;
    pub const RETURN_STATUS: u8 = 0xda;
    /// Obsolete: automatic off-line data collection.
    pub const AUTO_OFF_LINE: u8 = 0xdb;
}

/// LBA Mid and LBA High of every SMART command.
const KEY: (u8, u8) = (0x4f, 0xc2);
const LOG_DIRECTORY: u8 = 0x00;
const LOG_ERROR_SUMMARY: u8 = 0x01;
const LOG_SELF_TEST: u8 = 0x06;
/// Sectors per host vendor specific log.
const HOST_LOG_SECTORS: u8 = 16;
/// Entries of the self-test log.
const SELF_TESTS: usize = 21;

/// Attributes: ID, flags, threshold.
const ATTRIBUTES: [(u8, u16, u8); 5] = [
    (1, 0x0003, 6),   // raw read error rate
    (3, 0x0003, 0),   // spin-up time
    (5, 0x0033, 36),  // reallocated sectors
    (9, 0x0032, 0),   // power-on hours
    (12, 0x0032, 20), // power cycles
];

/// Whether `address` is a host vendor specific log, which the guest can write.
pub fn is_host_log(address: u8) -> bool {
    (0x80..=0x9f).contains(&address)
}

/// The drive's SMART state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smart {
    enabled: bool,
    autosave: bool,
    offline_collected: bool,
    /// Self-tests, newest last: subcommand and power-on hours.
    tests: Vec<(u8, u16)>,
    /// Host vendor specific logs that the guest has written, by address.
    logs: BTreeMap<u8, Vec<u8>>,
}

impl Default for Smart {
    fn default() -> Self {
        Self { enabled: true, autosave: true, offline_collected: false, tests: Vec::new(), logs: BTreeMap::new() }
    }
}

impl Smart {
    /// Whether SMART operations are enabled.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether a saved state is valid.
    pub fn is_valid(&self) -> bool {
        let len = usize::from(HOST_LOG_SECTORS) * SECTOR_SIZE as usize;
        self.tests.len() <= SELF_TESTS && self.logs.iter().all(|(&at, log)| is_host_log(at) && log.len() == len)
    }

    /// SMART READ DATA.
    fn data(&self, hours: u16) -> Vec<u8> {
        let mut data = vec![0; SECTOR_SIZE as usize];
        // Revision number.
        data[0] = 0x10;
        for (n, (id, flags, _)) in ATTRIBUTES.into_iter().enumerate() {
            let entry = &mut data[2 + 12 * n..][..12];
            entry[0] = id;
            entry[1..3].copy_from_slice(&flags.to_le_bytes());
            // Normalized value and worst value.
            entry[3..5].fill(100);
            let raw = match id {
                // Power-on hours, power cycles.
                9 => hours,
                12 => 1,
                _ => 0,
            };
            entry[5..7].copy_from_slice(&raw.to_le_bytes());
        }
        // Off-line data collection status: completed or never started.
        data[362] = if self.offline_collected { 0x02 } else { 0x00 };
        // Seconds to complete off-line data collection.
        data[364] = 1;
        // Off-line data collection capability: EXECUTE OFF-LINE IMMEDIATE, self-tests.
        data[367] = 0x11;
        // SMART capability: saves attributes before power modes, attribute autosave.
        data[368] = 0x03;
        // Error logging capability.
        data[370] = 0x01;
        // Minutes per short and extended self-test.
        data[372..374].fill(1);
        checksum(data)
    }

    /// SMART READ THRESHOLDS.
    fn thresholds() -> Vec<u8> {
        let mut data = vec![0; SECTOR_SIZE as usize];
        data[0] = 0x10;
        for (n, (id, _, threshold)) in ATTRIBUTES.into_iter().enumerate() {
            data[2 + 12 * n] = id;
            data[3 + 12 * n] = threshold;
        }
        checksum(data)
    }

    /// The log directory: the number of sectors of each log.
    fn directory() -> Vec<u8> {
        let mut data = vec![0; SECTOR_SIZE as usize];
        // Version.
        data[0] = 1;
        for log in [LOG_ERROR_SUMMARY, LOG_SELF_TEST] {
            data[2 * usize::from(log)] = 1;
        }
        for log in 0x80..=0x9f {
            data[2 * log] = HOST_LOG_SECTORS;
        }
        data
    }

    fn self_test_log(&self) -> Vec<u8> {
        let mut data = vec![0; SECTOR_SIZE as usize];
        data[0] = 1;
        for (n, (test, hours)) in self.tests.iter().enumerate().take(SELF_TESTS) {
            let entry = &mut data[2 + 24 * n..][..24];
            entry[0] = *test;
            entry[2..4].copy_from_slice(&hours.to_le_bytes());
        }
        // Index of the most recent entry.
        data[508] = self.tests.len().min(SELF_TESTS) as u8;
        checksum(data)
    }

    fn log(&self, address: u8) -> Option<Vec<u8>> {
        Some(match address {
            LOG_DIRECTORY => Self::directory(),
            LOG_ERROR_SUMMARY => {
                let mut data = vec![0; SECTOR_SIZE as usize];
                data[0] = 1;
                checksum(data)
            }
            LOG_SELF_TEST => self.self_test_log(),
            _ if is_host_log(address) => match self.logs.get(&address) {
                Some(log) => log.clone(),
                None => vec![0; usize::from(HOST_LOG_SECTORS) * SECTOR_SIZE as usize],
            },
            _ => return None,
        })
    }

    /// SMART EXECUTE OFF-LINE IMMEDIATE.
    fn execute_off_line(&mut self, routine: u8, hours: u16) -> Result<(), AtaError> {
        match routine {
            // Off-line data collection.
            0x00 => self.offline_collected = true,
            // Short, extended and conveyance self-test, off-line and captive.
            0x01..=0x03 | 0x81..=0x83 => {
                if self.tests.len() >= SELF_TESTS {
                    self.tests.remove(0);
                }
                self.tests.push((routine, hours));
            }
            // Abort the off-line mode self-test.
            0x7f => {}
            _ => return Err(AtaError::ABORT),
        }
        Ok(())
    }
}

/// Sets the last byte so that all bytes add up to 0.
fn checksum(mut data: Vec<u8>) -> Vec<u8> {
    if let Some((last, rest)) = data.split_last_mut() {
        *last = rest.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    }
    data
}

impl Ata {
    pub(super) fn smart(&mut self, task: &mut TaskFile, context: CommandContext) -> Result<DriveAction, AtaError> {
        let smart = &mut self.state.smart;
        let hours = (context.now.ticks(1) / 3600).min(0xffff) as u16;
        let subcommand = task.features.current;
        if (task.lba_mid.current, task.lba_high.current) != KEY
            || (!smart.enabled && subcommand != subcommand::ENABLE_OPERATIONS)
        {
            return Err(AtaError::ABORT);
        }
        let sectors = usize::from(task.sector_count.current);
        match subcommand {
            subcommand::READ_DATA => {
                let data = smart.data(hours);
                return self.reply(data);
            }
            subcommand::READ_THRESHOLDS => return self.reply(Smart::thresholds()),
            subcommand::ATTRIBUTE_AUTOSAVE => match task.sector_count.current {
                0x00 => smart.autosave = false,
                0xf1 => smart.autosave = true,
                _ => return Err(AtaError::ABORT),
            },
            subcommand::SAVE_ATTRIBUTE_VALUES => {}
            subcommand::EXECUTE_OFF_LINE_IMMEDIATE => smart.execute_off_line(task.lba_low.current, hours)?,
            subcommand::READ_LOG => {
                let mut log = smart.log(task.lba_low.current).ok_or(AtaError::NOT_FOUND)?;
                if sectors == 0 || sectors * SECTOR_SIZE as usize > log.len() {
                    return Err(AtaError::ABORT);
                }
                log.truncate(sectors * SECTOR_SIZE as usize);
                return self.reply(log);
            }
            subcommand::WRITE_LOG => {
                if !is_host_log(task.lba_low.current) || sectors == 0 || task.sector_count.current > HOST_LOG_SECTORS {
                    return Err(AtaError::ABORT);
                }
                self.state.active = ActiveCommand::SmartLog {
                    address: task.lba_low.current,
                    at: 0,
                    sectors: task.sector_count.current,
                };
                return Ok(DriveAction::PioOut { len: SECTOR_SIZE as usize, irq: false });
            }
            subcommand::ENABLE_OPERATIONS => smart.enabled = true,
            subcommand::DISABLE_OPERATIONS => smart.enabled = false,
            // LBA Mid and LBA High still hold the key: no threshold is exceeded.
            subcommand::RETURN_STATUS => {}
            subcommand::AUTO_OFF_LINE => match task.sector_count.current {
                0x00 | 0xf8 => {}
                _ => return Err(AtaError::ABORT),
            },
            _ => return Err(AtaError::ABORT),
        }
        Ok(DriveAction::Done { irq: true })
    }

    /// Stores sector `at` of `sectors` of a host vendor specific log.
    pub(super) fn smart_log_written(
        &mut self,
        address: u8,
        at: u8,
        sectors: u8,
        data: &[u8],
    ) -> Result<DriveAction, AtaError> {
        let total = usize::from(HOST_LOG_SECTORS) * SECTOR_SIZE as usize;
        let log = self.state.smart.logs.entry(address).or_insert_with(|| vec![0; total]);
        for (to, from) in log.iter_mut().skip(usize::from(at) * SECTOR_SIZE as usize).zip(data) {
            *to = *from;
        }
        if at + 1 >= sectors {
            return Ok(DriveAction::Done { irq: true });
        }
        self.state.active = ActiveCommand::SmartLog { address, at: at + 1, sectors };
        Ok(DriveAction::PioOut { len: SECTOR_SIZE as usize, irq: true })
    }
}
