"""The commands of run.py: what each may be told and what it then calls. Nothing heavy is imported unless used."""
