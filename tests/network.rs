//! The network as Linux drives it: cards on taps, on a bridge of the host.

use std::time::Duration;

use pcvm_test_guests::net;
use pcvm_test_host::{Host, Job, Output};

/// What the jobs' scripts have in common: a bridge with a DHCP server, and machines that are told what to do by TCP.
const FUNCTIONS: &str = r#"
    scratch=$(mktemp -d /tmp/pcvm.XXXXXX)
    trap 'kill $(jobs -p) 2>/dev/null; wait; ip link show br0; cp $scratch/*.log . 2>/dev/null' EXIT
    brctl addbr br0
    ip addr add 10.9.0.1/24 dev br0
    ip link set br0 up
    cat >$scratch/udhcpd.conf <<CONFIG
start 10.9.0.50
end 10.9.0.90
interface br0
lease_file $scratch/leases
option subnet 255.255.255.0
siaddr 10.9.0.1
boot_file http://10.9.0.1/boot.ipxe
static_lease 00:16:3e:00:00:0a 10.9.0.10
static_lease 00:16:3e:00:00:0b 10.9.0.11
CONFIG
    touch $scratch/leases
    udhcpd -f $scratch/udhcpd.conf &
    # boot NAME NET...: a machine; its log is NAME.log, its control socket $scratch/NAME.
    boot() {
      name=$1; shift
      ./pcvm run --control unix:$scratch/$name --memory 256M --cdrom net.iso --boot d --no-reboot \
        --serial file:$scratch/$name.log --display none "$@" &
    }
    fail() { echo "FAILED: $*"; dmesg | tail -n 5; tail -n 30 $scratch/*.log; exit 1; }
    until_said() { # NAME, what
      tries=0
      while ! grep -q "$2" $scratch/$1.log 2>/dev/null; do
        sleep 0.5; tries=$((tries + 1))
        [ $tries -lt ${patience:-240} ] || fail "$1 does not say $2"
      done
    }
    # in_guest ADDRESS COMMANDS: runs them there and prints what they print.
    in_guest() { address=$1; shift; printf '%s\nexit\n' "$*" | nc -w 60 $address 1; }
    # from_guest ADDRESS: the sum of $amount MiB that it sends, taken here and told back to it.
    from_guest() {
      nc -l -p 3 -e /bin/md5sum &
      in_guest $1 "dd if=/dev/zero bs=1M count=$amount 2>/dev/null | nc -w 100 10.9.0.1 3"
    }
    # Bytes that are the same on every machine.
    data() { dd if=/dev/zero bs=1M count=$1 2>/dev/null; }
"#;

fn run(name: &str, script: &str) -> Output {
    let iso = net::iso().unwrap_or_else(|error| panic!("{error}"));
    let job = Job::new(name, format!("{FUNCTIONS}\n{script}\nexit 0")).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let [kernel, initrd] = ["vmlinuz", "initrd.gz"].map(|file| iso.with_file_name(file));
    let job = job
        .file(kernel, "vmlinuz")
        .file(initrd, "initrd.gz")
        .file(iso.with_file_name("iperf.tar"), "iperf.tar")
        .file(net::IPXE, "ipxe.rom")
        .file(iso, "net.iso")
        .timeout(Duration::from_secs(600));
    let output = Host::pick().run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &[]);
    output
}

#[track_caller]
fn assert_has(text: &str, what: &[&str]) {
    for wanted in what {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
}

/// What both guests' drivers counted (counters-10.log, counters-11.log).
#[track_caller]
fn assert_no_errors(output: &Output) {
    for n in [10, 11] {
        let counters = output.text(&format!("counters-{n}.log"));
        let eth0 = counters.lines().find(|line| line.trim_start().starts_with("eth0:")).unwrap_or_default();
        let numbers: Vec<u64> = eth0.split_whitespace().skip(1).filter_map(|number| number.parse().ok()).collect();
        assert_eq!(numbers.len(), 16, "{counters}");
        // Errors, drops, FIFO and frame errors of either direction, collisions, carrier errors.
        assert_eq!([&numbers[2..6], &numbers[10..15]].concat(), [0; 9], "{counters}");
    }
}

#[test]
fn nested_two_guests_on_a_bridge_reach_the_host_and_each_other() {
    let output = run(
        "network-bridge",
        r#"
        boot a --net tap,bridge=br0,ifname=tapa,mac=00:16:3e:00:00:0a,dump=$scratch/a.pcap
        boot b --net tap,bridge=br0,ifname=tapb,mac=00:16:3e:00:00:0b,model=rtl8139c
        until_said a '==== ready'
        until_said b '==== ready'
        grep -h '====' $scratch/a.log $scratch/b.log
        for address in 10.9.0.10 10.9.0.11; do
          # Sizes up to the largest there is: the larger ones come in fragments.
          for size in 0 1 56 1472 1473 9000 65507; do
            ping -c 3 -W 20 -s $size $address | grep -q ' 3 packets received' || fail "ping $address with $size bytes"
          done
          in_guest $address "ping -c 2 -W 20 -s 20000 10.9.0.1" | grep -q ' 2 packets received' || fail "ping from $address"
        done
        in_guest 10.9.0.10 "ping -c 2 -W 20 -s 4000 10.9.0.11" | grep -q ' 2 packets received' || fail 'ping between guests'
        # TCP both ways with sums, and at the same time. The C chip, whose frames are all short, is slow on a nested host.
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
        # VLAN 7 between the guests, IPv6 neighbours, and what the driver counted.
        for n in 10 11; do
          in_guest 10.9.0.$n "vconfig add eth0 7; ip link set eth0.7 up; ip addr add 10.9.7.$n/24 dev eth0.7; sleep 1"
        done
        # The longest frame has four bytes more with its tag.
        in_guest 10.9.0.10 "ping -c 3 -W 20 -s 1472 10.9.7.11" | grep -q ' 3 packets received' || fail VLAN
        echo "VLAN: OK"
        for n in 10 11; do
          in_guest 10.9.0.$n "cat /proc/net/dev; grep eth0 /proc/interrupts; dmesg -r | grep '^<[0-4]>'" >$scratch/counters-$n.log
        done
        ping6 -c 2 -W 20 fe80::216:3eff:fe00:a%br0 | grep -q ' 2 packets received' || fail 'IPv6'
        echo "IPv6: OK"
        # The cable out and in again, as the driver sees it.
        ./pcvm link $scratch/a 0 down || fail 'link down'
        sleep 6
        ./pcvm link $scratch/a 0 up || fail 'link up'
        sleep 6
        ping -c 2 -W 20 10.9.0.10 | grep -q ' 2 packets received' || fail 'ping after the cable was out'
        in_guest 10.9.0.10 "dmesg | grep -i link" >$scratch/link.log
        # The tap goes away under a machine, which goes on.
        ip link del tapb; sleep 2
        kill -0 $(jobs -p | tail -n 1) 2>/dev/null
        ./pcvm screen $scratch/b --text >/dev/null || fail 'the machine whose tap is gone'
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
            "tapb: ",
        ],
    );
    assert_no_errors(&output);
    assert_has(&output.text("link.log"), &["link down", "link up"]);
}

#[test]
fn nested_iperf3_runs_each_way_and_both_at_once() {
    let output = run(
        "network-iperf",
        r#"
        tar -xf iperf.tar -C $scratch
        iperf() { $scratch/iperf/ld-linux-x86-64.so.2 --library-path $scratch/iperf $scratch/iperf/iperf3 "$@"; }
        boot a --net tap,bridge=br0,ifname=tapa,mac=00:16:3e:00:00:0a
        boot b --net tap,bridge=br0,ifname=tapb,mac=00:16:3e:00:00:0b,model=rtl8139c
        until_said a '==== ready'
        until_said b '==== ready'
        for n in 10 11; do
          in_guest 10.9.0.$n 'iperf3 -s -D'
          sleep 2
          for how in '' -R --bidir '-u -b 1M'; do
            iperf -c 10.9.0.$n -t ${seconds:-3} --connect-timeout 20000 $how >$scratch/iperf.log 2>&1 || fail "iperf3 $how"
            echo "iperf3 $n $how:" $(grep receiver $scratch/iperf.log)
          done
          in_guest 10.9.0.$n "cat /proc/net/dev; dmesg -r | grep '^<[0-4]>'" >counters-$n.log
        done
        "#,
    );
    assert_eq!(output.console.matches(" receiver").count(), 2 * 5, "{}", output.console);
    assert_no_errors(&output);
}

#[test]
fn nested_cards_hear_the_groups_they_joined_and_refuse_jumbo_frames() {
    let output = run(
        "network-filters",
        r#"
        boot a --net tap,bridge=br0,ifname=tapa,mac=00:16:3e:00:00:0a
        boot b --net tap,bridge=br0,ifname=tapb,mac=00:16:3e:00:00:0b,model=rtl8139c
        until_said a '==== ready'
        until_said b '==== ready'
        ip route add 224.0.0.0/4 dev br0
        for n in 10 11; do
          in_guest 10.9.0.$n 'echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts'
          ping -c 3 -W 20 -I br0 224.0.0.1 | grep -q "from 10.9.0.$n" || fail "$n does not hear the group of all systems"
        done
        # A frame longer than any that the chip takes: lost, and all goes on.
        for interface in tapa tapb br0; do ip link set $interface mtu 9000; done
        for n in 10 11; do
          ping -c 2 -W 2 -s 6000 10.9.0.$n | grep -q ' 0 packets received' || fail "$n takes jumbo frames"
          ping -c 3 -W 20 10.9.0.$n | grep -q ' 3 packets received' || fail "$n is silent after a jumbo frame"
          echo "$n: rx errors $(in_guest 10.9.0.$n 'cat /sys/class/net/eth0/statistics/rx_errors')"
        done
        "#,
    );
    // The card refused both; of the drivers only 8139too counts them.
    assert_has(&output.console, &["10: rx errors 0", "11: rx errors 2"]);
}

#[test]
fn nested_a_guest_without_disks_boots_over_the_network() {
    let output = run(
        "network-boot",
        r#"
        mkdir $scratch/served
        cp vmlinuz initrd.gz $scratch/served/
        printf '#!ipxe\nkernel vmlinuz console=ttyS0,115200n8 loglevel=5 panic=-1\ninitrd initrd.gz\nboot\n' >$scratch/served/boot.ipxe
        httpd -h $scratch/served
        ./pcvm run --control unix:$scratch/a --memory 256M --boot n --no-reboot --serial file:$scratch/a.log --display none \
          --net tap,bridge=br0,mac=00:16:3e:00:00:0a,rom=ipxe.rom &
        until_said a '==== ready'
        ping -c 1 -W 20 10.9.0.10 | grep -q ' 1 packets received' || fail 'ping'
        cp $scratch/a.log .
        "#,
    );
    assert_has(
        &output.text("a.log"),
        &[
            "Booting from option ROM (iPXE (PCI 00:03.0))",
            "==== driver 8139cp 00:16:3e:00:00:0a",
            "==== address 10.9.0.10",
        ],
    );
}
