"""Move messages over SQS and SNS.

    node queue   CreateQueue ─ SetQueueAttributes (the topic may send) ─ Subscribe (raw delivery)
                     └── denied: found as somebody has prepared it (GetQueueUrl), or an error that says what to do
    reply queue  CreateQueue, once per caller slot
    URL          the queue's own from CreateQueue; any other by exchanging its last part, never looked up

Rules of the services are from the SQS and SNS developer guides, and from "Service endpoints and quotas":

    what AWS allows                                      what that means here
    a queue's name     80 characters                     names.py: 77 at most
    a message          SQS 1 MiB, SNS 256 KiB            SEND_LIMIT, BROADCAST_LIMIT: refused with both numbers
    a batch            10 messages, received or deleted  BATCH
    a long poll        20 s                              LONGEST_POLL
    in flight          120,000 messages of a queue       a receive returns nothing then; a node takes ten at a time
    a deleted name     comes back after 60 s             Unreachable, so that a node tries again
    Subscribe          100 a second, Unsubscribe too     a node tries again, drawing its pauses; setup goes one by one
    Publish            300 to 30,000 a second            by region; a call publishes once, a rollout once a wave
    tagging a queue    5 to 30 a second                  a queue is made with its tags, by one request
    a list             1,000 queues, 100 subscriptions   setup reads all pages
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collective.aws import AWS, translated
from collective.aws_account import Account, number_in
from collective.errors import Forbidden, MessageTooLarge, NotFound
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
)
from collective.transport.resource_policies import queue_policy

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

log = logging.getLogger(__name__)

# What SQS keeps of a node's queue beside its messages; its values are texts.
NODE_ATTRIBUTES = {"VisibilityTimeout": str(NODE_VISIBILITY), "MessageRetentionPeriod": str(NODE_RETENTION)}
_REPLY_ATTRIBUTES = {"VisibilityTimeout": str(REPLY_VISIBILITY), "MessageRetentionPeriod": str(REPLY_RETENTION)}
_SHORT_POLL_PAUSE = 0.1  # seconds between polls when less than a whole second of waiting is left


class SQSTransport:
    """SQS queues and an SNS topic, by boto3. Safe to share between up to `connections` threads.

    A node's queue is made with `tags`.
    """

    def __init__(self, aws: AWS, connections: int = 10, tags: Mapping[str, str] | None = None) -> None:
        self._aws = aws
        self._connections = connections
        self._tags = tags or {}
        self._sqs: SQSClient = aws.client("sqs", connections=connections)
        self._lazy_sns: SNSClient | None = None
        self._base: str | None = None  # what every queue's URL begins with

    def now(self) -> float:
        """Return the servers' time in Unix seconds."""
        return self._aws.now()

    def open_node(self, queue: str, topic: str) -> None:
        """Make a node's queue; where we may not, find it as `crpc setup --node` has prepared it."""
        try:
            self.make_node(queue, topic, self._tags)
        except Forbidden as denied:
            self._find_prepared(queue, denied)

    def make_node(self, queue: str, topic: str, tags: Mapping[str, str]) -> None:
        """Create a node's queue, allow the topic to send to it, and subscribe it. Raise Forbidden."""
        self._create(queue, NODE_ATTRIBUTES, tags)
        self._allow(queue, topic)
        try:
            self._subscribe(queue, topic)
        except NotFound:
            with translated(topic):
                self._sns.create_topic(Name=topic)
            self._subscribe(queue, topic)

    def open_replies(self, queue: str, known: str | None = None) -> str:
        """Create a reply queue, or trust the URL that an earlier call returned for this endpoint and profile."""
        here = f"{self._sqs.meta.endpoint_url} {self._sqs.meta.region_name} "
        if known and known.startswith(here):
            self._base = known[len(here) :].rpartition("/")[0]
        else:
            self._create(queue, _REPLY_ATTRIBUTES)
        return here + self._url(queue)

    def check_topic(self, topic: str) -> None:
        """Ask for a topic of our account; raise QueueNotFound when there is none, Forbidden when we may not ask."""
        with translated(topic):
            self._sns.get_topic_attributes(TopicArn=self._account(topic).arn("sns", topic))

    def send(self, queue: str, body: str) -> None:
        """Send one message to one queue (SendMessage)."""
        _check_size(body, SEND_LIMIT)
        with translated(queue):
            self._sqs.send_message(QueueUrl=self._url(queue), MessageBody=body)

    def broadcast(self, topic: str, body: str) -> None:
        """Send one message to every subscribed queue (one Publish)."""
        _check_size(body, BROADCAST_LIMIT)
        with translated(topic):
            self._sns.publish(TopicArn=self._account(topic).arn("sns", topic), Message=body)

    def receive(self, queue: str, wait: float) -> list[Delivery]:
        """Receive up to ten messages with one long poll of whole seconds, or a short poll and a pause."""
        seconds = min(int(wait), LONGEST_POLL)
        with translated(queue):
            answer = self._sqs.receive_message(
                QueueUrl=self._url(queue),
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=seconds,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        messages = answer.get("Messages", [])
        if not messages and not seconds:
            time.sleep(min(max(wait, 0.0), _SHORT_POLL_PAUSE))
        received = self._aws.now()
        return [
            Delivery(
                body=message.get("Body", ""),
                sent=float(message["Attributes"]["SentTimestamp"]) / 1000,
                received=received,
                receipt=message["ReceiptHandle"],
            )
            for message in messages
        ]

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Delete received messages, ten with each request."""
        for start in range(0, len(deliveries), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": delivery.receipt}
                for number, delivery in enumerate(deliveries[start : start + BATCH])
            ]
            with translated(queue):
                self._sqs.delete_message_batch(QueueUrl=self._url(queue), Entries=entries)  # type: ignore[arg-type]

    def unread(self, queue: str) -> int:
        """Return SQS's approximate count of visible messages."""
        return int(self.attributes(queue, ["ApproximateNumberOfMessages"])["ApproximateNumberOfMessages"])

    def attributes(self, queue: str, names: Iterable[str]) -> dict[str, str]:
        """Return what SQS keeps of a queue under these names, as texts; what is not set is left out."""
        wanted: Any = list(names)
        with translated(queue):
            answer = self._sqs.get_queue_attributes(QueueUrl=self._url(queue), AttributeNames=wanted)
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}

    @property
    def _sns(self) -> SNSClient:
        # A caller that only sends directly never needs SNS; making a client costs about 50 ms.
        if self._lazy_sns is None:
            self._lazy_sns = self._aws.client("sns", connections=self._connections)
        return self._lazy_sns

    def _create(self, queue: str, attributes: Mapping[str, str], tags: Mapping[str, str] | None = None) -> None:
        with translated(queue):
            try:
                tagged: Any = {"tags": tags} if tags else {}
                made = self._sqs.create_queue(QueueName=queue, Attributes=attributes, **tagged)  # type: ignore[arg-type]
                url = made["QueueUrl"]
            except self._sqs.exceptions.QueueNameExists:
                # It is there with other attributes: an older version of us made it.
                url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
                self._sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)  # type: ignore[arg-type]
        self._base = url.rpartition("/")[0]

    def _find_prepared(self, queue: str, denied: Forbidden) -> None:
        """Go on with a queue that is there, noting what cannot be seen or is not as it should be; else raise."""
        try:
            with translated(queue):
                url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        except (Forbidden, NotFound):
            raise Forbidden(
                f"{denied}: nor is the queue prepared: 'crpc setup --node IDENTITY' makes it, or allow "
                "sqs:CreateQueue, sqs:TagQueue, sqs:SetQueueAttributes, sqs:GetQueueUrl and sns:Subscribe"
            ) from None
        self._base = url.rpartition("/")[0]
        error = f"{denied}: the queue is taken as it was prepared; whether it is subscribed cannot be seen from here"
        log.info("queue.prepared", extra={"queue": queue, "error": error})
        self._compare(queue)

    def _compare(self, queue: str) -> None:
        """Warn of a prepared queue's attributes that are not ours, as far as we may see them."""
        try:
            found = self.attributes(queue, NODE_ATTRIBUTES)
        except Forbidden:
            return
        if wrong := differences(found):
            error = f"{', '.join(wrong)}: 'crpc setup --node IDENTITY' mends it"
            log.warning("queue.attributes", extra={"queue": queue, "error": error})

    def _allow(self, queue: str, topic: str) -> None:
        policy = json.dumps(queue_policy(self._account(queue), queue, topic))
        with translated(queue):
            self._sqs.set_queue_attributes(QueueUrl=self._url(queue), Attributes={"Policy": policy})

    def _subscribe(self, queue: str, topic: str) -> None:
        account = self._account(queue)
        with translated(topic):
            self._sns.subscribe(
                TopicArn=account.arn("sns", topic),
                Protocol="sqs",
                Endpoint=account.arn("sqs", queue),
                Attributes={"RawMessageDelivery": "true"},
            )

    def _url(self, queue: str) -> str:
        if self._base is None:
            with translated(queue):
                self._base = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"].rpartition("/")[0]
        return f"{self._base}/{queue}"

    def _account(self, queue: str) -> Account:
        """Return the account that we are in: every queue's URL tells its number."""
        return Account(self._sqs.meta.partition, self._sqs.meta.region_name, number_in(self._url(queue)))


def differences(found: Mapping[str, str]) -> list[str]:
    """Return what of a node queue's attributes is not as it should be, in words."""
    return [
        f"{name} is {found.get(name)}, not {ours}" for name, ours in NODE_ATTRIBUTES.items() if found.get(name) != ours
    ]


def _check_size(body: str, limit: int) -> None:
    size = len(body.encode())
    if size > limit:
        raise MessageTooLarge(size, limit)
