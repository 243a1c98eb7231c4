"""What a command found: in words, as JSON, as JUnit."""
