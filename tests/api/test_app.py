import subprocess
import sys
from typing import Any

import httpx
import pytest

from api.app import create_app
from shared.kinds import Registry
from tests.api.conftest import REGISTRY, Person, settings

HEAVY = """
import sys
from api.app import create_app
from shared.kinds import load_registry
from shared.settings import Settings
create_app(Settings(_env_file=None, jwt_secret="x" * 32), "postgresql://", load_registry(["kinds"]))
print([name for name in sys.modules if name.endswith("handler") and name.startswith("kinds")
       or name.split(".")[0] in {"worker", "scheduler", "cli"}])
"""


def test_the_way_in_leads_to_the_documentation(api: str) -> None:
    assert httpx.get(api, follow_redirects=True).url.path == "/docs"


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1", "/api/v1/runs/", "/api/v2/runs"])
def test_an_unknown_address_is_a_problem(api: str, path: str) -> None:
    response = httpx.get(api + path)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    assert response.json()["title"] == "Not Found"


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(ada: Person) -> None:
    response = ada.delete("/runs")
    assert (response.status_code, response.headers["content-type"]) == (405, "application/problem+json")
    assert {"GET", "POST"} & set(response.headers["allow"].split(", "))


def test_every_answer_has_the_headers(ada: Person) -> None:
    for path in ("/runs", "/nowhere"):
        assert ada.get(path).headers["x-content-type-options"] == "nosniff"


def describe(registry: Registry) -> dict[str, Any]:
    return create_app(settings(), "postgresql://", registry).openapi()


def test_the_kind_tells_the_parameters_apart() -> None:
    described = describe(REGISTRY)
    body = described["paths"]["/api/v1/runs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"]["propertyName"] == "kind"
    assert set(body["discriminator"]["mapping"]) == set(REGISTRY.kinds)
    schema = described["components"]["schemas"]["DemoRequest"]["properties"]["parameters"]
    assert schema == {"$ref": "#/components/schemas/Echo"}


def test_one_kind_needs_no_discriminator(person: Any, shared_database: str) -> None:
    described = describe(Registry([REGISTRY.get("demo")]))
    body = described["paths"]["/api/v1/runs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].endswith("/DemoRequest")


def test_every_operation_is_described_with_its_problems() -> None:
    for path, operations in describe(REGISTRY)["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            for status, response in operation["responses"].items():
                if status == "204":
                    assert "content" not in response
                    continue
                expected = "application/json" if status < "400" else "application/problem+json"
                assert list(response["content"]) == [expected], (path, status)


def test_the_api_never_imports_the_work() -> None:
    found = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
