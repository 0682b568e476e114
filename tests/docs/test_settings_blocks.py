"""Every block of settings in the pages passes ``--check-config`` once the files that it names exist."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from runtime.bundle.signature import write_key_pair
from runtime.core.errors import ConfigError
from runtime.geometry.calibration_file import save_geometry
from service.cli.check import check as check_service
from service.config.settings import Settings, read_settings
from service.kiosk.check import check as check_kiosk
from service.kiosk.config import KioskSettings, read_kiosk_settings
from tests.support.docs.blocks import BLOCKS, ids, mistakes
from tests.support.docs.pages import PAGES, ROOT, Block, prose_of
from tests.support.geometry.rigs import rig as rig_geometry
from tests.support.models.detectors import scrfd
from tests.support.service.certificates import Authority

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS = [
    block
    for block in BLOCKS
    if block.language == "toml"
    and block.runs
    and not all(mistakes(model, tomllib.loads(block.text)) for model in (Settings, KioskSettings))
]
SECRETS = {"mqtt.password": "secret of a broker", "webhook.secret": "0123456789abcdef01234567"}


class Staged:
    """A folder with the files named in the pages. Paths in the text of a block are redirected to it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.config, self.secrets = folder / "settings.toml", folder / "secrets"
        authority = Authority(folder)
        self.secrets.mkdir()
        for name, text in SECRETS.items():
            (self.secrets / name).write_text(text)
        etc = self.root / "etc" / "adsn"
        etc.mkdir(parents=True)
        for name in ("server", "kiosk"):
            certificate, key = authority.issue(name)
            shutil.copy(certificate, etc / f"{name}.pem")
            shutil.copy(key, etc / f"{name}.key")
        for name in ("ca.pem", "clients.pem", "redis-ca.pem"):
            shutil.copy(authority.certificate, etc / name)
        write_key_pair(etc / "device.pem")
        credentials = self.root / "run" / "credentials" / "adsn-kiosk.service"
        credentials.mkdir(parents=True)
        shutil.copy(etc / "device.pem", credentials / "device.pem")
        save_geometry(rig_geometry(), etc / "rig.json")
        for place in ("var/log/adsn-kiosk", "var/log/adsn-serve", "opt/models", "usr/local/bin"):
            (self.root / place).mkdir(parents=True)
        self.model = self.root / "opt" / "models" / "scrfd_500m_kps.onnx"
        self.model.write_bytes(scrfd())
        shutil.copy("/bin/true", self.root / "usr/local/bin/open-door")

    def write(self, text: str) -> Path:
        """Write a block as a settings file."""
        text = re.sub(r'"(/(?:etc|opt|run|usr|var)/)', rf'"{self.root}\1', text)
        digest = hashlib.sha256(self.model.read_bytes()).hexdigest()
        self.config.write_text(text.replace('sha256 = "…"', f'sha256 = "{digest}"'), encoding="utf-8")
        return self.config


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    return Staged(tmp_path)


def as_service(staged: Staged, text: str) -> None:
    check_service(read_settings(staged.write(text), secrets=staged.secrets, environ={}))


def as_kiosk(staged: Staged, text: str) -> None:
    for name in SECRETS:
        # A secret alone is an incomplete section, so keep it only for sections that are in the block.
        if f"[{name.partition('.')[0]}]" not in text:
            (staged.secrets / name).unlink(missing_ok=True)
    check_kiosk(read_kiosk_settings(staged.write(text), environ={"CREDENTIALS_DIRECTORY": str(staged.secrets)}))


CHECKS: Mapping[str, Callable[[Staged, str], None]] = {"adsn-serve": as_service, "adsn-kiosk": as_kiosk}


def test_the_blocks_are_found() -> None:
    assert {"docs/kiosk.md", "docs/rig.md", "docs/security.md", "docs/remote.md"} <= {b.page for b in SETTINGS}


@pytest.mark.parametrize("block", SETTINGS, ids=ids)
def test_a_block_of_settings_passes_its_program_s_check(block: Block, staged: Staged) -> None:
    refused = {}
    for program, check in CHECKS.items():
        try:
            check(staged, block.text)
        except ConfigError as error:
            refused[program] = error.message
    own = "adsn-kiosk" if block.page == "docs/kiosk.md" else None
    assert own not in refused, f"{block.where}: {refused}"
    assert len(refused) < len(CHECKS), f"{block.where}: {refused}"


def test_a_block_with_a_mistake_is_refused(staged: Staged) -> None:
    """Tests the check: files are opened, and misspelt keys are detected."""
    with pytest.raises(ConfigError, match=r"rig\.geometry"):
        as_kiosk(staged, '[rig]\nrgb = "synthetic:"\nir = "synthetic:"\ngeometry = "/etc/adsn/absent.json"\n')
    with pytest.raises(ConfigError, match="lin"):
        as_kiosk(staged, "[gpio]\nlin = 17\n")


NAMED = re.compile(
    r"`((?:adsn|benchmarks|calib|deploy|docs|export|models|requirements|runtime|service|synthetic|tests)"
    r"/[A-Za-z0-9_./-]+\.[a-z]+)`"
)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_files_of_the_repository_that_a_page_names_are_there(page: str) -> None:
    missing = [name for name in NAMED.findall(prose_of(page)) if not (ROOT / name).exists()]
    assert not missing, f"{page}: {missing}"
