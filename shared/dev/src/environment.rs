//! The `env` file: the environment of the function binaries for the local store, in dotenv format.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_issuer::config::DEFAULT_TABLE_PREFIX;
use countersign_issuer::random::Random;

use super::DevError;
use super::demo::AUDIENCE;

const FILE: &str = "env";
const LOCAL_KEY: &str = "COUNTERSIGN_LOCAL_KEY";

/// The variables of the file, as names and values.
pub(super) struct Environment(Vec<(&'static str, String)>);

impl Environment {
    /// The variables for the issuer at `issuer` over the store at `dynamodb`. The local key comes
    /// from the file that is in `folder` already, because stored signing keys are encrypted under
    /// it; without such a file it is a new one.
    pub(super) fn new(
        issuer: &str,
        dynamodb: &str,
        rotate_every: Option<Duration>,
        folder: &Path,
        random: &Random,
    ) -> Result<Self, DevError> {
        let local_key = match existing_local_key(folder) {
            Some(key) => key,
            None => BASE64URL.encode(random.bytes::<32>().map_err(DevError::setup)?),
        };
        let mut variables = vec![
            ("COUNTERSIGN_ISSUER", issuer.to_owned()),
            ("COUNTERSIGN_AUDIENCE", AUDIENCE.to_owned()),
            ("COUNTERSIGN_TABLE_PREFIX", DEFAULT_TABLE_PREFIX.to_owned()),
            (LOCAL_KEY, local_key),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ];
        // Empty where it is not set, so that a shell that sources the file drops an earlier value.
        let period = rotate_every.map_or_else(String::new, |period| period.as_secs().to_string());
        variables.push(("COUNTERSIGN_DEV_ROTATION_PERIOD", period));
        Ok(Self(variables))
    }

    /// Returns a variable's value.
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    /// Writes the file, which only its owner may read, and returns its path.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf, DevError> {
        let path = folder.join(FILE);
        let mut text =
            String::from("# Written by `countersign dev` for the function binaries. Dummy credentials.\n");
        text.extend(self.0.iter().flat_map(|(name, value)| [name, "=", value, "\n"]));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| DevError::DataFolder { path: path.clone(), error: error.to_string() })?;
        Ok(path)
    }
}

fn existing_local_key(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(FILE)).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(LOCAL_KEY)?.strip_prefix('='));
    value.map(str::to_owned)
}
