//! Bounds on everything that comes from the network, in one place.

/// Largest message of a unary call, in bytes. Key shares of 255 participants fit many times over.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of one chunk of a masked update or model.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Largest chunk accepted, in bytes.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Calls of one merchant that are open at one time.
pub const CALLS_MAX: usize = 16;
/// Name of the metadata in which a server that is asked too often says after how many milliseconds to come back.
pub const RETRY_AFTER: &str = "grpc-retry-pushback-ms";
/// Pre-keys of one merchant that the server keeps.
pub const PREKEYS_MAX: usize = 256;
/// Pre-keys in one upload.
pub const PREKEYS_PER_CALL_MAX: usize = 128;
/// Longest time an `Await…` call holds the line, in milliseconds.
pub const WAIT_MS_MAX: u32 = 20_000;
/// Time after which a unary call is given up, in milliseconds; longer than [`WAIT_MS_MAX`].
pub const CALL_TIMEOUT_MS: u64 = 30_000;
/// Time after which an upload or download stream is given up, in milliseconds.
pub const STREAM_TIMEOUT_MS: u64 = 300_000;
/// Longest silence within an answer, and longest time for an answer that the server has no reason to hold back, in
/// milliseconds.
pub const SILENCE_MS_MAX: u64 = 10_000;
/// Characters of the server's words that a merchant is shown.
pub const WORDS_MAX: usize = 400;
/// Leaves of the log in one call.
pub const ENTRIES_PER_CALL_MAX: u64 = 4_096;
/// Bytes of leaves in one chunk of a stream of entries, roughly.
pub const ENTRIES_CHUNK_BYTES: usize = 1 << 20;
/// Bytes of leaves that a merchant fetches at one time, before it has verified them: the room that a server without an
/// end could take.
pub const ENTRIES_BYTES_MAX: usize = 512 << 20;
/// Largest question about the log, in bytes: a checkpoint with cosignatures, and a little more.
pub const LOG_QUESTION_BYTES_MAX: usize = 132 << 10;
/// Digests of one proof about the log: a path has at most 64, and consistency one more.
pub const PROOF_DIGESTS_MAX: usize = 65;
/// Largest signed charge in bytes; with what surrounds it, it fits an entry of the log.
pub const CHARGE_BYTES_MAX: usize = 48 << 10;
/// Largest certificate signing request in bytes.
pub const CERTIFICATE_REQUEST_BYTES_MAX: usize = 4 << 10;
/// Longest name of a federation, in bytes.
pub const FEDERATION_NAME_MAX: usize = 64;
/// Clock difference between merchant and server that is tolerated, in milliseconds.
pub const CLOCK_SKEW_MS_MAX: u64 = 300_000;
