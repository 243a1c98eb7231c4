"""The order of the steps of every command."""
