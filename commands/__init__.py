"""What people do besides `pulumi up`: one command a file, run as `python -m commands.NAME`."""
