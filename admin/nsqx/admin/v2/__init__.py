"""The dashboard's own API, ``/api/v2``: its routes, shapes and description."""
