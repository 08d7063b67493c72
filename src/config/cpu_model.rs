//! CPU models and features (`--cpu MODEL[,+FEATURE|,-FEATURE|,FEATURE=on|off]…`).
//!
//! A named model fixes vendor, family, model, stepping and features, so that an installed guest sees the same CPU on every
//! host. Features that the host's KVM does not support are removed.

use super::cpu_features::{self, Feature};
use std::fmt;
use std::str::FromStr;

/// A parsed `--cpu` argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuModel {
    /// None for `host`: all features of the host.
    pub(crate) named: Option<&'static NamedModel>,
    /// Features to set or clear, in the given order: the last change of a feature wins.
    pub(crate) changes: Vec<(Feature, bool)>,
    /// Whether the guest sees KVM's paravirtual leaves (40000000h on).
    pub(crate) kvm: bool,
}

/// A CPU model other than `host`.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedModel {
    /// Name for `--cpu`.
    pub name: &'static str,
    /// Vendor id in leaf 0.
    pub vendor: Vendor,
    /// Family, including the extended family.
    pub family: u32,
    /// Model, including the extended model.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// Number of the largest basic leaf.
    pub level: u32,
    /// Number of the largest extended leaf, or 0.
    pub xlevel: u32,
    /// Brand string, up to 47 characters.
    pub brand: &'static str,
    /// Feature names, separated by spaces.
    pub features: &'static str,
}

/// A CPU vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// GenuineIntel.
    Intel,
    /// AuthenticAMD.
    Amd,
}

impl Vendor {
    /// The id in leaf 0: EBX, EDX, ECX.
    pub const fn id(self) -> &'static [u8; 12] {
        match self {
            Self::Intel => b"GenuineIntel",
            Self::Amd => b"AuthenticAMD",
        }
    }
}

macro_rules! pentium_pro {
    ($more:literal) => {
        concat!("fpu de pse tsc msr pae mce cx8 apic sep pge cmov pat mmx fxsr sse sse2 ", $more)
    };
}
macro_rules! pentium {
    ($more:literal) => {
        concat!("fpu vme de pse tsc msr mce cx8 apic mmx ", $more)
    };
}
macro_rules! pentium2 {
    ($more:literal) => {
        pentium!("pae sep mtrr pge mca cmov pat pse36 fxsr")
    };
}

/// Every named model.
pub static MODELS: [NamedModel; 12] = [
    NamedModel {
        name: "qemu64",
        vendor: Vendor::Amd,
        family: 15,
        model: 107,
        stepping: 1,
        level: 0xd,
        xlevel: 0x8000_000a,
        brand: "QEMU Virtual CPU version 2.5+",
        features: pentium_pro!("mtrr clflush mca pse36 sse3 cx16 x2apic lm syscall nx lahf-lm"),
    },
    NamedModel {
        name: "qemu32",
        vendor: Vendor::Intel,
        family: 6,
        model: 6,
        stepping: 3,
        level: 4,
        xlevel: 0x8000_0004,
        brand: "QEMU Virtual CPU version 2.5+",
        features: pentium_pro!("sse3"),
    },
    NamedModel {
        name: "kvm64",
        vendor: Vendor::Intel,
        family: 15,
        model: 6,
        stepping: 1,
        level: 0xd,
        xlevel: 0x8000_0008,
        brand: "Common KVM processor",
        features: pentium_pro!("vme mtrr clflush mca pse36 sse3 cx16 x2apic lm syscall nx"),
    },
    NamedModel {
        name: "kvm32",
        vendor: Vendor::Intel,
        family: 15,
        model: 6,
        stepping: 1,
        level: 5,
        xlevel: 0x8000_0008,
        brand: "Common 32-bit KVM processor",
        features: pentium_pro!("vme mtrr clflush mca pse36 sse3"),
    },
    NamedModel {
        name: "486",
        vendor: Vendor::Intel,
        family: 4,
        model: 8,
        stepping: 0,
        level: 1,
        xlevel: 0,
        brand: "",
        features: "fpu vme pse",
    },
    NamedModel {
        name: "pentium",
        vendor: Vendor::Intel,
        family: 5,
        model: 4,
        stepping: 3,
        level: 1,
        xlevel: 0,
        brand: "",
        features: pentium!(""),
    },
    NamedModel {
        name: "pentium2",
        vendor: Vendor::Intel,
        family: 6,
        model: 5,
        stepping: 2,
        level: 2,
        xlevel: 0,
        brand: "",
        features: pentium2!(""),
    },
    NamedModel {
        name: "pentium3",
        vendor: Vendor::Intel,
        family: 6,
        model: 8,
        stepping: 3,
        // Without leaf 3 (serial number), as after a BIOS has disabled it. With leaf 3 Windows NT 4 does not boot.
        level: 2,
        xlevel: 0,
        brand: "",
        features: concat!(pentium2!(""), " sse"),
    },
    NamedModel {
        name: "core2duo",
        vendor: Vendor::Intel,
        family: 6,
        model: 15,
        stepping: 11,
        level: 10,
        xlevel: 0x8000_0008,
        brand: "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz",
        features: pentium_pro!("vme mtrr clflush mca pse36 ss sse3 ssse3 cx16 x2apic lm syscall nx lahf-lm"),
    },
    NamedModel {
        name: "athlon",
        vendor: Vendor::Amd,
        family: 6,
        model: 2,
        stepping: 3,
        level: 1,
        xlevel: 0x8000_0008,
        brand: "QEMU Virtual CPU version 2.5+",
        features: pentium_pro!("pse36 vme mtrr mca"),
    },
    NamedModel {
        name: "Nehalem",
        vendor: Vendor::Intel,
        family: 6,
        model: 26,
        stepping: 3,
        level: 11,
        xlevel: 0x8000_0008,
        brand: "Intel Core i7 9xx (Nehalem Class Core i7)",
        features: pentium_pro!(
            "vme mtrr clflush mca pse36 sse3 ssse3 cx16 sse4-1 sse4-2 popcnt x2apic lm syscall nx lahf-lm"
        ),
    },
    NamedModel {
        name: "Westmere",
        vendor: Vendor::Intel,
        family: 6,
        model: 44,
        stepping: 1,
        level: 11,
        xlevel: 0x8000_0008,
        brand: "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
        features: pentium_pro!(
            "vme mtrr clflush mca pse36 sse3 pclmulqdq ssse3 cx16 sse4-1 sse4-2 popcnt aes x2apic lm syscall nx lahf-lm"
        ),
    },
];

/// A `--cpu` argument is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuModelError {
    /// The model does not exist.
    #[error("unknown CPU model '{name}' (known: {known})")]
    Model {
        /// As given.
        name: String,
        /// Names of all models.
        known: String,
    },
    /// The feature does not exist.
    #[error("unknown CPU feature '{name}'{hint}")]
    Feature {
        /// As given.
        name: String,
        /// A similar name, or where to find all names.
        hint: String,
    },
    /// Neither `+feature`, `-feature`, `feature=on` nor `feature=off`.
    #[error("'{0}' is not a CPU feature setting: use +FEATURE, -FEATURE, FEATURE=on or FEATURE=off")]
    Setting(String),
}

impl Default for CpuModel {
    fn default() -> Self {
        Self { named: None, changes: Vec::new(), kvm: true }
    }
}

impl FromStr for CpuModel {
    type Err = CpuModelError;

    fn from_str(text: &str) -> Result<Self, CpuModelError> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let named = if name == "host" {
            None
        } else {
            let known = MODELS.iter().find(|model| model.name.eq_ignore_ascii_case(name));
            let unknown = || CpuModelError::Model { name: name.to_owned(), known: names().join(", ") };
            Some(known.ok_or_else(unknown)?)
        };
        let mut model = Self { named, ..Self::default() };
        for part in parts {
            let (feature, on) = setting(part).ok_or_else(|| CpuModelError::Setting(part.to_owned()))?;
            if feature == "kvm" {
                model.kvm = on;
            } else {
                let unknown = || CpuModelError::Feature { name: feature.to_owned(), hint: hint(feature) };
                model.changes.push((Feature::named(feature).ok_or_else(unknown)?, on));
            }
        }
        Ok(model)
    }
}

impl fmt::Display for CpuModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.named.map_or("host", |named| named.name))?;
        for (feature, on) in &self.changes {
            write!(f, ",{}{}", if *on { '+' } else { '-' }, feature.name())?;
        }
        if !self.kvm {
            f.write_str(",-kvm")?;
        }
        Ok(())
    }
}

fn setting(text: &str) -> Option<(&str, bool)> {
    let (feature, on) = if let Some(feature) = text.strip_prefix('+') {
        (feature, true)
    } else if let Some(feature) = text.strip_prefix('-') {
        (feature, false)
    } else {
        match text.split_once('=')? {
            (feature, "on") => (feature, true),
            (feature, "off") => (feature, false),
            _ => return None,
        }
    };
    (!feature.is_empty()).then_some((feature, on))
}

fn names() -> Vec<&'static str> {
    std::iter::once("host").chain(MODELS.iter().map(|model| model.name)).collect()
}

/// Suggests the known feature whose name differs in at most 2 letters.
fn hint(name: &str) -> String {
    let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
    let nearest = cpu_features::all().map(|(known, _)| (distance(&name, known), known)).min();
    match nearest {
        Some((far, known)) if far <= 2 && far < name.len() => format!(" (did you mean {known}?)"),
        _ => "; --cpu help lists them".to_owned(),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let next = (corner + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

/// The output of `--cpu help`.
pub fn list() -> String {
    let mut text = String::from("CPU models:\n  host        all features of this host\n");
    for model in &MODELS {
        let NamedModel { name, family, model: number, stepping, .. } = model;
        let vendor = String::from_utf8_lossy(model.vendor.id());
        text.push_str(&format!("  {name:<11} {vendor}, family {family}, model {number}, stepping {stepping}\n"));
    }
    text.push_str("\nFeatures, as MODEL,+FEATURE,-FEATURE:\n");
    let mut line = String::from(" ");
    for name in cpu_features::all().map(|(name, _)| name).chain(["kvm"]) {
        if line.len() + name.len() > 78 {
            text.push_str(&line);
            text.push('\n');
            line = String::from(" ");
        }
        line.push(' ');
        line.push_str(name);
    }
    text + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parsed_model_prints_as_it_was_written() {
        for text in ["host", "qemu64", "486", "Nehalem,+avx,-sse3", "host,-hypervisor,-kvm"] {
            assert_eq!(text.parse::<CpuModel>().unwrap().to_string(), text);
        }
        for (text, same) in [
            ("NEHALEM", "Nehalem"),
            ("qemu64,sse4_2=on,svm=off", "qemu64,+sse4-2,-svm"),
            ("host,kvm=off,+kvm", "host"),
            ("host,+pni", "host,+sse3"),
        ] {
            assert_eq!(text.parse::<CpuModel>().unwrap().to_string(), same);
        }
        assert_eq!(CpuModel::default(), "host".parse().unwrap());
    }

    #[test]
    fn an_invalid_argument_is_explained_in_one_line() {
        for (text, expect) in [
            ("hots", "unknown CPU model 'hots' (known: host, qemu64"),
            ("", "unknown CPU model ''"),
            ("host,+avx22", "unknown CPU feature 'avx22' (did you mean avx2?)"),
            ("host,-quantum-leap", "unknown CPU feature 'quantum-leap'; --cpu help lists them"),
            ("host,avx2", "'avx2' is not a CPU feature setting"),
            ("host,avx2=yes", "'avx2=yes' is not a CPU feature setting"),
            ("host,", "'' is not a CPU feature setting"),
            ("host,+", "'+' is not a CPU feature setting"),
        ] {
            let error = text.parse::<CpuModel>().unwrap_err().to_string();
            assert!(error.starts_with(expect), "{text}: {error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn models_have_known_features_and_a_brand_string_below_48_bytes() {
        for model in &MODELS {
            for name in model.features.split_ascii_whitespace() {
                assert!(Feature::named(name).is_some(), "{}: {name}", model.name);
            }
            assert!(model.brand.len() < 48, "{}", model.name);
        }
    }

    #[test]
    fn help_lists_every_model_and_feature() {
        let help = list();
        for name in names().into_iter().chain(cpu_features::all().map(|(name, _)| name)) {
            assert!(help.split_whitespace().any(|word| word == name), "{name}");
        }
        assert!(help.lines().all(|line| line.len() <= 80));
    }
}
