"""lab/on_gpu.py: two devices measured in turn, and the page, which names what failed and what was left out."""

from lab import on_gpu
from lab.on_gpu import CPU, Row, both


def test_both_devices_take_turns_and_their_results_are_compared():
    called = []
    row = both(CPU, "sum", lambda on: called.append(on) or len(called), lambda a, b: (f"{a} and {b}", a == b))
    assert len(called) == 6 and row.note == "5 and 6" and not row.right and row.device >= 0


def broken(*_):
    yield Row("half", 1, 2, "", True)
    raise RuntimeError("out of memory, say")


def test_the_page_is_printed_and_names_what_failed_and_what_was_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(on_gpu, "Bench", lambda *_: None)
    page, words = tmp_path / "page.md", ["--device", "cpu", "--quiet", "-o"]
    for rows, code in (([Row("bank", 1, 3, "equal", True)], 0), ([Row("bank", 1, 3, "apart", False)], 1)):
        monkeypatch.setattr(on_gpu, "CHECKS", {"banks": lambda *_: rows})
        assert on_gpu.main([*words, str(page)]) == code and ("WRONG RESULT: apart" in page.read_text()) == code
    monkeypatch.setattr(on_gpu, "CHECKS", {"extraction": broken, "category": broken})
    assert on_gpu.main([*words, str(page)]) == 1
    text = page.read_text()
    assert text in capsys.readouterr().out
    assert text.count("| half ") == 2 and "category failed: RuntimeError: out of memory" in text
    monkeypatch.setattr(on_gpu, "SECONDS", -1)
    assert on_gpu.main([*words, str(page)]) == 1 and page.read_text().count("left out") == 2
