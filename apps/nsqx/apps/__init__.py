"""The ``nsqx`` command: a local cluster, the daemons, and the tools around them."""
