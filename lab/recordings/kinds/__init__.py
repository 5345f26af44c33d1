"""The kinds of part, one module each. ``KINDS``: by name."""

from lab.recordings.kinds import board, bun, connector, flange, gasket, housing, stamping, tray

KINDS = {m.KIND.name: m.KIND for m in (housing, flange, bun, stamping, gasket, board, connector, tray)}
