//! Client of a network disk: one connection for changes and flushes, more for reads, and reconnection (see the parent).

use super::connect::connect;
use super::connection::Connection;
use super::error::{NbdError, RequestError};
use super::interrupt::{Interrupt, Ticket};
use super::io::EFFECT_MAX;
use super::negotiate::{Export, negotiate};
use super::outage::Outage;
use super::replay::ReplayLog;
use super::tls::TlsClient;
use super::wire::ExportFlags;
use crate::block::sys::{IoVec, IoVecStorage};
use crate::config::nbd::NbdTarget;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long connecting and negotiating may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The same for a further connection, without which reads only wait for each other.
const READER_TIME: Duration = Duration::from_secs(2);
/// Outages that follow each other faster are not reported one by one.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Connections for reads beside the first one.
pub const READERS: usize = 3;

/// An open network disk.
#[derive(Debug)]
pub struct NbdClient {
    pub(super) target: NbdTarget,
    tls: Option<TlsClient>,
    read_only: bool,
    /// Each write is on stable storage when it is complete.
    pub(super) through: bool,
    /// As negotiated first. After a reconnection the export must be the same.
    pub(super) export: Export,
    primary: Mutex<Primary>,
    readers: [Mutex<Option<Reader>>; READERS],
    /// Incremented when a connection is lost: all connections of earlier epochs are lost.
    epoch: AtomicU64,
    /// The epoch in which the server refused a further connection; `u64::MAX` for none.
    readers_refused: AtomicU64,
    /// Bytes in the largest request without data that the server takes.
    pub(super) effect_max: AtomicU32,
    interrupt: Arc<Interrupt>,
}

/// The connection for changes and flushes, and what is needed to make it again.
#[derive(Debug, Default)]
pub(super) struct Primary {
    connection: Option<Connection>,
    pub(super) log: ReplayLog,
    /// What the log holds must be written again before any other request.
    pub(super) replay: bool,
    outage: Option<Outage>,
    /// When an outage was last reported.
    reported: Option<Instant>,
}

/// A further connection for reads.
#[derive(Debug)]
struct Reader {
    connection: Connection,
    epoch: u64,
}

/// Locks a mutex, also after a panic: a connection is out of its place while it is used, so that a panic drops it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn interrupted() -> io::Error {
    io::Error::from_raw_os_error(libc::ECANCELED)
}

impl NbdClient {
    /// Connects to the server and opens the export. Takes at most 10 seconds.
    ///
    /// # Errors
    /// If the server cannot be reached, is not the one that TLS expects, or does not have the export; if the export is
    /// read-only and `read_only` is false.
    pub fn open(target: NbdTarget, read_only: bool) -> Result<Self, NbdError> {
        let tls = target.tls.as_ref().map(|tls| TlsClient::new(&target, tls)).transpose()?;
        let interrupt = Arc::new(Interrupt::default());
        let ticket = interrupt.ticket();
        let connection = establish(&target, tls.as_ref(), &interrupt, ticket, CONNECT_TIME)?;
        let export = connection.export().clone();
        if export.flags.has(ExportFlags::READ_ONLY) && !read_only {
            return Err(NbdError::ReadOnly);
        }
        if !read_only && !export.flags.has(ExportFlags::SEND_FLUSH) && !export.flags.has(ExportFlags::SEND_FUA) {
            tracing::warn!("{target}: the server has no flush: what it has acknowledged is lost if it is killed");
        }
        Ok(Self {
            target,
            tls,
            read_only,
            through: false,
            export,
            primary: Mutex::new(Primary { connection: Some(connection), ..Primary::default() }),
            readers: [const { Mutex::new(None) }; READERS],
            epoch: AtomicU64::new(0),
            readers_refused: AtomicU64::new(u64::MAX),
            effect_max: AtomicU32::new(EFFECT_MAX),
            interrupt,
        })
    }

    /// The same disk, each of whose writes is on stable storage when it is complete: by FUA where the server has it, else by
    /// a flush after the write.
    pub fn with_write_through(mut self) -> Self {
        self.through = true;
        self
    }

    /// Ends waits for the server, from any thread.
    pub fn interrupt(&self) -> Arc<Interrupt> {
        Arc::clone(&self.interrupt)
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.interrupt.ticket()
    }

    pub(super) fn lock_primary(&self) -> MutexGuard<'_, Primary> {
        lock(&self.primary)
    }

    /// Whether writes are kept until a flush: the server can flush, and can lose what it has not flushed.
    pub(super) fn logs(&self) -> bool {
        self.export.flags.has(ExportFlags::SEND_FLUSH)
    }

    /// Executes `operation` on the primary connection. If the connection is lost, makes it again, replays the log and
    /// executes the operation again, until the target's patience or the ticket ends.
    pub(super) fn run<T>(
        &self,
        primary: &mut Primary,
        ticket: Ticket,
        mut operation: impl FnMut(&mut Connection, &mut ReplayLog) -> Result<T, RequestError>,
    ) -> io::Result<T> {
        loop {
            let mut connection = self.connected(primary, ticket)?;
            match operation(&mut connection, &mut primary.log) {
                Ok(value) => {
                    primary.connection = Some(connection);
                    if primary.outage.take().is_some_and(|outage| outage.reported) {
                        tracing::warn!("{}: connected again", self.target);
                    }
                    return Ok(value);
                }
                Err(RequestError::Server(error)) => {
                    primary.connection = Some(connection);
                    return Err(error);
                }
                Err(RequestError::Broken(why)) => {
                    connection.shut_down();
                    self.lost(primary, &why);
                }
            }
        }
    }

    /// The connection was lost, or an attempt to make it failed.
    fn lost(&self, primary: &mut Primary, why: &NbdError) {
        primary.connection = None;
        // Further connections are to the same server, which may be gone: what they read could be old.
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let now = Instant::now();
        if let Some(outage) = &mut primary.outage {
            outage.failed(now);
            return;
        }
        let recently = primary.reported.is_some_and(|last| now.saturating_duration_since(last) < REPORT_INTERVAL);
        let report = !recently && !self.interrupt.is_stopped();
        primary.outage = Some(Outage::new(now, report));
        if report {
            primary.reported = Some(now);
            let patience = self.target.reconnect.as_secs();
            tracing::warn!("{}: {why}; requests wait up to {patience} s for a new connection", self.target);
        }
    }

    /// Takes the primary connection, after making it if necessary.
    fn connected(&self, primary: &mut Primary, ticket: Ticket) -> io::Result<Connection> {
        let mut failed = false;
        loop {
            if self.interrupt.is_over(ticket) {
                return Err(interrupted());
            }
            if let Some(outage) = &primary.outage
                && primary.connection.is_none()
            {
                let deadline = outage.deadline(self.target.reconnect);
                let now = Instant::now();
                // After the end of patience, requests fail at once, but for one that makes the attempt that is due.
                if now >= deadline && (failed || now < outage.next()) {
                    return Err(io::Error::from_raw_os_error(libc::EIO));
                }
                if !self.interrupt.wait_until(outage.next().min(deadline.max(now)), ticket) {
                    return Err(interrupted());
                }
                if Instant::now() < outage.next() {
                    continue;
                }
            }
            match self.attempt(primary, ticket) {
                Ok(connection) => return Ok(connection),
                Err(RequestError::Server(error)) => return Err(error),
                Err(RequestError::Broken(why)) => {
                    failed = true;
                    tracing::debug!("{}: {why}", self.target);
                    self.lost(primary, &why);
                }
            }
        }
    }

    /// Connects if there is no connection, and replays the log if that is necessary.
    ///
    /// # Errors
    /// [`RequestError::Server`] if the server does not take back what it had acknowledged. The request fails with that
    /// error, the connection stays, and the next request begins with the replay again.
    fn attempt(&self, primary: &mut Primary, ticket: Ticket) -> Result<Connection, RequestError> {
        let mut connection = match primary.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = establish(&self.target, self.tls.as_ref(), &self.interrupt, ticket, CONNECT_TIME)?;
                self.check_same(connection.export())?;
                primary.replay = !primary.log.is_empty();
                connection
            }
        };
        if primary.replay {
            match primary.log.replay(&mut connection) {
                Ok(()) => primary.replay = false,
                Err(RequestError::Server(error)) => {
                    primary.connection = Some(connection);
                    tracing::debug!("{}: a write that was acknowledged is refused now: {error}", self.target);
                    return Err(RequestError::Server(error));
                }
                Err(broken) => return Err(broken),
            }
        }
        Ok(connection)
    }

    /// Whether the export is the one that was opened.
    fn check_same(&self, now: &Export) -> Result<(), NbdError> {
        let before = &self.export;
        if now.size != before.size {
            return Err(NbdError::Changed(format!("it had {} bytes and has {}", before.size, now.size)));
        }
        if now.flags.has(ExportFlags::READ_ONLY) && !self.read_only {
            return Err(NbdError::ReadOnly);
        }
        if now.min_block > before.min_block || now.max_payload < before.max_payload {
            return Err(NbdError::Changed("the server's block sizes are others".to_owned()));
        }
        // What the client does relies on these; more of them do no harm.
        let relied = before.flags.0
            & (ExportFlags::SEND_FLUSH
                | ExportFlags::SEND_FUA
                | ExportFlags::SEND_TRIM
                | ExportFlags::SEND_WRITE_ZEROES);
        if !self.read_only && !now.flags.has(relied) {
            return Err(NbdError::Changed(
                "the server has lost a command that it had (flush, FUA, trim, zeroes)".into(),
            ));
        }
        Ok(())
    }

    /// Executes a read: on the primary connection if that is free, else on a further one if the server allows several.
    pub(super) fn run_read(
        &self,
        mut operation: impl FnMut(&mut Connection) -> Result<(), RequestError>,
    ) -> io::Result<()> {
        let ticket = self.ticket();
        if let Some(mut primary) = try_lock(&self.primary) {
            return self.run(&mut primary, ticket, |connection, _| operation(connection));
        }
        if self.export.flags.has(ExportFlags::CAN_MULTI_CONN)
            && let Some(mut slot) = self.readers.iter().find_map(try_lock)
            && let Some(mut reader) = self.reader(&mut slot, ticket)
        {
            match operation(&mut reader.connection) {
                Ok(()) => {
                    *slot = Some(reader);
                    return Ok(());
                }
                Err(RequestError::Server(error)) => {
                    *slot = Some(reader);
                    return Err(error);
                }
                Err(RequestError::Broken(why)) => {
                    reader.connection.shut_down();
                    drop(slot);
                    let mut primary = self.lock_primary();
                    if self.epoch.load(Ordering::Acquire) == reader.epoch {
                        self.lost(&mut primary, &why);
                    }
                }
            }
        }
        self.run(&mut self.lock_primary(), ticket, |connection, _| operation(connection))
    }

    /// Takes the connection of a slot, after making it if necessary. None if the server refuses it: then reads share the
    /// primary connection.
    fn reader(&self, slot: &mut Option<Reader>, ticket: Ticket) -> Option<Reader> {
        let epoch = self.epoch.load(Ordering::Acquire);
        if let Some(reader) = slot.take_if(|reader| reader.epoch == epoch) {
            return Some(reader);
        }
        *slot = None;
        if self.readers_refused.load(Ordering::Acquire) == epoch {
            return None;
        }
        match establish(&self.target, self.tls.as_ref(), &self.interrupt, ticket, READER_TIME) {
            Ok(connection) => self.admit(connection, epoch, ticket),
            Err(why) => {
                tracing::debug!("{}: no further connection: {why}", self.target);
                self.readers_refused.store(epoch, Ordering::Release);
                None
            }
        }
    }

    /// Makes sure that a new connection is to the server that has all acknowledged writes, and not to its successor, to
    /// which they have not been replayed: the primary connection still answers after the new one was made.
    fn admit(&self, connection: Connection, epoch: u64, ticket: Ticket) -> Option<Reader> {
        self.check_same(connection.export()).ok()?;
        let len = self.export.min_block as usize;
        let mut primary = self.lock_primary();
        let mut block = vec![0; len];
        let answered = self.run(&mut primary, ticket, |connection, _| {
            let mut storage = IoVecStorage::new();
            let mut iov = IoVec::new(&mut storage);
            iov.push_buffer(&mut block);
            connection.read(&mut iov, len, 0)
        });
        let same = answered.is_ok() && self.epoch.load(Ordering::Acquire) == epoch;
        same.then_some(Reader { connection, epoch })
    }

    /// How many further connections are open.
    #[cfg(test)]
    pub(super) fn open_readers(&self) -> usize {
        self.readers.iter().filter(|slot| lock(slot).is_some()).count()
    }
}

impl Drop for NbdClient {
    fn drop(&mut self) {
        let mut primary = self.lock_primary();
        let connection = primary.connection.take();
        if connection.is_none() && !primary.log.is_empty() {
            let lost = primary.log.len();
            tracing::warn!("{}: {lost} writes that were not flushed may be lost with the server", self.target);
        }
        drop(primary);
        connection.into_iter().for_each(Connection::disconnect);
        for slot in &self.readers {
            if let Some(reader) = lock(slot).take() {
                reader.connection.disconnect();
            }
        }
    }
}

/// Connects and negotiates.
fn establish(
    target: &NbdTarget,
    tls: Option<&TlsClient>,
    interrupt: &Interrupt,
    ticket: Ticket,
    time: Duration,
) -> Result<Connection, NbdError> {
    let deadline = Instant::now() + time;
    let mut link = connect(&target.address, interrupt, ticket, deadline)?;
    let export = negotiate(&mut link, target, tls)?;
    Ok(Connection::new(link, export))
}
