"""What `python -m service` can be asked to do: a module a command, each with `main(arguments) -> exit code`."""
