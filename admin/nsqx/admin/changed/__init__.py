"""What the dashboard changes: plans, how they went, and who asked for it."""
