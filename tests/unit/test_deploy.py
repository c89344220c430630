"""Deployment files are checked against the public schemas and against our own settings."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from orchestrator.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
OLDEST_KUBERNETES = "1.33"
"""The oldest version we promise: fields that came later are refused."""

Yaml = Any


def documents(path: Path) -> list[Yaml]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def manifests() -> list[tuple[str, Yaml]]:
    return [
        (f"{path.name}:{document['kind']}", document)
        for path in sorted(KUBERNETES.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for document in documents(path)
    ]


def pods() -> list[tuple[str, Yaml]]:
    return [(name, body["spec"]["template"]["spec"]) for name, body in manifests() if body["kind"] == "Deployment"]


def containers(pod: Yaml) -> list[Yaml]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def compose() -> Yaml:
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))


def own_services() -> dict[str, Yaml]:
    return {name: service for name, service in compose()["services"].items() if "build" in service}


def test_the_compose_file_matches_the_compose_specification() -> None:
    schema_file = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(schema_file.read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(compose())] == []


def test_every_compose_service_waits_for_services_that_exist_and_can_be_waited_for() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, f"{name} waits for {needed}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], f"{needed} has no healthcheck, so {name} would wait forever"


def test_every_file_the_compose_file_mounts_exists() -> None:
    mounted = [
        volume.split(":")[0]
        for service in compose()["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert mounted
    assert [path for path in mounted if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(("name", "manifest"), manifests(), ids=[name for name, _ in manifests()])
def test_a_kubernetes_manifest_matches_the_published_schema(name: str, manifest: Yaml) -> None:
    kubernetes_validate.validate(manifest, OLDEST_KUBERNETES, strict=True)


def test_the_kubernetes_schema_check_refuses_a_misspelt_key() -> None:
    broken = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dta": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, OLDEST_KUBERNETES, strict=True)


def test_the_kustomization_names_every_manifest_but_the_example_secret() -> None:
    listed = set(documents(KUBERNETES / "kustomization.yaml")[0]["resources"])
    present = {path.name for path in KUBERNETES.glob("*.yaml")} - {
        "kustomization.yaml",
        "secret.example.yaml",
    }
    assert listed == present


@pytest.mark.parametrize(("name", "pod"), pods(), ids=[name for name, _ in pods()])
def test_a_pod_runs_without_privileges_and_without_service_links(name: str, pod: Yaml) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["enableServiceLinks"] is False, "a Service would set ORCHESTRATOR_* variables of its own"
    for container in containers(pod):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"]["drop"] == ["ALL"]
        assert {"requests", "limits"} <= container["resources"].keys()


def test_the_gateway_is_probed_where_it_answers() -> None:
    (gateway,) = dict(pods())["gateway.yaml:Deployment"]["containers"]
    assert gateway["livenessProbe"]["httpGet"]["path"] == "/health"
    assert gateway["readinessProbe"]["httpGet"]["path"] == "/ready"


def test_a_service_selects_the_pods_of_its_deployment() -> None:
    deployment, service = documents(KUBERNETES / "gateway.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def used_names() -> dict[str, str]:
    """Every ORCHESTRATOR_* name in a deployment file, with the file that uses it."""
    files = [COMPOSE, DOCKERFILE, *sorted((ROOT / "deploy").rglob("*.yaml"))]
    return {
        name: path.name
        for path in files
        for name in re.findall(rf"{PREFIX}[A-Z0-9_]+", path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize(("name", "file"), sorted(used_names().items()))
def test_every_orchestrator_variable_is_a_setting(name: str, file: str) -> None:
    if name == PREFIX or name.startswith((f"{PREFIX}ENV_", f"{PREFIX}SECRET_")):
        return
    fields = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
    assert name in fields, f"{file} sets {name}, which nothing reads"


def test_the_deployed_environment_makes_usable_settings() -> None:
    config = documents(KUBERNETES / "configmap.yaml")[0]["data"]
    secret = documents(KUBERNETES / "secret.example.yaml")[0]["stringData"]
    settings = Settings.from_environment(config | secret)
    assert settings.address.endswith(":7233")
    assert settings.store.startswith("postgresql://")
    assert settings.secrets == {"CRM_TOKEN": "change-me"}


def test_the_image_runs_as_an_ordinary_user_and_copies_what_exists() -> None:
    lines = DOCKERFILE.read_text(encoding="utf-8").splitlines()
    final = lines[max(index for index, line in enumerate(lines) if line.startswith("FROM ")) :]
    users = [line.split()[1] for line in final if line.startswith("USER ")]
    assert users and users[-1].split(":")[0] not in {"root", "0"}
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    ignored_but = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists(), source
        assert source in ignored_but, f".dockerignore keeps {source} out of the build"
    # What flows name beside the code: their functions and the templates of their messages.
    assert {"orchestrator.yaml", "workflows", "activities", "templates"} <= {
        source for sources in copied for source in sources
    }


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").rglob("*.sh")), ids=lambda path: path.name)
def test_a_deployment_script_parses_as_posix_shell(script: Path) -> None:
    shell = shutil.which("dash") or shutil.which("sh")
    assert shell and os.access(script, os.X_OK)
    checked = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_compose_services_of_ours_are_verbs_of_the_command_line() -> None:
    assert {service["command"][0] for service in own_services().values()} == {"publish", "gateway", "worker"}
