//! fw_cfg: how the machine tells its firmware what it is.

use std::collections::BTreeMap;

/// What the firmware can read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FwCfgItems {
    /// Items with a fixed selector key (for example 05h, the number of CPUs).
    pub keys: BTreeMap<u16, Vec<u8>>,
    /// Named files, found through the file directory (key 19h); at most 55 bytes of name each.
    pub files: BTreeMap<String, Vec<u8>>,
}
