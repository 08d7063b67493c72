//! Unit tests on headers and tables made here; images of qemu-img are in tests/image.rs.

use super::*;

/// A version 3 header in one cluster of 64 KiB, with an L1 table at 64 KiB and a refcount table at 128 KiB.
fn image() -> Vec<u8> {
    let mut bytes = vec![0; 6 << 16];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &MAGIC);
    put(4, &3_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &(1_u64 << 30).to_be_bytes());
    put(36, &4_u32.to_be_bytes());
    put(40, &0x1_0000_u64.to_be_bytes());
    put(48, &0x2_0000_u64.to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    // Refcount block at 192 KiB: six clusters in use.
    put(0x2_0000, &0x3_0000_u64.to_be_bytes());
    for i in 0..6 {
        put(0x3_0000 + i * 2, &1_u16.to_be_bytes());
    }
    // L2 table at 256 KiB.
    put(0x1_0000, &(0x4_0000_u64 | COPIED).to_be_bytes());
    // Cluster 0 at 320 KiB, cluster 1 zero, cluster 2 unallocated, cluster 3 compressed.
    put(0x4_0000, &(0x5_0000_u64 | COPIED).to_be_bytes());
    put(0x4_0008, &1_u64.to_be_bytes());
    put(0x4_0018, &(1_u64 << 62 | 3 << 54 | 0x5_0123).to_be_bytes());
    bytes
}

fn header(bytes: &[u8]) -> Result<Header, HeaderError> {
    Header::read(bytes)
}

#[test]
fn a_valid_header_is_read() {
    let header = header(&image()).unwrap();
    assert_eq!((header.version, header.size, header.l1_entries), (3, 1 << 30, 4));
    assert!(header.extensions_end);
    assert_eq!(unsupported(&header, Access::Write), None);
    check_for_writing(image().as_slice(), &header).unwrap();
}

#[test]
fn fields_beyond_their_limits_are_refused_by_name() {
    let cases: [(usize, &[u8], &str); 12] = [
        (0, b"QFI\xfa", "is not a qcow2 image"),
        (4, &[0, 0, 0, 4], "has qcow2 version 4"),
        (20, &[0, 0, 0, 8], "cluster_bits is 0x8"),
        (20, &[0, 0, 0, 22], "cluster_bits is 0x16"),
        (24, &[0xff; 8], "l1_size is 0x4, too small"),
        (36, &[0xff; 4], "l1_size is 0xffffffff, more than 32 MiB"),
        (40, &[0, 0, 0, 0, 0, 0, 2, 0], "l1_table_offset is 0x200, not a multiple"),
        (40, &[0xff, 0, 0, 0, 0, 0, 0, 0], "l1_table_offset is 0xff00000000000000, beyond"),
        (56, &[0xff; 4], "refcount_table_clusters is 0xffffffff"),
        (60, &[0xff; 4], "nb_snapshots is 0xffffffff"),
        (96, &[0, 0, 0, 7], "refcount_order is 0x7"),
        (100, &[0, 0, 0, 96], "header_length is 0x60"),
    ];
    for (at, value, text) in cases {
        let mut bytes = image();
        bytes[at..at + value.len()].copy_from_slice(value);
        let error = header(&bytes).unwrap_err().to_string();
        assert!(error.contains(text), "{text}: {error}");
    }
}

#[test]
fn features_that_would_be_served_wrongly_are_refused_by_name() {
    let cases: [(usize, u8, &str); 7] = [
        (35, 1, "encrypted (AES)"),
        (35, 2, "encrypted (LUKS)"),
        (79, 1, "dirty bit"),
        (79, 2, "marked as corrupt"),
        (79, 16, "extended L2"),
        (79, 32, "unknown feature bit 5"),
        (72, 128, "unknown feature bit 63"),
    ];
    for (at, value, text) in cases {
        let mut bytes = image();
        bytes[at] = value;
        let refused = unsupported(&header(&bytes).unwrap(), Access::Read).unwrap().to_string();
        assert!(refused.contains(text), "{text}: {refused}");
    }
}

#[test]
fn a_feature_table_that_makes_imago_panic_is_refused() {
    let mut bytes = image();
    bytes[104..112].copy_from_slice(&[0x68, 0x03, 0xf8, 0x57, 0, 0, 0, 49]);
    let refused = unsupported(&header(&bytes).unwrap(), Access::Read).unwrap();
    assert!(refused.to_string().contains("feature name table of odd size"));
}

#[test]
fn mappings_have_their_kind_and_length() {
    let bytes = image();
    let (header, mut cache) = (header(&bytes).unwrap(), TableCache::default());
    let mut at = |offset, max| map(bytes.as_slice(), &header, &mut cache, offset, max).unwrap();
    assert_eq!(at(0, u64::MAX), (Mapping::Data { host: 0x5_0000 }, 0x1_0000));
    assert_eq!(at(0x1234, 10), (Mapping::Data { host: 0x5_1234 }, 10));
    assert_eq!(at(0x1_0001, u64::MAX), (Mapping::Zero { host: None }, 0xffff));
    assert_eq!(at(0x2_0000, u64::MAX), (Mapping::Unallocated, 0x1_0000));
    // Four sectors from the one with byte 0x123 on.
    assert_eq!(at(0x3_0000, u64::MAX), (Mapping::Compressed { host: 0x5_0123, length: 4 * 512 - 0x123 }, 0x1_0000));
    assert_eq!(at(0x4_0000, u64::MAX), (Mapping::Unallocated, (512 << 20) - 0x4_0000));
    assert_eq!(at(512 << 20, u64::MAX), (Mapping::Unallocated, 512 << 20));
}

#[test]
fn subclusters_have_their_own_mappings() {
    let mut bytes = image();
    bytes[79] = 16;
    // Subclusters 0 and 1 allocated, 2 zero, the rest in the backing file.
    bytes[0x4_0008..0x4_0010].copy_from_slice(&(4_u64 << 32 | 3).to_be_bytes());
    let (header, mut cache) = (header(&bytes).unwrap(), TableCache::default());
    let mut at = |offset, max| map(bytes.as_slice(), &header, &mut cache, offset, max).unwrap();
    assert_eq!(at(0, u64::MAX), (Mapping::Data { host: 0x5_0000 }, 4096));
    assert_eq!(at(4096, u64::MAX), (Mapping::Zero { host: Some(0x5_1000) }, 2048));
    assert_eq!(at(6144, u64::MAX).0, Mapping::Unallocated);
}

#[test]
fn refcounts_of_every_width_are_read_back() {
    for order in 0..=6 {
        let mut block = vec![0; 512];
        let count = 4096 >> order;
        for index in 0..count {
            set_refcount_in(&mut block, order, index, index + 1);
        }
        let max = if order == 6 { u64::MAX } else { (1 << (1 << order)) - 1 };
        for index in 0..count {
            assert_eq!(refcount_in(&block, order, index), (index + 1) & max, "order {order}");
        }
    }
}

#[test]
fn tables_that_would_mislead_an_allocator_are_refused() {
    let cases: [(usize, &[u8], &str); 5] = [
        (0x2_0000, &[0, 0, 0, 0, 0, 4, 0, 0], "overlaps"),
        (0x2_0000, &[0, 0, 0, 0, 0, 3, 2, 0], "not an offset of a cluster"),
        (0x2_0000, &[0, 0, 0, 0, 0x7f, 0, 0, 0], "behind the end"),
        (0x3_0000, &[0, 0], "has a refcount of 0"),
        (0x1_0000, &[0x80, 0, 0, 0, 0, 0, 0, 0xff], "reserved bits"),
    ];
    for (at, value, text) in cases {
        let mut bytes = image();
        bytes[at..at + value.len()].copy_from_slice(value);
        let error = check_for_writing(bytes.as_slice(), &header(&bytes).unwrap()).unwrap_err().to_string();
        assert!(error.contains(text), "{text}: {error}");
    }
}
