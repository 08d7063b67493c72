//! `--cpus`.

use super::{OptionError, key_value, set_once, split_list};
use std::ffi::OsStr;

/// The most processors that a machine can have.
pub const MAX_CPUS: u32 = 64;

/// Processors and how they are grouped: `count` = `sockets` x `cores` x `threads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTopology {
    /// 1 to 64.
    pub count: u32,
    /// Packages.
    pub sockets: u32,
    /// Cores per package.
    pub cores: u32,
    /// Threads per core.
    pub threads: u32,
}

/// `N[,sockets=S][,cores=C][,threads=T]`, or the topology alone. What is left open is one socket (Windows counts
/// them for its licence), one thread per core, and as many cores as that needs.
pub fn cpus(text: &str) -> Result<CpuTopology, OptionError> {
    let (mut count, mut sockets, mut cores, mut threads) = (None, None, None, None);
    for (index, item) in split_list(OsStr::new(text)).iter().enumerate() {
        match key_value(item) {
            (number, None) if index == 0 => set_once(&mut count, "the number", parse("number", &number)?)?,
            (key, Some(value)) => match key.as_str() {
                "sockets" => set_once(&mut sockets, "sockets", parse("sockets", &value)?)?,
                "cores" => set_once(&mut cores, "cores", parse("cores", &value)?)?,
                "threads" => set_once(&mut threads, "threads", parse("threads", &value)?)?,
                _ => return Err(OptionError::UnknownKey { key, known: "sockets, cores, threads" }),
            },
            (key, None) => return Err(OptionError::UnknownKey { key, known: "sockets, cores, threads" }),
        }
    }
    let product = |of: [Option<u32>; 3]| of.iter().map(|n| n.unwrap_or(1)).product::<u32>();
    let total = count.unwrap_or(product([sockets, cores, threads]));
    if total > MAX_CPUS {
        return Err(OptionError::TooManyCpus(MAX_CPUS));
    }
    let rest = |known: [Option<u32>; 3]| {
        let known = product(known);
        (total % known == 0).then_some(total / known).filter(|&n| n > 0)
    };
    let threads_per_core = threads.unwrap_or(if sockets.is_some() && cores.is_some() {
        rest([sockets, cores, None]).unwrap_or(1)
    } else {
        1
    });
    let packages =
        sockets.unwrap_or(if cores.is_some() { rest([None, cores, Some(threads_per_core)]).unwrap_or(1) } else { 1 });
    let per_package = cores.unwrap_or(rest([Some(packages), None, Some(threads_per_core)]).unwrap_or(1));
    if product([Some(packages), Some(per_package), Some(threads_per_core)]) != total {
        return Err(OptionError::Topology {
            count: total,
            sockets: packages.to_string(),
            cores: per_package.to_string(),
            threads: threads_per_core.to_string(),
        });
    }
    Ok(CpuTopology { count: total, sockets: packages, cores: per_package, threads: threads_per_core })
}

fn parse(what: &'static str, value: &str) -> Result<u32, OptionError> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse() {
        Ok(number @ 1..=MAX_CPUS) if digits => Ok(number),
        _ => Err(OptionError::NotACount { what, value: value.to_owned(), max: MAX_CPUS }),
    }
}
