"""What the modules that use AWS share. Nothing is imported here: botocore takes 0.1 s, and not all need it.

| module | content |
| --- | --- |
| `core_session` | a session like that of boto3, without what is not used here |
| `session` | the session, its clients and the server's clock |
| `credentials` | credentials, resolved when a request is signed |
| `calls` | one deadline for each call |
| `responses` | the shapes of the responses |
| `errors` | botocore's errors as ours |
| `account` | account numbers and ARNs |
"""
