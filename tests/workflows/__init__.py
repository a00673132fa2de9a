"""Runs the workflows' steps here, as a runner of GitHub does, as far as they are commands and not actions."""
