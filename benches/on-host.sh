# The measurements of benches/compare: runs pcvm and QEMU with the bench guest. Called as `sh on-host.sh WHAT...`; see
# measuring.sh. Needs kvm-loop too.
. ./measuring.sh
image=bench.bin
cp "$here/pcvm" "$here/kvm-loop" "$here/bench.bin" .
# All blocks are allocated and in the page cache: no measurement reads from the host's disk.
dd if=/dev/zero of=disk.img bs=1M count=64 2>/dev/null

# Two VMs with the same devices.
start_pcvm() {
  exec ./pcvm run --memory 128M --firmware guest.bin --disk disk.img --serial file:serial.out --display none --no-reboot
}
# vmport and vapic off: both write a busy TSS back, which aborts the TCG of a nested host. No measurement uses them.
start_qemu() {
  exec qemu-system-x86_64 -M pc,accel=kvm,vmport=off -global apic-common.vapic=off -m 128 -nodefaults -display none \
    -vga std -bios guest.bin -drive file=disk.img,format=raw,if=ide -serial file:serial.out -no-reboot
}

measure_ports() {
  nanos $1 port_out_ns 1 2000 22000
  exits $1 port_out_exits 1 100 300
  nanos $1 port_in_ns 2 2000 22000
}
measure_dma() {
  exits $1 dma_exits 3 20 120
  nanos $1 dma_ns 3 100 1100
  exits $1 dma_ext_exits 10 20 120
  nanos $1 dma_ext_ns 10 100 1100
  exits $1 dma_polled_exits 11 20 120
  nanos $1 dma_polled_ns 11 100 1100
}
measure_pio() {
  exits $1 write_multiple_exits 4 1 2
  nanos $1 write_multiple_ns 4 1 2
  exits $1 write_sectors_exits 5 1 2
  nanos $1 write_sectors_ns 5 1 2
  exits $1 read_multiple_exits 6 1 5
  nanos $1 read_multiple_ns 6 1 5
}
measure_serial() {
  exits $1 serial_polled_exits 7 100 600
  exits $1 serial_blind_exits 8 100 600
}

# Resident memory of the VMM with a halted guest that has written 16 pages.
measure_memory() {
  guest 9 1
  start_"$1" >output 2>&1 </dev/null &
  pid=$!
  sleep 2
  rss=$(awk '/^Rss:/ { print $2 }' /proc/$pid/smaps_rollup)
  if [ -n "${DETAILS:-}" ]; then awk '/^[0-9a-f]+-/ { name = $0 } /^Rss:/ && $2 > 100 { print $2, name }' /proc/$pid/smaps >&2; fi
  kill $pid
  wait $pid || true
  result "$1" resident_kib $((rss - 64))
}

# From exec to the guest's first instruction, which writes to a port: the shortest of four runs.
measure_start() {
  guest 0 1
  best=
  for _ in 1 2 3 4; do
    echo 1 >$trace/events/sched/sched_process_exec/enable
    echo 1 >$trace/events/kvm/kvm_pio/enable
    echo >$trace/trace
    run "$1"
    echo 0 >$trace/events/sched/sched_process_exec/enable
    echo 0 >$trace/events/kvm/kvm_pio/enable
    took=$(awk -v me="pid=$pid" "$stamp"'
      index($0, me " ") && /process_exec:/ { start = stamp() }
      /kvm_pio:/ { print stamp() - start; exit }' $trace/trace)
    [ -n "$best" ] && [ "$best" -le "$took" ] || best=$took
  done
  result "$1" start_us "$best"
}

result host loop "$(./kvm-loop 20000 | awk '{ print $2 }')"
cat /sys/devices/system/clocksource/clocksource0/current_clocksource >&2
for what in "$@"; do
  for vmm in ${VMMS:-pcvm qemu}; do measure_$what $vmm; done
done
