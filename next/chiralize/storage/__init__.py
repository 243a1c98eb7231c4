"""Files in and out. Nothing in a file runs, and no file is half written."""
