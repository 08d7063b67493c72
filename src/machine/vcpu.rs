//! A processor's thread: from the exit to the board and back.

use super::shared::Shared;
use super::vcpus::VcpuCommand;
use crate::board::MachineEvent;
use crate::board::emulator_bus::EmulatorBus;
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
/// If the host has no more threads.
pub fn spawn(shared: Arc<Shared>, mut vcpu: Vcpu) -> std::io::Result<JoinHandle<()>> {
    let name = format!("vcpu{}", vcpu.index());
    std::thread::Builder::new().name(name.clone()).spawn(move || {
        let index = vcpu.index();
        shared.vcpus.register(index, vcpu.kick());
        // A panic here is a bug of ours that a guest found: the machine ends with a report, not with a hang.
        let result = catch_unwind(AssertUnwindSafe(|| run(&shared, &mut vcpu)));
        let report = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("internal error: the processor's thread panicked".to_owned()),
        };
        if let Some(report) = report {
            shared.post(MachineEvent::Broken(format!("{name}: {report}")));
            idle(&shared);
        }
        shared.vcpus.unregister(index);
    })
}

/// Takes part in what the others wait for, without a processor, until the machine ends.
fn idle(shared: &Shared) {
    let mut seen = 0;
    loop {
        match shared.vcpus.attend(&mut seen) {
            VcpuCommand::Exit => return,
            VcpuCommand::Reset(_) => shared.vcpus.reset_done(),
            VcpuCommand::Run => shared.vcpus.stop(),
        }
    }
}

fn run(shared: &Shared, vcpu: &mut Vcpu) -> Result<(), KvmError> {
    let mut seen = 0;
    let mut pace = emulator::Pace::default();
    let index = vcpu.index();
    loop {
        if shared.vcpus.wants_attention() {
            // Registers are whole, and nothing of the guest's is lost by a reset, only between instructions.
            loop {
                match vcpu.finish_io() {
                    Exit::Again => break,
                    exit => {
                        if let Some(why) = answer(shared, exit) {
                            shared.post(MachineEvent::Broken(format!("processor {index}: {why}")));
                            break;
                        }
                    }
                }
            }
            let next = shared.vcpus.attend(&mut seen);
            vcpu.clear_kick();
            match next {
                VcpuCommand::Exit => return Ok(()),
                VcpuCommand::Reset(entry) => {
                    vcpu.reset()?;
                    if let Some(entry) = entry.filter(|_| index == 0) {
                        vcpu.enter_flat(entry)?;
                    }
                    shared.vcpus.reset_done();
                }
                VcpuCommand::Run => {}
            }
            continue;
        }
        let exit = vcpu.run()?;
        let draws = matches!(exit, Exit::MemRead { addr: 0xa_0000..0xc_0000, .. });
        let mut failure = answer(shared, exit);
        if draws && failure.is_none() && pace.wants() {
            failure = run_emulator(shared, vcpu, &mut pace)?;
        }
        if let Some(why) = failure {
            let report = vcpu.report(|addr, buf| shared.lock().memory().read(addr, buf));
            shared.post(MachineEvent::Broken(format!("processor {index}: {why}\n{report}")));
        }
    }
}

/// The guest has read planes: carries out what comes next (see [`ahead`]).
fn run_emulator(shared: &Shared, vcpu: &mut Vcpu, pace: &mut emulator::Pace) -> Result<Option<String>, KvmError> {
    let rest = vcpu.finish_io();
    let whole = matches!(rest, Exit::Again);
    let failure = answer(shared, rest);
    // A kick that came before this is for what the loop looks at before the processor runs again.
    vcpu.clear_kick();
    if !whole {
        return Ok(failure);
    }
    let Some((taken, mut cpu)) = vcpu.take_registers() else {
        pace.took(0);
        return Ok(failure);
    };
    let (mut budget, mut over) = (emulator::MOST, false);
    shared.with_board_at_exit(|board| {
        let memory = board.memory().clone();
        let mut bus = EmulatorBus::new(board, &memory);
        while budget > 0 && !over && !bus.has_work() {
            over = emulator::step(&mut cpu, &mut bus, &mut budget).is_err();
            if !over {
                budget = budget.saturating_sub(1);
                over = bus.waits();
            }
        }
    });
    pace.took(emulator::MOST - budget);
    vcpu.give_registers(taken, &cpu)?;
    Ok(failure)
}

/// Does what an exit asks for. Gives the reason if the processor cannot go on.
#[inline]
fn answer(shared: &Shared, exit: Exit<'_>) -> Option<String> {
    match exit {
        Exit::Out { port, width, data } => shared.with_board_at_exit(|board| board.port_out(port, width, data)),
        Exit::In { port, width, data } => shared.with_board_at_exit(|board| board.port_in(port, width, data)),
        Exit::MemWrite { addr, data } => shared.with_board_at_exit(|board| board.mem_write(addr, data)),
        Exit::MemRead { addr, data } => shared.with_board_at_exit(|board| board.mem_read(addr, data)),
        Exit::Again => {}
        Exit::Shutdown => shared.with_board_at_exit(|board| board.shutdown_cycle()),
        Exit::SystemEvent(SYSTEM_EVENT_SHUTDOWN) => shared.post(MachineEvent::PowerOff),
        Exit::SystemEvent(SYSTEM_EVENT_RESET) => {
            shared.post(MachineEvent::Reset(pcvm_devices::ResetKind::Hard));
        }
        Exit::SystemEvent(event) => return Some(format!("system event {event}")),
        Exit::Broken(why) => return Some(why),
    }
    None
}
