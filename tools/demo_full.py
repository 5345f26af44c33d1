"""The longer steps of the demo: each data set of the paper from its download to the tables. Run by
``tools/demo.py --full``, after the short ones, whose weights they use."""
from tools.demo_step import Step, full_setting


def from_download_to_table(out):
    """Commands: small generated downloads, preprocessing, check, run, tables, page."""
    downloads, sets = out / "downloads", out / "datasets"
    yield ["tools/make_downloads.py", downloads]
    yield ["utils/preprocessing.py", downloads / "mvtec3d", "-o", sets / "mvtec3d"]
    yield [
        "utils/preprocess_eyecandies.py",
        "--dataset_path",
        downloads / "eyecandies",
        "--target_dir",
        sets / "eyecandies",
    ]
    yield ["utils/preprocess_realiad_d3.py", downloads / "realiad_d3", "-o", sets / "realiad_d3"]
    maps = []
    for name, category in (("mvtec3d", "dowel"), ("eyecandies", "CandyCane"), ("realiad_d3", "knob-cap")):
        yield ["tools/check_dataset.py", sets / name, "--category", category]
        yield [
            *full_setting(out),
            "--f_coreset",
            "0.2",
            "--dataset_type",
            name,
            "--dataset_path",
            sets / name,
            "--category",
            category,
            "--output_dir",
            out / f"results_{name}",
            "--save_maps",
            out / "maps" / name,
        ]
        maps.append(out / "maps" / name)
    yield ["tools/rescore.py", *maps, "-o", out / "tables"]
    yield ["tools/report.py", maps[0], "-o", out / "report"]


FULL = [
    Step(
        "SMOKE TEST: the paper's data sets, from small generated downloads to the tables; untrained weights, the "
        "scores mean nothing.",
        from_download_to_table,
        lambda out: f"The paper's tables are under {out}/tables, a page to look at under {out}/report: untrained "
        "weights and generated parts, so they say nothing about M3DM.",
    ),
]
