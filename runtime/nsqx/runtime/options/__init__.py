"""Options of a program: flags, environment and TOML file, from one dataclass."""
