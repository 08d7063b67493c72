//! memcpy, memmove, memset and memcmp by string instructions: rustc's code calls them (C11, section 7.24).
//!
//! All Rust code of the firmware runs with DS = ES, which the string instructions rely on.

#![allow(unsafe_code, reason = "compiled code calls these four functions by name and with raw pointers")]

use core::arch::asm;

/// # Safety
/// `from` is valid for reads of `bytes` bytes and `to` for writes, and the two do not overlap.
// SAFETY: the name and the signature are the ones that rustc expects.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the caller guarantees both ranges. ESI, which LLVM reserves, is restored.
    unsafe {
        asm!("xchg esi, {from}", "shr ecx, 2", "rep movsd", "mov ecx, {bytes}", "and ecx, 3", "rep movsb", "xchg esi, {from}",
            from = inout(reg) from => _, bytes = in(reg) bytes, inout("edi") to => _, inout("ecx") bytes => _)
    };
    to
}

/// # Safety
/// `from` is valid for reads of `bytes` bytes and `to` for writes.
// SAFETY: the name and the signature are the ones that rustc expects.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= bytes {
        // SAFETY: the caller guarantees both ranges. An ascending copy is correct if `to` is not within the source
        // range.
        return unsafe { memcpy(to, from, bytes) };
    }
    // SAFETY: the caller guarantees both ranges. ESI, which LLVM reserves, and the direction flag are restored.
    unsafe {
        asm!("xchg esi, {from}", "std", "rep movsb", "cld", "xchg esi, {from}",
            from = inout(reg) from.wrapping_add(bytes).wrapping_sub(1) => _,
            inout("edi") to.wrapping_add(bytes).wrapping_sub(1) => _, inout("ecx") bytes => _)
    };
    to
}

/// # Safety
/// `to` is valid for writes of `bytes` bytes.
// SAFETY: the name and the signature are the ones that rustc expects.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, bytes: usize) -> *mut u8 {
    // SAFETY: the caller guarantees the range.
    unsafe {
        asm!("rep stosd", "mov ecx, {rest}", "rep stosb", rest = in(reg) bytes & 3,
            in("eax") u32::from(value as u8) * 0x0101_0101, inout("edi") to => _, inout("ecx") bytes >> 2 => _,
            options(preserves_flags))
    };
    to
}

/// # Safety
/// `one` and `other` are valid for reads of `bytes` bytes.
// SAFETY: the name and the signature are the ones that rustc expects.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, bytes: usize) -> i32 {
    for n in 0..bytes {
        // SAFETY: the caller guarantees both ranges. Volatile reads keep LLVM from replacing the loop by a call of
        // memcmp.
        let (a, b) = unsafe { (one.add(n).read_volatile(), other.add(n).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}
