//! The four functions that compiled code calls for memory (the C standard's, section 7.24), by string instructions. DS and
//! ES are the same segment in all Rust code.

#![allow(unsafe_code, reason = "compiled code calls these four functions by name and with raw pointers")]

use core::arch::asm;

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the caller's promise. ESI is put back.
    unsafe {
        asm!("xchg esi, {from}", "shr ecx, 2", "rep movsd", "mov ecx, {bytes}", "and ecx, 3", "rep movsb", "xchg esi, {from}",
            from = inout(reg) from => _, bytes = in(reg) bytes, inout("edi") to => _, inout("ecx") bytes => _)
    };
    to
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= bytes {
        // SAFETY: the caller's promise; ascending is right when `to` is not inside what is still to be read.
        return unsafe { memcpy(to, from, bytes) };
    }
    // SAFETY: the caller's promise. ESI and the direction flag are put back.
    unsafe {
        asm!("xchg esi, {from}", "std", "rep movsb", "cld", "xchg esi, {from}",
            from = inout(reg) from.wrapping_add(bytes).wrapping_sub(1) => _,
            inout("edi") to.wrapping_add(bytes).wrapping_sub(1) => _, inout("ecx") bytes => _)
    };
    to
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, bytes: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rep stosd", "mov ecx, {rest}", "rep stosb", rest = in(reg) bytes & 3,
            in("eax") u32::from(value as u8) * 0x0101_0101, inout("edi") to => _, inout("ecx") bytes >> 2 => _,
            options(preserves_flags))
    };
    to
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, bytes: usize) -> i32 {
    for n in 0..bytes {
        // SAFETY: the caller's promise. Volatile, so that this loop is not made into a call of itself.
        let (a, b) = unsafe { (one.add(n).read_volatile(), other.add(n).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}
