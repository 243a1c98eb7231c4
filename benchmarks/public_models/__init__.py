"""Public networks, fetched and built as their authors build them, converted and judged."""
