"""Structured remote procedure calls to fleets of servers, over AWS SQS."""

import logging

# The library configures no logging; without a handler of somebody's, it stays silent.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__version__ = "0.1.0"
