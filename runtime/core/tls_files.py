"""TLS contexts from the operator's files. Each file is checked first, so that the error message is clear.

OpenSSL itself reports only ``PEM lib`` for a file in a different format, and asks for a pass phrase on a terminal that
nobody watches.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from runtime.core.errors import ConfigError

MAX_BYTES = 4 << 20
LABEL = re.compile(rb"(?m)^-----BEGIN ([A-Z0-9 ]+)-----")
CERTIFICATE = re.compile(
    rb"(?ms)^-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----.*?^-----END (?:X509 |TRUSTED )?CERTIFICATE-----"
)
MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's error reasons if the key does not belong to the certificate. The last one is for a key of a different
algorithm."""
SEQUENCE = 0x30
VERSION = 0xA0
What = Literal["certificate", "private key"]
CONVERT: dict[tuple[What, str], str] = {
    ("certificate", "DER"): "openssl x509 -inform DER -in {path} -out {stem}.pem",
    ("private key", "DER"): "openssl pkey -inform DER -in {path} -out {stem}.pem",
    ("certificate", "PKCS#12"): "openssl pkcs12 -in {path} -nokeys -out {stem}.pem",
    ("private key", "PKCS#12"): "openssl pkcs12 -in {path} -nocerts -nodes -out {stem}.key.pem",
}

NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"})
"""Error reasons of the various OpenSSL versions for a response that is not TLS."""


def speaks_no_tls(error: BaseException | None) -> bool:
    """Return whether a connection failed because the other side answered without TLS.

    A port for plain connections does that. The causes of ``error`` are examined too.
    """
    while error is not None:
        if isinstance(error, ssl.SSLError) and getattr(error, "reason", None) in NO_TLS:
            return True
        error = error.__cause__ or error.__context__
    return False


@dataclass(frozen=True, slots=True)
class TlsFile:
    """A file, and the name of the setting that contains its path."""

    setting: str
    path: Path

    def error(self, what: str) -> ConfigError:
        """Return a `ConfigError` about this file. ``what``: what is wrong with it."""
        return ConfigError(f"{self.setting}: {self.path} {what}")


def server_context(certificate: TlsFile, key: TlsFile, client_authorities: TlsFile | None = None) -> ssl.SSLContext:
    """Return a TLS context for a server.

    With ``client_authorities``, clients must present a certificate issued by one of these authorities.

    Raises:
        ConfigError: a file cannot be used; the message says which, why and what to do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _load_identity(context, certificate, key)
    if client_authorities is not None:
        data = _load_authorities(context, client_authorities)
        if not any(_is_own_issuer(found) for found in _certificates(data)):
            raise client_authorities.error(
                "contains no self-signed root certificate, so no client certificate could be verified and every "
                "client would be refused. Add the root CA's certificate to the file."
            )
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    authorities: TlsFile | None = None, certificate: TlsFile | None = None, key: TlsFile | None = None
) -> ssl.SSLContext:
    """Return a TLS context for a client. It trusts ``authorities``, by default the system's CAs, and presents
    ``certificate`` to servers that ask for one.

    Raises:
        ConfigError: a file cannot be used; the message says which, why and what to do.
    """
    if authorities is not None:
        # Load the file by itself first, because errors from the default context do not name it.
        _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), authorities)
    context = ssl.create_default_context(cafile=authorities.path if authorities is not None else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        _load_identity(context, certificate, key or certificate)
    return context


def _load_identity(context: ssl.SSLContext, certificate: TlsFile, key: TlsFile) -> None:
    _read_pem(certificate, "certificate")
    if _is_encrypted(_read_pem(key, "private key")):
        raise _encrypted(key)

    def refuse_pass_phrase() -> NoReturn:
        raise _encrypted(key)

    try:
        context.load_cert_chain(certificate.path, key.path, refuse_pass_phrase)
    except ssl.SSLError as error:
        if error.reason in MISMATCHES:
            raise key.error(
                f"is not the private key for {certificate.path} ({certificate.setting}). Name the key that this "
                "certificate was issued for; in a chain, the server's own certificate must come first."
            ) from error
        raise _unusable(certificate if _is_damaged(certificate) else key, error) from error
    except OSError as error:
        raise certificate.error(f"cannot be read: {error.strerror or error}.") from error


def _load_authorities(context: ssl.SSLContext, file: TlsFile) -> bytes:
    data = _read_pem(file, "certificate")
    try:
        context.load_verify_locations(file.path)
    except ssl.SSLError as error:
        raise _unusable(file, error) from error
    except OSError as error:
        raise file.error(f"cannot be read: {error.strerror or error}.") from error
    return data


def _read_pem(file: TlsFile, what: What) -> bytes:
    """Return the bytes of a file after checking that it contains PEM data of the kind ``what``."""
    try:
        with file.path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise file.error(f"cannot be read: {error.strerror}. Name a {what} in PEM that this user may read.") from error
    if len(data) > MAX_BYTES:
        raise file.error(f"is larger than {MAX_BYTES >> 20} MiB. Name a {what} in PEM.")
    labels = [label.decode("ascii") for label in LABEL.findall(data)]
    ending = "CERTIFICATE" if what == "certificate" else "PRIVATE KEY"
    if any(label.endswith(ending) for label in labels):
        return data
    if labels:
        held = " and ".join(sorted({label.lower() for label in labels}))
        raise file.error(f"contains {held} but no {what}. Name the file with the {what}.")
    form = _form(data)
    command = CONVERT.get((what, form))
    advice = (
        f"Convert it: {command.format(path=file.path, stem=file.path.stem)}" if command else f"Name a {what} in PEM."
    )
    raise file.error(f"is {form}, not PEM. {advice}")


def _form(data: bytes) -> str:
    if not data.strip():
        return "empty"
    if data.startswith(b"\xef\xbb\xbf"):
        return "text with a byte-order mark, which OpenSSL does not read"
    inner = _element(data, 0)
    if data[0] != SEQUENCE or inner is None:
        return "in an unknown format"
    # A PKCS#12 file starts with version 3, a private key with version 0 or 1, and a certificate with another sequence.
    return "PKCS#12" if data[inner[0] : inner[0] + 3] == b"\x02\x01\x03" else "DER"


def _is_encrypted(data: bytes) -> bool:
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data or b"Proc-Type: 4,ENCRYPTED" in data


def _encrypted(key: TlsFile) -> ConfigError:
    return key.error(
        "is encrypted, and a service cannot type a pass phrase. Decrypt it, and make it readable only by this "
        f"program's user: openssl pkey -in {key.path} -out {key.path.stem}.plain.pem"
    )


def _is_damaged(certificate: TlsFile) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate.path)
    except (ssl.SSLError, OSError):
        return True
    return False


def _unusable(file: TlsFile, error: ssl.SSLError) -> ConfigError:
    said = (error.reason or "it gives no reason").replace("_", " ").lower()
    return file.error(f"is damaged or not supported by OpenSSL ({said}). Create it or copy it again.")


def _certificates(data: bytes) -> list[bytes]:
    """Return the certificates, as DER, in a PEM file that OpenSSL has accepted."""
    texts = [re.sub(r"(X509|TRUSTED) ", "", found.decode("ascii", "replace")) for found in CERTIFICATE.findall(data)]
    return [ssl.PEM_cert_to_DER_cert(text) for text in texts]


def _is_own_issuer(certificate: bytes) -> bool:
    """Return whether the issuer of a certificate is also its subject.

    The order of fields in RFC 5280 section 4.1 is version, serial number, algorithm, issuer, validity, subject.
    """
    outer = _element(certificate, 0)
    inner = _element(certificate, outer[0]) if outer is not None else None
    if inner is None:
        return False
    at = inner[0]
    fields: list[bytes] = []
    while at < inner[1] and len(fields) < 6:
        found = _element(certificate, at)
        if found is None:
            return False
        # Certificates of version 1 have no version field.
        if fields or certificate[at] != VERSION:
            fields.append(certificate[found[0] : found[1]])
        at = found[1]
    return len(fields) > 4 and fields[2] == fields[4]


def _element(data: bytes, at: int) -> tuple[int, int] | None:
    """Return the start and end of the content of the DER element at ``at``, or None if there is no valid one."""
    if at + 2 > len(data):
        return None
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        begin += count
        length = int.from_bytes(data[at + 2 : begin], "big")
    return (begin, begin + length) if begin + length <= len(data) else None
