"""``python -m nsqx.apps``: the ``nsqx`` command where its script is not on the PATH."""

from nsqx.apps.cli import main

if __name__ == "__main__":
    main()
