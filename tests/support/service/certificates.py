"""Create certificates for tests: a CA, and certificates for 127.0.0.1 signed by it."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID


class Authority:
    """CA that writes certificates to ``folder``. ``certificate``: certificate of the CA."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        built = _builder(subject, subject, self.key.public_key()).add_extension(x509.BasicConstraints(True, 0), True)
        signed = built.add_extension(_usage(signs=True), True).sign(self.key, hashes.SHA256())
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def intermediate(self, name: str) -> Authority:
        """Return an intermediate CA signed by this CA."""
        below = Authority(self._folder, name)
        built = _builder(_name(name), _name(self._name), below.key.public_key())
        built = built.add_extension(x509.BasicConstraints(True, 0), True).add_extension(_usage(signs=True), True)
        signed = built.sign(self.key, hashes.SHA256())
        below.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return below

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the paths of a certificate for 127.0.0.1 and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = _builder(_name(name), _name(self._name), key.public_key())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        built = built.add_extension(names, False).add_extension(_usage(signs=False), True)
        built = built.add_extension(x509.BasicConstraints(False, None), True)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        signed = built.add_extension(issuer, False).sign(self.key, hashes.SHA256())
        certificate, private = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private


def in_der(path: Path) -> Path:
    """Return a DER copy of a PEM certificate or key."""
    data, copy = path.read_bytes(), path.with_name(f"{path.stem}.{path.suffix[1:]}.der")
    if b"PRIVATE KEY" in data:
        key = serialization.load_pem_private_key(data, None)
        copy.write_bytes(
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    else:
        copy.write_bytes(x509.load_pem_x509_certificate(data).public_bytes(serialization.Encoding.DER))
    return copy


def in_pkcs12(certificate: Path, key: Path) -> Path:
    """Return a PKCS #12 file with both, as exported by Windows, without a passphrase."""
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    copy = certificate.with_suffix(".p12")
    copy.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"server",
            private,
            x509.load_pem_x509_certificate(certificate.read_bytes()),
            None,
            serialization.NoEncryption(),
        )
    )
    return copy


def encrypted(key: Path, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> Path:
    """Return a copy of a key that is encrypted with a passphrase."""
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    copy = key.with_name(f"{key.stem}.encrypted.key")
    copy.write_bytes(
        private.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"pass phrase"))
    )
    return copy


def rsa_key(path: Path) -> Path:
    """Return an RSA private key in PEM."""
    private = rsa.generate_private_key(65537, 2048)
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    built = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    built = built.serial_number(x509.random_serial_number())
    built = built.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return built.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
