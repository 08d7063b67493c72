//! Limits of the host, checked before anything is allocated.

use std::fs;

/// The configuration needs more than the host has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LimitError {
    /// More memory than RAM and swap.
    #[error("--memory: {} MiB is more than the host has ({} MiB of memory and swap)", wanted >> 20, available >> 20)]
    Memory {
        /// Bytes.
        wanted: u64,
        /// Bytes.
        available: u64,
    },
}

/// Fails if the host can never back `bytes` of guest RAM. The limit is all of RAM and swap, not what is free now, because
/// guest RAM is allocated as the guest touches it. A host without /proc/meminfo passes.
pub fn check_memory(bytes: u64) -> Result<(), LimitError> {
    match fs::read_to_string("/proc/meminfo") {
        Ok(meminfo) => check(bytes, &meminfo),
        Err(_) => Ok(()),
    }
}

fn check(wanted: u64, meminfo: &str) -> Result<(), LimitError> {
    let (Some(memory), Some(swap)) = (field(meminfo, "MemTotal:"), field(meminfo, "SwapTotal:")) else {
        return Ok(());
    };
    let available = memory.saturating_add(swap);
    if wanted > available { Err(LimitError::Memory { wanted, available }) } else { Ok(()) }
}

/// proc(5): `Name:  number kB`.
fn field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "MemTotal:        1048576 kB\nMemFree:          1000 kB\nSwapTotal:        524288 kB\n";

    #[test]
    fn memory_and_swap_are_the_limit() {
        assert_eq!(check(1536 << 20, HOST), Ok(()));
        let error = check(1537 << 20, HOST).unwrap_err();
        assert_eq!(error.to_string(), "--memory: 1537 MiB is more than the host has (1536 MiB of memory and swap)");
    }

    #[test]
    fn a_host_without_usable_meminfo_passes() {
        for text in ["", "MemTotal:\nSwapTotal:\n", "MemTotal: x kB\nSwapTotal: 0 kB"] {
            assert_eq!(check(1 << 40, text), Ok(()));
        }
    }
}
