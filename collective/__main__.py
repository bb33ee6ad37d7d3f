"""`python -m collective`: the same as `crpc`."""

import sys

from collective.clients.crpc import main

sys.exit(main())
