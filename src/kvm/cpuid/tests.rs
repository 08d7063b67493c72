use super::*;
use crate::config::cpu_model::MODELS;
use std::collections::BTreeSet;

fn topology(sockets: u32, cores: u32, threads: u32) -> CpuConfig {
    CpuConfig { count: sockets * cores * threads, sockets, cores, threads, model: CpuModel::default() }
}

/// Supported CPUID leaves of a made-up host.
fn host(vendor: Vendor) -> Vec<kvm_cpuid_entry2> {
    let id = vendor.id();
    let name = |function, eax| kvm_cpuid_entry2 {
        eax,
        ebx: dword(id, 0),
        edx: dword(id, 4),
        ecx: dword(id, 8),
        ..leaf(function)
    };
    let all = kvm_cpuid_entry2 { ebx: !0, ecx: !0, edx: !0, ..leaf(1) };
    let mut entries = vec![name(0, 0x1f), kvm_cpuid_entry2 { eax: 0x906ea, ..all }];
    entries.push(kvm_cpuid_entry2 { eax: 0x1c00_4121, ebx: 0x1c0_003f, ecx: 63, ..subleaf(4, 0) });
    entries.push(kvm_cpuid_entry2 { eax: 0x1c03_c163, ebx: 0x3c0_003f, ecx: 0x2fff, ..subleaf(4, 1) });
    entries.push(kvm_cpuid_entry2 { eax: 4, ..leaf(6) });
    entries.push(kvm_cpuid_entry2 { eax: 1, ebx: !0, ecx: !0, edx: !0, ..subleaf(7, 0) });
    entries.push(kvm_cpuid_entry2 { eax: 0x10, ..subleaf(7, 1) });
    entries.push(kvm_cpuid_entry2 { edx: 99, ..subleaf(0xb, 0) });
    entries.push(kvm_cpuid_entry2 { eax: 7, ebx: 0x340, ecx: 0x340, ..subleaf(0xd, 0) });
    entries.push(kvm_cpuid_entry2 { edx: 99, ..subleaf(0x1f, 0) });
    entries.push(kvm_cpuid_entry2 { eax: 0x4000_0001, ebx: dword(b"KVMK", 0), ..leaf(HYPERVISOR) });
    entries.push(kvm_cpuid_entry2 { eax: 0x0100_7efb, ..leaf(HYPERVISOR + 1) });
    entries.push(name(EXTENDED, 0x8000_001f));
    entries.push(kvm_cpuid_entry2 { ecx: !0, edx: !0, ..leaf(0x8000_0001) });
    entries.push(kvm_cpuid_entry2 { edx: 1 << 8, ..leaf(0x8000_0007) });
    entries.push(kvm_cpuid_entry2 { eax: 0x3028, ecx: 0x4f, ..leaf(0x8000_0008) });
    entries.push(kvm_cpuid_entry2 { eax: 0x4121, ..subleaf(0x8000_001d, 0) });
    entries.push(kvm_cpuid_entry2 { eax: 99, ..leaf(0x8000_001e) });
    entries
}

fn made(model: &str, host_vendor: Vendor, index: u32, cpus: &CpuConfig) -> Vec<kvm_cpuid_entry2> {
    cpuid_for(&host(host_vendor), &model.parse().unwrap(), index, cpus).unwrap().entries.as_slice().to_vec()
}

fn get(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
    *entries.iter().find(|e| e.function == function && e.index == index).unwrap_or_else(|| panic!("{function:x}"))
}

#[test]
fn apic_ids_are_unique_and_fit_the_xapic_for_every_topology() {
    for sockets in 1..=64 {
        for cores in 1..=64 / sockets {
            for threads in 1..=64 / sockets / cores {
                let cpus = topology(sockets, cores, threads);
                let ids: BTreeSet<_> = (0..cpus.count).map(|index| apic_id(index, &cpus)).collect();
                assert_eq!(ids.len() as u32, cpus.count);
                let largest = u32::from(*ids.last().unwrap());
                let exact =
                    (sockets - 1) << (width(cores) + width(threads)) | (cores - 1) << width(threads) | (threads - 1);
                assert_eq!(largest, exact, "the largest id does not follow from the largest numbers");
                assert!(largest < 255, "255 is the broadcast id");
            }
        }
    }
}

#[test]
fn every_model_keeps_its_signature_on_hosts_of_both_vendors() {
    for host_vendor in [Vendor::Intel, Vendor::Amd] {
        for model in &MODELS {
            let entries = made(model.name, host_vendor, 0, &topology(1, 1, 1));
            let zero = get(&entries, 0, 0);
            assert_eq!(zero.ebx, dword(model.vendor.id(), 0));
            assert_eq!(zero.eax, model.level);
            for entry in &entries {
                let function = entry.function;
                assert!(
                    function <= model.level
                        || (EXTENDED..=model.xlevel).contains(&function)
                        || (HYPERVISOR..HYPERVISOR + 2).contains(&function),
                    "{}: {function:x}",
                    model.name
                );
            }
            let keys: BTreeSet<_> = entries.iter().map(|e| (e.function, e.index)).collect();
            assert_eq!(keys.len(), entries.len(), "{}: a leaf appears twice", model.name);
        }
    }
    for (name, signature) in [("486", 0x480), ("pentium3", 0x683), ("qemu64", 0x60fb1), ("Nehalem", 0x106a3)] {
        assert_eq!(get(&made(name, Vendor::Intel, 0, &topology(1, 1, 1)), 1, 0).eax, signature, "{name}");
    }
}

#[test]
fn old_models_stop_at_leaf_two_for_windows_nt() {
    for name in ["486", "pentium", "pentium2", "pentium3", "athlon"] {
        assert!(get(&made(name, Vendor::Intel, 0, &topology(1, 1, 1)), 0, 0).eax <= 2, "{name}");
    }
}

#[test]
fn the_host_model_shows_the_guests_topology_and_not_the_hosts() {
    let cpus = topology(2, 3, 2);
    let entries = made("host", Vendor::Intel, 9, &cpus);
    // vCPU 9: socket 1, core 1, thread 1.
    let id = 1 << 3 | 1 << 1 | 1;
    let one = get(&entries, 1, 0);
    assert_eq!(one.ebx, id << 24 | 8 << 16 | 8 << 8);
    assert_eq!((one.edx >> 28 & 1, one.ecx >> 27 & 1, one.ecx >> 31), (1, 0, 1), "HTT, OSXSAVE, hypervisor");
    assert_eq!(get(&entries, 4, 0).eax, 3 << 26 | 1 << 14 | 0x121);
    assert_eq!(get(&entries, 4, 1).eax, 3 << 26 | 7 << 14 | 0x163);
    for function in [0xb, 0x1f] {
        let level = |n| {
            let e = get(&entries, function, n);
            (e.eax, e.ebx, e.ecx, e.edx)
        };
        assert_eq!(level(0), (1, 2, 0x100, id));
        assert_eq!(level(1), (3, 6, 0x201, id));
        assert_eq!(level(2), (0, 0, 2, id));
    }
    assert_eq!(get(&entries, 7, 0).ecx & OSPKE, 0);
    assert_eq!(get(&entries, 7, 1).eax, 0x10);

    let entries = made("host", Vendor::Amd, 9, &cpus);
    assert_eq!(get(&entries, 0x8000_0008, 0).ecx, 3 << 12 | 5);
    let node = get(&entries, 0x8000_001e, 0);
    assert_eq!((node.eax, node.ebx, node.ecx), (id, 1 | 1 << 8, 1));
    assert_eq!(get(&entries, 0x8000_0001, 0).ecx >> 1 & 1, 1, "CmpLegacy");
}

#[test]
fn a_single_vcpu_has_no_siblings() {
    let entries = made("host", Vendor::Intel, 0, &topology(1, 1, 1));
    let one = get(&entries, 1, 0);
    assert_eq!((one.ebx >> 16, one.edx >> 28 & 1), (0, 0));
}

#[test]
fn kvm_and_the_hypervisor_can_be_hidden() {
    let shown = |model: &str| {
        let entries = made(model, Vendor::Intel, 0, &topology(1, 1, 1));
        (get(&entries, 1, 0).ecx >> 31 == 1, entries.iter().any(|e| e.function == HYPERVISOR))
    };
    assert_eq!(shown("host"), (true, true));
    assert_eq!(shown("486"), (true, true));
    assert_eq!(shown("host,-kvm"), (true, false));
    assert_eq!(shown("pentium3,-hypervisor"), (false, true));
    assert_eq!(shown("pentium3,-hypervisor,kvm=off"), (false, false));
}

#[test]
fn an_unsupported_feature_of_a_model_is_reported_and_an_added_one_is_refused() {
    let mut poor = host(Vendor::Intel);
    for entry in &mut poor {
        if entry.function == 1 {
            entry.ecx &= !(1 << 20);
        }
    }
    let cpus = topology(1, 1, 1);
    let nehalem = cpuid_for(&poor, &"Nehalem".parse().unwrap(), 0, &cpus).unwrap();
    assert_eq!(nehalem.missing, ["sse4-2"]);
    assert_eq!(get(nehalem.entries.as_slice(), 1, 0).ecx >> 20 & 1, 0);
    let refused = cpuid_for(&poor, &"Nehalem,+sse4.2".parse().unwrap(), 0, &cpus).unwrap_err();
    assert_eq!(refused.to_string(), "--cpu: this host's KVM does not support sse4-2");
    assert!(cpuid_for(&host(Vendor::Intel), &"Nehalem".parse().unwrap(), 0, &cpus).unwrap().missing.is_empty());
}

#[test]
fn an_added_feature_extends_the_leaves() {
    let cpus = topology(1, 1, 1);
    let entries = made("pentium3,+avx2,+xsave,+avx,+lm", Vendor::Intel, 0, &cpus);
    assert_eq!(get(&entries, 0, 0).eax, 0xd);
    assert_eq!(get(&entries, 7, 0).ebx, 1 << 5);
    assert_eq!(get(&entries, 0xd, 0).ebx, 0x340);
    assert_eq!(get(&entries, EXTENDED, 0).eax, 0x8000_0001);
    assert_eq!(get(&entries, 0x8000_0001, 0).edx, 1 << 29);
}

#[test]
fn removing_a_feature_removes_its_dependents() {
    let entries = made("host,-xsave", Vendor::Intel, 0, &topology(1, 1, 1));
    assert_eq!(get(&entries, 1, 0).ecx >> 28 & 1, 0, "AVX");
    assert_eq!(get(&entries, 7, 0).ebx & (1 << 5 | 1 << 16 | 1 << 31), 0, "AVX2, AVX-512");
    assert!(!entries.iter().any(|e| e.function == 0xd));
}

#[test]
fn an_amd_model_duplicates_leaf_1_features_in_leaf_80000001h() {
    let entries = made("qemu64", Vendor::Intel, 0, &topology(1, 1, 1));
    let (one, extended) = (get(&entries, 1, 0).edx, get(&entries, 0x8000_0001, 0).edx);
    assert_eq!(extended & AMD_DUPLICATED, one & AMD_DUPLICATED);
    assert_eq!(extended >> 29 & 1, 1, "long mode");
}

#[test]
fn kvm_accepts_the_leaves_of_every_model() {
    let kvm = kvm_ioctls::Kvm::new().expect("these tests need /dev/kvm");
    let supported = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES).unwrap();
    let vm = kvm.create_vm().unwrap();
    vm.create_irq_chip().unwrap();
    let cpus = topology(1, 2, 2);
    let names = ["host", "host,-kvm"].into_iter().chain(MODELS.iter().map(|model| model.name));
    for (index, name) in names.enumerate() {
        let made = cpuid_for(supported.as_slice(), &name.parse().unwrap(), index as u32 % 4, &cpus).unwrap();
        let vcpu = vm.create_vcpu(index as u64).unwrap();
        vcpu.set_cpuid2(&made.entries).unwrap_or_else(|error| panic!("{name}: {error}"));
        let back = vcpu.get_cpuid2(kvm_bindings::KVM_MAX_CPUID_ENTRIES).unwrap();
        assert_eq!(get(back.as_slice(), 0, 0).ebx, get(made.entries.as_slice(), 0, 0).ebx, "{name}");
    }
}
