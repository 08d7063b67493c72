//! CMOS, BIOS data areas, interrupt vectors, E820, SMBIOS, $PIR, MP table and PCI configuration registers, compared byte by
//! byte: pcvm with its own firmware, and QEMU's `pc` machine under SeaBIOS with the same devices. `tests/state/differences.txt`
//! lists the known differences with their reasons; one that is not listed fails, and so does a listed one that no longer
//! exists. The guest is `tests/guests/src/state.s`.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use pcvm_test_guests::calls::{KnownDifference, Log};
use pcvm_test_guests::flat;
use pcvm_test_host::{Host, Job, project, require_kvm, tail};

const ON_PCVM: &str = "./pcvm run --memory 64M --floppy floppy.img --disk state.img,readonly --cdrom cd.iso --boot c --tablet \
    --net pair:unix:pair.sock,mac=00:16:3e:00:00:01 --serial null --serial null --debugcon state.log --display none --no-reboot";
const ON_QEMU: &str = "qemu-system-x86_64 -accel tcg -m 64 -vga none -device VGA,addr=2 -nic none -netdev user,id=n \
    -device rtl8139,netdev=n,addr=3,mac=00:16:3e:00:00:01 -usb -serial null -serial null -parallel none -display none -boot c \
    -drive if=floppy,format=raw,file=floppy.img -drive file=state.img,format=raw,if=ide,snapshot=on -cdrom cd.iso \
    -debugcon file:state.log -global isa-debugcon.iobase=0x402 -no-reboot";

fn state(name: &str, command: &str) -> Log {
    let disk = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(disk.path(), flat::state()).expect("the disk");
    let script = format!(
        "truncate -s 1440K floppy.img; truncate -s 1M cd.iso
         {command} &
         vm=$!
         finished() {{ has state.log '^inttest: end' || ended $vm; }}
         wait_for 150 finished
         kill $vm; wait $vm
         has state.log '^inttest: end'"
    );
    let job = Job::new(&format!("state-{name}"), script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(disk.path(), "state.img").timeout(Duration::from_secs(200));
    let output = Host::Here.run(&job).unwrap_or_else(|error| panic!("{error}"));
    let text = output.text("state.log");
    Log::parse(&text)
        .unwrap_or_else(|| panic!("{name}: the log is incomplete\n{}\n{}", tail(&output.console), tail(&text)))
}

#[test]
fn software_tables_and_registers_differ_from_qemus_pc_only_as_listed() {
    require_kvm();
    let (qemu, ours) = (state("qemu", ON_QEMU), state("pcvm", ON_PCVM));
    assert!(qemu.calls.len() > 1000, "only {} lines", qemu.calls.len());
    let list = project().join("tests/state/differences.txt");
    let list = fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    let list = KnownDifference::list(&list);
    let differences = qemu.differences(&ours);
    let mut report = String::new();
    for d in differences.iter().filter(|d| !list.iter().any(|line| line.covers(d))) {
        let _ = writeln!(report, "{} | {} | {} -> {}", d.call, d.field, d.one, d.other);
    }
    for line in list.iter().filter(|line| !differences.iter().any(|d| line.covers(d))) {
        let _ = writeln!(report, "listed, but no difference: {}", line.title());
    }
    assert!(report.is_empty(), "{report}");
}
