//! The one-time invitation: one line of text that a platform operator hands to one merchant.
//!
//! It holds the server's address, the federation's CA certificate and a secret token, so that the first
//! contact is already authenticated both ways. The server keeps only the token's hash.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Opening of the text form; the number is its version.
const PREFIX: &str = "fcinvite1.";
/// Longest text form accepted.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// An invitation. Whoever holds it can join once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    /// Base address of the server, `https://host:port`.
    pub server: String,
    /// Name that the server's certificate carries.
    pub server_name: String,
    /// The federation's CA certificate, DER, in hexadecimal.
    pub ca_certificate: String,
    /// Secret, 32 bytes, in hexadecimal.
    pub token: String,
    /// Unix time in milliseconds after which it is refused.
    pub expires_ms: u64,
}

/// Why a text is no invitation.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// Wrong prefix.
    #[error("this is no invitation: it must begin with `{PREFIX}`; paste the whole line that the operator sent")]
    Prefix,
    /// Cut off, mistyped or of another version.
    #[error("the invitation is damaged ({0}); paste the whole line that the operator sent")]
    Damaged(String),
}

impl Invitation {
    /// The token's bytes.
    ///
    /// # Errors
    /// [`InvitationError::Damaged`] when they are not 32 bytes of hexadecimal.
    pub fn token_bytes(&self) -> Result<[u8; 32], InvitationError> {
        decode_hex(&self.token)?
            .try_into()
            .map_err(|_| InvitationError::Damaged("the token is not 32 bytes long".into()))
    }

    /// The CA certificate, DER.
    ///
    /// # Errors
    /// [`InvitationError::Damaged`] when it is not hexadecimal.
    pub fn ca_der(&self) -> Result<Vec<u8>, InvitationError> {
        decode_hex(&self.ca_certificate)
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", data_encoding::BASE64URL_NOPAD.encode(&json))
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(InvitationError::Damaged("it is too long".into()));
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(InvitationError::Prefix)?;
        let json = data_encoding::BASE64URL_NOPAD
            .decode(encoded.as_bytes())
            .map_err(|e| InvitationError::Damaged(e.to_string()))?;
        let invitation: Self = serde_json::from_slice(&json).map_err(|e| InvitationError::Damaged(e.to_string()))?;
        invitation.token_bytes()?;
        invitation.ca_der()?;
        Ok(invitation)
    }
}

fn decode_hex(text: &str) -> Result<Vec<u8>, InvitationError> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|e| InvitationError::Damaged(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            server: "https://127.0.0.1:7443".into(),
            server_name: "forecastle".into(),
            ca_certificate: "3082".into(),
            token: "ab".repeat(32),
            expires_ms: 1,
        }
    }

    #[test]
    fn the_text_form_round_trips() {
        let text = invitation().to_string();
        assert!(text.parse::<Invitation>().unwrap() == invitation());
        assert!(format!("  {text}\n").parse::<Invitation>().unwrap() == invitation());
    }

    #[test]
    fn damaged_texts_are_refused() {
        let text = invitation().to_string();
        assert!(matches!("hello".parse::<Invitation>(), Err(InvitationError::Prefix)));
        assert!(matches!(text[..text.len() - 5].parse::<Invitation>(), Err(InvitationError::Damaged(_))));
        let mut short = invitation();
        short.token = "ab".into();
        assert!(short.to_string().parse::<Invitation>().is_err());
    }
}
