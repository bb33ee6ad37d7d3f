"""How long a machine keeps its place in a cluster without a renewal; nothing is imported here."""

RENEW = 5.0  # seconds between two renewals of a place
LEASE = 20.0  # seconds without a renewal after which another machine may begin in place of this one
RETURN = 12.0  # seconds without a renewal after which a machine takes its own place again
REPLACE_AFTER = 60.0  # seconds without a renewal after which a spare takes the place, by default
