//! The file: how to listen, and to whom to pass requests on.

use humantime::parse_duration;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{error::Error, fs, net::SocketAddr, path::Path, time::Duration};
use tower_failover::Config;

/// Both tables of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default)]
    pub gateway: Settings,
    pub failover: Config,
}

/// The table `[gateway]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub listen: SocketAddr,
    pub operator_listen: Option<SocketAddr>,
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub idle_gap: Duration,
    pub max_body: usize,
    #[serde(deserialize_with = "duration")]
    pub upload_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub write_timeout: Duration,
    pub max_headers: usize,
    #[serde(deserialize_with = "head")]
    pub max_head: usize,
    pub max_connections: usize,
    #[serde(deserialize_with = "duration")]
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            operator_listen: None,
            connect_timeout: Duration::from_secs(3),
            idle_gap: Duration::from_secs(60),
            max_body: 32 << 20,
            upload_timeout: Duration::from_secs(60),
            header_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(60),
            max_headers: 100,
            max_head: 64 << 10,
            max_connections: 512,
            shutdown_timeout: Duration::from_secs(120),
        }
    }
}

impl File {
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        // Not the whole error, which quotes the line: somebody may have put a credential there.
        let file: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            format!("{}, line {line}: {}", path.display(), error.message())
        })?;
        match file.failover.providers.iter().find(|provider| provider.base_url.is_none()) {
            Some(provider) => Err(format!("{}: provider `{}` has no base_url", path.display(), provider.name).into()),
            None => Ok(file),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let duration = parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)?;
    if duration.is_zero() { Err(D::Error::custom("must be longer than zero")) } else { Ok(duration) }
}

/// hyper does not take less.
fn head<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let bytes = usize::deserialize(deserializer)?;
    if bytes < 8192 { Err(D::Error::custom("must be at least 8192")) } else { Ok(bytes) }
}
