//! A round's messages in a folder, and spools in files.

use std::error::Error;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use forecastle_crypto::identity::{Signature, VerifyingKey};
use forecastle_crypto::secagg::{ParticipantNumber, SignedOffer, Spool, SpoolError, Spools, VerifiedOffer};

/// Which message of a participant.
#[derive(Clone, Copy)]
pub enum Kind {
    Shares,
    Header,
    Update,
    Confirmation,
    Answer,
}

/// The folder that holds a round.
pub struct Record(pub PathBuf);

impl Record {
    fn path(&self, kind: Kind, from: ParticipantNumber) -> PathBuf {
        let kind = match kind {
            Kind::Shares => "shares",
            Kind::Header => "header",
            Kind::Update => "update",
            Kind::Confirmation => "confirmation",
            Kind::Answer => "answer",
        };
        self.0.join(format!("{}.{kind}", from.get()))
    }

    pub fn put(&self, kind: Kind, from: ParticipantNumber, bytes: &[u8]) -> std::io::Result<()> {
        fs::write(self.path(kind, from), bytes)
    }

    /// The message, where it was sent.
    pub fn get(&self, kind: Kind, from: ParticipantNumber) -> std::io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(kind, from)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// A masked update, to be read piece by piece.
    pub fn update(&self, from: ParticipantNumber) -> std::io::Result<File> {
        File::open(self.path(Kind::Update, from))
    }

    pub fn put_offer(&self, signed: &SignedOffer, key: &VerifyingKey) -> std::io::Result<()> {
        fs::write(self.0.join("offer"), [key.0.as_slice(), signed.signature.as_bytes(), &signed.bytes].concat())
    }

    pub fn offer(&self) -> Result<VerifiedOffer, Box<dyn Error>> {
        let bytes = fs::read(self.0.join("offer"))?;
        let (key, rest) = bytes.split_first_chunk::<32>().ok_or("no offer")?;
        let (signature, bytes) = rest.split_first_chunk::<64>().ok_or("no offer")?;
        let signed = SignedOffer { bytes: bytes.to_vec(), signature: Signature::from_bytes(*signature) };
        Ok(signed.open(&VerifyingKey(*key))?)
    }
}

/// Spools in files without a name.
pub struct Files(pub PathBuf);

impl Files {
    pub fn beside(folder: &Path) -> Self {
        Self(folder.to_owned())
    }
}

impl Spools for Files {
    fn open(&self) -> Result<Box<dyn Spool>, SpoolError> {
        let file = tempfile::tempfile_in(&self.0).map_err(|e| SpoolError(e.to_string()))?;
        Ok(Box::new(OneFile(file)))
    }
}

struct OneFile(File);

impl Spool for OneFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SpoolError> {
        let done = self.0.seek(SeekFrom::Start(offset)).and_then(|_| self.0.write_all(bytes));
        done.map_err(|e| SpoolError(e.to_string()))
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), SpoolError> {
        let done = self.0.seek(SeekFrom::Start(offset)).and_then(|_| self.0.read_exact(bytes));
        done.map_err(|e| SpoolError(e.to_string()))
    }
}
