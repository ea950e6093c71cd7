"""The loop around the steps, and what it runs on."""
