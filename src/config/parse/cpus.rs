//! `--cpus`: number of vCPUs and their topology.

use super::{OptionError, key_value, lossy, set_once, split_list, unknown_key};
use std::ffi::OsStr;

/// The largest number of vCPUs.
pub const MAX_CPUS: u32 = 64;
const KEYS: &str = "sockets, cores, threads";

/// vCPUs and how they are grouped: `count` = `sockets` x `cores` x `threads`.
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

/// `N[,sockets=S][,cores=C][,threads=T]`, or the topology alone. The defaults are one socket, because editions of Windows
/// limit the number of sockets that they use; one thread per core; and as many cores as N then requires.
///
/// # Errors
/// If a number is out of range, or the topology does not multiply to N.
pub fn cpus(text: &str) -> Result<CpuTopology, OptionError> {
    let (mut count, mut sockets, mut cores, mut threads) = (None, None, None, None);
    for (index, item) in split_list(OsStr::new(text)).iter().enumerate() {
        match key_value(item) {
            (number, None) if index == 0 => set_once(&mut count, "N", parse("the number of vCPUs", &number)?)?,
            (key, Some(value)) => match key.as_str() {
                "sockets" => set_once(&mut sockets, "sockets", parse("sockets", &value)?)?,
                "cores" => set_once(&mut cores, "cores", parse("cores", &value)?)?,
                "threads" => set_once(&mut threads, "threads", parse("threads", &value)?)?,
                _ => return Err(unknown_key(key, KEYS)),
            },
            (_, None) => return Err(unknown_key(lossy(item), KEYS)),
        }
    }
    let product = |of: [Option<u32>; 3]| of.iter().map(|n| n.unwrap_or(1)).product::<u32>();
    let total = count.unwrap_or(product([sockets, cores, threads]));
    if total > MAX_CPUS {
        return Err(OptionError::TooManyCpus { count: total, max: MAX_CPUS });
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
    let product = product([Some(packages), Some(per_package), Some(threads_per_core)]);
    if product != total {
        return Err(OptionError::Topology {
            count: total,
            sockets: packages,
            cores: per_package,
            threads: threads_per_core,
            product,
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
