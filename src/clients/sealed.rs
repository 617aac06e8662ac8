//! Before-images that hold secrets: encrypted beside the journal, which holds their digests only.
//!
//! A file of its own for each object and each state it was found in, written and synced before the object is changed: a
//! rollback restores the state the journal names as the one before, and no other.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Clients, Network};
use crate::engine::ports::Call;
use crate::estate::secrets;
use crate::outcome::{ActionError, FailureClass};

/// What a shorter password than this protects is not protected from a patient reader of the file.
const PASSWORD_LEAST: usize = 20;
const FORMAT: &str = "phoenix-dr/before-image";

/// What the estate's password opens.
pub(crate) struct Key(LessSafeKey);

/// An object in one of its states.
pub(crate) struct Object<'a> {
    /// As people are shown it
    pub title: &'a str,
    /// Its state as the journal has it, with digests in the place of secrets
    pub shown: &'a Value,
}

/// One file.
#[derive(Serialize, Deserialize)]
struct Sealed {
    format: String,
    version: u32,
    /// Object, as people are shown it
    of: String,
    nonce: String,
    data: String,
}

/// Returns the key of the estate; `None` where it names no password.
pub(crate) async fn key(clients: &Clients) -> Result<Option<Key>, ActionError> {
    let Some(named) = &clients.estate.before_images else { return Ok(None) };
    if matches!(clients.network, Network::Simulated(_)) {
        // A simulated secret is none: nobody's password is read for it.
        return derive("the password of a rehearsal").map(Some);
    }
    let place = secrets::place(&named.password_from);
    let refused = |why: String| {
        ActionError::unchanged(
            FailureClass::Invalid,
            format!("`before_images.password_from`: {why}"),
        )
    };
    let secret =
        secrets::read(&named.password_from).await.map_err(|error| refused(error.to_string()))?;
    clients.masks.hide(&secret);
    if secret.expose_secret().len() < PASSWORD_LEAST {
        return Err(refused(format!("{place} holds fewer than {PASSWORD_LEAST} characters"))
            .hint("make one: openssl rand -hex 32"));
    }
    derive(secret.expose_secret()).map(Some)
}

fn derive(password: &str) -> Result<Key, ActionError> {
    let key = Salt::new(HKDF_SHA256, FORMAT.as_bytes()).extract(password.as_bytes());
    let key = key.expand(&[b"aes-256-gcm"], &AES_256_GCM);
    key.map(|key| Key(LessSafeKey::new(UnboundKey::from(key)))).map_err(|_| broken("derive a key"))
}

/// Keeps what an object was before the first change of it; it is durable on return.
pub(crate) fn keep(
    clients: &Clients,
    key: &Key,
    call: &Call,
    object: &Object<'_>,
    before: &Value,
) -> Result<(), ActionError> {
    let path = place(clients, call, object)?;
    if path.exists() {
        return Ok(());
    }
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).map_err(|_| broken("draw a nonce"))?;
    let mut data = before.to_string().into_bytes();
    let bound = Aad::from(bound(call, object));
    key.0
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut data)
        .map_err(|_| broken("encrypt a before-image"))?;
    let sealed = Sealed {
        format: FORMAT.to_owned(),
        version: 1,
        of: object.title.to_owned(),
        nonce: hex(&nonce),
        data: hex(&data),
    };
    let text = serde_json::to_vec(&sealed).expect("texts are JSON");
    write(&path, &text).map_err(|error| {
        let message = format!("keep what {} was in {}: {error}", object.title, path.display());
        ActionError::unchanged(FailureClass::Internal, message)
    })
}

/// Returns what an object was before this run changed it.
pub(crate) fn read(
    clients: &Clients,
    key: &Key,
    call: &Call,
    object: &Object<'_>,
) -> Result<Value, ActionError> {
    let path = place(clients, call, object)?;
    let unread = |why: String| {
        let message = format!("what {} was, in {}: {why}", object.title, path.display());
        ActionError::unchanged(FailureClass::Invalid, message)
            .hint("restore it by hand from where it is made; then mark the step done")
    };
    let bytes = std::fs::read(&path).map_err(|error| unread(error.to_string()))?;
    let sealed: Sealed =
        serde_json::from_slice(&bytes).map_err(|error| unread(error.to_string()))?;
    let nonce =
        unhex(&sealed.nonce).and_then(|nonce| Nonce::try_assume_unique_for_key(&nonce).ok());
    let (Some(nonce), Some(mut data)) = (nonce, unhex(&sealed.data)) else {
        return Err(unread("it is damaged".to_owned()));
    };
    let bound = Aad::from(bound(call, object));
    let plain = key.0.open_in_place(nonce, bound, &mut data);
    let plain = plain.map_err(|_| unread("the estate's password does not open it".to_owned()))?;
    serde_json::from_slice(plain).map_err(|error| unread(error.to_string()))
}

/// Returns where it is kept, in the run's artifacts.
fn place(clients: &Clients, call: &Call, object: &Object<'_>) -> Result<PathBuf, ActionError> {
    let artifacts = clients.artifacts.as_ref().ok_or_else(|| broken("find the run's artifacts"))?;
    let name = &hex(&Sha256::digest(format!("{}\n{}", object.title, object.shown)))[..16];
    Ok(artifacts.join(format!("before-{}-{}-{name}.sealed", call.step, call.generation)))
}

/// What the file is bound to: nobody can put that of another object, or run, in its place.
fn bound(call: &Call, object: &Object<'_>) -> Vec<u8> {
    let Call { run, step, generation, .. } = call;
    format!("{run}\n{step}\n{generation}\n{}\n{}", object.title, object.shown).into_bytes()
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn broken(what: &str) -> ActionError {
    ActionError::unchanged(FailureClass::Internal, format!("cannot {what}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clients::aws::testing::{Reply, Script, call, estate, guarded};

    fn clients(folder: &Path) -> Clients {
        let script = Script::new(|_, _| Reply::Silence);
        guarded(estate(|_| {}), &script).with_artifacts(folder.to_owned())
    }

    /// Returns an object in a state with this digest.
    fn object<'a>(title: &'a str, shown: &'a Value) -> Object<'a> {
        Object { title, shown }
    }

    #[test]
    fn what_was_kept_is_read_back_for_the_state_it_was_kept_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let (clients, (call, _news)) = (clients(folder.path()), call("kubernetes.apply"));
        let key = derive("correct horse battery staple").expect("a key");
        let (first, rotated) = (json!("sha256:a"), json!("sha256:b"));
        let (first, rotated) = (object("v1 Secret a/b", &first), object("v1 Secret a/b", &rotated));
        let before = json!({ "data": { "password": "aHVudGVyMg==" } });
        keep(&clients, &key, &call, &first, &before).expect("kept");
        // Somebody else changed it before it was tried again.
        let since = json!({ "data": { "password": "cm90YXRlZA==" } });
        keep(&clients, &key, &call, &rotated, &since).expect("kept");
        assert_eq!(read(&clients, &key, &call, &first).expect("read"), before);
        assert_eq!(read(&clients, &key, &call, &rotated).expect("read"), since);
        let files: Vec<_> = std::fs::read_dir(folder.path()).expect("it").flatten().collect();
        assert_eq!(files.len(), 2, "{files:?}");
        for file in files {
            let text = std::fs::read_to_string(file.path()).expect("text");
            assert!(!text.contains("aHVudGVyMg") && !text.contains(&hex(b"aHVudGVyMg")), "{text}");
        }
    }

    #[test]
    fn nothing_else_opens_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (clients, (call, _news)) = (clients(folder.path()), call("kubernetes.apply"));
        let key = derive("correct horse battery staple").expect("a key");
        let shown = json!("sha256:a");
        let one = object("v1 Secret a/b", &shown);
        keep(&clients, &key, &call, &one, &json!({})).expect("kept");
        let other = derive("another password altogether").expect("a key");
        let error = read(&clients, &other, &call, &one).expect_err("another password");
        assert!(error.message.contains("does not open it") && error.hint.is_some(), "{error}");
        // Another object's file in its place.
        let two = object("v1 Secret a/c", &shown);
        let from = place(&clients, &call, &one).expect("a place");
        std::fs::copy(from, place(&clients, &call, &two).expect("a place")).expect("copied");
        assert!(read(&clients, &key, &call, &two).is_err());
        assert!(read(&clients, &key, &call, &object("v1 Secret a/d", &shown)).is_err(), "none");
    }

    #[test]
    fn hex_is_read_back() {
        assert_eq!(unhex(&hex(&[0, 1, 254, 255])), Some(vec![0, 1, 254, 255]));
        assert_eq!((unhex("0"), unhex("0g")), (None, None));
    }
}
