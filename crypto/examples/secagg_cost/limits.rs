//! What this machine can do without the protocol.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use forecastle_crypto::identity::sha256;
use x25519_dalek::{PublicKey, StaticSecret};

/// One core's limits.
pub struct Limits {
    /// AES-256 in counter mode into a buffer that stays in the first-level cache.
    pub keystream_bytes_per_s: f64,
    /// SHA-256.
    pub digest_bytes_per_s: f64,
    /// Copying a buffer far larger than the caches.
    pub copy_bytes_per_s: f64,
}

impl Limits {
    /// The better of two measurements: other work on the machine only ever takes from a limit.
    pub fn or_better(self, other: Self) -> Self {
        Self {
            keystream_bytes_per_s: self.keystream_bytes_per_s.max(other.keystream_bytes_per_s),
            digest_bytes_per_s: self.digest_bytes_per_s.max(other.digest_bytes_per_s),
            copy_bytes_per_s: self.copy_bytes_per_s.max(other.copy_bytes_per_s),
        }
    }
}

/// Measures them, each as the best of a few tries.
pub fn measure() -> Limits {
    let best = |work: &mut dyn FnMut()| {
        let time = |work: &mut dyn FnMut()| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        };
        (0..15).map(|_| time(work)).min().unwrap_or_default().as_secs_f64()
    };
    let mut stream = Ctr128BE::<Aes256>::new(&[7; 32].into(), &[0; 16].into());
    let mut tile = vec![0u8; 8 << 10];
    let tiles = 4_096;
    let keystream = best(&mut || (0..tiles).for_each(|_| stream.write_keystream(black_box(&mut tile))));

    let message = vec![1u8; 4 << 20];
    let digest = best(&mut || {
        black_box(sha256(black_box(&message)));
    });
    let from = vec![1u8; 64 << 20];
    let mut to = vec![0u8; from.len()];
    let copy = best(&mut || black_box(&mut to).copy_from_slice(black_box(&from)));
    Limits {
        keystream_bytes_per_s: (tiles * tile.len()) as f64 / keystream,
        digest_bytes_per_s: message.len() as f64 / digest,
        copy_bytes_per_s: from.len() as f64 / copy,
    }
}

/// The time that `count` X25519 agreements take.
pub fn agreements(count: usize) -> Duration {
    let secret = StaticSecret::from([9; 32]);
    let public = PublicKey::from(&StaticSecret::from([8; 32]));
    let begun = Instant::now();
    (0..count).for_each(|_| drop(black_box(secret.diffie_hellman(black_box(&public)))));
    begun.elapsed()
}
