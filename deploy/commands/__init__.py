"""The commands of `python -m deploy`: what each may be told and what it then calls. boto3 comes in only when used."""
