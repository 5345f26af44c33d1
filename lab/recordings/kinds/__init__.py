"""The kinds of part, by what they are made of. ``KINDS``: by name."""

from lab.recordings.kinds import metal, moulded, natural

KINDS = {
    kind.name: kind
    for kind in (
        *(metal.HOUSING, metal.FLANGE, natural.BUN, metal.STAMPING),
        *(moulded.GASKET, natural.BOARD, moulded.CONNECTOR, moulded.TRAY),
    )
}
