use std::{fs, io::Cursor, path::PathBuf};

use super::{
    stream::{CHUNK_BYTES, FRAME_BYTES},
    *,
};

struct Folder {
    dir: tempfile::TempDir,
    vault: Vault,
}

fn folder() -> Folder {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    Folder { dir, vault }
}

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sealed(&self, name: &str, content: &[u8]) -> Vec<u8> {
        let mut sealer = self.vault.seal(&self.path(name), Vec::new()).unwrap();
        sealer.write_all(content).unwrap();
        sealer.finish().unwrap()
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        fs::write(self.path(name), self.sealed(name, content)).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, VaultError> {
        Ok(self.vault.read(&self.path(name))?.expect("the file is there"))
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

/// Bytes before the first frame of a file called so.
fn header_len(name: &str) -> usize {
    15 + 1 + 8 + 1 + name.len() + 32 + 7
}

#[test]
fn content_of_any_length_is_read_back_equal_and_nothing_of_it_is_in_the_file() {
    let folder = folder();
    for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 17] {
        folder.write("orders.sealed", &content(length));
        assert_eq!(folder.read("orders.sealed").unwrap(), content(length), "{length}");
    }
    let secret = b"alice@example.org".repeat(10_000);
    let sealed = folder.sealed("orders.sealed", &secret);
    assert!(!sealed.windows(5).any(|part| part == b"alice"));
    // The same content twice is two different files.
    assert_ne!(sealed, folder.sealed("orders.sealed", &secret));
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let folder = folder();
    let path = folder.write("orders.sealed", &content(CHUNK_BYTES + 100));
    let whole = fs::read(&path).unwrap();
    let header = header_len("orders");
    let interesting = (0..header + 40).chain(header + FRAME_BYTES - 20..header + FRAME_BYTES + 20);
    for at in interesting.chain((whole.len() - 120..whole.len()).step_by(3)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = folder.read("orders.sealed").unwrap_err();
        assert!(error.to_string().contains("orders.sealed"), "{error}");
        if at >= header + 4 && at < header + FRAME_BYTES {
            assert!(matches!(error, VaultError::Altered { chunk: 1, .. }), "{at}: {error}");
        }
        if at >= header + FRAME_BYTES + 4 {
            assert!(matches!(error, VaultError::Altered { chunk: 2, .. }), "{at}: {error}");
        }
    }
}

#[test]
fn a_file_that_is_cut_off_is_found_wherever_it_is_cut() {
    let folder = folder();
    let path = folder.write("orders.sealed", &content(2 * CHUNK_BYTES + 100));
    let whole = fs::read(&path).unwrap();
    let header = header_len("orders");
    let ends = [15, 30, header, header + 2, header + 100, header + FRAME_BYTES, header + 2 * FRAME_BYTES + 50];
    for end in ends.into_iter().chain([whole.len() - 1]) {
        fs::write(&path, &whole[..end]).unwrap();
        let error = folder.read("orders.sealed").unwrap_err();
        assert!(matches!(error, VaultError::CutOff { .. }), "{end}: {error}");
        assert!(error.to_string().contains("cut off"), "{error}");
    }
    // What says that a chunk is the last is no use to whoever cuts.
    let mut forged = whole[..header + FRAME_BYTES].to_vec();
    forged[header] |= 0x80;
    fs::write(&path, &forged).unwrap();
    assert!(matches!(folder.read("orders.sealed").unwrap_err(), VaultError::Altered { chunk: 1, .. }));
    // And nothing is added behind the end.
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert!(matches!(folder.read("orders.sealed").unwrap_err(), VaultError::Altered { chunk: 3, .. }));
}

#[test]
fn chunks_cannot_be_reordered_left_out_repeated_or_taken_from_another_file() {
    let folder = folder();
    let path = folder.write("orders.sealed", &content(3 * CHUNK_BYTES));
    let whole = fs::read(&path).unwrap();
    let other = folder.sealed("orders.sealed", &content(3 * CHUNK_BYTES));
    let header = header_len("orders");
    let frame = |bytes: &[u8], at: usize| bytes[header + at * FRAME_BYTES..header + (at + 1) * FRAME_BYTES].to_vec();
    let head = &whole[..header];
    for (frames, chunk) in [
        (vec![frame(&whole, 1), frame(&whole, 0), frame(&whole, 2)], 1),
        (vec![frame(&whole, 0), frame(&whole, 2)], 2),
        (vec![frame(&whole, 0), frame(&whole, 0), frame(&whole, 1), frame(&whole, 2)], 2),
        (vec![frame(&whole, 0), frame(&other, 1), frame(&whole, 2)], 2),
    ] {
        fs::write(&path, [head, &frames.concat()].concat()).unwrap();
        let error = folder.read("orders.sealed").unwrap_err();
        assert!(matches!(&error, VaultError::Altered { chunk: found, .. } if *found == chunk), "{error}");
    }
    fs::write(&path, &whole).unwrap();
    assert!(folder.read("orders.sealed").is_ok());
}

#[test]
fn files_cannot_be_swapped_for_each_other() {
    let folder = folder();
    let orders = folder.write("orders.sealed", b"orders");
    let sales = folder.sealed("sales.sealed", b"sales");
    fs::write(&orders, &sales).unwrap();
    let error = folder.read("orders.sealed").unwrap_err();
    assert!(matches!(&error, VaultError::OtherFile { found, .. } if found == "sales"), "{error}");
    // Renaming it within is of no use.
    let forged = [&sales[..24], b"\x06orders", &sales[30..]].concat();
    assert_eq!(forged.len(), sales.len() + 1);
    fs::write(&orders, forged).unwrap();
    assert!(matches!(folder.read("orders.sealed").unwrap_err(), VaultError::Altered { chunk: 1, .. }));
    // A file of another folder is of another key.
    fs::write(&orders, self::folder().sealed("orders.sealed", b"orders")).unwrap();
    let error = folder.read("orders.sealed").unwrap_err();
    assert!(matches!(error, VaultError::OtherKey { .. }), "{error}");
    assert!(error.to_string().contains("--key-file"), "{error}");
}

#[test]
fn other_files_and_later_forms_are_named() {
    let folder = folder();
    for bytes in [&b""[..], b"order_id,quantity\n", b"PK"] {
        fs::write(folder.path("orders.sealed"), bytes).unwrap();
        assert!(matches!(folder.read("orders.sealed").unwrap_err(), VaultError::NotSealed { .. }));
    }
    let mut later = folder.sealed("orders.sealed", b"x");
    later[15] = 2;
    fs::write(folder.path("orders.sealed"), later).unwrap();
    assert!(matches!(folder.read("orders.sealed").unwrap_err(), VaultError::Version { found: 2, .. }));
    assert!(folder.vault.read(&folder.path("absent.sealed")).unwrap().is_none());
}

#[test]
fn an_unfinished_file_does_not_open() {
    let folder = folder();
    let mut bytes = Vec::new();
    let mut sealer = folder.vault.seal(&folder.path("orders.sealed"), &mut bytes).unwrap();
    sealer.write_all(&content(3 * CHUNK_BYTES)).unwrap();
    drop(sealer);
    fs::write(folder.path("orders.sealed"), bytes).unwrap();
    assert!(matches!(folder.read("orders.sealed").unwrap_err(), VaultError::CutOff { chunks: 2, .. }));
}

#[test]
fn the_key_is_found_again_and_its_bytes_are_in_no_message() {
    let folder = folder();
    folder.write("orders.sealed", b"orders");
    let again = Vault::open(folder.dir.path()).unwrap();
    assert_eq!(again.read(&folder.path("orders.sealed")).unwrap().unwrap(), b"orders");
    assert_eq!(again.key_id(), folder.vault.key_id());
    let text = fs::read_to_string(folder.path("data.key")).unwrap();
    let (name, key) = text.lines().last().unwrap().split_once(' ').unwrap();
    assert_eq!(name, again.key_id().to_string());
    assert!(!format!("{:?} {name}", again.key_id()).contains(&key[..8]));
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let path = folder.path("data.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o660, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let Err(error) = Vault::open(folder.dir.path()) else { panic!("{mode:o} was accepted") };
        assert!(matches!(&error, VaultError::KeyExposed { mode: found, .. } if *found == mode), "{error}");
        assert!(error.to_string().contains("data.key") && error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_missing_key_with_sealed_files_is_no_reason_for_a_new_one() {
    let folder = folder();
    folder.write("orders.sealed", b"orders");
    fs::remove_file(folder.path("data.key")).unwrap();
    let Err(error) = Vault::open(folder.dir.path()) else { panic!("a new key was made") };
    assert!(matches!(error, VaultError::KeyMissing { .. }));
    let said = error.to_string();
    assert!(said.contains("nobody can read") && said.contains("import the files again"), "{said}");
    assert!(!folder.path("data.key").exists());
}

#[test]
fn a_damaged_key_file_is_named_wherever_it_is_damaged() {
    let folder = folder();
    let path = folder.path("data.key");
    let good = fs::read_to_string(&path).unwrap();
    let line = good.lines().last().unwrap().to_owned();
    for at in [0, 5, 17, 30, line.len() - 1] {
        let mut bytes = line.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        fs::write(&path, bytes).unwrap();
        assert!(matches!(Vault::open(folder.dir.path()), Err(VaultError::KeyDamaged { .. })), "{at}");
    }
    for text in ["", "# only a comment\n", &line[..40], "\u{fffd} \u{fffd}", &format!("{line}\n{line}\n{line}\n")] {
        fs::write(&path, text).unwrap();
        assert!(matches!(Vault::open(folder.dir.path()), Err(VaultError::KeyDamaged { .. })), "{text}");
    }
    fs::write(&path, [0xff; 70]).unwrap();
    assert!(matches!(Vault::open(folder.dir.path()), Err(VaultError::KeyDamaged { .. })));
    fs::write(&path, "x".repeat(5_000)).unwrap();
    assert!(matches!(Vault::open(folder.dir.path()), Err(VaultError::KeyDamaged { .. })));
    // Spaces and comments around it are no damage.
    fs::write(&path, format!("# kept in the safe\n\n  {line}  \n")).unwrap();
    assert!(Vault::open(folder.dir.path()).is_ok());
}

#[test]
fn a_key_file_elsewhere_is_remembered_and_one_of_another_folder_refused() {
    let (dir, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = apart.path().join("shop.key");
    use_key_file(dir.path(), &key).unwrap();
    let vault = Vault::open(dir.path()).unwrap();
    assert_eq!(vault.key_file(), key);
    assert!(key.exists() && !dir.path().join("data.key").exists());
    let orders = dir.path().join("orders.sealed");
    let mut sealer = vault.seal(&orders, Vec::new()).unwrap();
    sealer.write_all(b"orders").unwrap();
    fs::write(&orders, sealer.finish().unwrap()).unwrap();
    // Another folder's key, and a place without one.
    let other = folder();
    let error = use_key_file(dir.path(), &other.path("data.key")).unwrap_err();
    assert!(matches!(error, VaultError::OtherKey { .. }), "{error}");
    let error = use_key_file(dir.path(), &apart.path().join("absent.key")).unwrap_err();
    assert!(matches!(&error, VaultError::KeyElsewhere { at, .. } if *at == key), "{error}");
    assert_eq!(Vault::open(dir.path()).unwrap().key_file(), key);
    // A key belongs to one folder: a new one would take it from the other.
    let third = tempfile::tempdir().unwrap();
    let error = use_key_file(third.path(), &key).unwrap_err();
    assert!(matches!(error, VaultError::KeyOfAnother(_)), "{error}");
    use_key_file(dir.path(), &key).unwrap();
    // Moved by hand, and said so.
    let moved = apart.path().join("moved.key");
    fs::rename(&key, &moved).unwrap();
    assert!(matches!(Vault::open(dir.path()), Err(VaultError::KeyMissing { .. })));
    let error = use_key_file(dir.path(), &apart.path().join("absent.key")).unwrap_err();
    assert!(matches!(error, VaultError::KeyMissing { .. }), "{error}");
    use_key_file(dir.path(), &moved).unwrap();
    assert_eq!(Vault::open(dir.path()).unwrap().read(&orders).unwrap().unwrap(), b"orders");
}

#[test]
fn a_key_is_moved_and_never_written_over_another() {
    let (folder, apart) = (folder(), tempfile::tempdir().unwrap());
    folder.write("orders.sealed", b"orders");
    let to = apart.path().join("shop.key");
    move_key(folder.dir.path(), &to).unwrap();
    assert!(!folder.path("data.key").exists());
    assert_eq!(
        Vault::open(folder.dir.path()).unwrap().read(&folder.path("orders.sealed")).unwrap().unwrap(),
        b"orders"
    );
    let other = self::folder();
    let error = move_key(other.dir.path(), &to).unwrap_err();
    assert!(matches!(error, VaultError::KeyThere(_)), "{error}");
    assert!(move_key(folder.dir.path(), &to).is_err(), "onto itself");
    assert!(Vault::open(folder.dir.path()).is_ok() && Vault::open(other.dir.path()).is_ok());
}

#[test]
fn between_two_keys_both_are_opened_and_the_new_one_seals() {
    let mut folder = folder();
    let old = folder.vault.key_id();
    folder.write("orders.sealed", b"orders");
    assert!(folder.vault.begin_rotation().unwrap());
    assert_ne!(folder.vault.key_id(), old);
    folder.write("sales.sealed", b"sales");
    // As after a crash: another process finds both keys, and makes no third.
    let mut again = Vault::open(folder.dir.path()).unwrap();
    assert!(again.is_between_keys() && !again.begin_rotation().unwrap());
    assert_eq!(again.read(&folder.path("orders.sealed")).unwrap().unwrap(), b"orders");
    assert_eq!(again.read(&folder.path("sales.sealed")).unwrap().unwrap(), b"sales");
    // The old key stays for as long as a file needs it.
    let error = again.end_rotation(folder.dir.path()).unwrap_err();
    assert!(matches!(&error, VaultError::OtherKey { sealed_with, .. } if *sealed_with == old), "{error}");
    assert!(Vault::open(folder.dir.path()).unwrap().is_between_keys());
    folder.write("orders.sealed", b"orders");
    again.end_rotation(folder.dir.path()).unwrap();
    assert!(!Vault::open(folder.dir.path()).unwrap().is_between_keys());
}

#[test]
fn reading_and_writing_need_one_chunk_of_memory() {
    // Small reads and writes cross the bounds of chunks.
    let folder = folder();
    let mut sealer = folder.vault.seal(&folder.path("orders.sealed"), Vec::new()).unwrap();
    let whole = content(2 * CHUNK_BYTES + 333);
    for part in whole.chunks(1_009) {
        sealer.write_all(part).unwrap();
        assert!(sealer.content_len() <= CHUNK_BYTES);
    }
    let bytes = sealer.finish().unwrap();
    let key = [&folder.vault.keys.current];
    let path = folder.path("orders.sealed");
    let mut opener = Opener::begin(key.into_iter(), Path::new("k"), &path, "orders", Cursor::new(bytes)).unwrap();
    let (mut read, mut part) = (Vec::new(), [0; 777]);
    loop {
        let count = opener.read(&mut part).unwrap();
        if count == 0 {
            break;
        }
        read.extend_from_slice(&part[..count]);
    }
    assert_eq!(read, whole);
}
