"""Rooms for evidence: what the project is measured on, apart from what it ships."""
