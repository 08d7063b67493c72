//! Guests that were built before: a directory each, named after the hash of what it was built from.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::{Error, file_error};

/// Gives the directory of the guest `name` made from `inputs`, building it first if it is not there. `build` fills an
/// empty directory that only becomes the guest's when it succeeds; other processes wait meanwhile.
pub fn cached(name: &str, inputs: &[&[u8]], build: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    // SipHash with fixed keys: the same in every run of one version of the standard library, which is all a cache asks.
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    let guests = pcvm_test_host::cache_dir().join("guests");
    fs::create_dir_all(&guests).map_err(file_error(&guests))?;
    let _lock = lock(&guests.join(format!("{name}.lock")))?;

    let ready = guests.join(format!("{name}-{:016x}", hasher.finish()));
    if ready.exists() {
        return Ok(ready);
    }
    // Of older inputs, nothing is kept: an installer's ISO is 50 MB.
    for entry in fs::read_dir(&guests).map_err(file_error(&guests))?.flatten() {
        let old = entry.file_name().to_string_lossy().strip_prefix(name).is_some_and(|rest| {
            rest.strip_prefix('-').is_some_and(|hash| hash == "partial" || (hash.len() == 16 && is_hex(hash)))
        });
        if old {
            fs::remove_dir_all(entry.path()).map_err(file_error(entry.path()))?;
        }
    }
    let partial = guests.join(format!("{name}-partial"));
    fs::create_dir_all(&partial).map_err(file_error(&partial))?;
    build(&partial)?;
    fs::rename(&partial, &ready).map_err(file_error(&ready))?;
    Ok(ready)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Holds a lock file until it is dropped.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(file_error(path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| file_error(path)(error.into()))?;
    Ok(file)
}
