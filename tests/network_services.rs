//! Network services for guests: PXE boot, passt, and error messages for taps and bridges.

mod lan;

use lan::run_with_servers;
use pcvm_test_host::assert_has;

#[test]
fn nested_a_guest_without_disks_boots_linux_by_pxe() {
    let output = run_with_servers(
        "network-pxe",
        r#"
        served=$scratch/served
        mkdir -p $served/pxelinux.cfg
        cp vmlinuz small.gz pxelinux.0 ldlinux.c32 $served/
        printf '%s\n' 'serial 0 115200' 'default linux' 'label linux' ' kernel vmlinuz' ' initrd small.gz' \
          ' append console=ttyS0,115200n8 loglevel=5 panic=-1' >$served/pxelinux.cfg/default
        dnsmasq --port=0 --interface=br0 --bind-interfaces --leasefile-ro --log-dhcp --enable-tftp --tftp-root=$served \
          --dhcp-range=10.9.0.50,10.9.0.90 --dhcp-host=00:16:3e:00:00:0a,10.9.0.10 --dhcp-boot=pxelinux.0 \
          >$scratch/dnsmasq.log 2>&1 &
        ./pcvm run --control unix:$scratch/a --memory 256M --boot n --no-reboot --serial file:$scratch/a.log --display none \
          --net tap,bridge=br0,mac=00:16:3e:00:00:0a,rom=ipxe.rom &
        limit=240
        wait_log a '==== ready'
        ping -c 1 -W 20 10.9.0.10 | grep -q ' 1 packets received' || fail ping
        "#,
    );
    let served = output.text("dnsmasq.log");
    for file in ["pxelinux.0", "ldlinux.c32", "pxelinux.cfg/default", "vmlinuz", "small.gz"] {
        let sent =
            |line: &str| line.starts_with("dnsmasq-tftp: sent ") && line.ends_with(&format!("/{file} to 10.9.0.10"));
        assert!(served.lines().any(sent), "{file} was not sent:\n{served}");
    }
    assert_has(
        &output.text("a.log"),
        &[
            "Booting from option ROM (iPXE (PCI 00:03.0))",
            "==== driver 8139cp 00:16:3e:00:00:0a",
            "==== address 10.9.0.10",
        ],
    );
}

#[test]
fn nested_passt_connects_a_guest_to_dhcp_dns_and_tcp_without_root() {
    let output = run_with_servers(
        "network-passt",
        r#"
        export scratch
        mkdir $scratch/served
        dd if=/dev/urandom of=$scratch/served/file bs=1M count=1 2>/dev/null
        cat >$scratch/served/commands <<'GUEST'
echo "==== route" $(ip route | grep default)
echo "==== resolver" $(cat /etc/resolv.conf)
echo "==== name" $(nslookup -type=a files.test | tail -n 3)
echo "==== file" $(wget -q -O - http://files.test/file | md5sum)
# Debian 12's passt does not forward the server's FIN on a connection that the guest has half closed.
dd if=/dev/zero bs=1k count=256 2>/dev/null | nc -w 60 files.test 3 >/tmp/sum &
tries=0
until [ -s /tmp/sum ] || [ $((tries += 1)) -gt 300 ]; do sleep 0.2; done
echo "==== sum" $(cat /tmp/sum)
GUEST
        echo "file $(md5sum <$scratch/served/file)"
        echo "sum $(dd if=/dev/zero bs=1k count=256 2>/dev/null | md5sum)"
        # passt needs a host with a default route and a name server; this one is on its loopback interface.
        cat >$scratch/inner <<'INNER'
export PATH=$PATH:/usr/bin:/usr/sbin
ip link set lo up
ip link add uplink type bridge && ip addr add 192.0.2.2/24 dev uplink && ip link set uplink up &&
  ip route add default via 192.0.2.1 || exit 1
dnsmasq --conf-file=/dev/null --no-daemon --user=root --group=root --no-hosts --no-resolv --listen-address=127.0.0.1 \
  --bind-interfaces --address=/files.test/192.0.2.1 --log-queries >$scratch/dnsmasq.log 2>&1 &
httpd -h $scratch/served -p 127.0.0.1:80
nc -ll -p 3 -e /bin/md5sum &
as_user 'echo "user $(id -u)"; exec ./pcvm run --control unix:$scratch/a --memory 256M --kernel vmlinuz \
  --initrd small.gz --append "console=ttyS0,115200n8 loglevel=5 panic=-1 commands=http://files.test/commands" \
  --display none --no-reboot --serial file:$scratch/a.log --net passt'
echo "pcvm ended with $?"
tries=0
while pidof passt passt.avx2 && [ $tries -lt 20 ]; do sleep 0.5; tries=$((tries + 1)); done
echo "passt processes left: $(pidof passt passt.avx2)."
killall dnsmasq nc httpd
INNER
        if [ -d .nested-host ]; then
          # pcvm runs as a user other than root, in a chroot: passt calls pivot_root(2), which does not work on an initramfs.
          chmod 666 /dev/kvm
          chmod 777 $scratch
          mkdir $scratch/new
          mount -t tmpfs new $scratch/new
          tar -xf servers.tar -C $scratch/new
          cp -a /bin /etc $scratch/new/
          echo nameserver 127.0.0.1 >$scratch/new/etc/resolv.conf
          for dir in proc sys dev share tmp; do
            mkdir $scratch/new/$dir
            mount -o rbind /$dir $scratch/new/$dir
          done
          unshare -m -n sh -c 'cd $scratch/new && mount -o move . / && exec chroot . sh -c "
            as_user() { su user -c \"\$1\"; }; cd /share; . $scratch/inner"'
        else
          echo nameserver 127.0.0.1 >$scratch/resolver
          unshare -m -n sh -c 'mount --bind $scratch/resolver /etc/resolv.conf
            as_user() { sh -c "$1"; }; . $scratch/inner'
        fi
        "#,
    );
    let guest = output.text("a.log");
    assert_has(&guest, &["==== address 192.0.2.2", "==== route default via 192.0.2.1"]);
    assert_has(&guest, &["==== resolver nameserver 192.0.2.1", "==== name Name: files.test Address: 192.0.2.1"]);
    assert_has(&output.text("dnsmasq.log"), &["query[A] files.test from 127.0.0.1"]);
    for what in ["file", "sum"] {
        let wanted = output.console.lines().find_map(|line| line.strip_prefix(&format!("{what} "))).unwrap_or_default();
        assert!(wanted.len() > 32, "{}", output.console);
        assert_has(&guest, &[format!("==== {what} {wanted}").trim_end_matches([' ', '-'])]);
    }
    assert_has(&output.console, &["pcvm ended with 0", "passt processes left: ."]);
}

#[test]
fn nested_pcvm_explains_why_it_cannot_use_a_tap_or_bridge() {
    let output = run_with_servers(
        "network-errors",
        r#"
        # as_nobody ARGUMENT...: runs pcvm as a user without permissions.
        cat >$scratch/as_nobody <<'NOBODY'
exec su nobody -s /bin/sh -c "exec ./pcvm $*"
NOBODY
        # fails STATUS TEXT NET: pcvm ends with this status and prints only this line.
        pcvm=./pcvm
        fails() {
          message=$($pcvm run --display none --serial none --control none --net $3 2>&1 </dev/null); status=$?
          [ $status/"$message" = "$1/pcvm: $2" ] || fail "--net $3: status $status: $message"
          echo "OK: $message"
        }
        # idle NET: starts a VM that has nothing to boot.
        answers() { ./pcvm screen $scratch/idle --text >/dev/null 2>&1; }
        idle() {
          $pcvm run --display none --serial null --control unix:$scratch/idle --net $1 >$scratch/idle.log 2>&1 </dev/null &
          vm=$!
          wait_for 30 answers || fail "no answer from the VM with $1"
        }
        # stop STATUS NAME: sends SIGTERM to the VM, which must end with this status.
        stop() {
          kill $vm; wait $vm; status=$?
          echo "the VM with $2 ended with $status"
          [ $status = $1 ] || fail "the VM with $2: status $status"
        }
        fails 1 '--net: bridge br9: does not exist' tap,bridge=br9
        fails 1 '--net: bridge lo: is not a bridge' tap,bridge=lo
        fails 1 '--net: cannot use tap br0: an interface of this name exists that is not a single-queue tap device' tap,ifname=br0
        idle tap,ifname=tapx,bridge=br0
        fails 1 '--net: cannot use tap tapx: in use by another program' tap,ifname=tapx
        # pcvm keeps running when its tap is deleted.
        [ -e /sys/class/net/br0/brif/tapx ] || fail 'tapx is not on br0'
        ip link del tapx
        wait_for 30 has $scratch/idle.log 'tap tapx: ' || fail 'no warning about the deleted tap'
        answers || fail 'no answer from the VM without its tap'
        stop 0 'a deleted tap'
        cat $scratch/idle.log
        # Without permissions. Others may use a tap that root has created; it remains when pcvm ends.
        kvm=$(stat -c %a /dev/kvm) tun=$(stat -c %a /dev/net/tun)
        pcvm="sh $scratch/as_nobody"
        chmod 666 /dev/kvm
        chmod 777 $scratch
        chmod 600 /dev/net/tun
        fails 1 '--net: /dev/net/tun: Permission denied' tap
        chmod 666 /dev/net/tun
        hint='not permitted; create it as root: ip tuntap add NAME mode tap user USER'
        fails 1 "--net: cannot use tap (new): $hint" tap
        fails 1 "--net: cannot use tap tapr: $hint" tap,ifname=tapr
        # Every user may use a tap of busybox' tunctl.
        tunctl -t tapn >/dev/null
        fails 1 '--net: cannot bring up tap tapn: Operation not permitted' tap,ifname=tapn
        fails 1 '--net: cannot join bridge br0: Operation not permitted' tap,ifname=tapn,bridge=br0
        brctl addif br0 tapn
        ip link set tapn up
        idle tap,ifname=tapn,bridge=br0
        stop 0 'an existing tap'
        [ -e /sys/class/net/br0/brif/tapn ] || fail 'tapn is no longer on br0'
        tunctl -d tapn >/dev/null
        chmod $kvm /dev/kvm
        chmod $tun /dev/net/tun
        "#,
    );
    let console = &output.console;
    assert_eq!(console.matches("OK: pcvm: --net: ").count(), 9, "{console}");
    assert_has(console, &["the VM with a deleted tap ended with 0", "the VM with an existing tap ended with 0"]);
    // One warning, however many frames are lost.
    assert_eq!(console.matches("WARN tap tapx: ").count(), 1, "{console}");
    assert_has(console, &[": the guest's link is down"]);
}
