"""Fixtures: a service with a key for each role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from service.auth.keys import CALLER_ROLES, new_key, toml_of
from service.config.settings import Settings
from service.config.trust import AuthSettings
from tests.support.service.keyed import SINGLE, Keyed
from tests.support.service.running_service import running


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    file = tmp_path_factory.mktemp("auth") / "keys.toml"
    made = {role: new_key([role], role) for role in CALLER_ROLES}
    file.write_text("\n".join(toml_of(entry) for _, entry in made.values()))
    file.chmod(0o600)
    auth = AuthSettings(keys=file, failures=1000)
    with running(Settings(auth=auth, api_key=SecretStr(SINGLE))) as service:
        yield Keyed(service, {role: key for role, (key, _) in made.items()}, file)
