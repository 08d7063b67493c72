//! `query-stats` and `query-stats-schemas` (QEMU's QMP reference, "Statistics"), with pcvm as the provider.

use super::qmp::{Arguments, Failure};
use crate::machine::Handle;
use crate::machine::statistics::Counter;
use serde_json::{Value, json};

const PROVIDER: &str = "pcvm";

/// The target of a query.
fn is_for_vcpus(target: &str) -> Result<bool, Failure> {
    match target {
        "vm" => Ok(false),
        "vcpu" => Ok(true),
        other => Err(Failure::generic(format!("Parameter 'target' does not accept value '{other}'"))),
    }
}

fn list(counters: &[Counter]) -> Value {
    counters.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// `query-stats`: the counters of the machine (`target` is `vm`) or of each vCPU (`vcpu`).
pub(super) fn query(mut arguments: Arguments, handle: &Handle) -> Result<Value, Failure> {
    let target = Arguments::required("target", arguments.text("target")?)?;
    arguments.end()?;
    if !is_for_vcpus(&target)? {
        return Ok(json!([{ "provider": PROVIDER, "stats": list(&handle.machine_counters()) }]));
    }
    let vcpus = handle.vcpu_counters();
    let path = |n| format!("/machine/unattached/device[{n}]");
    Ok(vcpus
        .iter()
        .enumerate()
        .map(|(n, counters)| json!({ "provider": PROVIDER, "qom-path": path(n), "stats": list(counters) }))
        .collect())
}

/// `query-stats-schemas`: every counter, by target. All are cumulative.
pub(super) fn schemas(mut arguments: Arguments, handle: &Handle) -> Result<Value, Failure> {
    let provider = arguments.text("provider")?;
    arguments.end()?;
    if provider.is_some_and(|provider| provider != PROVIDER) {
        return Ok(json!([]));
    }
    let schema = |target: &str, counters: &[Counter]| {
        let unit = |name: &str| match name {
            _ if name.ends_with("-ns") => Some(("seconds", -9)),
            _ if name.ends_with("bytes") => Some(("bytes", 0)),
            _ => None,
        };
        let stats: Value = counters
            .iter()
            .map(|(name, _)| match unit(name) {
                Some((unit, exponent)) => {
                    json!({ "name": name, "type": "cumulative", "unit": unit, "base": 10, "exponent": exponent })
                }
                None => json!({ "name": name, "type": "cumulative", "exponent": 0 }),
            })
            .collect();
        json!({ "provider": PROVIDER, "target": target, "stats": stats })
    };
    let vcpu = handle.vcpu_counters().into_iter().next().unwrap_or_default();
    Ok(json!([schema("vm", &handle.machine_counters()), schema("vcpu", &vcpu)]))
}
