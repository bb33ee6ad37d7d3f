"""A valid request and reply for tests."""

from __future__ import annotations

from collective.filters import parse
from collective.messages import Reply, Request

REQUEST = Request(
    id="0123456789abcdef" * 2,
    collective="production",
    caller="alice@example.com",
    sender="laptop-7",
    agent="package",
    action="install",
    data={"package": "zsh"},
    targets=("web1.my.net",),
    filter=parse(with_fact=["role=web"]).to_data(),
    time=1789000000.123,
    ttl=60.0,
    timeout=180.0,
    reply_to="production_reply_alice-0",
)


REPLY = Reply(
    request=REQUEST.id,
    sender="web1.my.net",
    agent="package",
    action="install",
    statuscode=0,
    statusmsg="OK",
    data={"ensure": "5.9-4+b15"},
    time=1789000001.456,
    elapsed_ms=912.4,
)
