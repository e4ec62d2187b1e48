"""Every parser of bytes, fed with what nobody should send or find: see `targets`."""
