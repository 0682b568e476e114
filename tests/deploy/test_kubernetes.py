"""The Kubernetes manifests against the API's schemas, and against the service that they run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.config.store import PORT
from runtime.core.errors import ConfigError
from service.auth.middleware import OPEN_PATHS
from service.config.settings import LimitSettings, Settings, read_settings
from tests.support.machines.dockerfile import read_stages
from tests.support.machines.manifests import FOLDER, documents, one, resources
from tests.support.service.running_service import running

ROOT = Path(__file__).resolve().parents[2]
CUSTOM = {"ServiceMonitor"}
"""Kinds defined by an operator, which are not in the schemas of the API."""


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = one("Deployment")["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    return dict(found)


def environment(store: Path | None = None) -> dict[str, str]:
    """Return the environment variables of the container. ``store``: mount point of the secret for the store; None
    leaves out its variable."""
    given = {entry["name"]: entry["value"] for entry in container()["env"]}
    mounted = given.pop("CREDENTIALS_DIRECTORY")
    assert mounted == "/etc/adsn/store"
    return given if store is None else {**given, "CREDENTIALS_DIRECTORY": str(store)}


def test_every_file_is_applied_by_one_of_the_kustomizations() -> None:
    applied = {(r["kind"], r["metadata"]["name"]) for o in ("monitoring", "store") for r in resources(o)}
    on_disk = {
        (document["kind"], document["metadata"]["name"])
        for path in FOLDER.rglob("*.yaml")
        for document in documents(path)
        if document["kind"] != "Kustomization"
    }
    assert applied == on_disk


def test_the_schemas_of_the_api_accept_them() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for resource in [*resources("monitoring"), *resources("store")]:
        if resource["kind"] not in CUSTOM:
            # Strict: a key that the API would silently drop is a mistake.
            validate.validate(resource, validate.latest_version(), strict=True)


def test_a_wrong_key_would_not_pass_the_schemas() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    wrong = one("Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFilesystem"] = True
    with pytest.raises(validate.ValidationError, match="readOnlyRootFilesystem"):
        validate.validate(wrong, validate.latest_version(), strict=True)


def test_it_is_confined() -> None:
    around, inside = pod()["securityContext"], container()["securityContext"]
    assert around["runAsNonRoot"] is True
    assert around["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["capabilities"] == {"drop": ["ALL"]}
    assert pod()["automountServiceAccountToken"] is False
    labels = one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_what_is_written_to_can_be_written_to() -> None:
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    writable = {m["mountPath"] for m in container()["volumeMounts"] if "emptyDir" in volumes[m["name"]]}
    assert writable == {"/tmp", "/var/cache/adsn"}
    assert all("sizeLimit" in volume["emptyDir"] for volume in volumes.values() if "emptyDir" in volume)


def test_secrets_are_referred_to_and_never_written_down() -> None:
    assert not any(resource["kind"] == "Secret" for resource in resources("monitoring"))
    for path in FOLDER.rglob("*.yaml"):
        assert not re.search(r"adsn_[0-9a-f]+_|ADSN_API_KEY|BEGIN [A-Z ]*KEY", path.read_text()), path
    keys = next(volume for volume in pod()["volumes"] if volume["name"] == "keys")
    # With wider permissions other users could add keys, so `read_keys` would refuse the file.
    assert keys["secret"]["defaultMode"] & 0o027 == 0
    (mount,) = [m for m in container()["volumeMounts"] if m["name"] == "keys"]
    assert environment()["ADSN_AUTH__KEYS"].startswith(mount["mountPath"] + "/")


def test_the_service_reads_the_variables(tmp_path: Path) -> None:
    settings = read_settings(environ=environment())
    assert settings.host == "0.0.0.0"
    assert settings.port == container()["ports"][0]["containerPort"] == Settings.model_fields["port"].default
    assert settings.limits == LimitSettings()


def test_the_store_is_optional_and_its_secret_is_read(tmp_path: Path) -> None:
    (volume,) = [volume for volume in pod()["volumes"] if volume["name"] == "store"]
    (mount,) = [m for m in container()["volumeMounts"] if m["name"] == "store"]
    assert volume["secret"]["optional"] is True
    assert {"name": "CREDENTIALS_DIRECTORY", "value": mount["mountPath"]} in container()["env"]
    # A missing optional secret is an empty folder; an existing one has a link for each key.
    assert read_settings(environ=environment(tmp_path)).store.url is None
    (tmp_path / "..2026").mkdir()
    for name, text in (("store.url", "rediss://redis.db.svc:6379/0"), ("store.password", "a-long-password")):
        (tmp_path / "..2026" / name).write_text(text)
        (tmp_path / name).symlink_to(Path("..2026") / name)
    store = read_settings(environ=environment(tmp_path)).store
    assert str(store.address) == "redis.db.svc:6379"
    assert store.password is not None
    assert store.password.get_secret_value() == "a-long-password"


def test_the_store_may_be_reached_and_nothing_else_more() -> None:
    (policy,) = [r for r in resources("store") if r["metadata"]["name"] == "adsn-store"]
    assert policy["spec"]["policyTypes"] == ["Egress"]
    assert policy["spec"]["podSelector"] == one("NetworkPolicy")["spec"]["podSelector"]
    assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {53, PORT}


def test_the_clusters_own_variables_would_be_taken_for_settings() -> None:
    """Check the variables that the cluster adds: a service named adsn sets ADSN_PORT in every pod by default."""
    assert one("Service")["metadata"]["name"] == "adsn"
    with pytest.raises(ConfigError, match="ADSN_PORT"):
        read_settings(environ={**environment(), "ADSN_PORT": "tcp://10.0.0.1:8000"})
    assert pod()["enableServiceLinks"] is False


def test_probes_are_routes_that_answer_without_a_key(tmp_path: Path) -> None:
    named = {p["name"] for p in container()["ports"]}
    probes = {name: container()[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} <= named
    assert {probe["path"] for probe in probes.values()} <= OPEN_PATHS
    # A replica that is not ready must not be restarted for that.
    assert probes["livenessProbe"]["path"] == "/livez"
    assert probes["readinessProbe"]["path"] == "/readyz"
    keys = tmp_path / "keys.toml"
    keys.write_text("")
    keys.chmod(0o440)
    settings = read_settings(environ={**environment(), "ADSN_AUTH__KEYS": str(keys)})
    with running(settings) as service:
        # Like the kubelet, use the address of the pod.
        headers = {"Host": "10.1.2.3:8000", "User-Agent": "kube-probe/1.34"}
        for probe in probes.values():
            assert httpx.get(f"{service.client.base_url}{probe['path']}", headers=headers).status_code == 200
        assert service.client.get("/info", headers=headers).status_code == 401


def test_a_stop_has_time_to_finish_what_is_judged() -> None:
    spec = pod()
    wait = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > wait + Settings().drain_s + 1


def test_labels_and_ports_find_each_other() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one("Deployment")["spec"]["selector"]["matchLabels"],
        one("Service")["spec"]["selector"],
        one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
    monitor = one("ServiceMonitor", "monitoring")["spec"]
    service = one("Service")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= {
        port["name"] for port in service["spec"]["ports"]
    }
    # The alerts expect this job, which the operator names after the service.
    assert f'job="{service["metadata"]["name"]}"' in (ROOT / "deploy/prometheus/alerts.yaml").read_text()
    target = one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", one("Deployment")["metadata"]["name"])


def test_one_replica_may_always_go() -> None:
    """Check the disruption budget: if the smallest number of replicas cannot satisfy it, no node can be drained."""
    least = one("HorizontalPodAutoscaler")["spec"]["minReplicas"]
    assert one("PodDisruptionBudget")["spec"]["minAvailable"] < least
    assert "replicas" not in one("Deployment")["spec"]


def test_the_image_runs_as_the_same_user_and_listens_on_the_same_port() -> None:
    (image,) = [stage for stage in read_stages() if stage.name == "cpu"]
    context = pod()["securityContext"]
    assert image.all("USER") == [f"{context['runAsUser']}:{context['runAsGroup']}"]
    assert image.all("EXPOSE") == [str(container()["ports"][0]["containerPort"])]
    (told,) = image.all("ENV")
    assert "ADSN_ENGINE_CACHE=/var/cache/adsn/" in told
