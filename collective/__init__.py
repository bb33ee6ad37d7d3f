"""Structured remote procedure calls to fleets of servers, over AWS SQS."""

__version__ = "0.1.0"
