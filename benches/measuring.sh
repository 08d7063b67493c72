# What the measuring halves of the comparisons with QEMU have in common; they source this as root in a directory that has
# pcvm, a firmware image $image and, where there is no system around, qemu-root. Needs nothing but a POSIX shell, awk and
# tracefs (busybox will do), and nobody else on KVM. A script defines start_pcvm and start_qemu, which become the machine
# (`exec`) that runs guest.bin with its COM1 in serial.out, and may define before_run and after_run. Results are lines
#
#   RESULT pcvm|qemu|host NAME VALUE
#
# Every number comes from two runs that differ in the turns of the guest's loop only: start and end cancel out. Times
# are between trace events (exec to exit), exits are KVM's own count of KVM_RUN returning (kvm_userspace_exit); each has
# a run of its own, so that counting slows nothing down.
set -eu

[ ! -d qemu-root ] || cp -a qemu-root/. /
here=$PWD
work=/dev/shm/pcvm-measuring
tracing=/sys/kernel/tracing
[ -e $tracing/trace ] || mount -t tracefs tracefs $tracing
trace=$tracing/instances/pcvm-measuring
rm -rf $work
[ ! -d $trace ] || rmdir $trace
mkdir $work $trace
trap 'cd /; rmdir $trace; rm -rf $work' EXIT
echo mono >$trace/trace_clock
cd $work

# A number's bytes for printf, least significant first.
bytes() { # NUMBER COUNT
  number=$1 count=$2
  while [ $count -gt 0 ]; do printf '\\0%o' $((number & 255)); number=$((number >> 8)) count=$((count - 1)); done
}

# guest MEASURE TURNS [SIZE]: the image that does this.
guest() {
  cp $image guest.bin
  printf '%b' "$(bytes "$1" 2)$(bytes "${3:-0}" 2)$(bytes "$2" 4)" | dd of=guest.bin bs=1 seek=$((0xFFE0)) conv=notrunc 2>/dev/null
}

before_run() { :; }
after_run() { :; }

# run VMM: to its end. A guest that met an error says so.
run() {
  rm -f serial.out
  before_run "$1"
  start_"$1" >output 2>&1 </dev/null &
  pid=$!
  wait $pid || { echo "$1 ended with $?:" >&2; cat output >&2; exit 1; }
  after_run "$1"
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

# count_of VMM EVENT KEY: how often it came, an event of KVM's.
count_of() {
  echo "hist:keys=$3" >$trace/events/kvm/$2/trigger
  run "$1"
  count=$(awk '/^ *Hits:/ { print $2 }' $trace/events/kvm/$2/hist)
  echo "!hist:keys=$3" >$trace/events/kvm/$2/trigger
}

result() { echo "RESULT $*"; }
per() { awk -v a="$1" -v b="$2" -v turns="$3" -v scale="$4" 'BEGIN { printf "%.3f", (b - a) / turns * scale }'; }

# Each per turn: VMM NAME MEASURE FEW MANY [SIZE].
counts() { # EVENT KEY and these
  event=$1 key=$2; shift 2
  guest "$3" "$4" "${6:-0}"; count_of "$1" $event $key; before=$count
  guest "$3" "$5" "${6:-0}"; count_of "$1" $event $key
  result "$1" "$2" "$(per $before $count $(($5 - $4)) 1)"
}
# How often KVM_RUN returned, and interrupts that the processor took.
exits() { counts kvm_userspace_exit reason "$@"; }
interrupts() { counts kvm_inj_virq vector "$@"; }
nanos() {
  guest "$3" "$4" "${6:-0}"; time_of "$1"; before=$elapsed
  guest "$3" "$5" "${6:-0}"; time_of "$1"
  result "$1" "$2" "$(per $before $elapsed $(($5 - $4)) 1000)"
}
