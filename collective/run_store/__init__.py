"""The record of a run that several callers share: its events, the lease, and the table in DynamoDB that holds them."""
