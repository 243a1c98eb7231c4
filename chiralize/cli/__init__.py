"""The command line. Only this package prints: data to stdout, everything else to stderr."""
