"""Judge whether a response is from AWS, by its shape.

A captive portal or a wrong endpoint answers every request with status 200 and a page, `{}` or nothing at all, and
botocore makes an empty result of it: a poll without messages, a message that was sent.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from collective.aws.calls import CallFailed

NOT_AWS = "the response is not from AWS (check the proxy and AWS_ENDPOINT_URL)"

# What a successful response always has. Every other operation may have an empty result.
_REQUIRED = {
    "CreateQueue": "QueueUrl",
    "CreateTopic": "TopicArn",
    "DescribeTable": "Table",
    "GetCallerIdentity": "Account",
    "GetQueueUrl": "QueueUrl",
    "GetTopicAttributes": "Attributes",
    "ListSubscriptionsByTopic": "Subscriptions",
    "Publish": "MessageId",
    "Scan": "Items",
    "SendMessage": "MessageId",
    "Subscribe": "SubscriptionArn",
}
_PYTHON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "character": str,
    "blob": (bytes, bytearray),
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "timestamp": datetime.datetime,
}
_AWS_JSON = "application/x-amz-json-"
_JUDGED_BY_READER = "AttributeValue"  # items of DynamoDB: the registry judges each of its records


def check(operation: str, output: Any, parsed: Mapping[str, Any]) -> None:
    """Raise CallFailed unless a successful response has the shape `output` (a shape of botocore, or None).

    `parsed` is what botocore made of the response.
    """
    found = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    required = _REQUIRED.get(operation)
    if required and required not in found:
        raise CallFailed(f"'{required}' is missing in the response: {NOT_AWS}")
    if not found and not _is_marked(parsed.get("ResponseMetadata", {})):
        raise CallFailed(f"empty response without a request ID: {NOT_AWS}")
    if output is not None and (path := _mismatch(found, output, "")):
        raise CallFailed(f"'{path}' has the wrong type in the response: {NOT_AWS}")


def _is_marked(metadata: Mapping[str, Any]) -> bool:
    """Return whether a response has AWS's request ID, or the type of its protocol, which servers for tests send."""
    kind = metadata.get("HTTPHeaders", {}).get("content-type", "")
    return bool(metadata.get("RequestId")) or kind.startswith(_AWS_JSON)


def _mismatch(value: Any, shape: Any, path: str) -> str | None:
    """Return the path of the first value that does not have the type of its shape; None if there is none."""
    if shape.name == _JUDGED_BY_READER:
        return None
    if shape.type_name in _PYTHON_TYPES and not isinstance(value, _PYTHON_TYPES[shape.type_name]):
        return path
    members: list[tuple[Any, Any, str]] = []
    if shape.type_name == "structure":
        members = [(value[name], member, name) for name, member in shape.members.items() if name in value]
    elif shape.type_name == "list":
        members = [(entry, shape.member, str(number)) for number, entry in enumerate(value)]
    elif shape.type_name == "map":
        members = [(entry, shape.value, str(name)) for name, entry in value.items()]
    found = (_mismatch(entry, member, f"{path}.{name}" if path else name) for entry, member, name in members)
    return next((place for place in found if place is not None), None)
