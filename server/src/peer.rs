//! Who is at the other end of a connection, as far as TLS says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use forecastle_crypto::identity::{Sha256Digest, sha256};
use rustls::pki_types::CertificateDer;

/// Whose connections and calls are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// Whoever holds the key of this certificate (its SHA-256), which the federation's authority issued: a merchant, revoked
    /// ones included.
    Certified(Sha256Digest),
    /// Nobody in particular, from this address; of IPv6 from its network of 64 bits, in which one machine has them all.
    Stranger(IpAddr),
}

impl Peer {
    /// The peer with these certificates at this address.
    pub(crate) fn new(certificates: &[CertificateDer<'_>], address: Option<SocketAddr>) -> Self {
        match certificates.first() {
            Some(certificate) => Self::Certified(sha256(certificate)),
            None => Self::Stranger(network(address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |a| a.ip()))),
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(address: &str) -> Peer {
        Peer::new(&[], Some(address.parse().unwrap()))
    }

    #[test]
    fn a_certificate_counts_wherever_it_comes_from_and_a_stranger_by_its_network() {
        let certificate = CertificateDer::from(vec![1, 2, 3]);
        let certified = |address: &str| Peer::new(std::slice::from_ref(&certificate), Some(address.parse().unwrap()));
        assert_eq!(certified("192.0.2.1:1"), certified("198.51.100.7:2"));
        assert_eq!(stranger("192.0.2.1:1"), stranger("192.0.2.1:2"));
        assert_ne!(stranger("192.0.2.1:1"), stranger("192.0.2.2:1"));
        assert_eq!(stranger("[2001:db8::1]:1"), stranger("[2001:db8::ffff:0:2]:1"));
        assert_ne!(stranger("[2001:db8::1]:1"), stranger("[2001:db8:0:1::1]:1"));
        assert_eq!(stranger("[::ffff:192.0.2.1]:1"), stranger("192.0.2.1:1"));
    }
}
