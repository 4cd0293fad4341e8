//! One temporary folder of our own, gone when dropped.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::ClusterError;

/// A folder that did not exist before.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes a folder in `parent` that only its owner may enter.
    ///
    /// One that an earlier process of the same number left behind is stepped over, never reused.
    pub(super) fn create(parent: &Path) -> Result<Self, ClusterError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Resolved, so that it compares equal to what the system says a server runs in.
        let parent = parent.canonicalize().map_err(ClusterError::io("find", parent))?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("pgsluice-{}-{number}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(ClusterError::io("create", &path)(error)),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "temporary folder stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_new_private_and_removed_with_what_is_in_it() {
        use std::os::unix::fs::PermissionsExt;
        let parent = std::env::temp_dir();

        let (one, two) = (Folder::create(&parent).unwrap(), Folder::create(&parent).unwrap());
        assert_ne!(one.path(), two.path());
        let mode = fs::metadata(one.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);

        fs::write(one.path().join("file"), "").unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
    }
}
