# The measurements of benches/screen: runs pcvm and QEMU with guests that draw. Called as `sh screen-on-host.sh WHAT...`; see
# measuring.sh. Needs vnc-watch and the guests too.
. ./measuring.sh
cp "$here/pcvm" "$here/vnc-watch" "$here"/*.bin "$here"/*.img .

# guest NAME ITERATIONS: writes guest.bin, the image NAME with this iteration count.
guest() {
  cp "$1" guest.bin
  size=$(wc -c <guest.bin)
  case $1 in *.img) at=$((0x1F8)) ;; *) at=$((size - 28)) ;; esac
  printf '%b' "$(bytes "$2" 4)" | dd of=guest.bin bs=1 seek=$at conv=notrunc 2>/dev/null
  name=$1
}

with_vnc=
adapter=std
start_pcvm() {
  case $name in *.img) set -- --disk guest.bin ;; *) set -- --firmware guest.bin ;; esac
  [ -z "$with_vnc" ] || set -- "$@" --vnc unix:vnc
  exec ./pcvm run --memory 64M --vga $adapter "$@" --serial file:serial.out --display none --no-reboot
}
# vmport and vapic off: see on-host.sh.
start_qemu() {
  case $name in *.img) set -- -drive file=guest.bin,format=raw,if=ide ;; *) set -- -bios guest.bin ;; esac
  if [ -n "$with_vnc" ]; then set -- "$@" -vnc unix:vnc; else set -- "$@" -display none; fi
  exec qemu-system-x86_64 -M pc,accel=kvm,vmport=off -global apic-common.vapic=off -m 64 -nodefaults -vga $adapter "$@" \
    -name bench,debug-threads=on -serial file:serial.out -no-reboot
}

measure_text() {
  case $1 in pcvm) more=3000 ;; *) more=1 ;; esac
  nanos $1 text_ns text.bin 1 $((1 + 10 * more))
  nanos $1 scroll_ns scroll.bin 1 $((1 + 10 * more))
}
measure_planes() {
  nanos $1 set-reset_ns set-reset.bin 1 6
  nanos $1 latches_ns latches.bin 1 6
  nanos $1 copy_ns copy.bin 1 6
  exits $1 copy_exits copy.bin 1 3
  nanos $1 pixels_ns pixels.bin 1 41
  nanos $1 mode-x_ns mode-x.bin 1 11
}
measure_bytes() {
  nanos $1 mode-13_ns mode-13.bin 100 2100
  nanos $1 lfb_ns lfb.bin 10 110
}
measure_modes() {
  nanos $1 modeset_ns modeset.img 1 4
  exits $1 modeset_exits modeset.img 1 4
}

measure_cirrus() {
  adapter=cirrus
  case $1 in pcvm) more=3000 ;; *) more=1 ;; esac
  nanos $1 cirrus-text_ns cirrus-text.bin 1 $((1 + 10 * more))
  nanos $1 cirrus-lfb_ns cirrus-lfb.bin 10 110
  nanos $1 cirrus-fill_ns cirrus-fill.bin 100 2100
  nanos $1 cirrus-copy_ns cirrus-copy.bin 100 2100
  adapter=std
}

# watch VMM NAME ENCODING SECONDS AFTER: sets $bytes and $updates that a VNC client receives in SECONDS, $drawn (what the guest
# draws; it sends a byte on COM1 for each), $ns and $wakeups of the VMM's threads.
watch() {
  with_vnc=yes
  guest $2.bin 1000000
  rm -f vnc serial.out
  start_$1 >output 2>&1 </dev/null &
  pid=$!
  until [ -S vnc ] && [ -s serial.out ]; do
    kill -0 $pid || { cat output >&2; exit 1; }
    sleep 0.05
  done
  seen=$(./vnc-watch vnc $3 $pid serial.out $4 $5)
  kill $pid
  wait $pid 2>/dev/null || true
  with_vnc=
  echo "$1 $2 $3: in $4 s $seen (bytes, updates, drawn by the guest, ns, wake-ups)" >&2
  read -r bytes updates drawn ns wakeups <<END
$seen
END
}
measure_vnc() {
  for encoding in tight zrle; do
    watch $1 console $encoding 8 1
    result $1 console_${encoding}_bytes "$(per 0 $bytes $drawn 1)"
    result $1 console_${encoding}_us "$(per 0 $ns $drawn 0.001)"
  done
  for encoding in tight zrle; do
    watch $1 window $encoding 8 1
    result $1 window_${encoding}_updates "$(per 0 $updates 8 1)"
    result $1 window_${encoding}_bytes "$(per 0 $bytes $updates 1)"
    result $1 window_${encoding}_us "$(per 0 $ns $updates 0.001)"
  done
  watch $1 idle tight 20 25
  result $1 idle_us "$(per 0 $ns 20 0.001)"
  result $1 idle_wakeups "$(per 0 $wakeups 20 1)"
}
for what in "$@"; do
  for vmm in ${VMMS:-pcvm qemu}; do measure_$what $vmm; done
done
