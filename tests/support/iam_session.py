"""A boto3 session that enforces an IAM policy, which moto itself does not.

gate = Gate(policy, principal)          principal: context keys, such as aws:PrincipalTag/collective:identity
SQSTransport(AWS(gate.session)) …       denied requests raise AccessDenied, and are not sent
gate.used                               the grants of the policy that were used
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from support.iam import IAMPolicy, IAMRequest

ACCOUNT = "123456789012"  # moto's
REGION = "eu-north-1"  # used by no other test, because moto separates regions
# services whose IAM actions have another prefix
_PREFIXES = {"dynamodbstreams": "dynamodb", "elbv2": "elasticloadbalancing"}
_WORDS = ("SET", "REMOVE", "ADD", "AND", "OR", "attribute_exists", "attribute_not_exists")
_ACTIONS = {"DeleteMessageBatch": "DeleteMessage"}  # operations whose IAM action has another name


def open_session() -> boto3.Session:
    """Return a session without restrictions."""
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)


def _attributes(params: Mapping[str, Any]) -> set[str]:
    """Return the attributes that an UpdateItem names: the key, and those of its expressions."""
    text = f"{params['UpdateExpression']} {params.get('ConditionExpression', '')}"
    words = set(re.findall(r"(?<![:\w])#?[A-Za-z_]\w*", text)) - {*_WORDS}
    named = {params.get("ExpressionAttributeNames", {}).get(word, word) for word in words}
    return named | set(params["Key"])


class Gate:
    """Evaluates `policy` before each request of `session`, as AWS does for `principal`."""

    def __init__(self, policy: IAMPolicy, principal: Mapping[str, str]) -> None:
        self.policy = policy
        self._principal = principal
        self._sqs = open_session().client("sqs")
        self.used: set[tuple[str, str]] = set()
        self.denied: list[IAMRequest] = []
        self.session = open_session()
        events: Any = self.session.events  # its types do not allow handlers that return a response
        events.register("provide-client-params", self._note)
        events.register("before-call", self._judge)

    def _note(self, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["collective_params"] = params

    def _judge(self, model: Any, context: dict[str, Any], **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        """Allow a request, or return the response of AWS to a denied one."""
        for request in self._requests(model.service_model.service_name, model.name, context["collective_params"]):
            grants = self.policy(request)
            self.used |= grants
            if not grants:
                self.denied.append(request)
                error = {"Error": {"Code": "AccessDenied", "Message": f"not authorized to perform {request.action}"}}
                return AWSResponse("", 403, HTTPHeaders(), None), error
        return None

    def _requests(self, service: str, operation: str, params: Mapping[str, Any]) -> Iterator[IAMRequest]:
        """Yield the IAM requests of an API request; creating a resource with tags also requires tagging it."""
        about = getattr(self, f"_about_{service}")(params)
        if about is None:
            return
        resource, context = about
        context = {**self._principal, **context}
        yield IAMRequest(f"{_PREFIXES.get(service, service)}:{_ACTIONS.get(operation, operation)}", resource, context)
        if operation == "CreateQueue" and params.get("tags"):
            yield IAMRequest("sqs:TagQueue", resource, context)
        if operation == "PutRule" and params.get("Tags"):
            yield IAMRequest("events:TagResource", resource, context)

    def _about_sqs(self, params: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        if "QueueNamePrefix" in params:
            return "*", {}  # ListQueues has no resource
        queue = params.get("QueueName") or params["QueueUrl"].rpartition("/")[2]
        tags = params.get("tags") or params.get("Tags") or {}  # CreateQueue has `tags`, TagQueue has `Tags`
        requested = {f"aws:RequestTag/{name}": value for name, value in tags.items()}
        existing = {f"aws:ResourceTag/{name}": value for name, value in self._tags(queue).items()}
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}", {**requested, **existing}

    def _tags(self, queue: str) -> Mapping[str, str]:
        try:
            url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        except self._sqs.exceptions.QueueDoesNotExist:
            return {}
        return self._sqs.list_queue_tags(QueueUrl=url).get("Tags", {})

    def _about_sns(self, params: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        keys = {"sns:Protocol": params.get("Protocol"), "sns:Endpoint": params.get("Endpoint")}
        arn = next((params[name] for name in ("TopicArn", "ResourceArn", "SubscriptionArn") if name in params), None)
        arn = arn or f"arn:aws:sns:{REGION}:{ACCOUNT}:{params['Name']}"
        return arn, {key: value for key, value in keys.items() if value}

    def _about_dynamodb(self, params: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        item = params.get("Key") or params.get("Item") or {}
        first = item.get("identity") or item.get("part")  # the partition keys of the registry and of shared runs
        keys: dict[str, Any] = {"dynamodb:LeadingKeys": first["S"]} if first else {}
        if "UpdateExpression" in params:
            keys["dynamodb:Attributes"] = tuple(_attributes(params))
        return params.get("ResourceArn") or f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{params['TableName']}", keys

    def _about_dynamodbstreams(self, params: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """Return the stream, which is part of the iterator of GetRecords as well."""
        return (params.get("StreamArn") or params["ShardIterator"].partition("|")[0]), {}

    def _about_events(self, params: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        name = params.get("Name") or params.get("Rule") or params["ResourceARN"].rpartition("/")[2]
        return f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}", {}

    def _about_any(self, _: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """Return all resources: these actions have none (Service Authorization Reference)."""
        return "*", {}

    _about_autoscaling = _about_cloudwatch = _about_ec2 = _about_elbv2 = _about_any

    def _about_sts(self, _: Mapping[str, Any]) -> None:
        """Yield nothing: GetCallerIdentity needs no permission (STS API reference)."""
