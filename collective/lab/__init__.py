"""Run a whole collective on one machine: real daemons, and a local server for SQS, SNS and DynamoDB."""
