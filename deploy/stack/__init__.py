"""The CloudFormation stack: a bucket, a container repository and two roles."""
