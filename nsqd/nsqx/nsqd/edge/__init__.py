"""Where bytes meet the core: sockets, upgrades, files, the auth server. Decides nothing."""
