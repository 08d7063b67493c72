//! Unix sockets that a machine listens on: the control socket (`NAME.sock` in `$XDG_RUNTIME_DIR/pcvm`, or in /run/pcvm for
//! root) and sockets at a path that the user names. A stale socket is replaced.

use crate::error::host_error;
use rustix::fs::{FlockOperation, Mode};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Why a socket cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum SocketPathError {
    /// The user is not root and has no runtime directory.
    #[error("no directory for control sockets: set XDG_RUNTIME_DIR, or give the path of the socket")]
    NoDirectory,
    /// The host kernel refused to create or lock the directory.
    #[error("{}: {}", path.display(), host_error(why))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The host kernel's error.
        why: io::Error,
    },
    /// The directory belongs to another user, who could replace sockets in it.
    #[error("{}: the directory for control sockets belongs to another user", .0.display())]
    NotOurs(PathBuf),
    /// Another machine has this name.
    #[error("a machine named '{name}' is running already (its control socket is {})", path.display())]
    NameTaken {
        /// The name.
        name: String,
        /// The control socket of that machine.
        path: PathBuf,
    },
    /// Another process listens on the socket.
    #[error("socket {}: is in use by another machine", .0.display())]
    InUse(PathBuf),
    /// A file other than a socket exists at the path.
    #[error("socket {}: the file exists and is not a socket", .0.display())]
    NoSocket(PathBuf),
    /// The host kernel refused to bind the socket.
    #[error("socket {}: {}", path.display(), host_error(why))]
    Socket {
        /// The path.
        path: PathBuf,
        /// The host kernel's error.
        why: io::Error,
    },
}

/// A listening socket; dropping it removes its file.
#[derive(Debug)]
pub struct SocketPath {
    /// The listener, in nonblocking mode.
    pub listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, so that a file which has replaced it is not removed.
    file: Option<(u64, u64)>,
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        if self.file.is_some() && identity(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The directory of control sockets that are found by the machine's name.
///
/// # Errors
/// If the user has no runtime directory.
pub fn directory() -> Result<PathBuf, SocketPathError> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/run/pcvm"));
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if Path::new(&dir).is_absolute() => Ok(Path::new(&dir).join("pcvm")),
        _ => Err(SocketPathError::NoDirectory),
    }
}

/// The path of a machine's control socket. `name` is the machine's name or, if it contains a slash, the path itself.
///
/// # Errors
/// If the user has no runtime directory.
pub fn of_machine(name: &str) -> Result<PathBuf, SocketPathError> {
    if name.contains('/') { Ok(PathBuf::from(name)) } else { Ok(directory()?.join(format!("{name}.sock"))) }
}

/// Binds a nonblocking listener. A client that can connect controls the machine, so only the owner may: the mode 600 is set
/// on the socket before `bind` creates the file with it.
fn listen(path: &Path) -> io::Result<UnixListener> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket.into())
}

/// Connects without blocking, also when the listener's backlog is full.
fn connect(path: &Path) -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?)
}

/// Listens on the control socket of the machine `name` in `directory`, which is created if it does not exist.
///
/// # Errors
/// If another machine has the name, or the host kernel refuses the directory or the socket.
pub fn claim_name(directory: &Path, name: &str) -> Result<SocketPath, SocketPathError> {
    let failed = |why: io::Error| SocketPathError::Directory { path: directory.to_owned(), why };
    match rustix::fs::mkdir(directory, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno.into())),
    }
    if std::fs::metadata(directory).map_err(failed)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(SocketPathError::NotOurs(directory.to_owned()));
    }
    let path = directory.join(format!("{name}.sock"));
    // The lock keeps two machines that start at the same time from both replacing a stale socket.
    let lock = std::fs::File::open(directory).map_err(failed)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
    match claim_path(&path) {
        Err(SocketPathError::InUse(path)) => Err(SocketPathError::NameTaken { name: name.to_owned(), path }),
        other => other,
    }
}

/// Listens on a socket at `path`. A stale socket, on which no process listens, is replaced.
///
/// # Errors
/// If another process listens there, the file is not a socket, or the host kernel refuses it.
pub fn claim_path(path: &Path) -> Result<SocketPath, SocketPathError> {
    let failed = |why: io::Error| SocketPathError::Socket { path: path.to_owned(), why };
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            return Err(SocketPathError::NoSocket(path.to_owned()));
        }
        match connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(failed(error)),
            // Connected, or the listener's backlog is full.
            _ => return Err(SocketPathError::InUse(path.to_owned())),
        }
    }
    let listener = listen(path).map_err(failed)?;
    Ok(SocketPath { listener, path: path.to_owned(), file: identity(path) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_name_is_claimed_once_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let sockets = dir.path().join("pcvm");
        let socket = claim_name(&sockets, "xp").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&sockets), 0o700);
        assert_eq!(mode(&sockets.join("xp.sock")), 0o600);
        let error = claim_name(&sockets, "xp").unwrap_err();
        assert!(matches!(error, SocketPathError::NameTaken { .. }), "{error}");
        assert!(sockets.join("xp.sock").exists());
        claim_name(&sockets, "98").unwrap();
        drop(socket);
        assert!(!sockets.join("xp.sock").exists());
        claim_name(&sockets, "xp").unwrap();
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_regular_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let dead = UnixListener::bind(&path).unwrap();
        drop(dead);
        assert!(path.exists());
        let socket = claim_path(&path).unwrap();
        assert!(matches!(claim_path(&path), Err(SocketPathError::InUse(_))));
        drop(socket);
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(claim_path(&path), Err(SocketPathError::NoSocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(claim_path(&long), Err(SocketPathError::Socket { .. })));
    }

    #[test]
    fn dropping_a_socket_keeps_a_file_that_has_replaced_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = claim_path(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let other = claim_path(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }
}
