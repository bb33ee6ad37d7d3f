"""The last module that the fork server imports: it exempts what is loaded by then from garbage collection.

A collection in a forked process would write to the memory that all of them share, and copy it.
"""

from __future__ import annotations

import gc

gc.freeze()
