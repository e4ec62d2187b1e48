"""
A real NSQ cluster within a test's process, on free ports, with faults on demand.

With pytest, the fixtures in ``nsqx.testing.plugin`` are there without an import. Otherwise::

    from nsqx.testing.cluster import Cluster

    with Cluster(nodes=3) as cluster:
        ...

This package is for tests only, and nothing else of ours imports it.
"""
