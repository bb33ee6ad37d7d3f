"""What the modules that use AWS share. Nothing is imported here: boto3 takes about 0.2 s, and not all of them need it.

| module | content |
| --- | --- |
| `session` | the boto3 session, its clients and the server's clock |
| `credentials` | credentials, resolved when a request is signed |
| `calls` | one deadline for each call |
| `responses` | the shapes of the responses |
| `errors` | botocore's errors as ours |
| `account` | account numbers and ARNs |
"""
