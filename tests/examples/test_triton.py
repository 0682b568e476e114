"""examples/triton: the settings of its gateway, with another service instead of Triton, because both speak the same
protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from adsn.client import Client, RequestRefused
from runtime.capture.simulated.rig import SyntheticRig
from tests.support.docs.pages import ROOT
from tests.support.images import encode
from tests.support.service import serving_process
from tests.support.service.serving_process import serving


def test_the_gateway_decides_and_the_other_side_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = SyntheticRig(seed=107, subject=9000).next().pair
    rgb, ir = encode(pair.image("rgb")[:, :, ::-1], ".png"), encode(pair.image("ir"), ".png")
    with serving(tmp_path / "scores.log") as (other, scores):
        elsewhere = {"ADSN_REMOTE__URL": scores, "ADSN_REMOTE__MODEL": "adsn-rgb-ir", "ADSN_REMOTE__TIMEOUT_MS": "5000"}
        monkeypatch.setattr(serving_process, "ENVIRONMENT", {**serving_process.ENVIRONMENT, **elsewhere})
        config = ROOT / "examples/triton/serve.toml"
        with serving(tmp_path / "log", "--config", str(config)) as (_, address), Client(address) as client:
            answer = client.assess(rgb, ir)
            assert answer.is_live
            assert answer.model.backend.startswith("remote")
            other.kill()
            other.wait()
            with pytest.raises(RequestRefused) as refused:
                client.assess(rgb, ir)
            assert refused.value.status == 503
