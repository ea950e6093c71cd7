"""What only pictures are scored by."""
