"""What the dashboard knows: daemons asked again and again, and what was."""
