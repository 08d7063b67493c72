//! The only importer of kvm-ioctls: the machine as the kernel runs it.

pub mod cpu_features;
pub mod cpu_model;
pub mod cpuid;
