//! Emulator tests: memory, paging, self-modifying code, incomplete instructions. `kvm::emulation` compares the results of
//! instructions with KVM's.

use super::fuzz::Ram;
use super::paging::Access;
use super::*;

fn ram() -> Ram {
    Ram::new(vec![0; 0x10_0000])
}

/// A CPU with flat 32-bit segments and EIP 1000h.
fn flat(paging: Paging) -> Cpu {
    let segment = Segment { base: 0, limit: u32::MAX, readable: true, writable: true, big: true };
    Cpu::new([0; 8], 0x1000, 2, [segment; 6], paging, true)
}

/// Writes `code` to 1000h and runs a burst of at most `limit` instructions. Returns their number.
fn run(cpu: &mut Cpu, ram: &mut Ram, code: &[u8], limit: u32) -> u32 {
    ram.bytes[0x1000..0x1000 + code.len()].copy_from_slice(code);
    let mut budget = limit;
    while budget > 0 && step(cpu, ram, &mut budget).is_ok() {
        budget = budget.saturating_sub(1);
    }
    limit - budget
}

#[test]
fn a_loop_runs_until_an_instruction_that_is_not_emulated() {
    let (mut cpu, mut ram) = (flat(Paging::default()), ram());
    (cpu.regs[1], cpu.regs[7]) = (4, 0x8_0000);
    // movb (%edi), %ah; stosb; outw %ax, %dx; loop; hlt
    cpu.regs[2] = 0x3ce;
    ram.bytes[0x8_0000..0x8_0004].copy_from_slice(&[1, 2, 3, 4]);
    let done = run(&mut cpu, &mut ram, &[0x8a, 0x27, 0xaa, 0x66, 0xef, 0xe2, 0xf9, 0xf4], 1000);
    assert_eq!((done, cpu.eip), (16, 0x1007));
    assert_eq!((cpu.regs[1], cpu.regs[7], cpu.regs[0]), (0, 0x8_0004, 0x400));
    assert_eq!(ram.out, [0, 1, 0, 2, 0, 3, 0, 4]);
    assert_eq!(ram.bytes[0x8_0000..0x8_0004], [0; 4]);
}

#[test]
fn an_instruction_that_fails_changes_no_register_and_no_flag() {
    let codes: [&[u8]; 12] = [
        &[0xa4],                         // movsb
        &[0xff, 0x07],                   // incl (%edi)
        &[0x01, 0x07],                   // addl %eax, (%edi)
        &[0xd1, 0x07],                   // roll (%edi)
        &[0xf7, 0x1f],                   // negl (%edi)
        &[0x0f, 0x94, 0x07],             // sete (%edi)
        &[0xe8, 0, 1, 0, 0],             // call
        &[0xff, 0xd0],                   // call *%eax
        &[0x50],                         // push %eax
        &[0x87, 0x07],                   // xchgl %eax, (%edi)
        &[0xf0, 0x01, 0x06],             // lock addl %eax, (%esi)
        &[0x66, 0x67, 0x2e, 0x3e, 0x90], // nop with four prefixes, which succeeds
    ];
    for code in codes {
        let (mut cpu, mut ram) = (flat(Paging::default()), ram());
        cpu.regs = [0x1234, 5, 6, 7, 0x9_0004, 8, 0x8_0000, 0x9_0000];
        let before = (cpu.regs, cpu.flags);
        ram.forbidden = 0x9_0000..0x9_1000;
        let done = run(&mut cpu, &mut ram, code, 1);
        assert_eq!((cpu.regs, cpu.flags), before, "{code:x?}");
        assert_eq!(done, u32::from(code.len() == 5 && code[0] == 0x66), "{code:x?}");
    }
}

#[test]
fn a_repeated_instruction_continues_where_it_stopped() {
    let (mut cpu, mut ram) = (flat(Paging::default()), ram());
    (cpu.regs[0], cpu.regs[1], cpu.regs[7]) = (0x55, 100, 0x8_fff0);
    ram.forbidden = 0x9_0000..0x9_1000;
    assert_eq!(run(&mut cpu, &mut ram, &[0xf3, 0xaa, 0xf4], 10), 10);
    assert_eq!((cpu.eip, cpu.regs[1], cpu.regs[7]), (0x1000, 90, 0x8_fffa), "the budget ends the burst");
    run(&mut cpu, &mut ram, &[0xf3, 0xaa, 0xf4], 1000);
    assert_eq!((cpu.eip, cpu.regs[1], cpu.regs[7]), (0x1000, 84, 0x9_0000), "the bus refuses the address");
    ram.forbidden = 0..0;
    run(&mut cpu, &mut ram, &[0xf3, 0xaa, 0xf4], 1000);
    assert_eq!((cpu.eip, cpu.regs[1], cpu.regs[7]), (0x1002, 0, 0x9_0054));
    assert!(ram.bytes[0x8_fff0..0x9_0054].iter().all(|&byte| byte == 0x55));
}

#[test]
fn modified_code_is_fetched_again() {
    let (mut cpu, mut ram) = (flat(Paging::default()), ram());
    // movb $0x41, 0x1008 changes the inc %eax there to inc %ecx.
    run(&mut cpu, &mut ram, &[0xc6, 0x05, 0x08, 0x10, 0, 0, 0x41, 0x90, 0x40, 0xf4], 100);
    assert_eq!((cpu.regs[0], cpu.regs[1]), (0, 1));
}

const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const A: u64 = 0x20;
const D: u64 = 0x40;
const LARGE: u64 = 0x80;

#[test]
fn page_walks_follow_32_bit_and_pae_paging() {
    let mut ram = ram();
    let mut put = |at: usize, entry: u64, len: usize| {
        ram.bytes[at..at + len].copy_from_slice(&entry.to_le_bytes()[..len]);
    };
    // 32-bit paging: a page table, and a 4 MiB page.
    put(0x2_0000, 0x2_1000 | P | W | U | A, 4);
    put(0x2_0004, 0x0040_0000 | P | W | A | D | LARGE, 4);
    put(0x2_1000, 0x3_0000 | P | W | U | A | D, 4);
    put(0x2_1004, 0x3_1000 | P | U | A, 4);
    put(0x2_1008, 0x3_2000 | P | W | A | D, 4);
    put(0x2_100c, 0x3_3000 | P | W | U | A, 4);
    put(0x2_1010, 0x3_4000 | P | W | U, 4);
    put(0x2_1014, 0x3_5000 | W | U | A | D, 4);
    // PAE paging.
    put(0x2_2000, 0x2_3000 | P, 8);
    put(0x2_3000, 0x2_4000 | P | W | U | A, 8);
    put(0x2_3008, 0x20_0000 | P | W | U | A | D | LARGE, 8);
    put(0x2_4000, 0x5_0000 | P | W | U | A | D | 1 << 63, 8);
    put(0x2_4008, 1 << 32 | P | W | U | A | D, 8);
    let two = Paging { pg: true, pse: true, cr3: 0x2_0000, ..Paging::default() };
    let user = Paging { user: true, ..two };
    let protected = Paging { wp: true, ..two };
    let three = Paging { pg: true, pae: true, nxe: true, cr3: 0x2_2000, ..Paging::default() };
    let mut page = |paging: Paging, linear, access| paging.translate(&mut ram, linear, access).ok();
    use Access::{Fetch, Read, Write};
    assert_eq!(page(Paging::default(), 0xffff_f123, Write), Some(0xffff_f000));
    assert_eq!([page(two, 0x123, Read), page(user, 0x123, Write)], [Some(0x3_0000); 2]);
    assert_eq!([page(two, 0x1000, Read), page(two, 0x1000, Write)], [Some(0x3_1000), None], "the dirty bit is clear");
    assert_eq!([page(user, 0x1000, Read), page(user, 0x1000, Write)], [Some(0x3_1000), None]);
    assert_eq!([page(two, 0x2000, Write), page(protected, 0x2000, Write)], [Some(0x3_2000); 2]);
    assert_eq!(page(user, 0x2000, Read), None, "a supervisor page");
    assert_eq!([page(two, 0x3000, Read), page(two, 0x3000, Write)], [Some(0x3_3000), None], "the dirty bit is clear");
    assert_eq!([page(two, 0x4000, Read), page(two, 0x5000, Read)], [None; 2], "the accessed bit is clear; not present");
    assert_eq!([page(two, 0x0041_2345, Fetch), page(user, 0x0041_2345, Read)], [Some(0x0041_2000), None]);
    assert_eq!(
        page(Paging { pse: false, ..two }, 0x0041_2345, Read),
        None,
        "without PSE the entry is a page table outside RAM"
    );
    assert_eq!([page(three, 0x10, Write), page(three, 0x10, Fetch)], [Some(0x5_0000), None], "the NX bit is set");
    assert_eq!(page(three, 0x1000, Read), None, "above 4 GiB");
    assert_eq!(page(three, 0x0020_1000, Fetch), Some(0x0020_1000));
    assert_eq!(page(three, 0x4000_0000, Read), None);
    // CR0.WP makes a read-only page read-only for the supervisor.
    ram.bytes[0x2_1004] |= D as u8;
    assert_eq!([two, protected].map(|paging| paging.translate(&mut ram, 0x1000, Write).is_ok()), [true, false]);
}

#[test]
fn an_operand_is_translated_unless_it_crosses_a_page() {
    let mut ram = ram();
    for (at, entry) in
        [(0x2_0000, 0x2_1000 | P | W | A), (0x2_1004, 0x1000 | P | A), (0x2_1008, 0x8_0000 | P | W | A | D)]
    {
        ram.bytes[at..at + 4].copy_from_slice(&(entry as u32).to_le_bytes());
    }
    let mut cpu = flat(Paging { pg: true, cr3: 0x2_0000, ..Paging::default() });
    // movl %eax, (%edi); movl (%edi), %ecx; inc %edi; movl (%edi), %ecx across the page boundary
    (cpu.regs[0], cpu.regs[7]) = (0x1234_5678, 0x2ffc);
    assert_eq!(run(&mut cpu, &mut ram, &[0x89, 0x07, 0x8b, 0x0f, 0x47, 0x8b, 0x0f], 100), 3);
    assert_eq!((cpu.regs[1], cpu.eip), (0x1234_5678, 0x1005));
    assert_eq!(ram.bytes[0x8_0ffc..0x8_1000], 0x1234_5678_u32.to_le_bytes());
}

#[test]
fn random_code_does_not_panic() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let done: u32 = (0..600).map(|_| fuzz(&(0..1000).map(|_| next()).collect::<Vec<_>>())).sum();
    assert!(done > 100, "{done}");
}

#[test]
fn short_bursts_back_off_and_a_long_burst_resets_the_backoff() {
    let mut backoff = Backoff::default();
    let mut bursts = 0;
    for _ in 0..10_000 {
        if backoff.should_run() {
            bursts += 1;
            backoff.record(3);
        }
    }
    assert!((10..30).contains(&bursts), "{bursts}");
    while !backoff.should_run() {}
    backoff.record(500);
    assert!(backoff.should_run());
}
