//! Where a machine's control socket is: `NAME.sock` in `$XDG_RUNTIME_DIR/pcvm`, or in /run/pcvm for root.

use crate::error::host_error;
use rustix::fs::{FlockOperation, Mode};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketPathError {
    /// Neither root nor a runtime directory.
    #[error("no place for control sockets: XDG_RUNTIME_DIR is not set")]
    NoDirectory,
    /// The directory.
    #[error("{}: {}", path.display(), host_error(why))]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Somebody else could put sockets there.
    #[error("{}: belongs to another user", .0.display())]
    NotOurs(PathBuf),
    /// Another machine has this name.
    #[error("a machine named '{name}' is running already (its control socket is {})", path.display())]
    NameTaken {
        /// As asked for.
        name: String,
        /// Where it listens.
        path: PathBuf,
    },
    /// Another process listens there.
    #[error("socket {}: is in use by another machine", .0.display())]
    InUse(PathBuf),
    /// What is there is no socket.
    #[error("socket {}: the file exists and is no socket", .0.display())]
    NoSocket(PathBuf),
    /// The socket.
    #[error("socket {}: {}", path.display(), host_error(why))]
    Socket {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

/// A socket that is listened on; its file goes with it.
#[derive(Debug)]
pub struct SocketPath {
    /// Nonblocking.
    pub listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, so that nobody else's is removed.
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

/// The directory of the sockets of machines that are known by their names.
pub fn directory() -> Result<PathBuf, SocketPathError> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/run/pcvm"));
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if Path::new(&dir).is_absolute() => Ok(Path::new(&dir).join("pcvm")),
        _ => Err(SocketPathError::NoDirectory),
    }
}

/// The socket of a machine that is meant by `name`: a name, or with a slash the path of its socket.
pub fn of_machine(name: &str) -> Result<PathBuf, SocketPathError> {
    if name.contains('/') { Ok(PathBuf::from(name)) } else { Ok(directory()?.join(format!("{name}.sock"))) }
}

/// A nonblocking listener. Whoever can connect owns the machine: nobody else may, from the first moment on, so the mode is
/// set before the file exists (bind takes it from the socket).
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

/// Connects without waiting, even for a listener whose backlog is full.
fn connect(path: &Path) -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?)
}

/// Listens in `directory`, which is made if need be, as the machine `name`.
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
    // Two machines that start at the same time must not both find a stale socket and replace each other's.
    let lock = std::fs::File::open(directory).map_err(failed)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
    match claim_path(&path) {
        Err(SocketPathError::InUse(path)) => Err(SocketPathError::NameTaken { name: name.to_owned(), path }),
        other => other,
    }
}

/// Listens at `path`, where a socket that nobody listens on is replaced.
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
            // Also a listener whose backlog is full.
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
    fn a_name_is_claimed_once_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let sockets = dir.path().join("pcvm");
        let place = claim_name(&sockets, "xp").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&sockets), 0o700);
        assert_eq!(mode(&sockets.join("xp.sock")), 0o600);
        let error = claim_name(&sockets, "xp").unwrap_err();
        assert!(matches!(error, SocketPathError::NameTaken { .. }), "{error}");
        assert!(sockets.join("xp.sock").exists());
        claim_name(&sockets, "98").unwrap();
        drop(place);
        assert!(!sockets.join("xp.sock").exists());
        claim_name(&sockets, "xp").unwrap();
    }

    #[test]
    fn a_stale_socket_is_replaced_and_another_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let dead = UnixListener::bind(&path).unwrap();
        drop(dead);
        assert!(path.exists());
        let place = claim_path(&path).unwrap();
        assert!(matches!(claim_path(&path), Err(SocketPathError::InUse(_))));
        drop(place);
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(claim_path(&path), Err(SocketPathError::NoSocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(claim_path(&long), Err(SocketPathError::Socket { .. })));
    }

    #[test]
    fn a_socket_that_another_machine_put_there_meanwhile_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let place = claim_path(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let other = claim_path(&path).unwrap();
        drop(place);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }
}
