"""The client within frameworks. Each module needs its own extra; see the README."""
