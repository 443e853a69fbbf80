"""The AWS services that cbr-sync calls, without boto3."""
