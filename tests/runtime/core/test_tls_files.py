"""Mistakes of operators with TLS files: one line gives the setting, the file and the remedy."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from runtime.core.errors import ConfigError
from runtime.core.tls_files import TlsFile, client_context, server_context
from tests.support.service.certificates import Authority, encrypted, in_der, in_pkcs12, rsa_key

Files = dict[str, Path]
"""``certificate``, ``key`` and ``client_ca``: valid files, before a test changes them."""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    return {"certificate": certificate, "key": key, "client_ca": authority.certificate}


def serve(files: Files) -> ssl.SSLContext:
    certificate, key, authorities = (TlsFile(f"tls.{name}", path) for name, path in files.items())
    return server_context(certificate, key, authorities)


def another_key(files: Files) -> Files:
    return {"key": Authority(files["key"].parent, "another").issue("other")[1]}


def key_of_another_kind(files: Files) -> Files:
    return {"key": rsa_key(files["key"].with_name("rsa.key"))}


def swapped(files: Files) -> Files:
    return {"certificate": files["key"], "key": files["certificate"]}


def damaged(files: Files) -> Files:
    path = files["certificate"].with_name("damaged.pem")
    lines = files["certificate"].read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[3:]]) + "\n")
    return {"certificate": path}


def damaged_key(files: Files) -> Files:
    path = files["key"].with_name("damaged.key")
    lines = files["key"].read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    return {"key": path}


def text(content: bytes, name: str) -> Callable[[Files], Files]:
    def write(files: Files) -> Files:
        path = files["key"].with_name("text.pem")
        path.write_bytes(content)
        return {name: path}

    return write


def marked(files: Files) -> Files:
    path = files["certificate"].with_name("marked.pem")
    path.write_bytes(b"\xef\xbb\xbf" + files["certificate"].read_bytes())
    return {"certificate": path}


def below_the_root(files: Files) -> Files:
    root = Authority(files["key"].parent, "root")
    return {"client_ca": root.intermediate("intermediate").certificate}


WRONG: list[tuple[Callable[[Files], Files], str]] = [
    (another_key, r"tls\.key: \S+other\.key is not the private key for \S+server\.pem \(tls\.certificate\)"),
    (key_of_another_kind, r"tls\.key: \S+rsa\.key is not the private key for"),
    (swapped, r"tls\.certificate: \S+server\.key contains private key but no certificate\. Name the file"),
    (damaged, r"tls\.certificate: \S+damaged\.pem is damaged or not supported by OpenSSL"),
    (damaged_key, r"tls\.key: \S+damaged\.key is damaged or not supported by OpenSSL"),
    (
        lambda f: {"certificate": in_der(f["certificate"])},
        r"tls\.certificate: \S+ is DER, not PEM.*x509 -inform",
    ),
    (lambda f: {"key": in_der(f["key"])}, r"tls\.key: \S+ is DER, not PEM.*openssl pkey -inform DER"),
    (lambda f: {"client_ca": in_der(f["client_ca"])}, r"tls\.client_ca: \S+ is DER, not PEM"),
    (lambda f: {"certificate": in_pkcs12(f["certificate"], f["key"])}, r"is PKCS#12, not PEM.*openssl pkcs12.*-nokeys"),
    (lambda f: {"key": in_pkcs12(f["certificate"], f["key"])}, r"tls\.key: \S+ is PKCS#12, not PEM.*-nocerts -nodes"),
    (lambda f: {"certificate": Path("/absent.pem")}, r"tls\.certificate: /absent\.pem cannot be read: No such file"),
    (lambda f: {"key": Path("/absent.key")}, r"tls\.key: /absent\.key cannot be read: No such file"),
    (lambda f: {"client_ca": Path("/absent.pem")}, r"tls\.client_ca: /absent\.pem cannot be read: No such file"),
    (lambda f: {"key": f["key"].parent}, r"tls\.key: \S+ cannot be read: Is a directory"),
    (lambda f: {"key": encrypted(f["key"])}, r"tls\.key: \S+ is encrypted, and a service cannot .*openssl pkey -in"),
    (
        lambda f: {"key": encrypted(f["key"], PrivateFormat.TraditionalOpenSSL)},
        r"tls\.key: \S+ is encrypted, and a service cannot .*openssl pkey -in",
    ),
    (text(b" \n", "certificate"), r"tls\.certificate: \S+ is empty, not PEM\. Name a certificate in PEM\."),
    (text(b"ssh-ed25519 AAAA\n", "key"), r"tls\.key: \S+ is in an unknown format, not PEM\. Name a private key in PEM"),
    (marked, r"tls\.certificate: \S+ is text with a byte-order mark"),
    (lambda f: {"client_ca": f["key"]}, r"tls\.client_ca: \S+server\.key contains private key but no certificate"),
    (lambda f: {"client_ca": f["certificate"]}, r"tls\.client_ca: \S+server\.pem contains no self-signed root"),
    (below_the_root, r"tls\.client_ca: \S+intermediate\.pem contains no self-signed root.*Add the root CA's"),
]


@pytest.mark.parametrize(("change", "says"), WRONG)
def test_a_wrong_file_is_one_line(files: Files, change: Callable[[Files], Files], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        serve({**files, **change(files)})
    assert re.search(says, caught.value.message), caught.value.message
    assert "\n" not in caught.value.message


def test_good_files_serve_and_clients_need_a_certificate(files: Files) -> None:
    context = serve(files)
    assert context.verify_mode == ssl.CERT_REQUIRED
    ours, theirs = socket.socketpair()
    told: list[bytes] = []

    def answer() -> None:
        with context.wrap_socket(ours, server_side=True) as server:
            told.append(server.recv(5))

    answering = threading.Thread(target=answer)
    answering.start()
    certificate, key = (TlsFile(f"mqtt.{name}", files[name]) for name in ("certificate", "key"))
    client = client_context(TlsFile("mqtt.authorities", files["client_ca"]), certificate, key)
    with client.wrap_socket(theirs, server_hostname="127.0.0.1") as wrapped:
        wrapped.sendall(b"hello")
        answering.join(10)
    assert told == [b"hello"]


# A client may trust a single server certificate that is not a root.
@pytest.mark.parametrize(("change", "says"), [entry for entry in WRONG if "no self-signed root" not in entry[1]])
def test_a_client_says_the_same(files: Files, change: Callable[[Files], Files], says: str) -> None:
    changed = {**files, **change(files)}
    certificate, key, authorities = (TlsFile(f"tls.{name}", path) for name, path in changed.items())
    with pytest.raises(ConfigError) as caught:
        client_context(authorities, certificate, key)
    assert re.search(says, caught.value.message), caught.value.message


def test_both_in_one_file_are_taken(files: Files, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(files["key"].read_bytes() + files["certificate"].read_bytes())
    assert server_context(TlsFile("tls.certificate", both), TlsFile("tls.key", both)).verify_mode == ssl.CERT_NONE
