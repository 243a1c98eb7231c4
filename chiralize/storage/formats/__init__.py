"""One file a format, with a record `FORMAT`; none of them imports torch before a file is loaded."""
