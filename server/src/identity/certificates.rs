//! The federation's own certificate authority, and the certificates it issues.
//!
//! The invariant: a merchant's certificate carries the name it was enrolled under and nothing else that its
//! request asked for; only the public key is taken from the request, after its signature was checked.
//!
//! The server's TLS key lives in memory only: every start issues a fresh certificate from the authority, which
//! is what merchants pin. Left out on purpose: renewal of merchants' certificates, revocation lists (the server
//! looks every certificate up among the enrolled ones).

use forecastle_crypto::identity::{MerchantId, Sha256Digest, sha256};
use forecastle_proto::limits::CERTIFICATE_REQUEST_BYTES_MAX;
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Years for which the authority's certificate is valid.
const AUTHORITY_YEARS: i16 = 20;
/// Days for which the server's certificate is valid, counted from its start.
const SERVER_DAYS: u16 = 397;

/// The authority's certificate and key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A new authority, to be written to disk.
pub struct NewAuthority {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// The key, PKCS#8 DER. Secret.
    pub key: Vec<u8>,
}

/// A certificate issued to a merchant.
pub struct Issued {
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// SHA-256 of it.
    pub fingerprint: Sha256Digest,
    /// Unix time in milliseconds after which it is refused.
    pub not_after_ms: u64,
}

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The request is too large, unreadable or its signature is wrong.
    #[error("the certificate request is not acceptable: {0}")]
    Request(String),
    /// The authority's files are unreadable, or a name cannot be put into a certificate.
    #[error("the federation's certificate authority failed: {0}")]
    Authority(String),
}

impl Authority {
    /// Makes the authority of a new federation.
    ///
    /// # Errors
    /// [`CertificateError::Authority`] when no key could be generated.
    pub fn create(federation: &str) -> Result<NewAuthority, CertificateError> {
        let key = KeyPair::generate().map_err(own)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&format!("{federation} certificate authority"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let first = today().yesterday().map_err(|e| CertificateError::Authority(e.to_string()))?;
        let last = first.saturating_add(AUTHORITY_YEARS.years());
        valid_between(&mut params, first, last);
        let certificate = params.self_signed(&key).map_err(own)?;
        Ok(NewAuthority { certificate: certificate.der().to_vec(), key: key.serialize_der() })
    }

    /// Reads an authority back.
    ///
    /// # Errors
    /// [`CertificateError::Authority`] when certificate or key are unreadable.
    pub fn read(certificate: Vec<u8>, key: &[u8]) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key), &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(own)?;
        let certificate = CertificateDer::from(certificate);
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(own)?;
        Ok(Self { certificate, issuer })
    }

    /// The authority's certificate, which merchants pin.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A fresh key and certificate for the server under `names` (host names or IP addresses).
    ///
    /// # Errors
    /// [`CertificateError::Authority`] when a name cannot be put into a certificate.
    pub fn issue_server(
        &self,
        names: &[String],
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), CertificateError> {
        let key = KeyPair::generate().map_err(own)?;
        let mut params = CertificateParams::new(names).map_err(own)?;
        params.distinguished_name = common_name("forecastle server");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        validity(&mut params, SERVER_DAYS);
        let certificate = params.signed_by(&key, &self.issuer).map_err(own)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((certificate.der().clone(), key))
    }

    /// Signs a certificate for `merchant` over the public key of a certificate request, DER.
    ///
    /// # Errors
    /// [`CertificateError::Request`] when the request is too large, unreadable, or not signed by its own key.
    pub fn issue_merchant(&self, merchant: &MerchantId, request: &[u8], days: u16) -> Result<Issued, CertificateError> {
        if request.len() > CERTIFICATE_REQUEST_BYTES_MAX {
            return Err(CertificateError::Request(format!(
                "it has {} bytes, at most {CERTIFICATE_REQUEST_BYTES_MAX} are accepted",
                request.len()
            )));
        }
        let mut request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|e| CertificateError::Request(e.to_string()))?;
        let mut params = CertificateParams::new(vec![merchant.to_string()]).map_err(own)?;
        params.distinguished_name = common_name(merchant.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        validity(&mut params, days);
        let not_after_ms = u64::try_from(params.not_after.unix_timestamp()).unwrap_or(0) * 1000;
        request.params = params;
        let certificate = request.signed_by(&self.issuer).map_err(own)?.der().to_vec();
        Ok(Issued { fingerprint: sha256(&certificate), certificate, not_after_ms })
    }
}

fn own(error: rcgen::Error) -> CertificateError {
    CertificateError::Authority(error.to_string())
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// From yesterday, for clocks that are a little behind, for `days` days.
fn validity(params: &mut CertificateParams, days: u16) {
    let today = today();
    valid_between(params, today.saturating_sub(1.day()), today.saturating_add(i64::from(days).days()));
}

/// Certificates' times are at midnight, UTC.
fn valid_between(params: &mut CertificateParams, first: Date, last: Date) {
    let midnight =
        |day: Date| date_time_ymd(i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs());
    params.not_before = midnight(first);
    params.not_after = midnight(last);
}

fn today() -> Date {
    TimeZone::UTC.to_datetime(Timestamp::now()).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> Authority {
        let new = Authority::create("test").unwrap();
        Authority::read(new.certificate, &new.key).unwrap()
    }

    fn request(name: &str) -> Vec<u8> {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_merchants_certificate_carries_its_enrolled_name_whatever_it_asked_for() {
        let issued = authority().issue_merchant(&"shop-1".parse().unwrap(), &request("root.example"), 30).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&issued.certificate).unwrap();
        assert_eq!(parsed.subject().to_string(), "CN=shop-1");
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(format!("{:?}", names.value.general_names), "[DNSName(\"shop-1\")]");
        assert!(!parsed.is_ca());
        assert_eq!(parsed.validity().not_after.timestamp() * 1000, issued.not_after_ms as i64);
    }

    #[test]
    fn damaged_and_oversized_requests_are_refused() {
        let (authority, merchant) = (authority(), "shop-1".parse().unwrap());
        let mut damaged = request("shop-1");
        let last = damaged.len() - 10;
        damaged[last] ^= 1;
        assert!(matches!(authority.issue_merchant(&merchant, &damaged, 30), Err(CertificateError::Request(_))));
        let large = vec![0; CERTIFICATE_REQUEST_BYTES_MAX + 1];
        assert!(matches!(authority.issue_merchant(&merchant, &large, 30), Err(CertificateError::Request(_))));
    }
}
