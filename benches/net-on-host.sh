# The measurements of benches/net: runs pcvm and QEMU with the bench guest on a bridge. Called as `sh net-on-host.sh WHAT...`;
# see measuring.sh. Needs net-peer too.
. ./measuring.sh
image=net-bench.bin
cp "$here/pcvm" "$here/net-peer" "$here/net-bench.bin" .
mac=00:16:3e:00:00:0a
[ ! -e /proc/sys/net/ipv6/conf/default/disable_ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
brctl addbr pcvmbr
ip link set pcvmbr address 02:00:00:00:00:01
ip link set pcvmbr up
trap 'cd /; [ -z "$peer" ] || kill $peer 2>/dev/null || true; ip link set pcvmbr down; brctl delbr pcvmbr; rmdir $trace; rm -rf $work' EXIT
printf '#!/bin/sh\nbrctl addif pcvmbr $1; ip link set $1 up\n' >join
chmod +x join
peer=

# 1 MiB of RAM: the card's memory BAR follows it, within reach of real mode.
start_pcvm() {
  exec ./pcvm run --memory 1M --firmware guest.bin --serial file:serial.out --display none --no-reboot \
    --net tap,bridge=pcvmbr,ifname=pcvmguest,mac=$mac,model=rtl8139c
}
# vmport and vapic off: see on-host.sh.
start_qemu() {
  exec qemu-system-x86_64 -M pc,accel=kvm,vmport=off -global apic-common.vapic=off -m 1 -nodefaults -display none \
    -vga std -bios guest.bin -serial file:serial.out -no-reboot \
    -netdev tap,id=net,ifname=pcvmguest,script=./join,downscript=no -device rtl8139,netdev=net,mac=$mac,addr=3,romfile=
}

# The peer of the guest's card, if the measurement needs one: $other is net-peer's mode.
other= size=60
before_run() {
  [ -n "$other" ] || return 0
  ./net-peer $other pcvmbr pcvmguest $mac $size >peer.out 2>&1 &
  peer=$!
}
after_run() {
  [ -n "$other" ] || return 0
  kill $peer 2>/dev/null || true
  # net-peer prints this only if frames are missing before the guest's end.
  ! grep 'did not come' peer.out >&2 || exit 1
  wait $peer 2>/dev/null || true
  peer=
}

# marked VMM NAME MEASURE ITERATIONS SIZE: time per iteration, from the guest's mark after sixteen of them to the one at the
# end. $ports is 0 or 256; added to the measure's number it sets the next byte, the guest's NET_PORTS.
marked() {
  guest $(($3 + ports)) "$4" "$5"
  echo 1 >$trace/events/kvm/kvm_msr/enable
  echo >$trace/trace
  run "$1"
  echo 0 >$trace/events/kvm/kvm_msr/enable
  result "$1" "$2" "$(awk -v iterations="$4" "$stamp"'
    /kvm_msr: msr_read 1b / { before = last; last = stamp() }
    END { printf "%.1f", (last - before) / (iterations - 16) * 1000 }' $trace/trace)"
}
# all VMM NAME MEASURE FEW MANY SIZE: time and exits, with registers in memory or by ports ($by precedes the name).
all() {
  marked $1 $by$2_ns $3 $5 $6
  exits $1 $by$2_exits $(($3 + ports)) $4 $5 $6
}
measure_send() {
  other=
  for bytes in 60 300 1514; do all $1 send_$bytes 1 500 3000 $bytes; done
  all $1 send_four 5 100 600 60
}
measure_polled() {
  other=flood
  for size in 60 1514; do all $1 polled_$size 2 200 2000 60; done
}
measure_receive() {
  other=flood
  for size in 60 1514; do
    all $1 receive_$size 3 200 2000 60
    interrupts $1 ${by}receive_${size}_interrupts $((3 + ports)) 200 2000 60
  done
}
measure_echo() {
  other=echo
  for size in 60 1514; do
    all $1 echo_$size 4 100 1000 60
    interrupts $1 ${by}echo_${size}_interrupts $((4 + ports)) 100 1000 60
  done
}
# TCP streams of iperf3 between this host and Linux guests, in bytes per second; iperf3 itself measures the time. On a nested
# host that counts instructions a guest hangs after some thousand interrupts (tests/host/nested-host says why): streams are
# short there, and after a hang a new guest runs the streams that are missing.
iperf=$here/iperf
linux_options="console=ttyS0,115200n8 loglevel=4 panic=-1 address=10.99.0.10/24"
linux_pcvm() {
  exec ./pcvm run --memory 256M --kernel "$here/vmlinuz" --initrd "$here/initrd.gz" --append "$linux_options driver=$driver" \
    --serial file:linux.out --display none --no-reboot --net tap,bridge=pcvmbr,ifname=pcvmguest,mac=$mac,model=$model
}
linux_qemu() {
  exec qemu-system-x86_64 -M pc,accel=kvm,vmport=off -global apic-common.vapic=off -m 256 -nodefaults -display none \
    -vga std -kernel "$here/vmlinuz" -initrd "$here/initrd.gz" -append "$linux_options driver=$driver" \
    -serial file:linux.out -no-reboot \
    -netdev tap,id=net,ifname=pcvmguest,script=./join,downscript=no -device rtl8139,netdev=net,mac=$mac,addr=3,romfile=
}
in_guest() { printf '%s\nexit\n' "$*" | nc -w 5 10.99.0.10 1; }
# stream [-R]: sets $streamed to the received KiB/s. Fails if no packet moves for 3 s.
stream() {
  $iperf/ld-linux-x86-64.so.2 --library-path $iperf $iperf/iperf3 -c 10.99.0.10 ${LENGTH:--t 2} -f K "$@" >iperf.out 2>&1 &
  client=$! moved='' still=0
  while kill -0 $client 2>/dev/null; do
    sleep 0.1
    before=$moved moved=$(cat /sys/class/net/pcvmguest/statistics/*x_packets)
    if [ "$moved" = "$before" ]; then still=$((still + 1)); else still=0; fi
    [ $still -lt 30 ] || { kill -9 $client; wait $client 2>/dev/null || true; return 1; }
  done
  wait $client || { cat iperf.out >&2; return 1; }
  streamed=$(awk '$NF == "receiver" { for (n = 1; n < NF; n++) if ($n ~ /Bytes\/sec/) print $(n - 1) }' iperf.out)
  [ -n "$streamed" ] || { cat iperf.out >&2; return 1; }
}
streams() { wc -l <$1; }
# linux_once VMM: starts a guest and runs streams in alternate directions until there are three of each. Fails if it hangs.
linux_once() {
  rm -f linux.out
  linux_$1 >output 2>&1 </dev/null &
  pid=$!
  tries=0
  until grep -q '==== ready' linux.out 2>/dev/null; do
    sleep 0.5; tries=$((tries + 1))
    kill -0 $pid || { cat output linux.out >&2; exit 1; }
    [ $tries -lt 80 ] || break
  done
  in_guest 'iperf3 -s -D' >/dev/null
  sleep 1
  whole=yes
  while [ -n "$whole" ] && [ $(streams to_guest) -lt 3 -o $(streams from_guest) -lt 3 ]; do
    if [ $(streams to_guest) -le $(streams from_guest) ]; then way=to_guest; else way=from_guest; fi
    case $way in to_guest) stream ;; *) stream -R ;; esac && echo $streamed >>$way || whole=
  done
  kill -9 $pid
  wait $pid 2>/dev/null || true
  [ -n "$whole" ]
}
measure_linux() {
  ip addr replace 10.99.0.1/24 dev pcvmbr
  [ -d $iperf ] || tar -xf "$here/iperf.tar" -C "$here"
  for driver in 8139cp 8139too; do
    case $driver in 8139cp) model=rtl8139 ;; *) model=rtl8139c ;; esac
    : >to_guest; : >from_guest
    attempts=0
    until linux_once $1; do
      attempts=$((attempts + 1))
      echo "$1: $driver: a guest hangs after $(streams to_guest) streams to it and $(streams from_guest) from it" >&2
      [ $attempts -lt 12 ] || exit 1
    done
    for way in to_guest from_guest; do
      echo "$1 $driver $way: $(tr '\n' ' ' <$way)" >&2
      result $1 linux_${driver}_$way $(sort -n $way | sed -n 2p)
    done
  done
}

for what in "$@"; do
  for vmm in ${VMMS:-pcvm qemu}; do
    # Registers in memory, as Linux' drivers use them, and by ports.
    ports=0 by=
    measure_$what $vmm
    [ $what != linux ] || continue
    ports=256 by=ports_
    measure_$what $vmm
  done
done
