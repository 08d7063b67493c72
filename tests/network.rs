//! Linux guests with RTL8139 cards on taps of a bridge.

mod lan;

use std::collections::{BTreeMap, BTreeSet};

use lan::{assert_no_errors, run};
use pcvm_test_host::assert_has;

#[test]
fn nested_two_guests_on_a_bridge_reach_the_host_and_each_other() {
    let output = run(
        "network-bridge",
        r#"
        boot a --net tap,bridge=br0,ifname=tapa,mac=00:16:3e:00:00:0a,dump=$scratch/a.pcap
        boot b --net tap,bridge=br0,ifname=tapb,mac=00:16:3e:00:00:0b,model=rtl8139c
        wait_log a '==== ready'
        wait_log b '==== ready'
        grep -h '====' $scratch/a.log $scratch/b.log
        for address in 10.9.0.10 10.9.0.11; do
          # Sizes up to the largest of IPv4; from 1473 on they are fragmented.
          for size in 0 1 56 1472 1473 9000 65507; do
            ping -c 3 -W 20 -s $size $address | grep -q ' 3 packets received' || fail "ping $address with $size bytes"
          done
          in_guest $address "ping -c 2 -W 20 -s 20000 10.9.0.1" | grep -q ' 2 packets received' || fail "ping from $address"
        done
        in_guest 10.9.0.10 "ping -c 2 -W 20 -s 4000 10.9.0.11" | grep -q ' 2 packets received' || fail 'ping between guests'
        # TCP in each direction and in both at once, with checksums. The RTL8139C has no segmentation offload and is slow on
        # a nested host.
        for address in 10.9.0.10 10.9.0.11; do
          amount=64
          [ $address = 10.9.0.10 ] || amount=2
          sum=$(data $amount | md5sum)
          [ "$(data $amount | nc -w 100 $address 2)" = "$sum" ] || fail "TCP to $address"
          [ "$(from_guest $address)" = "$sum" ] || fail "TCP from $address"
          [ $amount = 2 ] || amount=4
          sum=$(data $amount | md5sum)
          from_guest $address >$scratch/sum &
          [ "$(data $amount | nc -w 100 $address 2)" = "$sum" ] || fail "TCP to $address while it sends"
          wait $!
          [ "$(cat $scratch/sum)" = "$sum" ] || fail "TCP from $address while it receives"
          echo "TCP $address: OK"
        done
        # VLAN 7 between the guests, IPv6 neighbour discovery, and the drivers' counters.
        for n in 10 11; do
          in_guest 10.9.0.$n "vconfig add eth0 7; ip link set eth0.7 up; ip addr add 10.9.7.$n/24 dev eth0.7"
        done
        vlan() { in_guest 10.9.0.10 "ping -c 1 -W 2 10.9.7.11" | grep -q ' 1 packets received'; }
        wait_for 60 vlan || fail 'VLAN: no connection'
        # The longest frame is four bytes longer with its VLAN tag.
        in_guest 10.9.0.10 "ping -c 3 -W 20 -s 1472 10.9.7.11" | grep -q ' 3 packets received' || fail VLAN
        echo "VLAN: OK"
        for n in 10 11; do
          in_guest 10.9.0.$n "cat /proc/net/dev; grep eth0 /proc/interrupts; dmesg -r | grep '^<[0-4]>'" >$scratch/counters-$n.log
        done
        ping6 -c 2 -W 20 fe80::216:3eff:fe00:a%br0 | grep -q ' 2 packets received' || fail 'IPv6'
        echo "IPv6: OK"
        # The link goes down and up again. The guest reports the carrier on COM1.
        in_guest 10.9.0.10 '{ for carrier in 0 1; do
            until [ $(cat /sys/class/net/eth0/carrier) = $carrier ]; do sleep 0.2; done; echo "==== carrier $carrier"
          done; } </dev/null >/dev/ttyS0 2>&1 &'
        ./pcvm link $scratch/a 0 down || fail 'link down'
        wait_log a '==== carrier 0'
        ./pcvm link $scratch/a 0 up || fail 'link up'
        wait_log a '==== carrier 1'
        ping -c 2 -W 20 10.9.0.10 | grep -q ' 2 packets received' || fail 'ping after the link was down'
        in_guest 10.9.0.10 "dmesg | grep -i link" >$scratch/link.log
        # pcvm keeps running when its tap is deleted.
        ip link del tapb
        wait_for 60 has $scratch/b.pcvm.log 'tap tapb: ' || fail 'no warning about the deleted tap'
        ./pcvm screen $scratch/b --text >/dev/null || fail 'the VM without its tap'
        brctl show br0
        cp $scratch/a.pcap .
        "#,
    );
    assert_has(
        &output.console,
        &[
            "driver 8139cp 00:16:3e:00:00:0a",
            "driver 8139too 00:16:3e:00:00:0b",
            "==== address 10.9.0.10",
            "==== address 10.9.0.11",
        ],
    );
    assert_no_errors(&output);
    assert_has(&output.text("link.log"), &["link down", "link up"]);
}

/// `PCVM_IPERF_SECONDS` sets the length of each run.
#[test]
fn nested_iperf3_streams_in_each_direction_and_in_both_at_once() {
    let seconds: u32 = std::env::var("PCVM_IPERF_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let script = format!(
        "seconds={seconds}\n{}",
        r#"
        tar -xf iperf.tar -C $scratch
        iperf() { $scratch/iperf/ld-linux-x86-64.so.2 --library-path $scratch/iperf $scratch/iperf/iperf3 "$@"; }
        initrd=initrd.gz
        start a --net tap,bridge=br0,ifname=tapa,mac=00:16:3e:00:00:0a
        start b --net tap,bridge=br0,ifname=tapb,mac=00:16:3e:00:00:0b,model=rtl8139c
        wait_log a '==== ready'
        wait_log b '==== ready'
        for n in 10 11; do
          in_guest 10.9.0.$n 'iperf3 -s -D'
          for options in '' -R --bidir '-u -b 1M'; do
            # The server may not listen yet, or may not have finished the run before.
            try() {
              iperf -c 10.9.0.$n -t $seconds --connect-timeout 20000 $options >$scratch/iperf.log 2>&1 ||
                ! grep -q -e 'the server is busy' -e 'unable to connect' $scratch/iperf.log
            }
            wait_for 60 try
            has $scratch/iperf.log receiver || { cat $scratch/iperf.log; fail "iperf3 $options"; }
            echo "iperf3 $n $options:" $(grep receiver $scratch/iperf.log)
          done
          in_guest 10.9.0.$n "cat /proc/net/dev; dmesg -r | grep '^<[0-4]>'" >counters-$n.log
        done
        "#
    );
    let output = run("network-iperf", &script);
    assert_eq!(output.console.matches(" receiver").count(), 2 * 5, "{}", output.console);
    assert_no_errors(&output);
}

/// The bit of MAR that accepts a group: the upper six bits of the CRC of its address (RTL8139C(L), 5.8), computed by the
/// shift register of IEEE 802.3, 3.2.9.
fn bucket(address: [u8; 6]) -> usize {
    let mut crc = u32::MAX;
    for bit in (0..48).map(|n| (address[n / 8] >> (n % 8)) & 1) {
        let feedback = (crc >> 31) ^ u32::from(bit);
        crc = (crc << 1) ^ (feedback * 0x04c1_1db7);
    }
    (crc >> 26) as usize
}

/// The `skip`-th unused group address of a bit of MAR.
fn group_in(wanted: usize, skip: usize) -> [u8; 6] {
    let all = (0..=u16::MAX).map(|n| [0x03, 0x50, 0x43, 0x56, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
    all.filter(|&address| bucket(address) == wanted).nth(skip).expect("a group for each bit")
}

fn address(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// From the output of `net-frames watch`: the bits of the groups that the guest has joined, and how often it received a frame
/// to each address.
#[track_caller]
fn watched(text: &str) -> (BTreeSet<usize>, BTreeMap<String, u32>) {
    assert!(text.contains("\ndone"), "{text}");
    let words = |kind: &'static str| text.lines().filter_map(move |line| line.trim().strip_prefix(kind));
    let members = words("member ").map(|group| {
        let byte = |n: usize| u8::from_str_radix(&group[2 * n..2 * n + 2], 16).unwrap();
        bucket([byte(0), byte(1), byte(2), byte(3), byte(4), byte(5)])
    });
    let seen = words("seen ").map(|line| {
        let (address, count) = line.split_once(' ').unwrap();
        (address.to_owned(), count.parse().unwrap())
    });
    (members.collect(), seen.collect())
}

#[test]
fn nested_cards_receive_the_groups_that_linux_joins_and_drop_jumbo_frames() {
    const OTHER: &str = "02:00:00:00:77:77";
    const ALL: &str = "ff:ff:ff:ff:ff:ff";
    /// What the guests receive in each turn. GROUP is a group with the same bit of MAR as group 40.
    const TURNS: [&str; 5] = ["own", "GROUP", "all-multicast", "everything", "own"];
    // One group for each bit of MAR.
    let groups: Vec<String> = (0..64).map(|bucket| address(group_in(bucket, 0))).collect();
    let joined = address(group_in(40, 1));
    let addresses = [&groups[..], &[joined.clone(), OTHER.to_owned(), ALL.to_owned()]].concat().join(" ");
    let turns = TURNS.join(" ").replace("GROUP", &joined);
    let output = run(
        "network-filters",
        &format!(
            r#"
        with_frames
        start a --net tap,bridge=br0,ifname=tapa,mac=00:16:3e:00:00:0a
        start b --net tap,bridge=br0,ifname=tapb,mac=00:16:3e:00:00:0b,model=rtl8139c
        wait_log a '==== ready'
        wait_log b '==== ready'
        wait_output() {{ wait_for 100 has $1 $2 || fail "$1 does not contain '$2'"; }} # FILE WORD
        turn=0
        for what in {turns}; do
          for n in 10 11; do in_guest 10.9.0.$n "/net-frames watch eth0 $what" >$scratch/$n-$turn.log & done
          for n in 10 11; do wait_output $scratch/$n-$turn.log watching; done
          ./net-frames send tapa 2 {addresses} 00:16:3e:00:00:0a || fail sending
          ./net-frames send tapb 2 {addresses} 00:16:3e:00:00:0b || fail sending
          for n in 10 11; do wait_output $scratch/$n-$turn.log done; done
          turn=$((turn + 1))
        done
        ip route add 224.0.0.0/4 dev br0
        for n in 10 11; do
          in_guest 10.9.0.$n 'echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts'
          ping -c 3 -W 20 -I br0 224.0.0.1 | grep -q "from 10.9.0.$n" || fail "$n does not answer the group of all systems"
        done
        # A frame longer than the chip's limit is lost; shorter ones still arrive.
        for interface in tapa tapb br0; do ip link set $interface mtu 9000; done
        for n in 10 11; do
          ping -c 2 -W 2 -s 6000 10.9.0.$n | grep -q ' 0 packets received' || fail "$n receives jumbo frames"
          ping -c 3 -W 20 10.9.0.$n | grep -q ' 3 packets received' || fail "$n does not answer after a jumbo frame"
          echo "$n: rx errors $(in_guest 10.9.0.$n 'cat /sys/class/net/eth0/statistics/rx_errors')"
        done
        "#
        ),
    );
    for n in [10, 11] {
        for (turn, what) in TURNS.into_iter().enumerate() {
            let text = output.text(&format!("{n}-{turn}.log"));
            let (members, seen) = watched(&text);
            let times = |address: &str| seen.get(address).copied().unwrap_or(0);
            let expect = |received: bool| if received { 2 } else { 0 };
            // The guest leaves the group at the end of its turn.
            assert_eq!(members.contains(&40), what == "GROUP", "{n} {what}\n{text}");
            let every = matches!(what, "all-multicast" | "everything");
            for (bucket, group) in groups.iter().enumerate() {
                assert_eq!(
                    times(group),
                    expect(every || members.contains(&bucket)),
                    "{n} {what}: bit {bucket}\n{text}"
                );
            }
            assert_eq!(times(&joined), expect(every || what == "GROUP"), "{n} {what}\n{text}");
            assert_eq!(times(OTHER), expect(what == "everything"), "{n} {what}\n{text}");
            assert_eq!(times(ALL), 2, "{n} {what}\n{text}");
        }
    }
    // Both cards dropped them; only the driver 8139too counts that.
    assert_has(&output.console, &["10: rx errors 0", "11: rx errors 2"]);
}

/// From a trace: the bytes of each writev(2), and length and segment size of each packet that the host received from the tap.
fn traced(text: &str) -> (Vec<usize>, Vec<(usize, usize)>) {
    let field = |line: &str, name: &str| -> Option<usize> {
        line.split_whitespace().find_map(|word| word.strip_prefix(name)).and_then(|number| number.parse().ok())
    };
    let written = text.lines().filter_map(|line| line.split_once("sys_writev -> 0x"));
    let written = written.map(|(_, number)| usize::from_str_radix(number.trim(), 16).expect("a writev that worked"));
    let packets = text.lines().filter(|line| line.contains("netif_receive_skb_entry: dev=tapa "));
    let packets = packets.map(|line| (field(line, "len=").unwrap(), field(line, "gso_size=").unwrap()));
    (written.collect(), packets.collect())
}

#[test]
fn nested_a_large_send_is_one_writev_on_the_tap() {
    // The virtio-net header, and the Ethernet header, which the trace's length does not include.
    const HEADERS: usize = 10 + 14;
    let output = run(
        "network-large-sends",
        r#"
        trace=/sys/kernel/tracing
        with_frames
        start a --net tap,bridge=br0,ifname=tapa,mac=00:16:3e:00:00:0a
        wait_log a '==== ready'
        in_guest 10.9.0.10 '/net-frames offload eth0' >$scratch/offload.log
        # By default Linux sends at once what it expects to transmit in 1 ms, which is little on a slow host.
        in_guest 10.9.0.10 'cd /proc/sys/net/ipv4; echo 44 >tcp_min_tso_segs; echo 1 >tcp_tso_win_divisor'
        # httpd passes whole files to the kernel (sendfile(2)); nc would write a kilobyte at a time.
        in_guest 10.9.0.10 'mkdir /tmp/www; httpd -h /tmp/www'
        # traced NAME MIB: traces the host while the guest sends this much.
        traced() {
          in_guest 10.9.0.10 "dd if=/dev/zero of=/tmp/www/file bs=1M count=$2 2>/dev/null"
          echo 0 >$trace/tracing_on
          echo 16384 >$trace/buffer_size_kb
          echo >$trace/trace
          for event in syscalls/sys_exit_writev net/netif_receive_skb_entry; do echo 1 >$trace/events/$event/enable; done
          echo 1 >$trace/tracing_on
          [ "$(wget -q -O - http://10.9.0.10/file | md5sum)" = "$(data $2 | md5sum)" ] || fail "TCP"
          echo 0 >$trace/tracing_on
          grep -E 'sys_writev|dev=tapa ' $trace/trace >$scratch/$1.log
        }
        traced large ${amount:-8}
        in_guest 10.9.0.10 '/net-frames offload eth0 off' >>$scratch/offload.log
        traced small 1
        "#,
    );
    let offload = output.text("offload.log");
    assert!(offload.contains("checksums on\nscatter-gather on\nlarge-sends on\n"), "{offload}");
    assert!(offload.trim().ends_with("large-sends off"), "{offload}");
    let mut frames = Vec::new();
    for (name, mib) in [("large", 8), ("small", 1)] {
        let (written, packets) = traced(&output.text(&format!("{name}.log")));
        // One system call per packet, of any length.
        let lengths: Vec<usize> = packets.iter().map(|&(len, _)| len + HEADERS).collect();
        assert_eq!(written, lengths, "{name}");
        let (longest, total) = (packets.iter().max().unwrap(), written.iter().sum::<usize>());
        eprintln!(
            "{name}: {} writev of {} bytes on average, the longest packet {longest:?}",
            written.len(),
            total / written.len()
        );
        assert!(total > mib << 20, "{name}: {total}");
        if name == "large" {
            assert!(longest.0 > 60_000 && (1400..=1460).contains(&longest.1), "{longest:?}");
        } else {
            assert!(longest.0 <= 1500 && longest.1 == 0, "{longest:?}");
        }
        frames.push(total / written.len());
    }
    assert!(frames[0] > 8 * frames[1], "{frames:?} bytes");
}
