//! Power modes (ATA/ATAPI-6, 6.12). They are remembered; nothing stops.

use super::super::drive::DriveAction;
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

/// Whether the opcode is one of the power management feature set, under its new or its old number.
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
    /// Carries out a power command. The timer values of STANDBY and IDLE are taken and never run out.
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
