"""Move messages over SQS and SNS. The only module that speaks to the two.

    node queue   CreateQueue ─ SetQueueAttributes (the topic may send) ─ Subscribe (raw delivery)
    reply queue  CreateQueue, once per caller slot
    URL          the queue's own from CreateQueue; any other by exchanging its last part, never looked up

Rules of the services are from the SQS and SNS developer guides.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.aws import AWS, LONGEST_POLL, translated
from collective.errors import MessageTooLarge, QueueNotFound
from collective.transport import (
    BATCH,
    BROADCAST_LIMIT,
    NODE_RETENTION,
    NODE_VISIBILITY,
    REPLY_RETENTION,
    REPLY_VISIBILITY,
    SEND_LIMIT,
    Delivery,
)

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

_SHORT_POLL_PAUSE = 0.1  # seconds between polls when less than a whole second of waiting is left


class SQSTransport:
    """SQS queues and an SNS topic, by boto3. Safe to share between up to `connections` threads."""

    def __init__(self, aws: AWS, connections: int = 10) -> None:
        self._aws = aws
        self._connections = connections
        self._sqs: SQSClient = aws.client("sqs", connections=connections)
        self._lazy_sns: SNSClient | None = None
        self._base: str | None = None  # what every queue's URL begins with

    def now(self) -> float:
        """Return the servers' time in Unix seconds."""
        return self._aws.now()

    def open_node(self, queue: str, topic: str) -> None:
        """Create a node's queue, allow the topic to send to it, and subscribe it."""
        self._create(queue, NODE_VISIBILITY, NODE_RETENTION)
        self._allow(queue, topic)
        try:
            self._subscribe(queue, topic)
        except QueueNotFound:
            with translated(topic):
                self._sns.create_topic(Name=topic)
            self._subscribe(queue, topic)

    def open_replies(self, queue: str, known: str | None = None) -> str:
        """Create a reply queue, or trust the URL that an earlier call returned for this endpoint and profile."""
        here = f"{self._sqs.meta.endpoint_url} {self._sqs.meta.region_name} "
        if known and known.startswith(here):
            self._base = known[len(here) :].rpartition("/")[0]
        else:
            self._create(queue, REPLY_VISIBILITY, REPLY_RETENTION)
        return here + self._url(queue)

    def send(self, queue: str, body: str) -> None:
        """Send one message to one queue (SendMessage)."""
        _check_size(body, SEND_LIMIT)
        with translated(queue):
            self._sqs.send_message(QueueUrl=self._url(queue), MessageBody=body)

    def broadcast(self, topic: str, body: str) -> None:
        """Send one message to every subscribed queue (one Publish)."""
        _check_size(body, BROADCAST_LIMIT)
        with translated(topic):
            self._sns.publish(TopicArn=self._arn("sns", topic), Message=body)

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
        with translated(queue):
            answer = self._sqs.get_queue_attributes(
                QueueUrl=self._url(queue), AttributeNames=["ApproximateNumberOfMessages"]
            )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    @property
    def _sns(self) -> SNSClient:
        # A caller that only sends directly never needs SNS; making a client costs about 50 ms.
        if self._lazy_sns is None:
            self._lazy_sns = self._aws.client("sns", connections=self._connections)
        return self._lazy_sns

    def _create(self, queue: str, visibility: int, retention: int) -> None:
        attributes = {"VisibilityTimeout": str(visibility), "MessageRetentionPeriod": str(retention)}
        with translated(queue):
            try:
                url = self._sqs.create_queue(QueueName=queue, Attributes=attributes)["QueueUrl"]  # type: ignore[arg-type]
            except self._sqs.exceptions.QueueNameExists:
                # It is there with other attributes: an older version of us made it.
                url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
                self._sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)  # type: ignore[arg-type]
        self._base = url.rpartition("/")[0]

    def _allow(self, queue: str, topic: str) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self._arn("sqs", queue),
            "Condition": {"ArnEquals": {"aws:SourceArn": self._arn("sns", topic)}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        with translated(queue):
            self._sqs.set_queue_attributes(QueueUrl=self._url(queue), Attributes={"Policy": policy})

    def _subscribe(self, queue: str, topic: str) -> None:
        with translated(topic):
            self._sns.subscribe(
                TopicArn=self._arn("sns", topic),
                Protocol="sqs",
                Endpoint=self._arn("sqs", queue),
                Attributes={"RawMessageDelivery": "true"},
            )

    def _url(self, queue: str) -> str:
        if self._base is None:
            with translated(queue):
                self._base = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"].rpartition("/")[0]
        return f"{self._base}/{queue}"

    def _arn(self, service: str, name: str) -> str:
        """Return the ARN of a queue or topic of our account, whose number is a part of every queue's URL."""
        account = self._url(name).split("/")[-2]
        return f"arn:{self._sqs.meta.partition}:{service}:{self._sqs.meta.region_name}:{account}:{name}"


def _check_size(body: str, limit: int) -> None:
    size = len(body.encode())
    if size > limit:
        raise MessageTooLarge(size, limit)
