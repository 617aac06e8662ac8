//! Whom a connection trusts: TLS against the certificates of the estate.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::estate::types::Connection;
use crate::outcome::{ActionError, FailureClass};

/// Returns the TLS settings: chain and host are verified against the estate's certificates.
pub(super) fn trust(connection: &Connection) -> Result<rustls::ClientConfig, ActionError> {
    let invalid = |message: String| {
        ActionError::unchanged(FailureClass::Invalid, message).hint(
            "download the region's RDS certificate bundle and name it in `database.connection.root_cert`",
        )
    };
    let path = connection
        .root_cert
        .as_deref()
        .ok_or_else(|| invalid("`tls: require` needs `root_cert`".to_owned()))?;
    let bad = |error: &dyn std::fmt::Display| invalid(format!("certificates in {path}: {error}"));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
        let certificate = certificate.map_err(|error| bad(&error))?;
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    if roots.is_empty() {
        return Err(invalid(format!("{path} holds no certificate")));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
