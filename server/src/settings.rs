//! `server.toml`: where the server listens and how long it gathers merchants. Everything that privacy depends
//! on lies in the plan instead, which the log pins.

use std::{path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

use crate::store::{StoreError, files};

/// Name of the file in the state directory.
pub const FILE: &str = "server.toml";
/// The largest settings file read, in bytes.
const BYTES_MAX: usize = 64 << 10;

/// The operator's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Layout of the state directory, 1.
    pub version: u16,
    /// Address and port to listen on, for instance `0.0.0.0:7443`.
    pub listen: String,
    /// Base address that invitations carry, `https://host:port`.
    pub advertise: String,
    /// More host names or IP addresses for the server's certificate.
    #[serde(default)]
    pub names: Vec<String>,
    /// Milliseconds that a round waits for further merchants once enough are there.
    pub gather_ms: u64,
    /// Merchants to wait for (within `gather-ms`) even before so many are enrolled; 0 waits for those enrolled.
    #[serde(default)]
    pub expected_merchants: u16,
    /// Days for which merchants' certificates are valid.
    pub certificate_days: u16,
    /// Connections held open altogether; each merchant needs one, and a file of the operating system.
    #[serde(default = "connections_max")]
    pub connections_max: u32,
}

/// Below 1,024, the usual limit of open files, so that the database and models find some.
pub(crate) const fn connections_max() -> u32 {
    768
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not TOML of this shape.
    #[error("server.toml is not readable: {0}")]
    Format(String),
    /// A value is out of range.
    #[error("server.toml, `{field}`: {why}")]
    Field {
        /// Which setting.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// Another layout of the state directory.
    #[error("the state directory has layout {0}; this forecastle-server reads layout 1")]
    OtherVersion(u16),
}

impl Settings {
    /// Reads the settings of the state directory `directory`.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting.
    pub fn read(directory: &Path) -> Result<Self, SettingsError> {
        let bytes = files::read_bounded(&directory.join(FILE), BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|e| SettingsError::Format(e.to_string()))?;
        let settings: Self = toml::from_str(&text).map_err(|e| SettingsError::Format(e.to_string()))?;
        settings.check()?;
        Ok(settings)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`SettingsError`] names the setting.
    pub fn check(&self) -> Result<(), SettingsError> {
        let field = |field, why: &str| Err(SettingsError::Field { field, why: why.into() });
        if self.version != 1 {
            return Err(SettingsError::OtherVersion(self.version));
        }
        if !self.listen.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
            return field("listen", "must be an address and a port, for instance 0.0.0.0:7443");
        }
        self.advertised_host()?;
        if self.gather_ms > 86_400_000 {
            return field("gather-ms", "must be at most a day, 86400000");
        }
        if !(1..=3650).contains(&self.certificate_days) {
            return field("certificate-days", "must lie in 1..=3650");
        }
        if !(64..=1_000_000).contains(&self.connections_max) {
            return field("connections-max", "must lie in 64..=1000000, below the limit of open files (`ulimit -n`)");
        }
        if self.names.len() > 64 || self.names.iter().any(|n| !is_host(n)) {
            return field("names", "must be at most 64 host names or IP addresses");
        }
        Ok(())
    }

    /// The host of [`Self::advertise`].
    ///
    /// # Errors
    /// [`SettingsError::Field`] when it is no `https://host:port`.
    pub fn advertised_host(&self) -> Result<String, SettingsError> {
        let refuse = || SettingsError::Field {
            field: "advertise",
            why: format!("`{}` must be https://host:port, as merchants reach it", self.advertise),
        };
        let uri: Uri = self.advertise.parse().map_err(|_| refuse())?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if uri.scheme_str() != Some("https") || uri.port_u16().is_none() || !bare || !is_host(&host) {
            return Err(refuse());
        }
        Ok(host)
    }

    /// How long a round waits for further merchants once enough are there.
    pub fn gather(&self) -> Duration {
        Duration::from_millis(self.gather_ms)
    }

    /// The file's content, with a comment for each setting.
    pub fn to_file(&self) -> String {
        let values = toml::to_string(self).expect("settings always serialise");
        let comment = |line: &str| match line.split(' ').next() {
            Some("listen") => "# Address and port to listen on; 0.0.0.0 for all interfaces.\n",
            Some("advertise") => "# How merchants reach the server; goes into invitations and its certificate.\n",
            Some("names") => "# More names for the certificate.\n",
            Some("gather-ms") => "# Milliseconds a round waits for further merchants once enough are there.\n",
            Some("expected-merchants") => {
                "# Merchants to wait for even before so many are enrolled; 0 waits for those enrolled.\n"
            }
            Some("certificate-days") => "# Days for which merchants' certificates are valid.\n",
            Some("connections-max") => {
                "# Connections held open altogether. Each merchant needs one: above 700 merchants raise it, and with it the\n# limit of open files (ulimit -n).\n"
            }
            _ => "",
        };
        values.lines().map(|line| format!("{}{line}\n", comment(line))).collect()
    }
}

/// A host name or IP address as certificates can carry it.
fn is_host(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
        || (!text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            version: 1,
            listen: "127.0.0.1:7443".into(),
            advertise: "https://127.0.0.1:7443".into(),
            names: vec!["forecast.example".into()],
            gather_ms: 10_000,
            expected_merchants: 0,
            certificate_days: 365,
            connections_max: connections_max(),
        }
    }

    #[test]
    fn a_file_of_before_holds_the_usual_number_of_connections_and_too_few_are_refused() {
        let file: String = settings()
            .to_file()
            .lines()
            .filter(|line| !line.contains("connections-max"))
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(toml::from_str::<Settings>(&file).unwrap().connections_max, 768);
        let few = Settings { connections_max: 63, ..settings() }.check().unwrap_err();
        assert!(few.to_string().contains("connections-max"), "{few}");
    }

    #[test]
    fn the_commented_file_reads_back() {
        let file = settings().to_file();
        assert!(file.contains("# Address and port"), "{file}");
        assert_eq!(toml::from_str::<Settings>(&file).unwrap(), settings());
    }

    #[test]
    fn the_advertised_host_is_taken_out_of_the_address() {
        for (advertise, host) in [
            ("https://127.0.0.1:7443", Some("127.0.0.1")),
            ("https://[::1]:7443", Some("::1")),
            ("https://federation.example:443/", Some("federation.example")),
            ("http://federation.example:443", None),
            ("https://federation.example", None),
            ("https://federation.example:443/path", None),
            ("federation.example:443", None),
        ] {
            let mut tried = settings();
            tried.advertise = advertise.into();
            assert_eq!(tried.advertised_host().ok().as_deref(), host, "{advertise}");
        }
    }

    #[test]
    fn another_layout_is_refused() {
        let mut tried = settings();
        tried.version = 2;
        assert!(matches!(tried.check(), Err(SettingsError::OtherVersion(2))));
    }
}
