"""A kind's parameters as command-line options, read from its own model."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from shared.errors import InvalidInputError
from shared.kinds import Kind


def read_parameters(kind: Kind[Any, Any], arguments: Sequence[str]) -> BaseModel:
    """`--name value` pairs as the kind's parameters; a list takes its option several times.

    Raises `InvalidInputError` naming the option and those there are.
    """
    schema = kind.parameters.model_json_schema()["properties"]
    values: dict[str, Any] = {}
    for option, value in _pairs(arguments):
        name = option.removeprefix("--").replace("-", "_")
        if name not in schema:
            known = " ".join("--" + known.replace("_", "-") for known in schema)
            raise InvalidInputError(f"{option} is no parameter of {kind.name}; it has {known}", field=name)
        if _is_list(schema[name]):
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    parameters: BaseModel = kind.parse(values)
    return parameters


def _pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    words = [word for argument in arguments for word in _split(argument)]
    if len(words) % 2 or not all(option.startswith("--") for option in words[::2]):
        raise InvalidInputError(f"can't read {' '.join(arguments)!r}: write parameters as --name value")
    return list(zip(words[::2], words[1::2], strict=True))


def _split(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--") and "=" in argument else [argument]


def _is_list(schema: dict[str, Any]) -> bool:
    return any(choice.get("type") == "array" for choice in schema.get("anyOf", [schema]))
