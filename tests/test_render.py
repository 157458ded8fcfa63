"""The Render blueprint: valid by Render's own schema, and about things that exist here."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from api.app import create_app
from cli.main import app
from shared.kinds import load_registry
from shared.settings import Settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def blueprint() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "render.yaml").read_text())
    return read


def test_it_is_valid_by_renders_schema(data: Path, blueprint: dict[str, Any]) -> None:
    schema = json.loads((data / "render.schema.json").read_text())
    faults = list(jsonschema.Draft202012Validator(schema).iter_errors(blueprint))
    assert [(list(fault.path), fault.message) for fault in faults] == []
    wrong = blueprint | {"services": [{"type": "web", "name": "x", "runtime": "cobol"}]}
    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


def test_every_command_is_one_of_ours(blueprint: dict[str, Any]) -> None:
    ours = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    asked = [
        service[key].split()
        for service in blueprint["services"]
        for key in ("startCommand", "preDeployCommand")
        if key in service
    ]
    assert len(asked) == 4
    assert all(program == "foxtrot" and name in ours for program, name in asked)


def test_the_health_check_is_a_route_and_migration_comes_before_each_deploy(blueprint: dict[str, Any]) -> None:
    [web] = [service for service in blueprint["services"] if service["type"] == "web"]
    secret = Settings(jwt_secret="a secret that is long enough to sign with")
    paths = create_app(secret, "postgresql://", load_registry(["kinds"])).openapi()["paths"]
    assert web["healthCheckPath"] in paths
    assert web["preDeployCommand"] == "foxtrot migrate"


def test_nobody_is_killed_while_runs_in_hand_have_their_grace(blueprint: dict[str, Any]) -> None:
    [worker] = [service for service in blueprint["services"] if service["startCommand"] == "foxtrot worker"]
    [grace] = [int(each["value"]) for each in worker["envVars"] if each.get("key") == "WORKER_GRACE_SECONDS"]
    assert grace + 20 <= worker["maxShutdownDelaySeconds"]


def test_every_setting_is_one_that_is_read_and_no_secret_is_written_down(blueprint: dict[str, Any]) -> None:
    services = [variable for service in blueprint["services"] for variable in service["envVars"]]
    variables = services + [variable for group in blueprint["envVarGroups"] for variable in group["envVars"]]
    known = {name.upper() for name in Settings.model_fields} | {"PYTHON_VERSION"}
    assert {variable["key"] for variable in variables if "key" in variable} <= known
    assert not [each for each in variables if re.search("SECRET|URL", each.get("key", "")) and "value" in each]
