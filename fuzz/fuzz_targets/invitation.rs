//! The one-line invitation.
//!
//! What is accepted is written as a line that reads the same; its token has 32 bytes and its certificate is bytes.
#![no_main]

use forecastle_fuzz::{bounded, seeds};
use forecastle_proto::invitation::Invitation;
use libfuzzer_sys::fuzz_target;

/// The opening of the text form.
const PREFIX: &str = "fcinvite1.";

fn invitation() -> Invitation {
    Invitation {
        server: "https://127.0.0.1:7443".into(),
        server_name: "forecastle".into(),
        ca_certificate: "3082010a".into(),
        token: "ab".repeat(32),
        expires_ms: 1_700_000_000_000,
    }
}

fuzz_target!(
    init: seeds("invitation", || {
        let json = serde_json::to_string(&invitation()).expect("an invitation always serialises");
        vec![invitation().to_string(), json]
    }),
    |data: &[u8]| {
        // As it arrives, and as what the line would hold, so that mutations need not survive base64.
        let wrapped = format!("{PREFIX}{}", data_encoding::BASE64URL_NOPAD.encode(data));
        for text in std::str::from_utf8(data).into_iter().chain([wrapped.as_str()]) {
            let Ok(read) = bounded(text.len(), 16, || text.parse::<Invitation>()) else { continue };
            let written = read.to_string();
            // Writing may be longer than reading: a number or an escape may have been abbreviated.
            if let Ok(again) = written.parse::<Invitation>() {
                assert!(again == read && again.to_string() == written);
            } else {
                assert!(written.len() > 16 << 10, "{written}");
            }
            assert!(read.token_bytes().is_ok() && read.ca_der().is_ok());
            assert!(format!(" {text}\n").parse::<Invitation>().is_ok_and(|padded| padded == read));
        }
    }
);
