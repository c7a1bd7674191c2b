//! A GPU's compiled kernels, kept for the next start.
//!
//! Kernels are compiled when they are first used, and where several compute the same, all are tried and the quickest is
//! taken. That takes minutes, and comes out the same at every start of a program on a device. The tensor library can keep
//! both in one database file, which programs share; [`keep`] says where: a folder in the account's cache. Whatever is
//! wrong with it costs time only: then nothing is kept.
//!
//! A later start runs what it finds there. So the folder is the account's alone, and one that others may write to is not
//! used. It holds shapes of tensors, no order, weight or gradient.
//!
//! Left out on purpose: a file shipped with the program, since every build has kernels of its own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Bytes beyond which the folder is emptied at a start: kernels of earlier builds are never used again.
const BYTES_MAX: u64 = 1 << 30;

/// Why nothing is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelCacheError {
    /// A program without code for GPUs.
    #[error("this program was built without CUDA")]
    NotCompiled,
    /// An account without a cache folder.
    #[error("this account has no home directory; XDG_CACHE_HOME can name a folder")]
    NoHome,
    /// A folder that cannot be used.
    #[error("{}: {why}", folder.display())]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The tensor library was in use before.
    #[error("the tensor library's settings were read before")]
    TooLate,
}

static KEPT: OnceLock<Result<PathBuf, KernelCacheError>> = OnceLock::new();

/// Has compiled kernels kept from here on, once a program; returns the folder.
///
/// # Errors
/// [`KernelCacheError`] says why nothing is kept; all else works the same.
pub fn keep() -> Result<PathBuf, KernelCacheError> {
    let kept = KEPT.get_or_init(|| {
        let folder = if cfg!(feature = "cuda") {
            folder().ok_or(KernelCacheError::NoHome).and_then(|folder| prepare(&folder).map(|()| folder))
        } else {
            Err(KernelCacheError::NotCompiled)
        };
        #[cfg(feature = "cuda")]
        let folder = settle(folder);
        folder
    });
    kept.clone()
}

/// Whether `folder` holds no kernels; an empty database takes some bytes.
pub fn is_empty(folder: &Path) -> bool {
    const EMPTY_DATABASE: u64 = 1 << 20;
    size(folder) < EMPTY_DATABASE
}

/// Bytes that are kept in `folder`.
pub fn size(folder: &Path) -> u64 {
    files(folder).iter().map(|(_, size)| size).sum()
}

fn folder() -> Option<PathBuf> {
    Some(directories::ProjectDirs::from("", "", "forecastle")?.cache_dir().join("kernels"))
}

/// Makes `folder` if need be, checks that it is the account's own, and empties it where it has grown too large.
fn prepare(folder: &Path) -> Result<(), KernelCacheError> {
    let named = |why: String| KernelCacheError::Folder { folder: folder.to_owned(), why };
    create(folder).map_err(|e| named(e.to_string()))?;
    if !folder.is_dir() {
        return Err(named("a file is in the place of the folder; remove it".into()));
    }
    if writable_by_others(folder).map_err(|e| named(e.to_string()))? {
        return Err(named("others may write to it; take that away (`chmod go-w`) or remove it".into()));
    }
    let files = files(folder);
    if files.iter().map(|(_, size)| size).sum::<u64>() > BYTES_MAX {
        for (file, _) in files {
            fs::remove_file(&file).map_err(|e| named(e.to_string()))?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn create(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn create(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(unix)]
fn writable_by_others(folder: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(folder)?.permissions().mode() & 0o022 != 0)
}

/// Elsewhere a folder below the account's own is closed to others.
#[cfg(not(unix))]
fn writable_by_others(_: &Path) -> io::Result<bool> {
    Ok(false)
}

/// The ordinary files of a folder and their sizes.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| {
        let about = entry.metadata().ok()?;
        about.is_file().then(|| (entry.path(), about.len()))
    };
    entries.filter_map(file).collect()
}

/// Tells the tensor library, which reads its settings once.
#[cfg(feature = "cuda")]
fn settle(folder: Result<PathBuf, KernelCacheError>) -> Result<PathBuf, KernelCacheError> {
    use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
    if !CubeClRuntimeConfig::try_set(settings(folder.as_deref().ok())) {
        return Err(KernelCacheError::TooLate);
    }
    folder
}

/// The tensor library's settings: those of its environment variables, never of a file in the current folder, and the
/// cache.
#[cfg(feature = "cuda")]
fn settings(folder: Option<&Path>) -> burn::cubecl::config::CubeClRuntimeConfig {
    use burn::cubecl::{
        config::{CubeClRuntimeConfig, RuntimeConfig, cache::CacheConfig},
        records::RecordLevel,
    };
    let mut settings = CubeClRuntimeConfig::default();
    settings.compilation.cache = folder.is_some();
    settings.autotune.disable_cache = folder.is_none();
    settings.throughput.disable_cache = folder.is_none();
    if let Some(folder) = folder {
        settings.environment.path = CacheConfig::Directory(folder.to_owned());
    }
    // Records of each start's compilations would only grow.
    settings.environment.records.level = RecordLevel::Off;
    settings.override_from_env()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_lies_in_the_accounts_cache() {
        let folder = folder().unwrap();
        assert!(folder.is_absolute() && folder.ends_with("kernels"), "{folder:?}");
        assert!(folder.components().any(|part| part.as_os_str() == "forecastle"), "{folder:?}");
    }

    #[test]
    fn a_folder_that_is_too_large_is_emptied_and_a_small_one_kept() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("cache/kernels");
        prepare(&folder).unwrap();
        fs::write(folder.join("default.db"), [1; 100]).unwrap();
        prepare(&folder).unwrap();
        assert_eq!(size(&folder), 100);
        // Sparse: it takes no room.
        fs::File::create(folder.join("default.db-wal")).unwrap().set_len(BYTES_MAX).unwrap();
        prepare(&folder).unwrap();
        assert_eq!(size(&folder), 0);
    }

    #[test]
    fn a_place_that_cannot_hold_a_folder_is_refused_by_name() {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("kernels");
        fs::write(&file, "").unwrap();
        for place in [file.clone(), file.join("kernels")] {
            let error = prepare(&place).unwrap_err().to_string();
            assert!(error.contains(&place.display().to_string()), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_folder_is_the_accounts_alone() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("kernels");
        prepare(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
        let error = prepare(&folder).unwrap_err().to_string();
        assert!(error.contains("others may write"), "{error}");
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn without_cuda_nothing_is_kept() {
        assert_eq!(keep(), Err(KernelCacheError::NotCompiled));
    }

    #[test]
    #[cfg(feature = "cuda")]
    fn the_tensor_library_keeps_its_kernels_in_the_folder() {
        use burn::cubecl::{
            config::{CubeClRuntimeConfig, RuntimeConfig},
            environment::{self, Namespace, Store, StoreOptions},
        };
        let folder = keep().unwrap();
        let settings = CubeClRuntimeConfig::get();
        assert!(settings.compilation.cache && !settings.autotune.disable_cache);
        assert_eq!(environment::root(), folder);
        assert_eq!(environment::path(), folder.join("default.db"));
        assert_eq!(keep(), Ok(folder.clone()));
        // As kernels are stored: what one store writes, another finds, through the file.
        let store = || -> Store<u32, u32> {
            environment::store(StoreOptions::new().storage(Namespace::scoped("forecastle", "test")))
        };
        let mut first = store();
        first.purge();
        first.insert(1, 2).unwrap();
        drop(first);
        let mut second = store();
        assert_eq!(second.get_mut(&1), Some(&mut 2));
        assert!(size(&folder) > 0);
        second.purge();
    }

    #[test]
    #[cfg(feature = "cuda")]
    fn without_a_folder_nothing_is_written() {
        let settings = settings(None);
        assert!(!settings.compilation.cache && settings.autotune.disable_cache && settings.throughput.disable_cache);
    }
}
