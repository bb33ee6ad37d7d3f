"""Structured remote procedure calls to fleets of servers, over AWS SQS."""

import logging
from pkgutil import extend_path

# Plone's packages share this name: those that another folder of `sys.path` has are found there.
__path__ = extend_path(__path__, __name__)

# The library configures no logging; without a handler of somebody's, it stays silent.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__version__ = "0.1.0"
