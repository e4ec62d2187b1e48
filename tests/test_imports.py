"""Every module can be imported without a warning: with the oldest allowed versions, too."""

import importlib
import pkgutil
import warnings

import nsqx


def test_every_module_can_be_imported_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = [module.name for module in pkgutil.walk_packages(nsqx.__path__, "nsqx.")]
        for name in names:
            if not name.endswith(".__main__"):
                importlib.import_module(name)
    assert "nsqx.client.consumer" in names
    assert "nsqx.admin.known.collector" in names
