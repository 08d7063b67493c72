# Common functions of the *-on-host.sh scripts, which source this file as root in a directory with pcvm, a firmware image
# $image and, on a nested host, qemu-root. Needs a POSIX shell, awk and tracefs (busybox suffices), and no other VM on the
# host. A script defines start_pcvm and start_qemu, which `exec` a VMM that runs guest.bin with COM1 in serial.out, and may
# define before_run and after_run. Results are lines
#
#   RESULT pcvm|qemu|host NAME VALUE
#
# Every number is the difference of two runs with different iteration counts of the guest's loop, so that start and end
# cancel out. Times are between trace events (exec to exit); exits are KVM's count of returns from KVM_RUN
# (kvm_userspace_exit). Times and exits are measured in separate runs, because counting costs time.
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

# The bytes of a number as printf escapes, least significant first.
bytes() { # NUMBER COUNT
  number=$1 count=$2
  while [ $count -gt 0 ]; do printf '\\0%o' $((number & 255)); number=$((number >> 8)) count=$((count - 1)); done
}

# guest MEASURE ITERATIONS [SIZE]: writes guest.bin, the image with these parameters.
guest() {
  cp $image guest.bin
  printf '%b' "$(bytes "$1" 2)$(bytes "${3:-0}" 2)$(bytes "$2" 4)" | dd of=guest.bin bs=1 seek=$((0xFFE0)) conv=notrunc 2>/dev/null
}

before_run() { :; }
after_run() { :; }

# run VMM: runs it to its end. A guest reports an error by `!` on COM1.
run() {
  rm -f serial.out
  before_run "$1"
  start_"$1" >output 2>&1 </dev/null &
  pid=$!
  wait $pid || { echo "$1 ended with $?:" >&2; cat output >&2; exit 1; }
  after_run "$1"
  case $(cat serial.out) in *!*) echo "the guest reports an error under $1" >&2; exit 1 ;; esac
}

# The time stamp of a trace line, in microseconds.
stamp='function stamp(  i, t) {
  for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+\.[0-9]+:$/) { split($i, t, /[.:]/); return t[1] * 1000000 + t[2] }
}'

# time_of VMM: sets $elapsed to the microseconds from exec to exit.
time_of() {
  for event in exec exit; do echo 1 >$trace/events/sched/sched_process_$event/enable; done
  echo >$trace/trace
  run "$1"
  for event in exec exit; do echo 0 >$trace/events/sched/sched_process_$event/enable; done
  elapsed=$(awk -v me="pid=$pid" "$stamp"'
    index($0, me " ") && /process_exec:/ { start = stamp() }
    index($0, me " ") && /process_exit:/ { print stamp() - start; exit }' $trace/trace)
}

# count_of VMM EVENT KEY: sets $count to the number of these KVM trace events.
count_of() {
  echo "hist:keys=$3" >$trace/events/kvm/$2/trigger
  run "$1"
  count=$(awk '/^ *Hits:/ { print $2 }' $trace/events/kvm/$2/hist)
  echo "!hist:keys=$3" >$trace/events/kvm/$2/trigger
}

result() { echo "RESULT $*"; }
per() { awk -v a="$1" -v b="$2" -v iterations="$3" -v scale="$4" 'BEGIN { printf "%.3f", (b - a) / iterations * scale }'; }

# Results per iteration, from runs with FEW and MANY iterations: VMM NAME MEASURE FEW MANY [SIZE].
counts() { # EVENT KEY, then these
  event=$1 key=$2; shift 2
  guest "$3" "$4" "${6:-0}"; count_of "$1" $event $key; before=$count
  guest "$3" "$5" "${6:-0}"; count_of "$1" $event $key
  result "$1" "$2" "$(per $before $count $(($5 - $4)) 1)"
}
# Returns from KVM_RUN; interrupts injected into the vCPU.
exits() { counts kvm_userspace_exit reason "$@"; }
interrupts() { counts kvm_inj_virq vector "$@"; }
nanos() {
  guest "$3" "$4" "${6:-0}"; time_of "$1"; before=$elapsed
  guest "$3" "$5" "${6:-0}"; time_of "$1"
  result "$1" "$2" "$(per $before $elapsed $(($5 - $4)) 1000)"
}
