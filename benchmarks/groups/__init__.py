"""What a conversion for several mirrors at once is worth."""
