"""A whole collective on one machine: real daemons, and a server on loopback that speaks SQS, SNS and DynamoDB."""
