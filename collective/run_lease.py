"""How long a caller goes on with a shared run without a renewal of its lease; nothing is imported here."""

LEASE = 20.0  # seconds
RENEW = 5.0  # seconds between two renewals
