"""What the command prints: tables for people, JSON for programs."""

from speechbench.printing.base import boards, places

__all__ = ["boards", "places"]
