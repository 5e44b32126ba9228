//! The environment of the function binaries for the local store, in two files: `env` in dotenv
//! format, and `sam-local.json` for `sam local --env-vars`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use countersign_issuer::config::{Config, EnvelopeConfig};
use countersign_issuer::random::Random;
use serde_json::json;

use super::DevError;
use super::demo::AUDIENCE;

const FILE: &str = "env";
const SAM_FILE: &str = "sam-local.json";
const LOCAL_KEY: &str = "COUNTERSIGN_LOCAL_KEY";
const STORE: &str = "AWS_ENDPOINT_URL_DYNAMODB";

/// The variables, as names and values.
pub(super) struct Environment(BTreeMap<String, String>);

/// The files, with their paths.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) environment: PathBuf,
    pub(super) sam_local: PathBuf,
}

impl Environment {
    /// The variables that tie the issuer at `issuer` to the store at `dynamodb`. The local key comes
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
        let period = rotate_every.map_or_else(String::new, |period| period.as_secs().to_string());
        // An empty variable counts as unset. With it, neither the process's environment nor a shell
        // that sources the file can supply another value.
        let unset = String::new;
        let variables = [
            ("COUNTERSIGN_ISSUER", issuer.to_owned()),
            ("COUNTERSIGN_AUDIENCE", AUDIENCE.to_owned()),
            (LOCAL_KEY, local_key),
            ("COUNTERSIGN_KMS_KEY_ID", unset()),
            ("COUNTERSIGN_DEV_ROTATION_PERIOD", period),
            (STORE, dynamodb.to_owned()),
            ("AWS_ENDPOINT_URL_KMS", unset()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            ("AWS_SESSION_TOKEN", unset()),
            ("AWS_CA_BUNDLE", unset()),
        ];
        Ok(Self(variables.map(|(name, value)| (name.to_owned(), value)).into()))
    }

    /// Reads the configuration as the functions do. Each variable that they ask for and that is not
    /// set above comes from `inherited`, and becomes one of these, so that functions over the same
    /// store behave in the same way.
    pub(super) fn read_config(
        &mut self,
        inherited: impl Fn(&str) -> Option<String>,
    ) -> Result<(Config, EnvelopeConfig), DevError> {
        let read = RefCell::new(BTreeMap::new());
        let config = Config::with_envelope_from_lookup(|name| {
            if let Some(value) = self.0.get(name) {
                return Some(value.clone());
            }
            let value = inherited(name).unwrap_or_default();
            read.borrow_mut().insert(name.to_owned(), value.clone());
            Some(value)
        })?;
        self.0.append(&mut read.into_inner());
        Ok(config)
    }

    /// Writes the files, which only their owner may read.
    pub(super) fn write(mut self, folder: &Path) -> Result<Files, DevError> {
        let files = Files { environment: folder.join(FILE), sam_local: folder.join(SAM_FILE) };
        let mut text =
            String::from("# Written by `countersign dev` for the function binaries. Dummy credentials.\n");
        text.extend(self.0.iter().flat_map(|(name, value)| [name, "=", value, "\n"]));
        write_private(&files.environment, &text)?;
        if let Some(store) = self.0.get_mut(STORE) {
            // In SAM's containers, 127.0.0.1 is the container.
            *store = store.replace("127.0.0.1", "host.docker.internal");
        }
        write_private(&files.sam_local, &format!("{:#}\n", json!({ "Parameters": self.0 })))?;
        Ok(files)
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), DevError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            // `mode` is for a new file only.
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())
        })
        .map_err(|error| DevError::DataFolder { path: path.to_owned(), error: error.to_string() })
}

fn existing_local_key(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(FILE)).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(LOCAL_KEY)?.strip_prefix('='));
    value.map(str::to_owned)
}
