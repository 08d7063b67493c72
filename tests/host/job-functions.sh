# Shell functions that every job has (Host::run prepends them).
# wait_for SECONDS COMMAND...: repeats a command until it succeeds. Fails if it does not within the time limit.
wait_for() {
  wait_end=$(($(date +%s) + $1)); shift
  until "$@"; do
    [ $(date +%s) -lt $wait_end ] || return 1
    sleep 0.2
  done
}
# has FILE PATTERN: whether a file exists and has a line that matches the pattern.
has() { grep -q -e "$2" $1 2>/dev/null; }
# ended PROCESS: whether a child process of the shell has ended.
ended() { ! kill -0 $1 2>/dev/null; }
