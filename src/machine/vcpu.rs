//! vCPU thread: runs the guest and handles its exits.

use super::exits::ExitCounters;
use super::shared::Shared;
use super::vcpus::VcpuCommand;
use crate::board::emulator_bus::EmulatorBus;
use crate::board::{Board, MachineEvent};
use crate::emulator;
use crate::kvm::KvmError;
use crate::kvm::exit::Exit;
use crate::kvm::vcpu::Vcpu;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// KVM_SYSTEM_EVENT_SHUTDOWN and _RESET; the others (crash) have no meaning on a PC.
const SYSTEM_EVENT_SHUTDOWN: u32 = 1;
const SYSTEM_EVENT_RESET: u32 = 2;

/// Starts the thread, parked.
///
/// # Errors
/// If the host refuses another thread.
pub fn spawn(shared: Arc<Shared>, mut vcpu: Vcpu) -> std::io::Result<JoinHandle<()>> {
    let name = format!("vcpu{}", vcpu.index());
    std::thread::Builder::new().name(name.clone()).spawn(move || {
        let index = vcpu.index();
        shared.vcpus.register(index, vcpu.kick());
        // A panic here is a bug that the guest has reached: the machine ends with a report instead of a hang.
        let result = catch_unwind(AssertUnwindSafe(|| run(&shared, &mut vcpu)));
        let report = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("internal error: the vCPU thread panicked".to_owned()),
        };
        if let Some(report) = report {
            shared.post(MachineEvent::Failed(format!("{name}: {report}")));
            idle(&shared);
        }
        shared.vcpus.unregister(index);
    })
}

/// Follows the main loop's commands without a vCPU, until the machine ends.
fn idle(shared: &Shared) {
    let mut seen = 0;
    loop {
        match shared.vcpus.attend(&mut seen) {
            VcpuCommand::Exit => return,
            VcpuCommand::Reset => shared.vcpus.reset_done(),
            VcpuCommand::Run => shared.vcpus.stop(),
        }
    }
}

fn run(shared: &Shared, vcpu: &mut Vcpu) -> Result<(), KvmError> {
    let mut seen = 0;
    let mut backoff = emulator::Backoff::default();
    let index = vcpu.index();
    let counters = shared.exits.get(index as usize).ok_or(KvmError::Lacks("exit counters"))?;
    let cx = ExitContext { shared, index, counters };
    loop {
        if shared.vcpus.wants_attention() {
            // Registers are consistent only between two instructions: complete the current one before a reset or a pause.
            loop {
                match vcpu.finish_io() {
                    Exit::Again => break,
                    exit => {
                        if let Some(why) = handle_exit(&cx, exit) {
                            shared.post(MachineEvent::Failed(format!("vCPU {index}: {why}")));
                            break;
                        }
                    }
                }
            }
            let next = shared.vcpus.attend(&mut seen);
            vcpu.clear_kick();
            match next {
                VcpuCommand::Exit => return Ok(()),
                VcpuCommand::Reset => {
                    vcpu.reset()?;
                    shared.vcpus.reset_done();
                }
                VcpuCommand::Run => {}
            }
            continue;
        }
        let exit = vcpu.run()?;
        let reads_planes = matches!(exit, Exit::MemRead { addr: 0xa_0000..0xc_0000, .. });
        let mut failure = handle_exit(&cx, exit);
        if reads_planes && failure.is_none() && backoff.should_run() {
            failure = run_emulator(&cx, vcpu, &mut backoff)?;
        }
        if let Some(why) = failure {
            let report = vcpu.dump_registers(|addr, buf| shared.lock().memory().read(addr, buf));
            shared.post(MachineEvent::Failed(format!("vCPU {index}: {why}\n{report}")));
        }
    }
}

/// The guest has read planar video memory: emulates the instructions that follow (see [`emulator`]).
fn run_emulator(
    cx: &ExitContext<'_>,
    vcpu: &mut Vcpu,
    backoff: &mut emulator::Backoff,
) -> Result<Option<String>, KvmError> {
    let next = vcpu.finish_io();
    let (mut complete, reads_again) = (matches!(next, Exit::Again), matches!(next, Exit::MemRead { .. }));
    let mut failure = handle_exit(cx, next);
    if reads_again && failure.is_none() {
        (complete, failure) = leave_string(cx, vcpu)?;
    }
    // This also clears an earlier kick; `run` checks for its command before the vCPU enters the guest again.
    vcpu.clear_kick();
    if !complete || failure.is_some() {
        return Ok(failure);
    }
    let Some((saved, mut cpu)) = vcpu.begin_emulation() else {
        backoff.record(0);
        return Ok(failure);
    };
    let (mut budget, mut over) = (emulator::BURST_MAX, false);
    cx.with_board(|board| {
        let memory = board.memory().clone();
        let mut bus = EmulatorBus::new(board, &memory);
        while budget > 0 && !over && !bus.has_work() {
            over = emulator::step(&mut cpu, &mut bus, &mut budget).is_err();
            if !over {
                budget = budget.saturating_sub(1);
                over = bus.polls();
            }
        }
    });
    backoff.record(emulator::BURST_MAX - budget);
    vcpu.end_emulation(saved, &cpu)?;
    Ok(failure)
}

/// KVM emulates a repeated string instruction that reads the display adapter's memory as a whole, and exits for each of
/// its reads. This makes the current repetition its last one for KVM, by a counter of 1, and leaves the rest to the
/// emulator. Returns whether the vCPU is between two instructions, and why it cannot continue.
fn leave_string(cx: &ExitContext<'_>, vcpu: &mut Vcpu) -> Result<(bool, Option<String>), KvmError> {
    let Some((_, mut cpu)) = vcpu.begin_emulation() else { return Ok((false, None)) };
    let repeat = cx.with_board(|board| {
        let memory = board.memory().clone();
        emulator::repeat_count(&mut cpu, &mut EmulatorBus::new(board, &memory))
    });
    let Ok(Some((count @ 2.., word))) = repeat else { return Ok((false, None)) };
    vcpu.set_counter(word, 1)?;
    let (mut complete, mut failure) = (false, None);
    // A repetition has at most one more read and a write, each of which may cross a page.
    for _ in 0..4 {
        let exit = vcpu.finish_io();
        complete = matches!(exit, Exit::Again);
        failure = handle_exit(cx, exit);
        if complete || failure.is_some() {
            break;
        }
    }
    // Where KVM has not taken the counter over, it has counted down its own.
    let left = vcpu.set_counter(word, count - 1)?;
    if left != 0 {
        vcpu.set_counter(word, left)?;
    }
    Ok((complete, failure))
}

/// What `handle_exit` needs besides the exit.
struct ExitContext<'a> {
    shared: &'a Shared,
    /// Number of the vCPU.
    index: u32,
    counters: &'a ExitCounters,
}

impl ExitContext<'_> {
    #[inline]
    fn with_board<R>(&self, f: impl FnOnce(&mut Board) -> R) -> R {
        self.shared.with_board_at_exit(self.index, f)
    }
}

/// Counts and handles an exit. Returns the reason if the vCPU cannot continue.
#[inline]
fn handle_exit(cx: &ExitContext<'_>, exit: Exit<'_>) -> Option<String> {
    let counters = cx.counters;
    match exit {
        Exit::Out { port, width, data } => {
            ExitCounters::bump(&counters.port_writes);
            cx.with_board(|board| board.port_out(port, width, data));
        }
        Exit::In { port, width, data } => {
            ExitCounters::bump(&counters.port_reads);
            cx.with_board(|board| board.port_in(port, width, data));
        }
        Exit::MemWrite { addr, data } => {
            ExitCounters::bump(&counters.mmio_writes);
            cx.with_board(|board| board.mem_write(addr, data));
        }
        Exit::MemRead { addr, data } => {
            ExitCounters::bump(&counters.mmio_reads);
            cx.with_board(|board| board.mem_read(addr, data));
        }
        Exit::Again => ExitCounters::bump(&counters.interrupted),
        other => return handle_rare_exit(cx, other),
    }
    None
}

#[cold]
fn handle_rare_exit(cx: &ExitContext<'_>, exit: Exit<'_>) -> Option<String> {
    ExitCounters::bump(&cx.counters.other);
    match exit {
        Exit::Shutdown => cx.with_board(|board| board.shutdown_cycle()),
        Exit::SystemEvent(SYSTEM_EVENT_SHUTDOWN) => cx.shared.post(MachineEvent::PowerOff),
        Exit::SystemEvent(SYSTEM_EVENT_RESET) => {
            cx.shared.post(MachineEvent::Reset(pcvm_devices::ResetKind::Hard));
        }
        Exit::SystemEvent(event) => return Some(format!("KVM system event {event}")),
        Exit::Failed(why) => return Some(why),
        _ => {}
    }
    None
}
