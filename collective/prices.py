"""What AWS charges for requests, and when a call sends messages to single nodes."""

from __future__ import annotations

from dataclasses import dataclass

USUALLY_DIRECT = 50  # nodes of a call, up to which it usually sends to each (`fleet/send_choice.py` decides)


@dataclass(frozen=True)
class Prices:
    """Prices in US dollars per million.

    They are of SQS requests, SNS requests, on-demand write and read units of DynamoDB, and reads of its streams.
    """

    region: str
    as_of: str
    sqs: float
    sns: float
    writes: float
    reads: float
    streams: float


# https://aws.amazon.com/sqs/pricing (standard queues, first 100 billion), /sns/pricing (standard topics) and
# /dynamodb/pricing/on-demand (standard table class; halved in November 2024; streams: $0.02 per 100,000 GetRecords).
US_EAST_1 = Prices("us-east-1", "2026-06", sqs=0.40, sns=0.50, writes=0.625, reads=0.125, streams=0.20)
