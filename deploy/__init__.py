"""What operators need, and the scripts that generate and check it."""
