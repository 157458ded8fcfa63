"""OpenAPI: the generated description, with problems under the media type that they are sent with."""

from typing import Any

from fastapi import FastAPI

from api.problems import MEDIA_TYPE

SUMMARY = "Every user's data is fresh before they wake up, and Run now is there when they can't wait."
PROBLEM = {"$ref": "#/components/schemas/Problem"}


def describe(app: FastAPI) -> None:
    """Give the app its words, and correct what FastAPI can't know about problems."""
    app.summary = SUMMARY
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        for response in _responses(schema):
            content = response.get("content", {})
            if content.get("application/json", {}).get("schema") == PROBLEM:
                content[MEDIA_TYPE] = content.pop("application/json")
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _responses(schema: dict[str, Any]) -> list[dict[str, Any]]:
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    return [response for operation in operations for response in operation["responses"].values()]
