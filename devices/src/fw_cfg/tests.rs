use super::*;
use crate::testing::{Bench, generic_tests};

fn device() -> FwCfg {
    let mut items = FwCfgItems::default();
    items.keys.insert(0x05, vec![4, 0]);
    items.keys.insert(KEY_ARCH_LOCAL | 1, b"local".to_vec());
    items.files.insert("etc/e820".into(), (0..=99).collect());
    items.files.insert("bootorder".into(), b"/pci@i0cf8\0".to_vec());
    items.files.insert("n".repeat(80), vec![1]);
    FwCfg::new(items)
}

fn item(bench: &mut Bench<FwCfg>, key: u16, len: usize) -> Vec<u8> {
    bench.outw(0x510, key);
    let mut data = vec![0xee; len];
    bench.ins(0x511, 1, &mut data);
    data
}

/// Starts a DMA access and returns the control word that the device writes back.
fn dma(bench: &mut Bench<FwCfg>, control: u32, length: u32, address: u64) -> u32 {
    let mut access = control.to_be_bytes().to_vec();
    access.extend(length.to_be_bytes());
    access.extend(address.to_be_bytes());
    bench.memory.write(0x1000, &access);
    bench.outl(0x514, 0);
    bench.outl(0x518, 0x1000_u32.swap_bytes());
    bench.memory.read_u32(0x1000).swap_bytes()
}

#[test]
fn generic_device_tests_pass() {
    generic_tests(|| FwCfg::new(FwCfgItems::default()));
}

#[test]
fn the_registers_are_named() {
    let device = device();
    for width in [1, 2, 4] {
        for (tag, offset, name) in [
            (TAG_SELECTOR, 0, Some("Selector")),
            (TAG_DATA, 0, Some("Data")),
            (TAG_DMA, 0, Some("DMA Address High")),
            (TAG_DMA, 7, Some("DMA Address Low")),
            (TAG_DMA, 8, None),
        ] {
            assert_eq!(device.register_name(Access { tag, offset, width }), name, "tag {tag} offset {offset}");
        }
    }
}

#[test]
fn the_data_port_reads_the_selected_item() {
    let mut bench = Bench::new(device());
    assert_eq!(item(&mut bench, 0, 4), b"QEMU");
    assert_eq!(item(&mut bench, 1, 4), [3, 0, 0, 0]);
    assert_eq!(item(&mut bench, 5, 2), [4, 0]);
    assert_eq!(item(&mut bench, 0x8001, 5), b"local", "an arch-local key selects its own item");
    assert_eq!(item(&mut bench, 0x4005, 2), [4, 0], "the write bit is ignored");
    bench.outw(0x510, 0);
    assert_eq!([bench.inb(0x511), bench.inb(0x511)], *b"QE", "byte by byte");
}

#[test]
fn the_directory_lists_files_in_the_order_of_their_names() {
    let mut bench = Bench::new(device());
    let directory = item(&mut bench, 0x19, 4 + 3 * 64);
    assert_eq!(directory[..4], [0, 0, 0, 3]);
    let mut names = Vec::new();
    for entry in directory[4..].chunks(64) {
        let size = u32::from_be_bytes(entry[..4].try_into().unwrap());
        let key = u16::from_be_bytes(entry[4..6].try_into().unwrap());
        let name = String::from_utf8(entry[8..].split(|&b| b == 0).next().unwrap().to_vec()).unwrap();
        assert_eq!(entry[63], 0, "names are terminated by 0");
        names.push((name, key, size));
    }
    let long = "n".repeat(55);
    assert_eq!(names, [("bootorder".into(), 0x20, 11), ("etc/e820".into(), 0x21, 100), (long, 0x22, 1)]);
    assert_eq!(item(&mut bench, 0x20, 11), b"/pci@i0cf8\0");
}

/// CVE-2016-1714.
#[test]
fn bytes_past_the_end_of_an_item_read_zero() {
    let mut bench = Bench::new(device());
    assert_eq!(item(&mut bench, 5, 5), [4, 0, 0, 0, 0]);
    assert_eq!(item(&mut bench, 0x0666, 3), [0; 3], "an unknown key");
    bench.outw(0x510, 0x21);
    for _ in 0..1000 {
        let mut data = [0; 4096];
        bench.ins(0x511, 4, &mut data);
    }
    assert_eq!(bench.inb(0x511), 0);
    let control = dma(&mut bench, 1 << 2, u32::MAX, 0);
    assert_eq!((control, bench.inb(0x511)), (0, 0), "skipping does not wrap");
}

#[test]
fn dma_has_a_signature_and_selects_reads_and_skips() {
    let mut bench = Bench::new(device());
    assert_eq!(bench.inl(0x514).to_le_bytes(), *b"QEMU");
    assert_eq!(bench.inl(0x518).to_le_bytes(), *b" CFG");
    bench.memory.write(0x2000, &[0xee; 128]);
    assert_eq!(dma(&mut bench, 0x21 << 16 | 1 << 3 | 1 << 1, 10, 0x2000), 0);
    assert_eq!(dma(&mut bench, 1 << 2, 10, 0), 0);
    assert_eq!(dma(&mut bench, 1 << 1, 4, 0x2010), 0);
    assert_eq!(dma(&mut bench, 0x05 << 16 | 1 << 3 | 1 << 1, 4, 0x2020), 0);
    let mut data = [0; 0x28];
    bench.memory.read(0x2000, &mut data);
    assert_eq!(data[..11], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xee]);
    assert_eq!(data[0x10..0x15], [20, 21, 22, 23, 0xee]);
    assert_eq!(data[0x20..0x25], [4, 0, 0, 0, 0xee]);
}

#[test]
fn a_rejected_dma_sets_the_error_bit() {
    let mut bench = Bench::new(device());
    assert_eq!(dma(&mut bench, 1 << 4, 4, 0x2000), 1, "items are read-only");
    assert_eq!(dma(&mut bench, 1 << 1, u32::MAX, 0x2000), 1, "4 GiB past the end of the item");
    assert_eq!(dma(&mut bench, 1 << 1, 0x100, u64::MAX - 1), 1, "beyond the address space");
    assert_eq!(dma(&mut bench, 0, u32::MAX, 0), 0, "no operation requested");
}

#[test]
fn dma_to_its_own_structure_and_to_holes_is_harmless() {
    let mut bench = Bench::new(device());
    assert_eq!(dma(&mut bench, 0x21 << 16 | 1 << 3 | 1 << 1, 16, 0x1000), 0, "the control word is written last");
    for at in [0xa_0000_u32, 0xffff_fff0, 0x1f_ffff] {
        bench.outl(0x518, at.swap_bytes());
    }
    bench.outl(0x514, u32::MAX);
    bench.outl(0x518, u32::MAX);
}

#[test]
fn partial_writes_neither_select_nor_start_dma() {
    let mut bench = Bench::new(device());
    bench.outw(0x510, 5);
    bench.outb(0x510, 0);
    bench.outb(0x511, 0);
    bench.memory.write(0x1000, &[0xff; 16]);
    bench.outw(0x51a, 0x0010);
    assert_eq!(bench.inb(0x511), 4);
    assert_eq!(bench.memory.read_u32(0x1000), u32::MAX);
}

#[test]
fn a_reset_selects_the_signature() {
    let mut bench = Bench::new(device());
    bench.outw(0x510, 5);
    bench.inb(0x511);
    bench.call(Device::reset);
    assert_eq!(bench.inb(0x511), b'Q');
}

#[test]
fn dma_outside_ram_and_dma_writes_are_guest_errors() {
    let mut bench = Bench::new(device());
    dma(&mut bench, 0x21 << 16 | 1 << 3 | 1 << 1, 16, 0x2000);
    assert_eq!(bench.guest_errors, [""; 0]);
    dma(&mut bench, 1 << 1, 4, 0xa_0000);
    dma(&mut bench, 1 << 4, 4, 0x2000);
    bench.outl(0x514, 0);
    bench.outl(0x518, 0xf000_0000_u32.swap_bytes());
    // A structure outside RAM reads as FFh, which requests a read.
    let expect = [
        "DMA read to an address outside RAM",
        "DMA write, but all items are read-only",
        "DMA structure outside RAM",
        "DMA read to an address outside RAM",
    ];
    assert_eq!(bench.guest_errors, expect);
}
