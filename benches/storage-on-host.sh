# The measurements of benches/storage: runs pcvm and QEMU with the bench guest. Called as `sh storage-on-host.sh WHAT...`;
# see measuring.sh. Needs fs.img.gz, a file system with the images.
. ./measuring.sh
image=bench.bin
cp "$here/pcvm" "$here/bench.bin" .
command -v load-modules >/dev/null && load-modules
mkdir fs
gunzip -c "$here/fs.img.gz" >fs.img
loop=$(losetup -f)
losetup "$loop" fs.img
mount -t ext4 "$loop" fs
# All images are in the page cache, and the host writes nothing back while a guest runs.
cat fs/*.* >/dev/null
for name in dirty_background_ratio dirty_ratio; do echo 90 >/proc/sys/vm/$name; done
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
before_run() { sync; }
trap 'cd /; umount $work/fs; losetup -d $loop; rmdir $trace; rm -rf $work' EXIT

# $pcvm_drive and $qemu_drive: the options of the drive.
start_pcvm() {
  exec ./pcvm run --memory 128M --firmware guest.bin $pcvm_drive --serial file:serial.out --display none --no-reboot
}
# vmport and vapic off: both write a busy TSS back, which aborts the TCG of a nested host. No measurement uses them.
start_qemu() {
  exec qemu-system-x86_64 -M pc,accel=kvm,vmport=off -global apic-common.vapic=off -m 128 -nodefaults -display none \
    -vga std -bios guest.bin $qemu_drive -serial file:serial.out -no-reboot
}
drive() { # FILE FORMAT
  pcvm_drive="--disk $1,format=$2"
  qemu_drive="-drive file=$1,format=$2,if=ide"
}

# System calls of all processes, which are next to none but the VMM's: VMM NAME MEASURE FEW MANY [SIZE].
calls() {
  echo 'hist:keys=id' >$trace/events/raw_syscalls/sys_enter/trigger
  guest "$3" "$4" "${6:-0}"; run "$1"
  before=$(awk '/^ *Hits:/ { print $2 }' $trace/events/raw_syscalls/sys_enter/hist)
  echo '!hist:keys=id' >$trace/events/raw_syscalls/sys_enter/trigger
  echo 'hist:keys=id' >$trace/events/raw_syscalls/sys_enter/trigger
  guest "$3" "$5" "${6:-0}"; run "$1"
  after=$(awk '/^ *Hits:/ { print $2 }' $trace/events/raw_syscalls/sys_enter/hist)
  echo '!hist:keys=id' >$trace/events/raw_syscalls/sys_enter/trigger
  result "$1" "$2" "$(per $before $after $(($5 - $4)) 1)"
}

# TRANSFER of bench.s: sectors, and flags.
random=16384 write=32768
both() { # VMM NAME TRANSFER FEW MANY
  nanos "$1" "$2_ns" 12 "$4" "$5" "$3"
  calls "$1" "$2_calls" 12 "$4" "$5" "$3"
}

measure_raw() {
  drive fs/raw.img raw
  both $1 raw_read_4 8 100 1100
  both $1 raw_random_read_4 $((8 + random)) 100 1100
  both $1 raw_read_64 128 100 600
  both $1 raw_random_read_64 $((128 + random)) 100 600
  both $1 raw_write_4 $((8 + write)) 100 1100
  both $1 raw_random_write_4 $((8 + random + write)) 100 1100
  both $1 raw_write_64 $((128 + write)) 100 600
  both $1 raw_random_write_64 $((128 + random + write)) 100 600
}
measure_cold() {
  drive fs/raw.img raw
  before_run() { sync; echo 3 >/proc/sys/vm/drop_caches; }
  nanos $1 cold_read_4_ns 12 100 4100 8
  nanos $1 cold_read_64_ns 12 20 820 128
  before_run() { sync; }
  cat fs/*.* >/dev/null
}
measure_direct() {
  drive fs/raw.img raw
  pcvm_drive=$pcvm_drive,cache=none
  qemu_drive=$qemu_drive,cache=none
  both $1 direct_read_4 $((8 + random)) 100 1100
  both $1 direct_write_4 $((8 + random + write)) 100 1100
  both $1 direct_read_64 $((128 + random)) 100 600
  both $1 direct_write_64 $((128 + random + write)) 100 600
}
measure_qcow2() {
  drive fs/full.qcow2 qcow2
  # The loops are long enough that most of the clusters have been looked up before.
  both $1 qcow2_read_4 $((8 + random)) 4000 6000
  both $1 qcow2_write_4 $((8 + random + write)) 4000 6000
  both $1 qcow2_read_64 $((128 + random)) 4000 5000
}
measure_chain() {
  drive fs/49.qcow2 qcow2
  both $1 chain_read_4 $((8 + random)) 4000 6000
}
measure_nbd() {
  qemu-nbd -f raw -k $work/nbd.socket -t -x disk fs/raw.img &
  server=$!
  until [ -S nbd.socket ]; do sleep 0.1; done
  pcvm_drive="--disk nbd+unix:///disk?socket=$work/nbd.socket"
  qemu_drive="-drive file=nbd+unix:///disk?socket=$work/nbd.socket,format=raw,if=ide"
  nanos $1 nbd_read_4_ns 12 100 1100 $((8 + random))
  nanos $1 nbd_write_4_ns 12 100 1100 $((8 + random + write))
  nanos $1 nbd_read_64_ns 12 100 600 $((128 + random))
  nanos $1 nbd_write_64_ns 12 100 600 $((128 + random + write))
  kill $server
  wait $server || true
  rm -f nbd.socket
}
measure_cd() {
  pcvm_drive="--cdrom fs/cd.iso,unit=hda"
  qemu_drive="-drive file=fs/cd.iso,format=raw,if=none,id=cd,media=cdrom,readonly=on -device ide-cd,bus=ide.0,unit=0,drive=cd"
  nanos $1 cd_read_64_ns 13 100 600
  calls $1 cd_read_64_calls 13 100 600
}
measure_floppy() {
  pcvm_drive="--floppy fs/floppy.img"
  qemu_drive="-drive file=fs/floppy.img,format=raw,if=floppy"
  nanos $1 floppy_ns 14 1 4
}

for what in "$@"; do
  for vmm in ${VMMS:-pcvm qemu}; do measure_$what $vmm; done
done
