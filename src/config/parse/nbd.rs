//! The keys of network disks: `reconnect` and `tls-ca`.

use super::{OptionError, lossy, set_once};
use crate::config::nbd::NbdTarget;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// Seconds in a day, the longest `reconnect`.
const RECONNECT_MAX: u64 = 86_400;

/// What `--disk` and `--cdrom` say about a network disk besides its URI.
#[derive(Default)]
pub struct NetworkKeys {
    reconnect: Option<Duration>,
    ca: Option<PathBuf>,
}

impl NetworkKeys {
    /// Whether this key is one of a network disk; then its value is taken.
    pub fn take(&mut self, key: &str, value: &str) -> Result<bool, OptionError> {
        match key {
            "reconnect" => {
                let seconds = value.parse().ok().filter(|seconds| (0..=RECONNECT_MAX).contains(seconds));
                let seconds = seconds.ok_or_else(|| OptionError::BadValue {
                    key: "reconnect",
                    value: value.to_owned(),
                    expected: "0 to 86400 seconds",
                })?;
                set_once(&mut self.reconnect, "reconnect", Duration::from_secs(seconds))?;
            }
            "tls-ca" if value.is_empty() => return Err(OptionError::NoValue { key: "tls-ca", form: "FILE" }),
            "tls-ca" => set_once(&mut self.ca, "tls-ca", PathBuf::from(value))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The network disk that `file` names, if it is a URI.
    ///
    /// # Errors
    /// If the URI is invalid, or a key does not fit it.
    pub fn target(self, file: &OsStr) -> Result<Option<NbdTarget>, OptionError> {
        if !NbdTarget::is_uri(file) {
            return match self {
                Self { reconnect: Some(_), .. } => Err(OptionError::OnlyNetwork("reconnect")),
                Self { ca: Some(_), .. } => Err(OptionError::OnlyNetwork("tls-ca")),
                Self { reconnect: None, ca: None } => Ok(None),
            };
        }
        let parsed = NbdTarget::parse(file);
        let mut target = parsed.map_err(|why| OptionError::Nbd { uri: lossy(file), why })?;
        if let Some(reconnect) = self.reconnect {
            target.reconnect = reconnect;
        }
        match (&mut target.tls, self.ca) {
            (_, None) => {}
            (Some(tls), ca) => tls.ca = ca,
            (None, Some(_)) => return Err(OptionError::Needs { key: "tls-ca", other: "nbds:// or nbds+unix://" }),
        }
        Ok(Some(target))
    }
}
/// The network disk that an image's name is the URI of, with the default options; none for a file.
///
/// # Errors
/// If it is a URI and not a valid one.
pub fn network_target(file: &OsStr) -> Result<Option<NbdTarget>, OptionError> {
    NetworkKeys::default().target(file)
}
