# The measuring half of benches/net: runs pcvm and QEMU with the bench guest on a bridge. Called as
# `sh net-on-host.sh WHAT...`; see measuring.sh. It wants net-peer too.
. ./measuring.sh
image=net-bench.bin
cp "$here/pcvm" "$here/net-peer" "$here/net-bench.bin" .
mac=00:16:3e:00:00:0a
[ ! -e /proc/sys/net/ipv6/conf/default/disable_ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
brctl addbr pcvmbr
ip link set pcvmbr address 02:00:00:00:00:01
ip link set pcvmbr up
trap 'cd /; kill $peer 2>/dev/null; ip link set pcvmbr down; brctl delbr pcvmbr; rmdir $trace; rm -rf $work' EXIT
printf '#!/bin/sh\nbrctl addif pcvmbr $1; ip link set $1 up\n' >join
chmod +x join
peer=

start_pcvm() {
  exec ./pcvm run --memory 128M --firmware guest.bin --serial file:serial.out --display none --no-reboot \
    --net tap,bridge=pcvmbr,ifname=pcvmguest,mac=$mac,model=rtl8139c
}
# vmport and vapic off: see on-host.sh.
start_qemu() {
  exec qemu-system-x86_64 -M pc,accel=kvm,vmport=off -global apic-common.vapic=off -m 128 -nodefaults -display none \
    -vga std -bios guest.bin -serial file:serial.out -no-reboot \
    -netdev tap,id=net,ifname=pcvmguest,script=./join,downscript=no -device rtl8139,netdev=net,mac=$mac,addr=3,romfile=
}

# The other end, if there is to be one.
other= size=60
before_run() {
  [ -n "$other" ] || return 0
  rm -f peer.out
  ./net-peer $other pcvmbr pcvmguest $size >peer.out 2>&1 &
  peer=$!
  until grep -q ready peer.out 2>/dev/null; do sleep 0.05; done
}
after_run() {
  [ -n "$other" ] || return 0
  kill $peer 2>/dev/null || true
  wait $peer 2>/dev/null || true
  peer=
}

# all VMM NAME MEASURE FEW MANY SIZE: time, exits and interrupts.
all() {
  nanos $1 $2_ns $3 $4 $5 $6
  exits $1 $2_exits $3 $4 $5 $6
}
measure_send() {
  other=
  for bytes in 60 300 1514; do all $1 send_$bytes 1 500 2500 $bytes; done
  all $1 send_four 5 200 800 60
}
measure_polled() {
  other=flood
  for size in 60 1514; do all $1 polled_$size 2 1000 5000 60; done
}
measure_receive() {
  other=flood
  for size in 60 1514; do
    all $1 receive_$size 3 1000 5000 60
    interrupts $1 receive_${size}_interrupts 3 1000 5000 60
  done
}
measure_echo() {
  other=echo
  for size in 60 1514; do
    all $1 echo_$size 4 200 1200 60
    interrupts $1 echo_${size}_interrupts 4 200 1200 60
  done
}
for what in "$@"; do
  for vmm in ${VMMS:-pcvm qemu}; do measure_$what $vmm; done
done
