"""Files in and out, with two promises: nothing in a file runs unless the user says so, and no file is half written."""
