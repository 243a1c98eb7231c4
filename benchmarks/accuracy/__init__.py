"""What a conversion costs in accuracy: ordinary networks trained on real motion capture, converted and compared."""
