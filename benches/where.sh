# Chooses the host for the comparisons with QEMU, which source this file in the project's directory and set $dir (the
# measurements' directory), $pcvm, $vmms and $results.
#
# With a native /dev/kvm it is this machine (as root). Otherwise it is a nested host that counts instructions
# (tests/host/nested-host -i): each instruction of guest, KVM or VMM takes 2 ns there, so that a busy machine gives the same
# numbers as an idle one. PCVM_TEST_HOST=here|nested overrides.
place=${PCVM_TEST_HOST:-}
if [ -z "$place" ]; then
  case $("$(dirname "$pcvm")/kvm-loop") in native:*) place=here ;; *) place=nested ;; esac
fi
qemu=$(command -v qemu-system-x86_64) || { echo "qemu-system-x86_64 is missing: apt-get install qemu-system-x86" >&2; exit 1; }

# measure COMMAND: runs the command in $dir on that host and appends its output to $results.
measure() {
  if [ "$place" = here ]; then
    (cd "$dir" && sh -c "$1") | tee -a "$results" >&2
    return
  fi
  # $extra_programs: more programs of the script that sources this file.
  programs=${extra_programs:-}
  [ "$vmms" = pcvm ] || programs="$qemu $programs"
  # They need their libraries and ROMs at the same paths, and a linker cache, which makes their start as fast as here.
  if [ -n "$programs" ]; then
    root=$dir/qemu-root
    mkdir -p "$root/usr/bin" "$root/usr/share" "$root/etc"
    cp -L $programs "$root/usr/bin/"
    ldd $programs | grep -v ":$" | grep -o '/[^ ]*' | sort -u | while read -r library; do
      mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
    done
    for share in qemu seabios; do [ ! -d /usr/share/$share ] || cp -aL /usr/share/$share "$root/usr/share/"; done
    cp /etc/ld.so.conf "$root/etc/" && cp -r /etc/ld.so.conf.d "$root/etc/"
    PATH=$PATH:/usr/sbin:/sbin ldconfig -r "$root"
  fi
  tests/host/nested-host -i -t 3600 -d "$dir" -- "PATH=/usr/bin:\$PATH $1 2>&1" | tee -a "$results" >&2
}

# Common functions of the awk programs that print tables.
table_functions='
  function show(number, digits) { return number == "" ? "–" : group(sprintf("%." digits "f", number)) }
  function group(text,  whole, rest) {
    whole = text; rest = ""
    if (match(text, /\./)) { whole = substr(text, 1, RSTART - 1); rest = substr(text, RSTART) }
    while (whole ~ /[0-9][0-9][0-9][0-9]/) {
      rest = "," substr(whole, length(whole) - 2) rest
      whole = substr(whole, 1, length(whole) - 3)
    }
    return whole rest
  }
  # A table row with a number of pcvm and of QEMU. target is a text; met is 1, 0 or empty. A missed target makes the bench
  # fail: SPECIFICATION.md promises it.
  function row(name, pcvm, qemu, digits, target, met) {
    printf "| %s | %s | %s | %s | %s |\n", name, show(pcvm, digits), show(qemu, digits),
      pcvm != "" && qemu != "" && qemu + 0 != 0 ? sprintf("%.3g", pcvm / qemu) : "–",
      target == "" ? "" : target " " (met == "" ? "" : met ? "✓" : "✗")
    if (met != "" && !met) missed++
  }
  function finish() {
    if (place != "here") print "\nOn a nested host with counted instructions: 2 ns each."
    if (missed) { print "\n" missed " targets missed"; exit 1 }
  }
  function rate(vmm, name) { return (vmm, name) in value ? 1e9 / value[vmm, name] : "" }
  { sub(/\r$/, "") }
  $1 == "RESULT" { value[$2, $3] = $4; seen[$3] = 1; seen_vmm[$2] = 1 }
'
