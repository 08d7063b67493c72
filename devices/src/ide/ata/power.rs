//! Power management feature set (ATA/ATAPI-6, 6.12). The power mode is only state: it does not affect other commands.

use super::super::action::DriveAction;
use super::super::regs::{AtaError, TaskFile, op};
use super::Ata;
use serde::{Deserialize, Serialize};

/// The power mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Power {
    #[default]
    Active,
    Idle,
    Standby,
    Sleep,
}

/// Whether the opcode, current or old, belongs to the power management feature set.
pub fn is_power_command(opcode: u8) -> bool {
    matches!(
        opcode,
        op::STANDBY_IMMEDIATE_OLD
            ..=op::SLEEP_OLD
                | op::STANDBY_IMMEDIATE
                | op::IDLE_IMMEDIATE
                | op::STANDBY
                | op::IDLE
                | op::CHECK_POWER_MODE
                | op::SLEEP
    )
}

impl Power {
    /// Executes a power management command. The standby timer of STANDBY and IDLE never expires.
    pub fn command(&mut self, task: &mut TaskFile, opcode: u8) -> Result<DriveAction, AtaError> {
        *self = match opcode {
            op::STANDBY_IMMEDIATE | op::STANDBY_IMMEDIATE_OLD | op::STANDBY | op::STANDBY_OLD => Self::Standby,
            op::IDLE_IMMEDIATE | op::IDLE_IMMEDIATE_OLD | op::IDLE | op::IDLE_OLD => Self::Idle,
            op::SLEEP | op::SLEEP_OLD => Self::Sleep,
            op::CHECK_POWER_MODE | op::CHECK_POWER_MODE_OLD => {
                task.sector_count.set(match self {
                    Self::Active => 0xff,
                    Self::Idle => 0x80,
                    Self::Standby | Self::Sleep => 0x00,
                });
                *self
            }
            _ => return Err(AtaError::ABORT),
        };
        Ok(DriveAction::Done { irq: true })
    }
}

impl Ata {
    pub(super) fn power(&mut self, task: &mut TaskFile, opcode: u8) -> Result<DriveAction, AtaError> {
        self.state.power.command(task, opcode)
    }
}
