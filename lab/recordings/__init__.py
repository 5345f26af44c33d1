"""Recordings: made-up industrial parts, delivered as a plant's RGB-D camera would, with defects that a person sees.

Nothing here knows how parts are judged. The parts are made up: they are no benchmark.
"""
