"""Pages, tables and figures made from what runs have saved."""
