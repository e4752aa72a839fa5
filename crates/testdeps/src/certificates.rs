//! Certificates for servers under test.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, DnType, Error, IsCa, Issuer, KeyPair};

/// Writes `ca.pem`, an authority of its own, and `cert.pem` and `key.pem`, which it signed for 127.0.0.1, good for a server and for a
/// client; `both.pem` has key and certificate, as Kafka wants them.
///
/// # Panics
/// The folder can't be written.
pub fn certificates(dir: &Path) {
    let [authority, cert, key] = make().expect("certificates can be made");
    let both = format!("{key}{cert}");
    for (name, text) in [
        ("ca.pem", authority),
        ("cert.pem", cert),
        ("key.pem", key),
        ("both.pem", both),
    ] {
        fs::write(dir.join(name), text).expect("the folder can be written");
    }
}

fn make() -> Result<[String; 3], Error> {
    let authority_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // One that had the name of its issuer would count as self-signed.
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    let authority = params.self_signed(&authority_key)?;
    let issuer = Issuer::from_params(&params, &authority_key);
    let key = KeyPair::generate()?;
    let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    Ok([authority.pem(), cert.pem(), key.serialize_pem()])
}
