# The measuring half of benches/compare: runs pcvm and QEMU with the bench guest and prints a line for each number,
#
#   RESULT pcvm|qemu|host NAME VALUE
#
# Called as `sh on-host.sh WHAT...` as root in a directory that has pcvm, kvm-loop, bench.bin and, where there is no
# system around, qemu-root. Needs nothing but a POSIX shell, awk and tracefs (busybox will do), and nobody else on KVM.
#
# Every number comes from two runs that differ in the turns of the guest's loop only: start and end cancel out. Times
# are between trace events (exec to exit), exits are KVM's own count of KVM_RUN returning (kvm_userspace_exit); each has
# a run of its own, so that counting slows nothing down.
set -eu

[ ! -d qemu-root ] || cp -a qemu-root/. /
here=$PWD
work=/dev/shm/pcvm-compare
tracing=/sys/kernel/tracing
[ -e $tracing/trace ] || mount -t tracefs tracefs $tracing
trace=$tracing/instances/pcvm-compare
rm -rf $work
[ ! -d $trace ] || rmdir $trace
mkdir $work $trace
trap 'cd /; rmdir $trace; rm -rf $work' EXIT
echo mono >$trace/trace_clock
cd $work
cp "$here/pcvm" "$here/kvm-loop" "$here/bench.bin" .
# Really there, and in memory: nothing here measures a disk.
dd if=/dev/zero of=disk.img bs=1M count=64 2>/dev/null

# guest MEASURE TURNS: the image that does this.
guest() {
  cp bench.bin guest.bin
  bytes=$(printf '\\0%o' "$1" 0 0 0 $(($2 & 255)) $(($2 >> 8 & 255)) $(($2 >> 16 & 255)) 0)
  printf '%b' "$bytes" | dd of=guest.bin bs=1 seek=$((0xFFE0)) conv=notrunc 2>/dev/null
}

# The machines: the same parts in both.
start_pcvm() {
  exec ./pcvm run --memory 128M --firmware guest.bin --disk disk.img --serial file:serial.out --display none --no-reboot
}
# vmport and vapic off: QEMU's TPR patching aborts the software processor of a nested host. Neither is used here.
start_qemu() {
  exec qemu-system-x86_64 -M pc,accel=kvm,vmport=off -global apic-common.vapic=off -m 128 -nodefaults -display none \
    -vga std -bios guest.bin -drive file=disk.img,format=raw,if=ide -serial file:serial.out -no-reboot
}

# run VMM: to its end. A guest that met an error says so.
run() {
  rm -f serial.out
  start_"$1" >output 2>&1 </dev/null &
  pid=$!
  wait $pid || { echo "$1 ended with $?:" >&2; cat output >&2; exit 1; }
  case $(cat serial.out) in *!*) echo "the guest met an error under $1" >&2; exit 1 ;; esac
}

# The time stamp of a trace line, in microseconds.
stamp='function stamp(  i, t) {
  for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+\.[0-9]+:$/) { split($i, t, /[.:]/); return t[1] * 1000000 + t[2] }
}'

# time_of VMM: microseconds of its life.
time_of() {
  for event in exec exit; do echo 1 >$trace/events/sched/sched_process_$event/enable; done
  echo >$trace/trace
  run "$1"
  for event in exec exit; do echo 0 >$trace/events/sched/sched_process_$event/enable; done
  elapsed=$(awk -v me="pid=$pid" "$stamp"'
    index($0, me " ") && /process_exec:/ { start = stamp() }
    index($0, me " ") && /process_exit:/ { print stamp() - start; exit }' $trace/trace)
}

# exits_of VMM: how often KVM_RUN returned.
exits_of() {
  echo 'hist:keys=reason' >$trace/events/kvm/kvm_userspace_exit/trigger
  run "$1"
  exits=$(awk '/^ *Hits:/ { print $2 }' $trace/events/kvm/kvm_userspace_exit/hist)
  echo '!hist:keys=reason' >$trace/events/kvm/kvm_userspace_exit/trigger
}

result() { echo "RESULT $*"; }
per() { awk -v a="$1" -v b="$2" -v turns="$3" -v scale="$4" 'BEGIN { printf "%.3f", (b - a) / turns * scale }'; }

# exits VMM NAME MEASURE FEW MANY: per turn.
exits() {
  guest "$3" "$4"; exits_of "$1"; before=$exits
  guest "$3" "$5"; exits_of "$1"
  result "$1" "$2" "$(per $before $exits $(($5 - $4)) 1)"
}

# nanos VMM NAME MEASURE FEW MANY: per turn.
nanos() {
  guest "$3" "$4"; time_of "$1"; before=$elapsed
  guest "$3" "$5"; time_of "$1"
  result "$1" "$2" "$(per $before $elapsed $(($5 - $4)) 1000)"
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

# What the VMM has resident while a guest sits there that has written 16 pages.
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

# From exec to the guest's first instruction, which writes to a port: the best of three.
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
