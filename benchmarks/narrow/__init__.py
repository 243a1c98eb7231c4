"""What a conversion is worth whose calibration inputs are of few kinds."""
