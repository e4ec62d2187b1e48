"""The pytest plugin. Installed with nsqx, so its import must cost next to nothing."""
