//! APM interface of the boot information: connects the 32-bit protected mode interface (APM BIOS Interface Specification 1.2,
//! sections 4.6.1 to 4.6.4; Multiboot Specification, section 3.3, `apm_table`).

use crate::info::Info;
use pcvm_firmware_rt::{FarPtr, Hw, Regs};

/// The table's address; `None` without APM.
pub fn table<H: Hw>(hw: &mut H, info: &mut Info) -> Result<Option<FarPtr>, &'static str> {
    const PM: u16 = u16::from_be_bytes(*b"PM");
    const CONNECTED: u8 = 0x02;
    let mut call = |ax| {
        let mut regs = Regs::with_ax(ax);
        hw.call_interrupt(0x15, &mut regs);
        regs
    };
    let found = call(0x5300);
    if found.cf() || found.bx() != PM {
        return Ok(None);
    }
    let connected = call(0x5303);
    if connected.cf() && connected.ah() != CONNECTED {
        return Ok(None);
    }
    let Regs { eax, ebx, ecx, edx, esi, edi, .. } = connected;
    let at = info.block(hw, 20)?;
    let words = [
        found.ax(), // version
        eax as u16, // 32-bit code segment
        ebx as u16, // offset of the entry
        (ebx >> 16) as u16,
        ecx as u16, // 16-bit code segment
        edx as u16, // data segment
        found.cx(), // flags
        esi as u16, // lengths of the three segments
        (esi >> 16) as u16,
        edi as u16,
    ];
    for (n, word) in words.into_iter().enumerate() {
        hw.write16(at.add(2 * n as u16), word);
    }
    Ok(Some(at))
}
