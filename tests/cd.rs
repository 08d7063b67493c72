//! Discs that are changed while a machine runs, under DOS and Linux: `pcvm cd`, QMP's `eject` and `blockdev-change-medium`,
//! locked trays, a guest that ejects, an installer of two discs, and audio.

use pcvm_test_guests::{cd, floppy};
use pcvm_test_host::{Host, Job, assert_has, require_kvm};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Makes discs with the volume names DISC-ONE, DISC-TWO and so on, of different sizes, as one.iso, two.iso and so on.
const DISCS: &str = r"
    size=1
    for number in one two three; do
      mkdir -p $number
      head -c ${size}M </dev/urandom >$number/data
      (cd $number && md5sum data >sums && echo $number >number)
      xorriso -as mkisofs -quiet -V DISC-$(echo $number | tr a-z A-Z) -r -o $number.iso $number || exit
      size=$((size + 2))
    done";

#[test]
fn software_a_disc_changes_under_dos_by_the_verb_the_button_and_the_guest() {
    require_kvm();
    let Some(iso) = floppy::freedos_iso().unwrap_or_else(|error| panic!("{error}")) else {
        eprintln!("not tested: there is no FreeDOS image");
        return;
    };
    let script = [floppy::CONSOLE, DISCS, DOS].concat();
    let job = Job::new("dos-cd", script).pcvm().unwrap_or_else(|error| panic!("{error}"));
    let job = job.file(iso, "freedos.iso").timeout(Duration::from_secs(240));
    let output = Host::Here.run(&job).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "errors.log", "refused.log", "events.log"]);
    let refused = output.text("refused.log");
    assert_has(&refused, &["Device 'hdd' is locked by the guest, which was asked to eject the medium"]);
    assert_has(&refused, &["the machine has several CD-ROM drives: add --unit hdc or hdd"]);
    assert_has(&refused, &["none.iso: No such file or directory"]);
}

/// The drive hdd changes discs; FreeDOS runs from the other one.
const DOS: &str = r#"
    mkfifo keys; exec 3<>keys
    ./pcvm run --control unix:$PWD/dos.sock --memory 16M --cdrom freedos.iso --cdrom none,unit=hdd --boot d \
      --serial stdio --display none <keys >serial.log 2>errors.log &
    vm=$!
    cd_verb() { ./pcvm cd ./dos.sock "$@" --unit hdd; }
    holds() { ls -l /proc/$vm/fd | grep -q "/$1\$"; }
    # Types a command key of TRAY.COM and waits until its answer has appeared once more.
    answers=0
    ask() {
      before=$(tr -d '\r' <serial.log | grep -c "^>$1: $2")
      printf '%s' "$1" >&3
      more() { [ $(tr -d '\r' <serial.log | grep -c "^>$1: $2") -gt $before ]; }
      wait_for 60 more "$1" "$2" || { echo "no answer '$2' to $1"; tail -n 20 serial.log; kill $vm; exit 1; }
    }
    expect 'A:.>'
    type_line tray
    expect '^>'
    ask t 'sense 06 29 00'
    ask t 'sense 02 3A 01'

    # A disc, and another one in its place.
    cd_verb insert one.iso || exit
    ask v 'ok 00 06 04 10 02 02 00 00'
    ask t 'sense 06 28 00'
    ask l 'ok DISC-ONE'
    holds one.iso || { echo "one.iso is not open"; exit 1; }
    cd_verb insert two.iso || exit
    ask t 'sense 06 28 00'
    ask l 'ok DISC-TWO'
    holds one.iso && { echo "one.iso is still open"; exit 1; }

    # A file that is missing leaves the disc in the drive.
    cd_verb insert none.iso 2>>refused.log && exit 1
    ask l 'ok DISC-TWO'

    # The locked tray: the guest gets the request, and ejects.
    ask k ok
    cd_verb insert three.iso 2>>refused.log && exit 1
    cd_verb eject 2>>refused.log && exit 1
    ask v 'ok 00 06 04 10 01 02 00 00'
    ask l 'ok DISC-TWO'
    ask e 'sense 05 53 02'
    ask u ok
    ask e ok
    ask t 'sense 02 3A 02'
    # The disc lies on the tray until it closes or the host takes it away.
    ask c ok
    ask t 'sense 06 28 00'
    ask l 'ok DISC-TWO'
    ask e ok
    cd_verb eject || exit
    ask t 'sense 02 3A 02'
    holds two.iso && { echo "two.iso is still open"; exit 1; }

    # Force.
    cd_verb insert one.iso || exit
    ask t 'sense 06 28 00'
    ask k ok
    cd_verb insert three.iso --force || exit
    ask t 'sense 06 28 00'
    ask l 'ok DISC-THREE'
    cd_verb eject --force || exit
    ask t 'sense 02 3A 02'
    holds three.iso && { echo "three.iso is still open"; exit 1; }

    # Which drive?
    ./pcvm cd ./dos.sock eject 2>>refused.log && exit 1

    # QMP's names, and the events.
    cat >qmp.py <<'PYTHON'
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect('dos.sock')
# A file that is written too would discard what it has read ahead.
f = s.makefile('r')
events = []
def line():
    reply = json.loads(f.readline())
    if 'event' in reply: events.append((reply['event'], reply['data']))
    return reply
def do(name, **arguments):
    s.sendall(json.dumps({'execute': name, 'arguments': {k.replace('_', '-'): v for k, v in arguments.items()}}).encode())
    while True:
        reply = line()
        if 'event' not in reply: return reply.get('return', reply)
def drive(name): return next(d for d in do('query-block') if d['device'] == name)
line()
do('qmp_capabilities')
empty = drive('hdd')
assert empty['removable'] and empty['locked'] and empty['tray_open'] and 'inserted' not in empty, empty
disc = os.path.abspath('two.iso')
reply = do('blockdev-change-medium', id='ide1-cd1', filename=disc, format='raw', read_only_mode='retain', force=True)
assert reply == {}, reply
full = drive('hdd')
inserted = full['inserted']
assert not full['tray_open'] and full['io-status'] == 'ok', full
assert (inserted['file'], inserted['ro'], inserted['drv']) == (disc, True, 'raw'), full
assert inserted['image']['virtual-size'] == os.path.getsize(disc), full
error = do('eject', device='hdd')['error']
assert error['class'] == 'GenericError' and 'locked' in error['desc'], error
assert do('blockdev-open-tray', id='hdd') == {}, 'as in QEMU'
assert not drive('hdd')['tray_open']
assert do('blockdev-open-tray', id='hdd', force=True) == {}
assert drive('hdd')['tray_open'] and 'inserted' in drive('hdd')
assert do('blockdev-close-tray', id='hdd') == {}
assert 'error' in do('blockdev-remove-medium', id='hdd'), 'closed'
assert do('eject', id='hdd', force=True) == {}
assert do('eject', id='hdx')['error']['class'] == 'DeviceNotFound'
assert not drive('hdc')['tray_open']
while len(events) < 4: line()
print(events)
moves = [data['tray-open'] for name, data in events if data['id'] == 'hdd' and name == 'DEVICE_TRAY_MOVED']
assert moves == [False, True, False, True], moves
# Many changes in a row, which the guest survives.
for n in range(200):
    reply = do('blockdev-change-medium', id='hdd', filename=['one.iso', 'two.iso'][n % 2], format='raw', force=True)
    assert reply == {}, reply
PYTHON
    timeout 60 python3 qmp.py >events.log 2>&1 || { cat events.log; exit 1; }
    ask t 'sense 06 28 00'
    ask l 'ok DISC-TWO'
    kill $vm; wait $vm
    exit 0"#;

#[test]
fn nested_linux_follows_disc_changes_and_rips_audio() {
    let discs = cd::Discs::make().unwrap_or_else(|error| panic!("{error}"));
    let mut job = Job::new("linux-cd", LINUX).pcvm().unwrap_or_else(|error| panic!("{error}"));
    for name in ["one.iso", "two.iso", "three.iso", "mixed.cue", "mixed.bin"] {
        job = job.file(discs.path(name), name);
    }
    let output = Host::pick().run(&job.timeout(Duration::from_secs(900))).unwrap_or_else(|error| panic!("{error}"));
    output.expect_status(0, &["serial.log", "refused.log"]);
    assert_has(&output.text("refused.log"), &["Device 'hdc' is locked by the guest"]);
    let serial = output.text("serial.log").replace('\r', "");
    assert_has(
        &serial,
        &[
            "==== disc one is right",
            "==== disc two is right",
            "==== ejected at the host's request: DISK_EJECT_REQUEST, status 0",
            "==== disc three is right",
            "==== the disc has changed: DISK_MEDIA_CHANGE",
            "==== ejected by the guest",
            "==== disc track is right",
        ],
    );
    // cdparanoia's table of the audio tracks: length and start in sectors.
    assert_has(&serial, &["  2.      600 [00:08.00]", "  3.      600 [00:08.00]"]);
    for track in [2, 3] {
        let samples = discs.audio(track).unwrap_or_else(|error| panic!("{error}"));
        let sum = md5sum(&samples, &output.dir);
        assert_has(&serial, &[&format!("==== track {track} {sum}")]);
    }
}

/// The MD5 sum as `md5sum` prints it.
fn md5sum(bytes: &[u8], dir: &Path) -> String {
    let file = dir.join("samples");
    fs::write(&file, bytes).unwrap();
    let output = Command::new("md5sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

const LINUX: &str = r#"
    ./pcvm run --control unix:/tmp/cd.sock --memory 256M --cdrom one.iso --boot d --no-reboot --serial file:/tmp/serial.log \
      --display none &
    vm=$!
    trap 'cp /tmp/serial.log .' EXIT
    step() {
      reached() { ended $vm || has /tmp/serial.log "==== $1"; }
      wait_for 240 reached "$1"
      has /tmp/serial.log "==== $1" || { echo "the guest does not reach: $1"; tail -n 20 /tmp/serial.log; kill $vm; exit 1; }
    }
    # The guest mounts the disc in the drive for a moment each time that it looks, which locks the tray.
    insert() {
      inserted() { ./pcvm cd /tmp/cd.sock insert $1 2>/dev/null; }
      wait_for 60 inserted $1 || { echo "$1 cannot be inserted"; exit 1; }
    }

    step 'insert disc two'
    insert two.iso
    step 'disc two is locked'
    ./pcvm cd /tmp/cd.sock eject 2>refused.log && exit 1
    step 'insert disc three'
    insert three.iso
    step 'take disc three away'
    ./pcvm cd /tmp/cd.sock insert one.iso --force || exit
    step 'insert the mixed disc'
    insert mixed.cue
    step 'end'
    wait $vm || exit
    exit 0"#;
