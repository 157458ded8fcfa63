"""The Render blueprints: valid by Render's own schema, and about things that exist here."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from api.app import create_app
from cli.main import app
from cli.up import STOP_MARGIN
from scheduler import service as scheduler
from shared.kinds import load_registry
from shared.settings import Settings
from tests.render import DEFAULT_SHUTDOWN_DELAY, ROOT, Service, read_services
from worker import worker

DATABASES = {"render.yaml": "foxtrot-db", "render.free.yaml": "foxtrot-free-db"}
NOT_FOR_FREE = {"preDeployCommand", "maxShutdownDelaySeconds", "disk", "numInstances", "scaling"}


@pytest.fixture(params=list(DATABASES))
def file(request: pytest.FixtureRequest) -> Path:
    return ROOT / str(request.param)


@pytest.fixture
def blueprint(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(file.read_text())
    return read


def services(file: str) -> dict[str, Service]:
    return read_services(ROOT / file, {DATABASES[file]: "postgresql://user:password@host/name"})


def test_it_is_valid_by_renders_schema(data: Path, blueprint: dict[str, Any]) -> None:
    schema = json.loads((data / "render.schema.json").read_text())
    faults = list(jsonschema.Draft202012Validator(schema).iter_errors(blueprint))
    assert [(list(fault.path), fault.message) for fault in faults] == []
    wrong = blueprint | {"services": [{"type": "web", "name": "x", "runtime": "cobol"}]}
    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


def test_every_command_is_one_of_ours(file: Path) -> None:
    ours = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    asked = {command for service in services(file.name).values() for command in (service.start, service.pre_deploy)}
    known = {
        "render.yaml": {"foxtrot api", "foxtrot worker", "foxtrot scheduler", "foxtrot migrate", None},
        "render.free.yaml": {"foxtrot up", None},
    }
    assert asked == known[file.name]
    assert {command.removeprefix("foxtrot ") for command in asked if command} <= ours


def test_the_health_check_is_a_route_and_what_serves_is_migrated(file: Path) -> None:
    [web] = [service for service in services(file.name).values() if service.type == "web"]
    secret = Settings(jwt_secret="a secret that is long enough to sign with")
    paths = create_app(secret, "postgresql://", load_registry(["kinds"])).openapi()["paths"]
    assert web.health_check in paths
    assert web.pre_deploy == "foxtrot migrate" or web.start == "foxtrot up"
    assert web.variables["HOST"] == "0.0.0.0"  # noqa: S104 - Render's proxy comes from outside


def test_nobody_is_killed_while_runs_in_hand_have_their_grace() -> None:
    worker = services("render.yaml")["foxtrot-worker"]
    assert int(worker.variables["WORKER_GRACE_SECONDS"]) + 20 <= worker.shutdown_delay
    everything = services("render.free.yaml")["foxtrot-free"]
    longest = max(int(everything.variables["WORKER_GRACE_SECONDS"]), Settings().request_timeout_seconds)
    assert longest + STOP_MARGIN < DEFAULT_SHUTDOWN_DELAY


def test_every_setting_is_one_that_is_read_and_no_secret_is_written_down(blueprint: dict[str, Any]) -> None:
    groups = blueprint.get("envVarGroups", [])
    variables = [variable for each in blueprint["services"] + groups for variable in each["envVars"]]
    known = {name.upper() for name in Settings.model_fields} | {"PYTHON_VERSION"}
    assert {variable["key"] for variable in variables if "key" in variable} <= known
    assert not [each for each in variables if re.search("SECRET|URL", each.get("key", "")) and "value" in each]


def test_the_free_blueprint_asks_for_nothing_that_costs() -> None:
    blueprint = yaml.safe_load((ROOT / "render.free.yaml").read_text())
    [web], [database] = blueprint["services"], blueprint["databases"]
    assert (web["type"], web["plan"], database["plan"]) == ("web", "free", "free")
    assert not NOT_FOR_FREE & web.keys()


def test_the_blueprints_can_live_in_one_workspace_and_build_alike() -> None:
    paid, free = services("render.yaml"), services("render.free.yaml")
    assert not paid.keys() & free.keys()
    assert len(set(DATABASES.values())) == 2
    assert len({service.build for service in [*paid.values(), *free.values()]}) == 1


def test_the_connections_that_the_docs_promise_are_the_codes() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text()
    counts = {
        "API": Settings().api_pool_size,
        "scheduler": scheduler.CONNECTIONS,
        "worker": worker.POOL_SIZE + 3,  # one claims, one listens, one renews the lease
    }
    told = {name: int(most) for name, most in re.findall(r"^\| (\w+) \|.*\| (\d+) \|$", text, re.MULTILINE)}
    assert told == counts | {"all": sum(counts.values())}
