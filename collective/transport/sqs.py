"""The SQS and SNS transport.

    node queue   CreateQueue ─ SetQueueAttributes (the topic may send) ─ Subscribe (raw delivery)
                     └── again at each heartbeat: Subscribe, which also repairs what was removed
                     └── denied: use the queue that `crpc setup --node` created (GetQueueUrl), or raise Forbidden
    reply queue  CreateQueue, once per reply slot
    URL          from CreateQueue; the URLs of other queues differ only in the last part, and are not looked up

Limits are from the SQS and SNS developer guides, and from "Service endpoints and quotas":

    AWS limit                                            how it is respected
    name of a queue    80 characters                     names.py: at most 77
    size of a message  SQS 1 MiB, SNS 256 KiB            SEND_LIMIT, BROADCAST_LIMIT: MessageTooLarge
    batch              10 messages, received or deleted  BATCH
    long poll          20 s                              LONGEST_POLL
    in flight          120,000 messages of a queue       a receive then returns nothing; a node receives ten at a time
    deleted name       blocked for 60 s                  Unreachable, so a node tries again
    Subscribe          100/s, Unsubscribe 100/s          nodes retry after random pauses; setup sends one at a time
    Publish            300/s to 30,000/s, by region      a call publishes once, a rollout once per wave
    TagQueue           5/s to 30/s                       a queue is created with its tags, in one request
    lists              1,000 queues, 100 subscriptions   setup reads all pages
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from collective.aws.account import Account, number_in
from collective.aws.calls import CallFailed
from collective.aws.errors import one_line, translated
from collective.aws.responses import NOT_AWS
from collective.aws.session import AWS
from collective.errors import Forbidden, NotFound
from collective.transport import (
    BATCH,
    BROADCAST_LIMIT,
    LONGEST_POLL,
    NODE_RETENTION,
    NODE_VISIBILITY,
    REPLY_RETENTION,
    REPLY_VISIBILITY,
    SEND_LIMIT,
    Delivery,
    check_size,
)
from collective.transport.resource_policies import queue_policy

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

log = logging.getLogger(__name__)

# SQS takes the values as strings.
NODE_ATTRIBUTES = {"VisibilityTimeout": str(NODE_VISIBILITY), "MessageRetentionPeriod": str(NODE_RETENTION)}
_REPLY_ATTRIBUTES = {"VisibilityTimeout": str(REPLY_VISIBILITY), "MessageRetentionPeriod": str(REPLY_RETENTION)}
_SHORT_POLL_PAUSE = 0.1  # seconds between polls during the last second of a wait
_SLASHES = 3  # in the URL of an account's queues: scheme://host/account
_EARLY_POLL_PAUSE = 1.0  # seconds after a long poll that ended early without messages


class SQSTransport:
    """SQS queues and an SNS topic. May be shared by up to `connections` threads.

    Node queues are created with `tags`.
    """

    def __init__(self, aws: AWS, connections: int = 10, tags: Mapping[str, str] | None = None) -> None:
        self._aws = aws
        self._connections = connections
        self._tags = tags or {}
        self._sqs: SQSClient = aws.client("sqs", connections=connections)
        self._lazy_sns: SNSClient | None = None
        self._subscriptions: dict[str, str] = {}  # the ARN of the subscription of each node queue
        self._base: str | None = None  # the common prefix of the URLs of all queues

    @property
    def installation(self) -> str:
        """The partition, region and account of the queues; it is read from a queue's URL, without a request."""
        if self._base is None:
            raise RuntimeError("no queue has been opened yet")
        return self._account_of(self._base).installation

    @property
    def connections(self) -> int:
        """How many threads may use it at the same time."""
        return self._connections

    def now(self) -> float:
        """Return the servers' time in Unix seconds."""
        return self._aws.now()

    def check_settings(self) -> None:
        """Raise ConfigError when the settings for SNS are invalid; those for SQS are checked by the constructor."""
        _ = self._sns

    def open_node(self, queue: str, topic: str) -> None:
        """Create a node's queue; if that is not allowed, use the queue that `crpc setup --node` created."""
        try:
            self.create_node(queue, topic, self._tags)
        except Forbidden as denied:
            self._use_prepared(queue, denied)

    def create_node(self, queue: str, topic: str, tags: Mapping[str, str]) -> None:
        """Create a node's queue, allow the topic to send to it, and subscribe it. Raises Forbidden."""
        self._create(queue, NODE_ATTRIBUTES, tags)
        self._allow(queue, topic)
        self._subscriptions[queue] = self._subscribe_creating(queue, topic)

    def check_subscription(self, queue: str, topic: str) -> None:
        """Subscribe a node's queue again (Subscribe), which changes nothing while its subscription exists."""
        try:
            found = self._subscribe_creating(queue, topic)
        except Forbidden:
            return  # a queue made by `crpc setup --node`, whose subscription this node may not change
        if found != self._subscriptions.get(queue, found):
            error = "the topic or the subscription was removed by another program; it exists again"
            log.warning("subscription.repaired", extra={"queue": queue, "topic": topic, "error": error})
            self._allow(queue, topic)
        self._subscriptions[queue] = found

    def open_replies(self, queue: str, known: str | None = None) -> str:
        """Create a reply queue, or use the URL that an earlier call returned for this endpoint and region."""
        here = f"{self._sqs.meta.endpoint_url} {self._sqs.meta.region_name} "
        known_url = known.removeprefix(here) if known and known.startswith(here) else ""
        try:
            self._base = _base_of(known_url, queue)
        except CallFailed:  # stored by a call to another endpoint, or damaged
            self._create(queue, _REPLY_ATTRIBUTES)
        return here + self._url(queue)

    def delete_replies(self, queue: str) -> None:
        """Delete a reply queue, if it exists. Its name is blocked for 60 s. Raises Forbidden."""
        with suppress(NotFound), translated(queue, "queue"):
            self._sqs.delete_queue(QueueUrl=self._url(queue))

    def check_topic(self, topic: str) -> None:
        """Check that the topic exists in this account. Raises NotFound, and Forbidden without the permission."""
        with translated(topic, "topic"):
            self._sns.get_topic_attributes(TopicArn=self._account(topic).arn("sns", topic))

    def subscribed(self, topic: str) -> set[str]:
        """Return the names of the queues that are subscribed to a topic. Raises NotFound and Forbidden."""
        with translated(topic, "topic"):
            pages = self._sns.get_paginator("list_subscriptions_by_topic").paginate(
                TopicArn=self._account(topic).arn("sns", topic)
            )
            return {one["Endpoint"].rpartition(":")[2] for page in pages for one in page["Subscriptions"]}

    def send(self, queue: str, body: str) -> None:
        """Send a message to a queue (SendMessage)."""
        check_size(body, SEND_LIMIT)
        with translated(queue, "queue"):
            self._sqs.send_message(QueueUrl=self._url(queue), MessageBody=body)

    def broadcast(self, topic: str, body: str) -> None:
        """Send a message to every subscribed queue (Publish)."""
        check_size(body, BROADCAST_LIMIT)
        with translated(topic, "topic"):
            self._sns.publish(TopicArn=self._account(topic).arn("sns", topic), Message=body)

    def receive(self, queue: str, wait: float) -> list[Delivery]:
        """Receive up to BATCH messages with a long poll of whole seconds, or with a short poll and a pause."""
        seconds = int(min(wait, LONGEST_POLL))
        began = time.monotonic()
        with translated(queue, "queue"):
            answer = self._sqs.receive_message(
                QueueUrl=self._url(queue),
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=seconds,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
            received = self._aws.now()
            deliveries = [_delivery(message, received) for message in answer.get("Messages", [])]
        if not deliveries:
            _pause_after(wait, seconds, time.monotonic() - began)
        return deliveries

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Delete received messages, BATCH with each request."""
        for start in range(0, len(deliveries), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": delivery.receipt}
                for number, delivery in enumerate(deliveries[start : start + BATCH])
            ]
            with translated(queue, "queue"):
                self._sqs.delete_message_batch(QueueUrl=self._url(queue), Entries=entries)  # type: ignore[arg-type]

    def unread(self, queue: str) -> int:
        """Return SQS's approximate count of visible messages."""
        return int(self.attributes(queue, ["ApproximateNumberOfMessages"])["ApproximateNumberOfMessages"])

    def unacknowledged(self, queue: str) -> int:
        """Return SQS's approximate counts of messages, visible or in flight."""
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.attributes(queue, counts)
        return sum(int(found[count]) for count in counts)

    def attributes(self, queue: str, names: Iterable[str]) -> dict[str, str]:
        """Return attributes of a queue as strings; those not set are omitted."""
        requested: Any = list(names)
        with translated(queue, "queue"):
            answer = self._sqs.get_queue_attributes(QueueUrl=self._url(queue), AttributeNames=requested)
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}

    @property
    def _sns(self) -> SNSClient:
        # A caller that only sends directly never needs SNS, and creating a client takes about 50 ms.
        if self._lazy_sns is None:
            self._lazy_sns = self._aws.client("sns", connections=self._connections)
        return self._lazy_sns

    def _create(self, queue: str, attributes: Mapping[str, str], tags: Mapping[str, str] | None = None) -> None:
        with translated(queue, "queue"):
            try:
                tagged: Any = {"tags": tags} if tags else {}
                made = self._sqs.create_queue(QueueName=queue, Attributes=attributes, **tagged)  # type: ignore[arg-type]
                url = made["QueueUrl"]
            except self._sqs.exceptions.QueueNameExists:
                # It has other attributes: an older version created it.
                url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
                self._sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)  # type: ignore[arg-type]
            self._base = _base_of(url, queue)

    def _use_prepared(self, queue: str, denied: Forbidden) -> None:
        """Use an existing queue, and log what differs or cannot be checked; raise Forbidden when there is none."""
        try:
            with translated(queue, "queue"):
                self._base = _base_of(self._sqs.get_queue_url(QueueName=queue)["QueueUrl"], queue)
        except (Forbidden, NotFound):
            raise Forbidden(
                f"{denied}: and the queue does not exist (create it with 'crpc setup --node IDENTITY', or allow "
                "sqs:CreateQueue, sqs:TagQueue, sqs:SetQueueAttributes, sqs:GetQueueUrl and sns:Subscribe)"
            ) from None
        error = f"{denied}: the existing queue is used; its subscription cannot be checked"
        log.info("queue.prepared", extra={"queue": queue, "error": error})
        self._compare(queue)

    def _compare(self, queue: str) -> None:
        """Log a warning when the attributes of an existing queue differ, if they may be read."""
        try:
            found = self.attributes(queue, NODE_ATTRIBUTES)
        except Forbidden:
            return
        if changes := differences(found):
            error = f"{', '.join(changes)} (repair it with 'crpc setup --node IDENTITY')"
            log.warning("queue.attributes", extra={"queue": queue, "error": error})

    def _allow(self, queue: str, topic: str) -> None:
        policy = json.dumps(queue_policy(self._account(queue), queue, topic))
        with translated(queue, "queue"):
            self._sqs.set_queue_attributes(QueueUrl=self._url(queue), Attributes={"Policy": policy})

    def _subscribe_creating(self, queue: str, topic: str) -> str:
        """Subscribe a queue; create the topic if it does not exist. Return the ARN of the subscription."""
        try:
            return self._subscribe(queue, topic)
        except NotFound:
            with translated(topic, "topic"):
                self._sns.create_topic(Name=topic)
            return self._subscribe(queue, topic)

    def _subscribe(self, queue: str, topic: str) -> str:
        account = self._account(queue)
        with translated(topic, "topic"):
            return self._sns.subscribe(
                TopicArn=account.arn("sns", topic),
                Protocol="sqs",
                Endpoint=account.arn("sqs", queue),
                Attributes={"RawMessageDelivery": "true"},
            )["SubscriptionArn"]

    def _url(self, queue: str) -> str:
        if self._base is None:
            with translated(queue, "queue"):
                self._base = _base_of(self._sqs.get_queue_url(QueueName=queue)["QueueUrl"], queue)
        return f"{self._base}/{queue}"

    def _account(self, queue: str) -> Account:
        """Return the account of these credentials, whose number is part of every queue's URL."""
        return self._account_of(self._url(queue).rpartition("/")[0])

    def _account_of(self, base: str) -> Account:
        return Account(self._sqs.meta.partition, self._sqs.meta.region_name, number_in(f"{base}/"))


def _pause_after(wait: float, seconds: int, took: float) -> None:
    """Pause after a poll without messages: a short poll, or a long poll of `seconds` that was answered early.

    The next poll follows at once, and without a pause would be one of a thousand a second.
    """
    if seconds:
        time.sleep(min(max(seconds - took, 0.0), _EARLY_POLL_PAUSE))
    else:
        time.sleep(min(max(wait, 0.0), _SHORT_POLL_PAUSE))


def _base_of(url: str, queue: str) -> str:
    """Return a queue's URL without its name. Raises CallFailed when it is not the URL of that queue."""
    base, _, name = url.rpartition("/")
    if name != queue or base.count("/") < _SLASHES:
        raise CallFailed(f"invalid queue URL '{one_line(url)}': {NOT_AWS}")
    return base


def _delivery(message: Any, received: float) -> Delivery:
    """Return a received message. Raises KeyError and ValueError when it does not have the form of SQS."""
    return Delivery(
        body=message.get("Body", ""),
        sent=int(message["Attributes"]["SentTimestamp"]) / 1000,
        received=received,
        receipt=message["ReceiptHandle"],
    )


def differences(found: Mapping[str, str]) -> list[str]:
    """Return a description of each attribute of a node queue that differs from NODE_ATTRIBUTES."""
    return [
        f"{name} is {found.get(name)}, must be {expected}"
        for name, expected in NODE_ATTRIBUTES.items()
        if found.get(name) != expected
    ]
