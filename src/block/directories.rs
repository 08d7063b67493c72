//! Which directories the files that an image names may be in: its backing files, data files and extents.
//!
//! An image is untrusted input. It may name only files beneath its own directory and the directories that the user gave. The
//! host kernel enforces this for each component of the path, symbolic links included (openat2(2), RESOLVE_BENEATH).

use super::image::ImageError;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A directory whose files an image may name.
#[derive(Debug)]
struct Allowed {
    fd: OwnedFd,
    /// The names that paths beneath it may begin with: as given, and without symbolic links.
    names: Vec<PathBuf>,
}

/// The directories that the files an image names may be in.
#[derive(Debug)]
pub struct Directories(Vec<Allowed>);

impl Directories {
    /// The directory of the image at `path`, and `further` ones.
    ///
    /// # Errors
    /// If one of them cannot be opened.
    pub fn new(path: &Path, further: &[PathBuf]) -> Result<Self, ImageError> {
        let own = directory_of(path);
        let mut all = Vec::new();
        for directory in std::iter::once(&own).chain(further) {
            let failed = |why: io::Error| ImageError::Host { path: directory.clone(), why };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = openat(CWD, directory, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
            let absolute = std::path::absolute(directory).map_err(failed)?;
            let mut names = vec![absolute];
            names.extend(std::fs::canonicalize(directory));
            all.push(Allowed { fd, names });
        }
        Ok(Self(all))
    }

    /// Opens `name`, which the image at `referrer` contains: an absolute path, or one relative to the directory of
    /// `referrer`. Gives the file and its path.
    ///
    /// # Errors
    /// If the file is outside the directories or cannot be opened.
    pub fn open(&self, referrer: &Path, name: &str, write: bool, direct: bool) -> Result<(File, PathBuf), ImageError> {
        let refused = |why| ImageError::Reference { path: referrer.to_owned(), name: name.to_owned(), why };
        if name.is_empty() {
            return Err(refused("is empty"));
        }
        if name.starts_with("json:") || name.contains("://") {
            return Err(refused("is not a file name: only files are opened"));
        }
        let own = std::path::absolute(directory_of(referrer))
            .map_err(|why| ImageError::Host { path: referrer.to_owned(), why })?;
        let path = own.join(name);
        // Without links and "..", for a path into one of the further directories.
        let real = std::fs::canonicalize(&path).ok();
        let mut failure = refused("is outside the image's directory: allow its directory with 'backing-dir=DIRECTORY'");
        for Allowed { fd, names } in &self.0 {
            let beneath = |path: &Path| names.iter().find_map(|name| Some(path.strip_prefix(name).ok()?.to_owned()));
            let Some(rest) = real.as_deref().and_then(beneath).or_else(|| beneath(&path)) else { continue };
            let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
            let mut flags = access | OFlags::CLOEXEC | OFlags::NONBLOCK;
            flags.set(OFlags::DIRECT, direct);
            match openat2(fd, &rest, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
                Ok(file) => return Ok((File::from(file), path)),
                // RESOLVE_BENEATH: the path leaves the directory.
                Err(rustix::io::Errno::XDEV) => {}
                Err(rustix::io::Errno::INVAL) if direct => failure = ImageError::NoDirectIo(path.clone()),
                Err(errno) => failure = ImageError::Host { path: path.clone(), why: errno.into() },
            }
        }
        Err(failure)
    }
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_outside_the_directories_are_refused_also_by_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["in/sub", "out"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["in/base", "in/sub/deep", "out/secret"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink(at("out"), at("in/link")).unwrap();
        std::os::unix::fs::symlink("../out/secret", at("in/leak")).unwrap();
        std::os::unix::fs::symlink("base", at("in/alias")).unwrap();
        std::os::unix::fs::symlink(at("in"), at("other-name")).unwrap();
        let opens = |directories: &Directories, referrer: &str, name: &str| {
            directories.open(&at(referrer), name, false, false).map_err(|error| error.to_string())
        };
        let own = Directories::new(&at("in/top"), &[]).unwrap();
        for good in ["base", "./base", "sub/deep", "sub/../base", "alias", at("in/base").to_str().unwrap()] {
            opens(&own, "in/top", good).unwrap();
        }
        // Relative to the directory of the image that contains the name.
        opens(&own, "in/sub/middle", "../base").unwrap();
        let secret = at("out/secret");
        for bad in
            ["../out/secret", "link/secret", "leak", secret.to_str().unwrap(), "sub/../../out/secret", "/etc/passwd"]
        {
            let error = opens(&own, "in/top", bad).unwrap_err();
            assert!(error.contains("backing-dir="), "{bad}: {error}");
        }
        for bad in ["", "json:{\"file\": 1}", "nbd://localhost/x"] {
            assert!(opens(&own, "in/top", bad).is_err(), "{bad}");
        }
        assert!(opens(&own, "in/top", "missing").unwrap_err().contains("missing: "));
        let both = Directories::new(&at("in/top"), &[at("out")]).unwrap();
        opens(&both, "in/top", "../out/secret").unwrap();
        opens(&both, "in/top", secret.to_str().unwrap()).unwrap();
        // A directory by another name.
        let linked = Directories::new(&at("other-name/top"), &[]).unwrap();
        opens(&linked, "other-name/top", at("in/base").to_str().unwrap()).unwrap();
    }
}
