//! Debian 12 packages (i386 and amd64), downloaded by an apt with its own lists and cache. The host's apt configuration
//! is neither read nor changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, cache, file_error, run, run_command};

/// Architecture of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 32-bit.
    I386,
    /// 64-bit.
    Amd64,
}

impl Arch {
    /// Debian's name of the architecture.
    pub fn name(self) -> &'static str {
        match self {
            Self::I386 => "i386",
            Self::Amd64 => "amd64",
        }
    }
}

/// apt for one architecture, with its own state directory.
#[derive(Clone, Debug)]
pub struct Apt {
    arch: Arch,
    dir: PathBuf,
}

impl Apt {
    /// Fetches the package lists unless they are there already.
    pub fn new(arch: Arch) -> Result<Self, Error> {
        let dir = pcvm_test_host::cache_dir().join(format!("apt-{}", arch.name()));
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part)).map_err(file_error(&dir))?;
        }
        let apt = Self { arch, dir };
        let _lock = cache::lock(&apt.dir.join("lock"))?;
        if !apt.dir.join("updated").exists() {
            apt.update()?;
        }
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let dir = self.dir.display();
        for option in [
            format!("Dir::Etc::SourceList={dir}/sources"),
            "Dir::Etc::SourceParts=/nonexistent".into(),
            format!("Dir::State::Lists={dir}/lists"),
            // Ignore the packages that are installed on the host.
            "Dir::State::status=/dev/null".into(),
            format!("Dir::Cache={dir}/cache"),
            format!("APT::Architecture={}", self.arch.name()),
            format!("APT::Architectures::={}", self.arch.name()),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    fn update(&self) -> Result<(), Error> {
        let mirror = std::env::var("PCVM_DEBIAN_MIRROR").unwrap_or_else(|_| "http://deb.debian.org/debian".into());
        let sources = format!(
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} bookworm main main/debian-installer\n"
        );
        fs::write(self.dir.join("sources"), sources).map_err(file_error(&self.dir))?;
        run_command(self.command("apt-get").args(["update", "-qq"]))?;
        fs::write(self.dir.join("updated"), "").map_err(file_error(&self.dir))
    }

    /// Name of the package of the current kernel.
    pub fn kernel(&self) -> Result<String, Error> {
        let meta = match self.arch {
            Arch::I386 => "linux-image-686",
            Arch::Amd64 => "linux-image-amd64",
        };
        let depends = run_command(self.command("apt-cache").args(["depends", meta]))?;
        let depends = String::from_utf8_lossy(&depends);
        depends
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with("linux-image-"))
            .map(String::from)
            .ok_or_else(|| Error::Unexpected(format!("{meta} does not depend on a linux-image package")))
    }

    /// Downloads packages and unpacks them into `root`.
    pub fn unpack(&self, packages: &[&str], root: &Path) -> Result<(), Error> {
        let _lock = cache::lock(&self.dir.join("lock"))?;
        let debs = self.dir.join("debs");
        let _ = fs::remove_dir_all(&debs);
        fs::create_dir_all(&debs).map_err(file_error(&debs))?;
        fs::create_dir_all(root).map_err(file_error(root))?;
        let download =
            || run_command(self.command("apt-get").current_dir(&debs).args(["download", "-qq"]).args(packages));
        if download().is_err() {
            // The lists may be older than the archive: update them and retry once.
            self.update()?;
            download()?;
        }
        for entry in fs::read_dir(&debs).map_err(file_error(&debs))? {
            let deb = entry.map_err(file_error(&debs))?.path();
            run("dpkg", [Path::new("-x"), &deb, root])?;
        }
        fs::remove_dir_all(&debs).map_err(file_error(&debs))
    }
}
