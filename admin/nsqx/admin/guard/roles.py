"""What somebody may do in the dashboard, the least first."""

__all__ = ["ROLES"]

ROLES = ("viewer", "operator", "admin")
