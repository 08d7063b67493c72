//! Control socket (QMP) and the commands that use it, on a machine whose guest echoes typed keys.

mod echo;

use echo::{Machine, machine, pcvm};
use pcvm_test_host::wait_until;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

struct Qmp(BufReader<UnixStream>);

impl Qmp {
    fn connect(machine: &Machine) -> Self {
        let stream = UnixStream::connect(machine.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut qmp = Self(BufReader::new(stream));
        assert!(qmp.line()["QMP"]["version"]["qemu"]["major"].is_u64());
        qmp
    }

    fn negotiated(machine: &Machine) -> Self {
        let mut qmp = Self::connect(machine);
        assert_eq!(qmp.execute(json!({ "execute": "qmp_capabilities" })), json!({ "return": {} }));
        qmp
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "{line:?}");
        serde_json::from_str(&line).unwrap()
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn execute(&mut self, request: Value) -> Value {
        self.send(&request.to_string());
        loop {
            let reply = self.line();
            if reply.get("event").is_none() {
                return reply;
            }
        }
    }

    fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.line();
            if line["event"] == name {
                assert!(line["timestamp"]["seconds"].is_u64() && line["timestamp"]["microseconds"].is_u64());
                return line;
            }
        }
    }
}

#[test]
fn software_commands_read_the_screen_and_type() {
    let machine = machine("Ready", &[]);
    machine.run_ok("wait", &["--text", "^Ready$", "--timeout", "60"]);
    machine.run_ok("key", &["f1"]);
    let typed = "Hello, World! {\"key\": [~|`^]} -- \\/?";
    machine.run_ok("type", &["--pace", "40", typed]);
    machine.run_ok("wait", &["--text", &format!("►{}$", regex::escape(typed)), "--timeout", "60"]);
    machine.run_ok("type", &["--enter", "--pace", "40", "-x"]);
    // The guest has a US keyboard: on the German layout z is its y, and no character may be typed if one has no key.
    machine.run_ok("type", &["--keymap", "de", "--pace", "40", "z"]);
    let refused = machine.run_command("type", &["a\u{e9}"]);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(error, "pcvm: '\u{e9}' has no key on the keyboard layout en-us (English (US))\n");
    machine.run_ok("key", &["caps_lock"]);
    machine.run_ok("type", &["--pace", "40", "aB"]);
    machine.run_ok("wait", &["--text", "^yaBdy►", "--timeout", "60"]);
    machine.run_ok("key", &["caps_lock"]);
    machine.run_ok("key", &["shift-a", "B", "kp_5"]);
    let screen = machine.run_ok("screen", &["--text"]);
    assert_eq!(screen.lines().count(), 25, "{screen}");

    machine.run_ok("screenshot", &["a.png"]);
    machine.run_ok("screenshot", &["a.ppm"]);
    let picture = fs::File::open(machine.dir.path().join("a.png")).unwrap();
    let mut reader = png::Decoder::new(BufReader::new(picture)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height, info.color_type), (720, 400, png::ColorType::Rgb));
    assert!(pixels.iter().any(|&byte| byte != 0), "the screen is not black");
    let ppm = fs::read(machine.dir.path().join("a.ppm")).unwrap();
    assert_eq!(ppm.strip_prefix(b"P6\n720 400\n255\n".as_slice()).unwrap().len(), pixels.len());

    let fails = |command: &str, arguments: &[&str], status: i32, line: &str| {
        let output = machine.run_command(command, arguments);
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("pcvm: {line}\n"));
        assert_eq!(output.status.code(), Some(status));
    };
    fails("wait", &["--text", "not there", "--timeout", "0.2"], 1, "'not there' did not appear within 0.2 s");
    let absent = machine.dir.path().join("no/a.png");
    let line = format!(
        "{}: No such file or directory",
        fs::canonicalize(machine.dir.path()).unwrap().join("no/a.png").display()
    );
    fails("screenshot", &[absent.to_str().unwrap()], 1, &line);
}

#[test]
fn software_qmp_follows_its_specification() {
    let mut machine = machine("Ready", &["--name", "a machine"]);
    let mut qmp = Qmp::connect(&machine);
    let class = |reply: &Value| reply["error"]["class"].as_str().unwrap_or_default().to_owned();
    assert_eq!(class(&qmp.execute(json!({ "execute": "query-status" }))), "CommandNotFound", "not negotiated");
    assert_eq!(
        class(&qmp.execute(json!({ "execute": "qmp_capabilities", "arguments": { "enable": ["oob"] } }))),
        "GenericError"
    );
    assert_eq!(qmp.execute(json!({ "execute": "qmp_capabilities", "id": [1] })), json!({ "return": {}, "id": [1] }));
    assert_eq!(class(&qmp.execute(json!({ "execute": "qmp_capabilities" }))), "CommandNotFound", "twice");
    assert_eq!(qmp.execute(json!({ "execute": "query-name" })), json!({ "return": { "name": "a machine" } }));
    assert_eq!(class(&qmp.execute(json!({ "execute": "query-name", "arguments": { "x": 1 } }))), "GenericError");
    assert_eq!(class(&qmp.execute(json!({ "execute": "device_add" }))), "CommandNotFound");
    qmp.send("garbage\n");
    assert_eq!(class(&qmp.line()), "GenericError");

    // Every listed command exists.
    let commands = qmp.execute(json!({ "execute": "query-commands" }));
    for command in commands["return"].as_array().unwrap() {
        let reply = match command["name"].as_str().unwrap() {
            "quit" | "system_reset" | "system_powerdown" | "qmp_capabilities" => continue,
            name => qmp.execute(json!({ "execute": name })),
        };
        assert_ne!(class(&reply), "CommandNotFound", "{command}");
    }

    // The list contains `stop`.
    qmp.execute(json!({ "execute": "cont" }));

    let running = |qmp: &mut Qmp| qmp.execute(json!({ "execute": "query-status" }))["return"]["running"] == true;
    let mut other = Qmp::negotiated(&machine);
    assert_eq!(qmp.execute(json!({ "execute": "stop" })), json!({ "return": {} }));
    assert!(!running(&mut qmp));
    other.event("STOP");
    assert_eq!(qmp.execute(json!({ "execute": "stop" })), json!({ "return": {} }), "a second stop succeeds");
    assert_eq!(qmp.execute(json!({ "execute": "cont" })), json!({ "return": {} }));
    assert!(running(&mut qmp));
    other.event("RESUME");

    // A reset does not resume a stopped machine.
    qmp.execute(json!({ "execute": "stop" }));
    qmp.execute(json!({ "execute": "system_reset" }));
    assert_eq!(other.event("RESET")["data"], json!({ "guest": false, "reason": "host-qmp-system-reset" }));
    assert!(!running(&mut qmp));
    qmp.execute(json!({ "execute": "cont" }));
    machine.run_ok("wait", &["--text", "Ready", "--timeout", "60"]);

    let key = |code: Value| json!({ "type": "key", "data": { "down": true, "key": code } });
    for (events, valid) in [
        (json!([key(json!({ "type": "qcode", "data": "ret" }))]), true),
        (json!([key(json!({ "type": "number", "data": 0x9c }))]), true),
        (json!([key(json!({ "type": "qcode", "data": "no" }))]), false),
        (json!([{ "type": "rel", "data": { "axis": "x", "value": 5 } }]), true),
        (json!([{ "type": "btn", "data": { "button": "left", "down": true } }]), true),
        (json!([{ "type": "btn", "data": { "button": "none", "down": true } }]), false),
        (json!([{ "type": "abs", "data": { "axis": "x", "value": 5 } }]), false),
        (json!([7]), false),
    ] {
        let reply = qmp.execute(json!({ "execute": "input-send-event", "arguments": { "events": events } }));
        assert_eq!(reply.get("return").is_some(), valid, "{events} {reply}");
    }

    qmp.execute(json!({ "execute": "system_powerdown" }));
    other.event("POWERDOWN");
    assert_eq!(qmp.execute(json!({ "execute": "quit" })), json!({ "return": {} }));
    assert_eq!(other.event("SHUTDOWN")["data"], json!({ "guest": false, "reason": "host-qmp-quit" }));
    assert_eq!(machine.child.wait().unwrap().code(), Some(0));
    assert!(!machine.socket().exists(), "the socket is removed when the machine ends");
}

#[test]
fn software_a_client_that_does_not_read_does_not_block_others() {
    let machine = machine("Ready", &[]);
    machine.run_ok("wait", &["--text", "Ready", "--timeout", "60"]);
    let before = machine.resident_kib();
    let mut stalled = Qmp::negotiated(&machine);
    stalled.0.get_mut().set_nonblocking(true).unwrap();
    let flood = "{\"execute\":\"x-screen-text\"}".repeat(1000);
    let mut sent = 0;
    for _ in 0..200 {
        sent += stalled.0.get_mut().write(flood.as_bytes()).unwrap_or(0);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(sent > flood.len());
    let mut endless = UnixStream::connect(machine.socket()).unwrap();
    for _ in 0..64 {
        endless.write_all(&[b'['; 64 << 10]).unwrap();
    }
    let mut other = Qmp::negotiated(&machine);
    for _ in 0..200 {
        let begin = Instant::now();
        assert!(other.execute(json!({ "execute": "query-status" })).get("return").is_some());
        assert!(begin.elapsed() < Duration::from_secs(5));
        other.execute(json!({ "execute": "stop" }));
        other.execute(json!({ "execute": "cont" }));
    }
    let grown = machine.resident_kib().saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB");
    // Its requests are answered once it reads.
    stalled.0.get_mut().set_nonblocking(false).unwrap();
    for _ in 0..500 {
        stalled.line();
    }

    // A seventeenth client is refused, until another one disconnects.
    let mut clients: Vec<_> = (0..13).map(|_| Qmp::negotiated(&machine)).collect();
    let mut refused = UnixStream::connect(machine.socket()).unwrap();
    assert_eq!(refused.read(&mut [0; 16]).unwrap(), 0);
    clients.pop();
    wait_until("room for a client", || {
        let mut stream = UnixStream::connect(machine.socket()).unwrap();
        stream.read(&mut [0; 16]).is_ok_and(|count| count > 0)
    });
}

#[test]
fn software_commands_of_a_client_that_disconnects_at_once_are_executed() {
    let mut machine = machine("Ready", &[]);
    let mut stream = UnixStream::connect(machine.socket()).unwrap();
    stream.write_all(b"{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-name\"}{\"execute\":\"quit\"}").unwrap();
    drop(stream);
    assert_eq!(machine.child.wait().unwrap().code(), Some(0));
}

#[test]
fn software_the_prompt_to_boot_from_cd_is_answered_once() {
    let machine = machine("Press any key to boot from CD..", &["--press-key-for-cd"]);
    // The guest prints an arrow after the key.
    machine.run_ok("wait", &["--text", "boot from CD\\.\\.►", "--timeout", "60"]);
    // The prompt is not answered again after a reset.
    machine.run_ok("key", &["x"]);
    let mut qmp = Qmp::negotiated(&machine);
    qmp.execute(json!({ "execute": "system_reset" }));
    machine.run_ok("wait", &["--text", "boot from CD\\.\\.$", "--timeout", "60"]);
    std::thread::sleep(Duration::from_secs(1));
    machine.run_ok("wait", &["--text", "boot from CD\\.\\.$", "--timeout", "0"]);
}

#[test]
fn software_a_control_socket_in_use_is_an_error() {
    let first = machine("Ready", &[]);
    let output = pcvm()
        .current_dir(first.dir.path())
        .args(["run", "--serial", "none", "--memory", "1M", "--control", "unix:socket"])
        .args(["--firmware", "/usr/share/seabios/bios-256k.bin"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "pcvm: socket socket: is in use by another machine\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn software_a_trace_records_what_the_guest_does_and_stats_count_it() {
    let machine = machine("Ready", &["--trace", "boot.trace,access,irq"]);
    let trace = |name: &str| fs::read_to_string(machine.dir.path().join(name)).unwrap();
    machine.run_ok("wait", &["--text", "^Ready$", "--timeout", "60"]);
    machine.run_ok("trace", &["keys.trace,ps2"]);
    let boot = trace("boot.trace");
    let has = |text: &str, line: &str| text.lines().any(|l| l.contains(line));
    assert!(has(&boot, "vcpu0  access      read  cmos port 0071"), "{}", &boot[..boot.len().min(2000)]);
    assert!(boot.lines().all(|line| [" access ", " irq "].iter().any(|class| line.contains(class))));
    machine.run_ok("type", &["x"]);
    wait_until("IRQ 1 and a read of port 60h in the trace", || {
        has(&trace("keys.trace"), "ps2 gsi 1 raised") && has(&trace("keys.trace"), "read  ps2 port 0060")
    });
    machine.run_ok("trace", &["off"]);
    let stats: Value = serde_json::from_str(&machine.run_ok("stats", &["--json", "--interval", "0"])).unwrap();
    for name in ["vcpu.0.port-writes", "device.cmos.reads", "device.ps2.writes", "irq.1", "resets", "uptime-ns"] {
        assert!(stats[name]["total"].as_u64().is_some_and(|total| total > 0), "{name}: {stats}");
    }
    let mut qmp = Qmp::negotiated(&machine);
    let error = qmp.execute(json!({ "execute": "x-trace-stop" }));
    assert_eq!(error["error"]["desc"], "no trace is running");
    let error = qmp.execute(json!({ "execute": "x-trace-start", "arguments": { "file": "/nowhere/t" } }));
    assert_eq!(error["error"]["desc"], "/nowhere/t: No such file or directory");
    let error = qmp.execute(json!({ "execute": "query-stats", "arguments": { "target": "disk" } }));
    assert_eq!(error["error"]["desc"], "Parameter 'target' does not accept value 'disk'");
    let schemas = qmp.execute(json!({ "execute": "query-stats-schemas" }));
    assert_eq!(schemas["return"][1]["target"], "vcpu");
    let table = machine.run_ok("stats", &["--interval", "0"]);
    assert!(table.lines().count() > 10 && table.starts_with("counter"), "{table}");
}
