"""The dashboard: asks lookupds and nsqds anew for every request, and shows the whole."""
