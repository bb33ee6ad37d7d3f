"""Validate JSON documents with the schemas that collective ships."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from collective import schemas

DOCUMENTS = {str(schemas.load(name).get("$id")): name for name in schemas.names()}
_REGISTRY: Registry[Any] = Registry().with_resources(
    (identifier, Resource.from_contents(schemas.load(name))) for identifier, name in DOCUMENTS.items()
)


def check_document(document: Any) -> str:
    """Validate a document with the schema that it names; return the name of the schema."""
    name = DOCUMENTS[document["schema"]]
    Draft202012Validator(schemas.load(name), registry=_REGISTRY).validate(document)
    return name


def check_schema(name: str, value: Any) -> None:
    """Validate a value, such as a line of output that names no schema, with the schema `name`."""
    Draft202012Validator(schemas.load(name), registry=_REGISTRY).validate(value)
