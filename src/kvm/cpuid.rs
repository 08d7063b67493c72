//! CPUID: what the guest's processors say about themselves.

use crate::config::CpuConfig;

/// The APIC id of processor `index`: thread, core and socket number side by side, each as wide as its count needs
/// (Intel SDM volume 3A, 9.9 "Hierarchical mapping of shared resources").
pub fn apic_id(index: u32, cpus: &CpuConfig) -> u8 {
    let (threads, cores) = (cpus.threads.max(1), cpus.cores.max(1));
    let (thread, core, socket) = (index % threads, index / threads % cores, index / threads / cores);
    let (thread_bits, core_bits) = (width(threads), width(cores));
    (socket << (thread_bits + core_bits) | core << thread_bits | thread) as u8
}

/// Bits that numbers below `count` need.
fn width(count: u32) -> u32 {
    count.max(1).next_power_of_two().trailing_zeros()
}
