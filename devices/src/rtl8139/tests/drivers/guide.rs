//! Realtek's RTL8139 programming guide, as the OSDev wiki retells it: the sequence of DOS packet drivers and hobby
//! systems. No EEPROM, no PHY, no timer.

use super::*;

/// Power on, reset, a ring of 8 KiB + 16 bytes with room for a frame, ROK and TOK unmasked, everything accepted with
/// WRAP, and only then RE and TE.
fn start(bench: &mut Bench<Rtl8139>) {
    let command = bench.config_read(4, 2);
    bench.config_write(4, 2, command | 4);
    bench.outb(CONFIG1, 0);
    reset(bench, 1000);
    bench.outl(RBSTART, RING as u32);
    bench.outw(IMR, 0x0005);
    bench.outl(RCR, 0x8f);
    bench.outb(CR, RE_TE);
}

/// Reads frames from `at` until BUFE. The driver keeps the read offset itself and wraps it.
fn receive(bench: &mut Bench<Rtl8139>, at: &mut u32) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while bench.inb(CR) & BUFE == 0 {
        let header = bench.memory.read_u32(RING + u64::from(*at));
        assert_eq!(header & 1, 1, "ROK");
        let len = header >> 16;
        frames.push(memory(bench, RING + u64::from(*at) + 4, len as usize - 4));
        *at = (*at + len + 4).next_multiple_of(4) % 0x2000;
        bench.outw(CAPR, (*at as u16).wrapping_sub(16));
    }
    frames
}

/// Realtek's programming guide: the literal sequence, with frames in both directions, on both chips.
#[test]
fn the_programming_guides_sequence_exchanges_frames() {
    for chip in [Chip::C, Chip::CPlus] {
        let mut bench = attached_card(chip);
        start(&mut bench);
        let (mut at, mut slot) = (0, 0);
        for frames in traffic(3) {
            bench.receive(NIC, frames.iter().cloned().map(Frame::from));
            assert!(bench.irq(INTA));
            let status = bench.inw(ISR);
            assert_eq!(status & 1, 1);
            bench.outw(ISR, 0x0005);
            assert_eq!(receive(&mut bench, &mut at), frames);
            for bytes in &frames {
                bench.memory.write(SEND, bytes);
                bench.outl(TSAD + 4 * slot, SEND as u32);
                bench.outl(TSD + 4 * slot, bytes.len() as u32);
                // Poll for OWN and TOK.
                assert_eq!(bench.inl(TSD + 4 * slot) & 0xa000, 0xa000);
                slot = (slot + 1) % 4;
            }
            assert_eq!(sent(&mut bench), frames);
            assert_eq!(bench.inw(ISR) & 0x0004, 0x0004);
            bench.outw(ISR, 0x0005);
        }
    }
}
