//! CPUID leaves of the guest's vCPUs, and their APIC ids.
//!
//! The leaves follow from what KVM supports (KVM_GET_SUPPORTED_CPUID), the configured model and the vCPU's position in the
//! topology. Sources: Intel SDM volume 2A "CPUID", AMD APM volume 3 appendix E.
//!
//! A named model keeps its vendor on every host. Where vendors differ (SYSENTER and SYSCALL outside 64-bit mode), KVM
//! follows the vendor that the guest sees.

use crate::config::CpuConfig;
use crate::config::cpu_features::{Feature, Features, Register, Word};
use crate::config::cpu_model::{CpuModel, NamedModel, Vendor};
use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

/// The CPUID leaves of one vCPU.
#[derive(Clone, Debug)]
pub struct GuestCpuid {
    /// The leaves, for KVM_SET_CPUID2.
    pub entries: CpuId,
    /// Features of the model that KVM does not support on this host. The leaves lack them; the caller warns.
    pub missing: Vec<&'static str>,
}

/// The configured model does not work on this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuidError {
    /// A feature that the user added by name is not supported.
    #[error("--cpu: this host's KVM does not support {0}")]
    Unsupported(&'static str),
    /// More leaves than KVM accepts.
    #[error("--cpu: {0} CPUID leaves are more than KVM accepts")]
    TooMany(usize),
}

/// The last basic leaf that a guest gets.
const BASIC_LAST: u32 = 0x1f;
/// The first hypervisor leaf.
const HYPERVISOR: u32 = 0x4000_0000;
/// The first extended leaf.
const EXTENDED: u32 = 0x8000_0000;

/// A vCPU's APIC id and how APIC ids divide into thread, core and socket numbers.
#[derive(Clone, Copy, Debug)]
struct ApicTopology {
    apic_id: u32,
    thread_bits: u32,
    core_bits: u32,
    cores: u32,
    threads: u32,
}

impl ApicTopology {
    fn new(index: u32, cpus: &CpuConfig) -> Self {
        let (threads, cores) = (cpus.threads.max(1), cpus.cores.max(1));
        Self {
            apic_id: apic_id(index, cpus).into(),
            thread_bits: width(threads),
            core_bits: width(cores),
            cores,
            threads,
        }
    }

    /// Logical processors in a package.
    fn siblings(&self) -> u32 {
        self.cores * self.threads
    }

    /// Bits of an APIC id below the socket number.
    fn package_bits(&self) -> u32 {
        self.thread_bits + self.core_bits
    }
}

/// The APIC id of vCPU `index`: socket, core and thread number as bit fields, each as wide as its count needs (Intel SDM
/// volume 3A, "Hierarchical mapping of CPUID and MSR resources").
pub fn apic_id(index: u32, cpus: &CpuConfig) -> u8 {
    let (threads, cores) = (cpus.threads.max(1), cpus.cores.max(1));
    let (thread, core, socket) = (index % threads, index / threads % cores, index / threads / cores);
    let (thread_bits, core_bits) = (width(threads), width(cores));
    (socket << (thread_bits + core_bits) | core << thread_bits | thread) as u8
}

/// Bits that hold the numbers below `count`.
fn width(count: u32) -> u32 {
    count.max(1).next_power_of_two().trailing_zeros()
}

/// Sets TSC-Deadline (leaf 1 ECX bit 24) in the supported leaves. KVM reports it as KVM_CAP_TSC_DEADLINE_TIMER, which the
/// caller checks, instead of by KVM_GET_SUPPORTED_CPUID.
pub fn offer_tsc_deadline(supported: &mut [kvm_cpuid_entry2]) {
    for entry in supported.iter_mut().filter(|entry| entry.function == 1) {
        entry.ecx |= 1 << 24;
    }
}

/// The CPUID leaves of vCPU `index`.
///
/// # Errors
/// If the user added a feature that KVM does not support, or KVM does not accept that many leaves.
pub fn cpuid_for(
    supported: &[kvm_cpuid_entry2],
    model: &CpuModel,
    index: u32,
    topology: &CpuConfig,
) -> Result<GuestCpuid, CpuidError> {
    let apic = ApicTopology::new(index, topology);
    let available = available_features(supported);
    let (mut features, missing) = match model.named {
        None => (available, Vec::new()),
        Some(named) => {
            let mut wanted = Features::from_names(named.features);
            set(&mut wanted, "hypervisor", true);
            (wanted.and(&available), wanted.without(&available))
        }
    };
    for &(feature, on) in &model.changes {
        if on && !available.has(feature) {
            return Err(CpuidError::Unsupported(feature.name()));
        }
        features.set(feature, on);
    }
    drop_dependents(&mut features);
    // OSXSAVE and OSPKE mirror CR4, so KVM maintains them.
    *features.word_mut(Word::L1Ecx) &= !OSXSAVE;
    *features.word_mut(Word::L7Ecx) &= !OSPKE;
    set(&mut features, "ht", apic.siblings() > 1);
    let amd = match model.named {
        Some(named) => named.vendor == Vendor::Amd,
        None => is_amd(supported),
    };
    set(&mut features, "cmp-legacy", amd && apic.siblings() > 1);
    if amd {
        let copied = features.word(Word::L1Edx) & AMD_DUPLICATED;
        let edx = features.word_mut(Word::ExtEdx);
        *edx = *edx & !AMD_DUPLICATED | copied;
    }

    let mut entries = match model.named {
        None => host_leaves(supported, &features),
        Some(named) => named_leaves(supported, named, &features),
    };
    for entry in &mut entries {
        set_features_and_topology(entry, &features, &apic, amd);
    }
    push_topology(&mut entries, &apic);
    if model.kvm {
        let leaves = supported.iter().filter(|entry| (HYPERVISOR..HYPERVISOR + 0x100).contains(&entry.function));
        entries.extend(leaves.copied());
    }
    entries.sort_by_key(|entry| (entry.function, entry.index));
    let count = entries.len();
    let entries = CpuId::from_entries(&entries).map_err(|_| CpuidError::TooMany(count))?;
    Ok(GuestCpuid { entries, missing })
}

const OSXSAVE: u32 = 1 << 27;
const OSPKE: u32 = 1 << 4;
/// Bits of leaf 1 EDX that AMD duplicates in leaf 80000001h EDX.
const AMD_DUPLICATED: u32 = 0x0183_f3ff;

/// Features that a guest can have: those of KVM, and those that `set_features_and_topology` and the in-kernel APIC supply.
fn available_features(supported: &[kvm_cpuid_entry2]) -> Features {
    let mut features = Features::default();
    for word in Word::ALL {
        let (leaf, register) = word.location();
        let entry = supported.iter().find(|entry| entry.function == leaf && entry.index == 0);
        *features.word_mut(word) = entry.map_or(0, |entry| match register {
            Register::Ebx => entry.ebx,
            Register::Ecx => entry.ecx,
            Register::Edx => entry.edx,
        });
    }
    for name in ["hypervisor", "apic", "ht", "cmp-legacy"] {
        set(&mut features, name, true);
    }
    features
}

fn set(features: &mut Features, name: &str, on: bool) {
    if let Some(feature) = Feature::named(name) {
        features.set(feature, on);
    }
}

/// Removes features whose prerequisite is absent.
fn drop_dependents(features: &mut Features) {
    const PREREQUISITES: [(&str, &str); 7] = [
        ("xsave", "avx pku mpx amx-tile amx-int8 amx-bf16"),
        ("avx", "avx2 fma fma4 xop f16c vaes vpclmulqdq avx512f"),
        (
            "avx512f",
            "avx512dq avx512ifma avx512pf avx512er avx512cd avx512bw avx512vl avx512vbmi avx512vbmi2 avx512vnni \
             avx512bitalg avx512-vpopcntdq avx512-4vnniw avx512-4fmaps avx512-vp2intersect avx512-fp16",
        ),
        ("apic", "x2apic tsc-deadline"),
        ("pae", "lm nx"),
        ("lm", "la57 lahf-lm"),
        ("fxsr", "sse sse2 fxsr-opt"),
    ];
    for (feature, dependents) in PREREQUISITES {
        if !features.has_named(feature) {
            for name in dependents.split_ascii_whitespace() {
                set(features, name, false);
            }
        }
    }
}

fn is_amd(supported: &[kvm_cpuid_entry2]) -> bool {
    supported.iter().any(|entry| {
        // "AuthenticAMD" and "HygonGenuine".
        entry.function == 0 && (entry.ebx == u32::from_le_bytes(*b"Auth") || entry.ebx == u32::from_le_bytes(*b"Hygo"))
    })
}

fn leaf(function: u32) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 { function, ..Default::default() }
}

fn subleaf(function: u32, index: u32) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 { function, index, flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX, ..Default::default() }
}

fn find(entries: &[kvm_cpuid_entry2], function: u32) -> Option<&kvm_cpuid_entry2> {
    entries.iter().find(|entry| entry.function == function && entry.index == 0)
}

/// The host's leaves, without topology: `push_topology` makes those.
fn host_leaves(supported: &[kvm_cpuid_entry2], features: &Features) -> Vec<kvm_cpuid_entry2> {
    let xsave = features.has_named("xsave");
    let topoext = features.has_named("topoext");
    let wanted = |entry: &&kvm_cpuid_entry2| match entry.function {
        0xb | 0x1f | 0x8000_0026 => false,
        0xd => xsave,
        0x8000_001d | 0x8000_001e => topoext,
        0..=BASIC_LAST => true,
        EXTENDED..=0x8000_00ff => true,
        _ => false,
    };
    let mut entries: Vec<_> = supported.iter().filter(wanted).copied().collect();
    for entry in entries.iter_mut().filter(|entry| entry.function == 0) {
        entry.eax = entry.eax.min(BASIC_LAST);
    }
    entries
}

/// The leaves of a named model.
fn named_leaves(supported: &[kvm_cpuid_entry2], model: &NamedModel, features: &Features) -> Vec<kvm_cpuid_entry2> {
    let [b, d, c] = [0, 4, 8].map(|at| dword(model.vendor.id(), at));
    let vendor = |function, eax| kvm_cpuid_entry2 { eax, ebx: b, ecx: c, edx: d, ..leaf(function) };
    let signature = signature(model);
    // A feature that the user added may be in a leaf beyond the model's last one.
    let mut level = model.level;
    if [Word::L7Ebx, Word::L7Ecx, Word::L7Edx].iter().any(|&word| features.word(word) != 0) {
        level = level.max(7);
    }
    if features.has_named("xsave") {
        level = level.max(0xd);
    }
    let mut xlevel = model.xlevel;
    if features.word(Word::ExtEdx) & !AMD_DUPLICATED != 0 || features.word(Word::ExtEcx) != 0 {
        xlevel = xlevel.max(0x8000_0001);
    }
    if features.word(Word::PowerEdx) != 0 {
        xlevel = xlevel.max(0x8000_0007);
    }
    let amd = model.vendor == Vendor::Amd;

    let mut entries = vec![vendor(0, level), kvm_cpuid_entry2 { eax: signature, ..leaf(1) }];
    if !amd {
        // L1D 32 KiB 8-way, L1I 32 KiB 8-way, L2 2 MiB 8-way, lines of 64 bytes (SDM, table "Encoding of CPUID leaf 2").
        entries.push(kvm_cpuid_entry2 { eax: 1, edx: 0x002c_307d, ..leaf(2) });
        entries.extend([(0, 0x121, 63), (1, 0x122, 63), (2, 0x143, 4095)].map(|(index, eax, sets)| kvm_cpuid_entry2 {
            eax,
            ebx: 7 << 22 | 63,
            ecx: sets,
            edx: 1,
            ..subleaf(4, index)
        }));
        entries.push(subleaf(4, 3));
    }
    // ARAT: the APIC timer runs in all C-states.
    let arat = find(supported, 6).map_or(0, |entry| entry.eax & 1 << 2);
    entries.push(kvm_cpuid_entry2 { eax: arat, ..leaf(6) });
    entries.push(subleaf(7, 0));
    if features.has_named("xsave") {
        entries.extend(supported.iter().filter(|entry| entry.function == 0xd));
    }
    if xlevel != 0 {
        entries.push(if amd { vendor(EXTENDED, xlevel) } else { kvm_cpuid_entry2 { eax: xlevel, ..leaf(EXTENDED) } });
        entries.push(kvm_cpuid_entry2 { eax: if amd { signature } else { 0 }, ..leaf(0x8000_0001) });
        let mut brand = [0; 48];
        brand[..model.brand.len()].copy_from_slice(model.brand.as_bytes());
        entries.extend((0..3).map(|n| {
            let [eax, ebx, ecx, edx] = [0, 4, 8, 12].map(|at| dword(&brand, 16 * n + at));
            kvm_cpuid_entry2 { eax, ebx, ecx, edx, ..leaf(0x8000_0002 + n as u32) }
        }));
        if amd {
            // 64 KiB L1s, 2-way; 512 KiB L2, 16-way.
            let l1 = 64 << 24 | 2 << 16 | 1 << 8 | 64;
            entries.push(kvm_cpuid_entry2 { ecx: l1, edx: l1, ..leaf(0x8000_0005) });
            entries.push(kvm_cpuid_entry2 { ecx: 512 << 16 | 8 << 12 | 1 << 8 | 64, ..leaf(0x8000_0006) });
        } else {
            entries.push(kvm_cpuid_entry2 { ecx: 2048 << 16 | 6 << 12 | 64, ..leaf(0x8000_0006) });
        }
        entries.push(leaf(0x8000_0007));
        // Physical address bits of the host, because MTRR masks must agree with them. Without long mode at most 36, and 0
        // linear address bits: KVM accepts only 0, 48 and 57.
        let host_bits = find(supported, 0x8000_0008).map_or(36, |entry| entry.eax & 0xff);
        let eax = if features.has_named("lm") { 48 << 8 | host_bits } else { host_bits.min(36) };
        entries.push(kvm_cpuid_entry2 { eax, ..leaf(0x8000_0008) });
    }
    entries.retain(|entry| entry.function <= level || (EXTENDED..=xlevel).contains(&entry.function));
    entries
}

fn dword(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Leaf 1 EAX: family, model and stepping.
fn signature(model: &NamedModel) -> u32 {
    let (family, extended) = if model.family > 15 { (15, model.family - 15) } else { (model.family, 0) };
    extended << 20 | model.model >> 4 << 16 | family << 8 | (model.model & 0xf) << 4 | model.stepping
}

/// Sets feature bits, and fields that depend on the vCPU's APIC id and on the topology.
fn set_features_and_topology(entry: &mut kvm_cpuid_entry2, features: &Features, apic: &ApicTopology, amd: bool) {
    if entry.index == 0 {
        for word in Word::ALL {
            let (leaf, register) = word.location();
            if leaf == entry.function {
                *(match register {
                    Register::Ebx => &mut entry.ebx,
                    Register::Ecx => &mut entry.ecx,
                    Register::Edx => &mut entry.edx,
                }) = features.word(word);
            }
        }
    }
    // Number of APIC ids that share a cache of this level, minus one (bits 25:14).
    let sharers = |eax: u32| {
        let bits = if eax >> 5 & 7 >= 3 { apic.package_bits() } else { apic.thread_bits };
        (1u32 << bits) - 1
    };
    match entry.function {
        1 => {
            const CLFLUSH_QUADWORDS: u32 = 8;
            let count = if apic.siblings() > 1 { 1 << apic.package_bits() } else { 0 };
            let line = if features.has_named("clflush") { CLFLUSH_QUADWORDS } else { 0 };
            entry.ebx = apic.apic_id << 24 | count << 16 | line << 8;
        }
        4 if entry.eax & 0x1f != 0 => {
            let cores = ((1u32 << apic.core_bits) - 1).min(63);
            entry.eax = entry.eax & 0x3fff | sharers(entry.eax) << 14 | cores << 26;
        }
        0x8000_0008 => {
            entry.ecx = if amd { (apic.siblings() - 1).min(255) | apic.package_bits() << 12 } else { 0 };
        }
        0x8000_001d if entry.eax & 0x1f != 0 => {
            entry.eax = entry.eax & 0x3fff | sharers(entry.eax) << 14;
        }
        0x8000_001e => {
            entry.eax = apic.apic_id;
            let core = apic.apic_id >> apic.thread_bits & ((1 << apic.core_bits) - 1);
            entry.ebx = core | (apic.threads - 1) << 8;
            entry.ecx = apic.apic_id >> apic.package_bits() & 0xff;
        }
        _ => {}
    }
}

/// Adds the topology leaves Bh and 1Fh if the largest basic leaf includes them.
fn push_topology(entries: &mut Vec<kvm_cpuid_entry2>, apic: &ApicTopology) {
    const SMT: u32 = 1;
    const CORE: u32 = 2;
    let level = find(entries, 0).map_or(0, |entry| entry.eax);
    for function in [0xb, 0x1f].into_iter().filter(|&function| function <= level) {
        let levels = [
            (0, apic.thread_bits, apic.threads, SMT << 8),
            (1, apic.package_bits(), apic.siblings(), CORE << 8),
            (2, 0, 0, 0),
        ];
        entries.extend(levels.map(|(index, eax, ebx, kind)| kvm_cpuid_entry2 {
            eax,
            ebx,
            ecx: kind | index,
            edx: apic.apic_id,
            ..subleaf(function, index)
        }));
    }
}

#[cfg(test)]
mod tests;
