//! A host directory as the source of a medium: a listing of what is below it, and access by openat(2) that cannot leave it.
//!
//! [`HostDir`] opens each component of a path with O_NOFOLLOW below the descriptor of the directory before it. So a symbolic
//! link that appears between two system calls cannot lead outside, and `..` is refused. [`Tree`] is the listing that a medium
//! is made from; it is bounded by [`Tree::ENTRIES_MAX`] and [`Tree::DEPTH_MAX`].

mod host_dir;
mod short_names;
mod tree;

pub use host_dir::{HostDir, Status};
pub use short_names::{ShortName, ShortNames};
pub use tree::{Content, Node, Tree, TreeError};

#[cfg(test)]
mod tests;
