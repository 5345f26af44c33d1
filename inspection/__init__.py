"""Fitted once, one part judged: model, gate, verdict, explanation."""
