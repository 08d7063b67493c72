//! `pcvm stats` and `pcvm trace`: what a running machine's guest does with its devices.

use super::remote::RemoteError;
use crate::control::client::Client;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::time::{Duration, Instant};

/// `pcvm stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Interval over which rates are measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = clap::value_parser!(u32).range(0..=3600))]
    interval: u32,
    /// Show counters that are zero too
    #[arg(long)]
    all: bool,
    /// Print one JSON object: name to { "total", "per-second" }
    #[arg(long)]
    json: bool,
}

/// `pcvm trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Machine name, or the path of its control socket (with a slash)
    name: String,
    /// Trace file, overwritten, with a filter of classes (access, unclaimed, irq, reset, work, guest-error) and device
    /// kinds (as 'pcvm stats' shows them); or 'off' to end the trace
    #[arg(value_name = "FILE[,FILTER]|off")]
    trace: OsString,
}

/// All counters of a machine by name; those of vCPU 0 are `vcpu.0.NAME`.
fn sample(client: &mut Client) -> Result<BTreeMap<String, u64>, RemoteError> {
    let mut counters = BTreeMap::new();
    let mut add = |prefix: &str, entry: &Value| {
        for stat in entry["stats"].as_array().into_iter().flatten() {
            if let (Some(name), Some(value)) = (stat["name"].as_str(), stat["value"].as_u64()) {
                counters.insert(format!("{prefix}{name}"), value);
            }
        }
    };
    let vm = client.execute("query-stats", json!({ "target": "vm" }))?;
    vm.as_array().into_iter().flatten().for_each(|entry| add("", entry));
    let vcpus = client.execute("query-stats", json!({ "target": "vcpu" }))?;
    vcpus.as_array().into_iter().flatten().enumerate().for_each(|(n, entry)| add(&format!("vcpu.{n}."), entry));
    Ok(counters)
}

impl StatsArgs {
    /// Prints totals and rates.
    ///
    /// # Errors
    /// If the machine does not answer, or standard output fails.
    pub fn run(self) -> Result<(), RemoteError> {
        let mut client = Client::connect(&self.name)?;
        let before = sample(&mut client)?;
        let start = Instant::now();
        std::thread::sleep(Duration::from_secs(self.interval.into()));
        let (after, seconds) = (sample(&mut client)?, start.elapsed().as_secs_f64());
        let rate = |name: &str, total: u64| {
            (self.interval > 0).then(|| total.saturating_sub(before.get(name).copied().unwrap_or(0)) as f64 / seconds)
        };
        let shown = after.iter().filter(|(_, total)| self.all || **total != 0);
        let mut text = String::new();
        if self.json {
            let object: serde_json::Map<_, _> = shown
                .map(|(name, &total)| (name.clone(), json!({ "total": total, "per-second": rate(name, total) })))
                .collect();
            text = format!("{}\n", Value::Object(object));
        } else {
            text.push_str(&format!("{:<40} {:>20} {:>14}\n", "counter", "total", "per second"));
            for (name, &total) in shown {
                let rate = rate(name, total).map(|rate| format!("{rate:.1}")).unwrap_or_default();
                text.push_str(format!("{name:<40} {total:>20} {rate:>14}").trim_end());
                text.push('\n');
            }
        }
        std::io::stdout().write_all(text.as_bytes()).map_err(RemoteError::Output)
    }
}

impl TraceArgs {
    /// Starts or ends the trace.
    ///
    /// # Errors
    /// If the machine does not answer or refuses.
    pub fn run(self) -> Result<(), RemoteError> {
        if self.trace == "off" {
            Client::connect(&self.name)?.execute("x-trace-stop", json!({}))?;
            return Ok(());
        }
        let trace = crate::config::parse::trace(&self.trace).map_err(|why| RemoteError::Usage(why.to_string()))?;
        let file = std::path::absolute(trace.file).map_err(|why| RemoteError::Usage(crate::error::host_error(&why)))?;
        Client::connect(&self.name)?.execute("x-trace-start", json!({ "file": file, "filter": trace.filter }))?;
        Ok(())
    }
}
