"""The lab's server: moto speaks SQS, SNS and DynamoDB on a free port of loopback.

python -m collective.lab.aws_server      prints its URL, then serves until its parent is gone
"""

from __future__ import annotations

import logging
import os
import signal
import sys

from collective.processes import die_with_parent


def main() -> None:
    """Serve; standard output has one line, the URL."""
    parent = os.getppid()
    die_with_parent(parent)
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
