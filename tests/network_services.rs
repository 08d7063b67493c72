//! What networks offer, to whole guests: booting by PXE, and the outside world without root.

mod lan;

use lan::{assert_has, run_with_servers};

#[test]
fn nested_a_guest_without_disks_boots_by_pxe() {
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
        patience=480
        until_said a '==== ready'
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
fn nested_passt_gives_a_guest_an_address_names_and_files_without_root() {
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
# Debian 12's passt does not hand on that the server has closed a connection that the guest had half closed.
dd if=/dev/zero bs=1k count=256 2>/dev/null | nc -w 60 files.test 3 >/tmp/sum &
tries=0
until [ -s /tmp/sum ] || [ $((tries += 1)) -gt 300 ]; do sleep 0.2; done
echo "==== sum" $(cat /tmp/sum)
GUEST
        echo "file $(md5sum <$scratch/served/file)"
        echo "sum $(dd if=/dev/zero bs=1k count=256 2>/dev/null | md5sum)"
        # A host as passt wants to see it: with a default route and a name server, which is on its loopback.
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
echo "left: $(pidof passt passt.avx2)."
killall dnsmasq nc httpd
INNER
        if [ -d .nested-host ]; then
          # Where nobody is root but root, and where there is a root for passt to leave: pivot_root(2) does not take the initial
          # RAM file system.
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
    assert_has(&output.console, &["pcvm ended with 0", "left: ."]);
}

#[test]
fn nested_taps_and_bridges_that_cannot_be_are_told_of() {
    let output = run_with_servers(
        "network-errors",
        r#"
        # pcvm as somebody who may nothing.
        cat >$scratch/nobody <<'NOBODY'
exec su nobody -s /bin/sh -c "exec ./pcvm $*"
NOBODY
        # told STATUS TEXT NET: pcvm says that, in one line, and nothing else.
        pcvm=./pcvm
        told() {
          said=$($pcvm run --display none --serial none --control none --net $3 2>&1 </dev/null); status=$?
          [ $status/"$said" = "$1/pcvm: $2" ] || fail "--net $3: status $status: $said"
          echo "OK: $said"
        }
        # A machine that has nothing to boot.
        idle() {
          $pcvm run --display none --serial null --control unix:$scratch/idle --net $1 >$scratch/idle.log 2>&1 </dev/null &
          machine=$! tries=0
          until ./pcvm screen $scratch/idle --text >/dev/null 2>&1; do
            sleep 0.2; tries=$((tries + 1))
            [ $tries -lt 150 ] || fail "the machine with $1"
          done
        }
        # ended STATUS: the machine, which is told to by a signal.
        ended() {
          kill $machine; wait $machine; status=$?
          echo "the machine with $2 ended with $status"
          [ $status = $1 ] || fail "the machine with $2: status $status"
        }
        told 1 '--net: bridge br9: does not exist' tap,bridge=br9
        told 1 '--net: bridge lo: is not a bridge' tap,bridge=lo
        told 1 '--net: cannot use tap br0: an interface of this name exists that is not a single-queue tap device' tap,ifname=br0
        idle tap,ifname=tapx,bridge=br0
        told 1 '--net: cannot use tap tapx: in use by another program' tap,ifname=tapx
        # The tap goes away under the machine, which goes on.
        [ -e /sys/class/net/br0/brif/tapx ] || fail 'tapx is not on br0'
        ip link del tapx
        sleep 1
        ./pcvm screen $scratch/idle --text >/dev/null || fail 'the machine whose tap is gone'
        ended 0 'a tap that is gone'
        cat $scratch/idle.log
        # Without permission. What root has made is fit for others, and stays when they go.
        kvm=$(stat -c %a /dev/kvm) tun=$(stat -c %a /dev/net/tun)
        pcvm="sh $scratch/nobody"
        chmod 666 /dev/kvm
        chmod 777 $scratch
        chmod 600 /dev/net/tun
        told 1 '--net: /dev/net/tun: Permission denied' tap
        chmod 666 /dev/net/tun
        may='not permitted; create it as root: ip tuntap add NAME mode tap user USER'
        told 1 "--net: cannot use tap (new): $may" tap
        told 1 "--net: cannot use tap tapr: $may" tap,ifname=tapr
        # busybox' tunctl makes it for everybody.
        tunctl -t tapn >/dev/null
        told 1 '--net: cannot bring up tap tapn: Operation not permitted' tap,ifname=tapn
        told 1 '--net: cannot join bridge br0: Operation not permitted' tap,ifname=tapn,bridge=br0
        brctl addif br0 tapn
        ip link set tapn up
        idle tap,ifname=tapn,bridge=br0
        ended 0 'a tap of its own'
        [ -e /sys/class/net/br0/brif/tapn ] || fail 'tapn is no longer on br0'
        tunctl -d tapn >/dev/null
        chmod $kvm /dev/kvm
        chmod $tun /dev/net/tun
        "#,
    );
    let console = &output.console;
    assert_eq!(console.matches("OK: pcvm: --net: ").count(), 9, "{console}");
    assert_has(
        console,
        &["the machine with a tap that is gone ended with 0", "the machine with a tap of its own ended with 0"],
    );
    // Once, however many frames are lost.
    assert_eq!(console.matches("WARN tap tapx: ").count(), 1, "{console}");
    assert_has(console, &[": the guest's link is down"]);
}
