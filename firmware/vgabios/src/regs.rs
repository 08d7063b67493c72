//! Register frame of the INT 10h caller.

/// The registers that the entry stub pushed, in memory order from the top of the stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regs {
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
    /// EBX.
    pub ebx: u32,
    /// EDX.
    pub edx: u32,
    /// ECX.
    pub ecx: u32,
    /// EAX.
    pub eax: u32,
}

macro_rules! halves {
    ($($reg:ident: $word:ident $set_word:ident $low:ident $set_low:ident $high:ident $set_high:ident),*) => {
        impl Regs {
            $(
                /// The word register.
                pub const fn $word(&self) -> u16 {
                    self.$reg as u16
                }
                /// Sets the word register.
                pub const fn $set_word(&mut self, value: u16) {
                    self.$reg = self.$reg & 0xffff_0000 | value as u32;
                }
                /// The low byte register.
                pub const fn $low(&self) -> u8 {
                    self.$reg as u8
                }
                /// Sets the low byte register.
                pub const fn $set_low(&mut self, value: u8) {
                    self.$reg = self.$reg & 0xffff_ff00 | value as u32;
                }
                /// The high byte register.
                pub const fn $high(&self) -> u8 {
                    (self.$reg >> 8) as u8
                }
                /// Sets the high byte register.
                pub const fn $set_high(&mut self, value: u8) {
                    self.$reg = self.$reg & 0xffff_00ff | (value as u32) << 8;
                }
            )*
        }
    };
}

halves! {
    eax: ax set_ax al set_al ah set_ah,
    ebx: bx set_bx bl set_bl bh set_bh,
    ecx: cx set_cx cl set_cl ch set_ch,
    edx: dx set_dx dl set_dl dh set_dh
}

impl Regs {
    /// DI.
    pub const fn di(&self) -> u16 {
        self.edi as u16
    }
    /// Sets DI.
    pub const fn set_di(&mut self, value: u16) {
        self.edi = self.edi & 0xffff_0000 | value as u32;
    }
    /// BP.
    pub const fn bp(&self) -> u16 {
        self.ebp as u16
    }
    /// Sets BP.
    pub const fn set_bp(&mut self, value: u16) {
        self.ebp = self.ebp & 0xffff_0000 | value as u32;
    }
}
