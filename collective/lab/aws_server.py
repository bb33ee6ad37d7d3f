"""The lab's server: moto serves SQS, SNS and DynamoDB on a free loopback port.

`python -m collective.lab.aws_server` prints its URL, and serves until its parent process ends.
"""

from __future__ import annotations

import logging
import os
import signal
import sys

from collective.processes import die_with_parent


def main() -> None:
    """Print the URL and serve."""
    parent = os.getppid()
    die_with_parent(parent)
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise it logs every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
