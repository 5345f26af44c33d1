"""Tests of the rooms in lab."""
