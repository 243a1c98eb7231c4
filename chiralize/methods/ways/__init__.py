"""One file a method, of its name, with a record `METHOD`."""
