from tests.api.conftest import Person


def test_a_client_can_build_a_form_from_a_kind(ada: Person) -> None:
    kinds = {kind["name"]: kind for kind in ada.get("/kinds").json()["kinds"]}
    assert list(kinds) == ["demo", "job_search", "reused"]
    search = kinds["job_search"]
    assert search["parameters"]["required"] == ["query"]
    assert {"found", "new", "posting_ids"} <= search["result"]["properties"].keys()
    assert search["steps"][0] == {"name": "ask", "text": "Asking job boards", "percent": 0}
    assert (search["title"], search["usual_seconds"]) == ("Job search", 5.0)
