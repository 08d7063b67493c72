//! CPUID feature bits by name (Intel SDM volume 2A, "CPUID"; AMD APM volume 3, appendix E).

/// A CPUID register that consists of feature bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Word {
    /// Leaf 1, EDX.
    L1Edx,
    /// Leaf 1, ECX.
    L1Ecx,
    /// Leaf 7 subleaf 0, EBX.
    L7Ebx,
    /// Leaf 7 subleaf 0, ECX.
    L7Ecx,
    /// Leaf 7 subleaf 0, EDX.
    L7Edx,
    /// Leaf 80000001h, EDX.
    ExtEdx,
    /// Leaf 80000001h, ECX.
    ExtEcx,
    /// Leaf 80000007h, EDX.
    PowerEdx,
}

/// A register of [`kvm_bindings::kvm_cpuid_entry2`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// EBX.
    Ebx,
    /// ECX.
    Ecx,
    /// EDX.
    Edx,
}

impl Word {
    /// All feature registers.
    pub const ALL: [Self; 8] =
        [Self::L1Edx, Self::L1Ecx, Self::L7Ebx, Self::L7Ecx, Self::L7Edx, Self::ExtEdx, Self::ExtEcx, Self::PowerEdx];

    /// Leaf and register. The subleaf is 0.
    pub const fn location(self) -> (u32, Register) {
        match self {
            Self::L1Edx => (1, Register::Edx),
            Self::L1Ecx => (1, Register::Ecx),
            Self::L7Ebx => (7, Register::Ebx),
            Self::L7Ecx => (7, Register::Ecx),
            Self::L7Edx => (7, Register::Edx),
            Self::ExtEdx => (0x8000_0001, Register::Edx),
            Self::ExtEcx => (0x8000_0001, Register::Ecx),
            Self::PowerEdx => (0x8000_0007, Register::Edx),
        }
    }

    /// Names of bits 0 to 31; `-` for a bit that `--cpu` cannot set.
    fn names(self) -> &'static str {
        match self {
            Self::L1Edx => {
                "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov \
                 pat pse36 pn clflush - ds acpi mmx fxsr sse sse2 ss ht tm ia64 pbe"
            }
            Self::L1Ecx => {
                "sse3 pclmulqdq dtes64 monitor ds-cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm \
                 - pcid dca sse4-1 sse4-2 x2apic movbe popcnt tsc-deadline aes xsave - avx f16c rdrand hypervisor"
            }
            Self::L7Ebx => {
                "fsgsbase tsc-adjust sgx bmi1 hle avx2 fdp-excptn-only smep bmi2 erms invpcid rtm - zero-fcs-fds mpx - \
                 avx512f avx512dq rdseed adx smap avx512ifma pcommit clflushopt clwb intel-pt avx512pf avx512er \
                 avx512cd sha-ni avx512bw avx512vl"
            }
            Self::L7Ecx => {
                "prefetchwt1 avx512vbmi umip pku - waitpkg avx512vbmi2 - gfni vaes vpclmulqdq avx512vnni avx512bitalg - \
                 avx512-vpopcntdq - la57 - - - - - rdpid - bus-lock-detect cldemote - movdiri movdir64b enqcmd sgxlc pks"
            }
            Self::L7Edx => {
                "- - avx512-4vnniw avx512-4fmaps fsrm uintr - - avx512-vp2intersect - md-clear - - - serialize - \
                 tsx-ldtrk - - arch-lbr ibt - amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl stibp flush-l1d \
                 arch-capabilities core-capability ssbd"
            }
            Self::ExtEdx => {
                "- - - - - - - - - - - syscall - - - - \
                 - - - mp nx - mmxext - - fxsr-opt pdpe1gb rdtscp - lm 3dnowext 3dnow"
            }
            Self::ExtEcx => {
                "lahf-lm cmp-legacy svm extapic cr8legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp \
                 fma4 tce - nodeid-msr - tbm topoext perfctr-core perfctr-nb - - - perfctr-llc mwaitx - -"
            }
            Self::PowerEdx => "- - - - - - - - invtsc - - - - - - - - - - - - - - - - - - - - - - -",
        }
    }
}

/// A feature bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Feature {
    /// The register.
    pub word: Word,
    /// Bit number, 0 to 31.
    pub bit: u8,
}

impl Feature {
    /// The feature with this name. `_` and `.` count as `-`, and upper case as lower case.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
        let name = match name.as_str() {
            "pni" => "sse3",
            "xd" => "nx",
            "i64" => "lm",
            "htt" => "ht",
            "ffxsr" => "fxsr-opt",
            "cmpxchg8b" => "cx8",
            "cmpxchg16b" => "cx16",
            "ds-cpl" | "dscpl" => "ds-cpl",
            other => other,
        };
        all().find(|&(known, _)| known == name).map(|(_, feature)| feature)
    }

    /// Name of the feature.
    pub fn name(self) -> &'static str {
        self.word.names().split_ascii_whitespace().nth(self.bit.into()).unwrap_or("-")
    }
}

/// Every feature with its name.
pub fn all() -> impl Iterator<Item = (&'static str, Feature)> {
    Word::ALL.into_iter().flat_map(|word| {
        let bits = word.names().split_ascii_whitespace().zip(0u8..);
        bits.filter(|&(name, _)| name != "-").map(move |(name, bit)| (name, Feature { word, bit }))
    })
}

/// The values of all feature registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features([u32; Word::ALL.len()]);

impl Features {
    /// The features of a list of names, separated by spaces. Unknown names are ignored.
    pub fn from_names(names: &str) -> Self {
        let mut features = Self::default();
        for feature in names.split_ascii_whitespace().filter_map(Feature::named) {
            features.set(feature, true);
        }
        features
    }

    /// The value of a register.
    pub fn word(&self, word: Word) -> u32 {
        self.0[word as usize]
    }

    /// The value of a register, mutable.
    pub fn word_mut(&mut self, word: Word) -> &mut u32 {
        &mut self.0[word as usize]
    }

    /// Whether a feature is set.
    pub fn has(&self, feature: Feature) -> bool {
        self.word(feature.word) >> feature.bit & 1 == 1
    }

    /// Whether the feature with this name is set.
    pub fn has_named(&self, name: &str) -> bool {
        Feature::named(name).is_some_and(|feature| self.has(feature))
    }

    /// Sets or clears a feature.
    pub fn set(&mut self, feature: Feature, on: bool) {
        let mask = 1 << feature.bit;
        let word = self.word_mut(feature.word);
        *word = if on { *word | mask } else { *word & !mask };
    }

    /// The features that both have.
    pub fn and(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n] & other.0[n]))
    }

    /// Names of the features that `self` has and `other` lacks.
    pub fn without(&self, other: &Self) -> Vec<&'static str> {
        all().filter(|&(_, f)| self.has(f) && !other.has(f)).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_register_names_32_bits_and_every_name_is_unique() {
        for word in Word::ALL {
            assert_eq!(word.names().split_ascii_whitespace().count(), 32, "{word:?}");
        }
        let names: Vec<_> = all().map(|(name, _)| name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for (name, feature) in all() {
            assert_eq!(Feature::named(name), Some(feature));
            assert_eq!(feature.name(), name);
        }
    }

    #[test]
    fn feature_bits_match_the_manuals() {
        for (name, word, bit) in [
            ("fpu", Word::L1Edx, 0),
            ("apic", Word::L1Edx, 9),
            ("sse2", Word::L1Edx, 26),
            ("ht", Word::L1Edx, 28),
            ("cx16", Word::L1Ecx, 13),
            ("sse4.2", Word::L1Ecx, 20),
            ("x2apic", Word::L1Ecx, 21),
            ("tsc_deadline", Word::L1Ecx, 24),
            ("xsave", Word::L1Ecx, 26),
            ("avx", Word::L1Ecx, 28),
            ("hypervisor", Word::L1Ecx, 31),
            ("avx2", Word::L7Ebx, 5),
            ("smep", Word::L7Ebx, 7),
            ("smap", Word::L7Ebx, 20),
            ("sha-ni", Word::L7Ebx, 29),
            ("avx512vl", Word::L7Ebx, 31),
            ("umip", Word::L7Ecx, 2),
            ("la57", Word::L7Ecx, 16),
            ("rdpid", Word::L7Ecx, 22),
            ("pks", Word::L7Ecx, 31),
            ("fsrm", Word::L7Edx, 4),
            ("md-clear", Word::L7Edx, 10),
            ("spec-ctrl", Word::L7Edx, 26),
            ("ssbd", Word::L7Edx, 31),
            ("syscall", Word::ExtEdx, 11),
            ("nx", Word::ExtEdx, 20),
            ("pdpe1gb", Word::ExtEdx, 26),
            ("lm", Word::ExtEdx, 29),
            ("3dnow", Word::ExtEdx, 31),
            ("lahf_lm", Word::ExtEcx, 0),
            ("svm", Word::ExtEcx, 2),
            ("abm", Word::ExtEcx, 5),
            ("topoext", Word::ExtEcx, 22),
            ("invtsc", Word::PowerEdx, 8),
        ] {
            assert_eq!(Feature::named(name), Some(Feature { word, bit }), "{name}");
        }
    }
}
