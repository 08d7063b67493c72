//! CPUID: what the guest's processors say about themselves.
//!
//! Made from what KVM can give (KVM_GET_SUPPORTED_CPUID), the model that the user wants, and the processor's place.
//! Sources: Intel SDM volume 2A "CPUID", AMD APM volume 3 appendix E.
//!
//! A named model keeps its own vendor on every host. The few instructions that differ between vendors (SYSENTER and
//! SYSCALL outside 64-bit mode) make KVM go by the vendor that the guest sees.

use super::cpu_features::{Feature, Features, Register, Word};
use super::cpu_model::{CpuModel, Named, Vendor};
use crate::config::CpuConfig;
use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

/// The leaves for one processor.
#[derive(Clone, Debug)]
pub struct GuestCpuid {
    /// For KVM_SET_CPUID2.
    pub entries: CpuId,
    /// Features of the model that KVM lacks here and that were left out: worth a warning.
    pub missing: Vec<&'static str>,
}

/// The model cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuidError {
    /// Asked for by name, and KVM has it not.
    #[error("--cpu: this host's KVM has no {0}")]
    Unsupported(&'static str),
    /// More than KVM takes.
    #[error("--cpu: {0} CPUID leaves are more than KVM takes")]
    TooMany(usize),
}

const BASIC_LAST: u32 = 0x1f;
const HYPERVISOR: u32 = 0x4000_0000;
const EXTENDED: u32 = 0x8000_0000;

/// Where a processor is, and how wide the numbers are.
#[derive(Clone, Copy, Debug)]
struct Place {
    apic_id: u32,
    thread_bits: u32,
    core_bits: u32,
    cores: u32,
    threads: u32,
}

impl Place {
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

    /// Logical processors of a package.
    fn siblings(&self) -> u32 {
        self.cores * self.threads
    }

    fn package_bits(&self) -> u32 {
        self.thread_bits + self.core_bits
    }
}

/// The APIC id of processor `index`: thread, core and socket number side by side, each as wide as its count needs
/// (Intel SDM volume 3A, "Hierarchical mapping of CPUID and MSR resources").
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

/// Leaf 1 ECX bit 24. KVM_GET_SUPPORTED_CPUID does not tell it, but KVM_CAP_TSC_DEADLINE_TIMER: who has seen that
/// capability says so here before [`cpuid_for`].
pub fn offer_tsc_deadline(supported: &mut [kvm_cpuid_entry2]) {
    for entry in supported.iter_mut().filter(|entry| entry.function == 1) {
        entry.ecx |= 1 << 24;
    }
}

/// The leaves of processor `index`.
///
/// # Errors
/// If a feature was asked for by `+` that KVM has not.
pub fn cpuid_for(
    supported: &[kvm_cpuid_entry2],
    model: &CpuModel,
    index: u32,
    topology: &CpuConfig,
) -> Result<GuestCpuid, CpuidError> {
    let place = Place::new(index, topology);
    let can = offered(supported);
    let (mut features, missing) = match model.named {
        None => (can, Vec::new()),
        Some(named) => {
            let mut wants = Features::from_names(named.features);
            set(&mut wants, "hypervisor", true);
            (wants.and(&can), wants.without(&can))
        }
    };
    for &(feature, on) in &model.changes {
        if on && !can.has(feature) {
            return Err(CpuidError::Unsupported(feature.name()));
        }
        features.set(feature, on);
    }
    drop_dependents(&mut features);
    // The operating system's own switches: KVM shows them as CR4 has them.
    *features.word_mut(Word::L1Ecx) &= !OSXSAVE;
    *features.word_mut(Word::L7Ecx) &= !OSPKE;
    set(&mut features, "ht", place.siblings() > 1);
    let amd = match model.named {
        Some(named) => named.vendor == Vendor::Amd,
        None => is_amd(supported),
    };
    set(&mut features, "cmp-legacy", amd && place.siblings() > 1);
    if amd {
        let copied = features.word(Word::L1Edx) & AMD_COPIED;
        let edx = features.word_mut(Word::ExtEdx);
        *edx = *edx & !AMD_COPIED | copied;
    }

    let mut entries = match model.named {
        None => host_leaves(supported, &features),
        Some(named) => named_leaves(supported, named, &features),
    };
    for entry in &mut entries {
        adapt(entry, &features, &place, amd);
    }
    push_topology(&mut entries, &place);
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
/// Bits of leaf 1 EDX that AMD repeats in leaf 80000001h EDX.
const AMD_COPIED: u32 = 0x0183_f3ff;

/// What can be had: what KVM says, and what the board itself makes.
fn offered(supported: &[kvm_cpuid_entry2]) -> Features {
    let mut features = Features::default();
    for word in Word::ALL {
        let (leaf, register) = word.place();
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

/// What makes no sense without another feature goes with it.
fn drop_dependents(features: &mut Features) {
    const NEEDS: [(&str, &str); 7] = [
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
    for (feature, dependents) in NEEDS {
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

/// The host's leaves, but for those that are made anew.
fn host_leaves(supported: &[kvm_cpuid_entry2], features: &Features) -> Vec<kvm_cpuid_entry2> {
    let xsave = features.has_named("xsave");
    let topoext = features.has_named("topoext");
    let wanted = |entry: &&kvm_cpuid_entry2| match entry.function {
        // Topology is made by `push_topology`.
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

/// A named model's leaves.
fn named_leaves(supported: &[kvm_cpuid_entry2], model: &Named, features: &Features) -> Vec<kvm_cpuid_entry2> {
    let [b, d, c] = [0, 4, 8].map(|at| dword(model.vendor.id(), at));
    let vendor = |function, eax| kvm_cpuid_entry2 { eax, ebx: b, ecx: c, edx: d, ..leaf(function) };
    let signature = signature(model);
    // A feature that the user added may need a leaf that the model has not.
    let mut level = model.level;
    if [Word::L7Ebx, Word::L7Ecx, Word::L7Edx].iter().any(|&word| features.word(word) != 0) {
        level = level.max(7);
    }
    if features.has_named("xsave") {
        level = level.max(0xd);
    }
    let mut xlevel = model.xlevel;
    if features.word(Word::ExtEdx) & !AMD_COPIED != 0 || features.word(Word::ExtEcx) != 0 {
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
    // The APIC timer runs always.
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
        // Physical bits as the host has them, for MTRR masks must agree with it; 36, and no linear bits (of which KVM
        // takes only 0, 48 and 57), where there is no long mode.
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

/// Leaf 1 EAX.
fn signature(model: &Named) -> u32 {
    let (family, extended) = if model.family > 15 { (15, model.family - 15) } else { (model.family, 0) };
    extended << 20 | model.model >> 4 << 16 | family << 8 | (model.model & 0xf) << 4 | model.stepping
}

/// Sets features and what depends on the processor's place.
fn adapt(entry: &mut kvm_cpuid_entry2, features: &Features, place: &Place, amd: bool) {
    if entry.index == 0 {
        for word in Word::ALL {
            let (leaf, register) = word.place();
            if leaf == entry.function {
                *(match register {
                    Register::Ebx => &mut entry.ebx,
                    Register::Ecx => &mut entry.ecx,
                    Register::Edx => &mut entry.edx,
                }) = features.word(word);
            }
        }
    }
    // How many APIC ids, less one, the sharers of a cache of this level take (field 25:14).
    let sharers = |eax: u32| {
        let bits = if eax >> 5 & 7 >= 3 { place.package_bits() } else { place.thread_bits };
        (1u32 << bits) - 1
    };
    match entry.function {
        1 => {
            const CLFLUSH_QUADWORDS: u32 = 8;
            let count = if place.siblings() > 1 { 1 << place.package_bits() } else { 0 };
            let line = if features.has_named("clflush") { CLFLUSH_QUADWORDS } else { 0 };
            entry.ebx = place.apic_id << 24 | count << 16 | line << 8;
        }
        4 if entry.eax & 0x1f != 0 => {
            let cores = ((1u32 << place.core_bits) - 1).min(63);
            entry.eax = entry.eax & 0x3fff | sharers(entry.eax) << 14 | cores << 26;
        }
        0x8000_0008 => {
            entry.ecx = if amd { (place.siblings() - 1).min(255) | place.package_bits() << 12 } else { 0 };
        }
        0x8000_001d if entry.eax & 0x1f != 0 => {
            entry.eax = entry.eax & 0x3fff | sharers(entry.eax) << 14;
        }
        0x8000_001e => {
            entry.eax = place.apic_id;
            let core = place.apic_id >> place.thread_bits & ((1 << place.core_bits) - 1);
            entry.ebx = core | (place.threads - 1) << 8;
            entry.ecx = place.apic_id >> place.package_bits() & 0xff;
        }
        _ => {}
    }
}

/// Leaves Bh and 1Fh, where the level reaches them.
fn push_topology(entries: &mut Vec<kvm_cpuid_entry2>, place: &Place) {
    const SMT: u32 = 1;
    const CORE: u32 = 2;
    let level = find(entries, 0).map_or(0, |entry| entry.eax);
    for function in [0xb, 0x1f].into_iter().filter(|&function| function <= level) {
        let levels = [
            (0, place.thread_bits, place.threads, SMT << 8),
            (1, place.package_bits(), place.siblings(), CORE << 8),
            (2, 0, 0, 0),
        ];
        entries.extend(levels.map(|(index, eax, ebx, kind)| kvm_cpuid_entry2 {
            eax,
            ebx,
            ecx: kind | index,
            edx: place.apic_id,
            ..subleaf(function, index)
        }));
    }
}

#[cfg(test)]
mod tests;
