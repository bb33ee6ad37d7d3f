"""Structured remote procedure calls to fleets of servers, over AWS SQS."""

import logging

# A library does not configure logging: without a handler of the application nothing is printed.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__version__ = "0.1.0"
