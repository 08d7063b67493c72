//! Guest cache: one directory per guest, named after the hash of its inputs.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::{Error, file_error};

/// Returns the directory of the guest `name` built from `inputs`, and builds it first if it does not exist. `build`
/// fills an empty directory, which becomes the guest's only if `build` succeeds; other processes wait for it.
pub fn cached(name: &str, inputs: &[&[u8]], build: impl FnOnce(&Path) -> Result<(), Error>) -> Result<PathBuf, Error> {
    // SipHash with fixed keys: stable within one version of the standard library, which suffices for a cache.
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    let guests = pcvm_test_host::cache_dir().join("guests");
    fs::create_dir_all(&guests).map_err(file_error(&guests))?;
    let _lock = lock(&guests.join(format!("{name}.lock")))?;

    let ready = guests.join(format!("{name}-{:016x}", hasher.finish()));
    if ready.exists() {
        return Ok(ready);
    }
    // Remove the guests of older inputs: an installer's ISO is 50 MB.
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

/// Takes an exclusive lock on a file; dropping the file releases it.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let file = File::create(path).map_err(file_error(path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| file_error(path)(error.into()))?;
    Ok(file)
}
