# Where the comparisons with QEMU measure; sourced by them in the project's directory. They set $dir, which goes there,
# $pcvm, $vmms and $results.
#
# Where /dev/kvm runs guests on the processor, that is here (as root). Elsewhere it is a nested host with counted
# instructions (tests/host/nested-host -i): there 2 ns of time are one instruction of guest, KVM or VMM, and the same run
# gives the same numbers on a busy machine and an idle one. PCVM_TEST_HOST=here|nested overrides.
place=${PCVM_TEST_HOST:-}
if [ -z "$place" ]; then
  case $("$(dirname "$pcvm")/kvm-loop") in native:*) place=here ;; *) place=nested ;; esac
fi
qemu=$(command -v qemu-system-x86_64) || { echo "qemu-system-x86_64 is missing: apt-get install qemu-system-x86" >&2; exit 1; }

# measure COMMAND: runs it in $dir, there, and adds what it says to $results.
measure() {
  if [ "$place" = here ]; then
    (cd "$dir" && sh -c "$1") | tee -a "$results" >&2
    return
  fi
  # QEMU comes with its libraries and ROMs, laid out as they are here, and with a cache that finds them as fast.
  if [ "$vmms" != pcvm ]; then
    root=$dir/qemu-root
    mkdir -p "$root/usr/bin" "$root/usr/share" "$root/etc"
    cp -L "$qemu" "$root/usr/bin/"
    ldd "$qemu" | grep -o '/[^ ]*' | sort -u | while read -r library; do
      mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
    done
    for share in qemu seabios; do [ ! -d /usr/share/$share ] || cp -aL /usr/share/$share "$root/usr/share/"; done
    cp /etc/ld.so.conf "$root/etc/" && cp -r /etc/ld.so.conf.d "$root/etc/"
    PATH=$PATH:/usr/sbin:/sbin ldconfig -r "$root"
  fi
  tests/host/nested-host -i -t 3600 -d "$dir" -- "PATH=/usr/bin:\$PATH $1 2>&1" | tee -a "$results" >&2
}

# What the tables' awk programs have in common.
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
  # A number of both machines; target is a text, and met is 1, 0 or empty. A target that is missed makes the bench fail:
  # SPECIFICATION.md promises it.
  function row(name, mine, its, digits, target, met) {
    printf "| %s | %s | %s | %s | %s |\n", name, show(mine, digits), show(its, digits),
      mine != "" && its != "" && its + 0 != 0 ? sprintf("%.3g", mine / its) : "–",
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
