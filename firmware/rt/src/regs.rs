//! Register frame of the caller of a software interrupt.

/// Bits of FLAGS, the low half of EFLAGS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags;

impl Flags {
    /// Carry.
    pub const CF: u16 = 1 << 0;
    /// Zero.
    pub const ZF: u16 = 1 << 6;
    /// Trap.
    pub const TF: u16 = 1 << 8;
    /// Interrupts enabled.
    pub const IF: u16 = 1 << 9;
    /// Direction.
    pub const DF: u16 = 1 << 10;
}

/// Registers of the caller of an interrupt. The entry code (`entry`) builds this frame on the firmware's stack and
/// loads the registers from it before it returns, so the layout is fixed. Handlers must not change `esp` and `ss`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Regs {
    /// GS.
    pub gs: u16,
    /// FS.
    pub fs: u16,
    /// ES.
    pub es: u16,
    /// DS.
    pub ds: u16,
    /// EDI.
    pub edi: u32,
    /// ESI.
    pub esi: u32,
    /// EBP.
    pub ebp: u32,
    /// ESP as PUSHAD pushes it. Unused.
    pub pushed_esp: u32,
    /// EBX.
    pub ebx: u32,
    /// EDX.
    pub edx: u32,
    /// ECX.
    pub ecx: u32,
    /// EAX.
    pub eax: u32,
    /// FLAGS that IRET loads. The dispatcher copies them from and to the caller's stack.
    pub flags: u16,
    /// Interrupt number.
    pub vector: u16,
    /// The caller's ESP, which points at IP, CS and flags.
    pub esp: u32,
    /// The caller's SS.
    pub ss: u16,
    /// Aligns the size to 4 bytes.
    pub pad: u16,
}

macro_rules! parts {
    ($($word:ident $set_word:ident $high:ident $set_high:ident $low:ident $set_low:ident $whole:ident;)*) => {$(
        #[doc = concat!("Low half of ", stringify!($whole), ".")]
        pub const fn $word(&self) -> u16 { self.$whole as u16 }
        #[doc = concat!("Sets the low half of ", stringify!($whole), ".")]
        pub const fn $set_word(&mut self, value: u16) { self.$whole = self.$whole & !0xffff | value as u32; }
        #[doc = concat!("Bits 8-15 of ", stringify!($whole), ".")]
        pub const fn $high(&self) -> u8 { (self.$whole >> 8) as u8 }
        #[doc = concat!("Sets bits 8-15 of ", stringify!($whole), ".")]
        pub const fn $set_high(&mut self, value: u8) { self.$whole = self.$whole & !0xff00 | (value as u32) << 8; }
        #[doc = concat!("Bits 0-7 of ", stringify!($whole), ".")]
        pub const fn $low(&self) -> u8 { self.$whole as u8 }
        #[doc = concat!("Sets bits 0-7 of ", stringify!($whole), ".")]
        pub const fn $set_low(&mut self, value: u8) { self.$whole = self.$whole & !0xff | value as u32; }
    )*};
}
macro_rules! words {
    ($($word:ident $set_word:ident $whole:ident;)*) => {$(
        #[doc = concat!("Low half of ", stringify!($whole), ".")]
        pub const fn $word(&self) -> u16 { self.$whole as u16 }
        #[doc = concat!("Sets the low half of ", stringify!($whole), ".")]
        pub const fn $set_word(&mut self, value: u16) { self.$whole = self.$whole & !0xffff | value as u32; }
    )*};
}

impl Regs {
    /// All registers 0.
    pub const ZERO: Self = Self {
        gs: 0,
        fs: 0,
        es: 0,
        ds: 0,
        edi: 0,
        esi: 0,
        ebp: 0,
        pushed_esp: 0,
        ebx: 0,
        edx: 0,
        ecx: 0,
        eax: 0,
        flags: 0,
        vector: 0,
        esp: 0,
        ss: 0,
        pad: 0,
    };

    /// Arguments of an interrupt call: AX, and 0 in all other registers.
    pub fn with_ax(ax: u16) -> Self {
        Self { eax: ax.into(), ..Self::default() }
    }

    parts! {
        ax set_ax ah set_ah al set_al eax;
        bx set_bx bh set_bh bl set_bl ebx;
        cx set_cx ch set_ch cl set_cl ecx;
        dx set_dx dh set_dh dl set_dl edx;
    }
    words! {
        si set_si esi;
        di set_di edi;
        bp set_bp ebp;
        sp set_sp esp;
    }

    /// Sets or clears a flag for the caller.
    pub const fn set_flag(&mut self, flag: u16, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }

    /// Whether the flag is set.
    pub const fn flag(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Sets or clears the carry flag, by which most services report failure.
    pub const fn set_cf(&mut self, on: bool) {
        self.set_flag(Flags::CF, on);
    }

    /// Whether the carry flag is set.
    pub const fn cf(&self) -> bool {
        self.flag(Flags::CF)
    }
}
