"""The longer steps of the demo: each data set of the paper from its download to the tables, and a camera's recording.

``lab/demo.py --full`` runs them after the short steps and with the weights that those wrote."""

from lab.demo_step import Step, full_setting


def from_download_to_table(out):
    """Commands: generate small downloads, preprocess them, check, run, make tables and the report page."""
    downloads, sets = out / "downloads", out / "datasets"
    yield ["lab/make_downloads.py", downloads]
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


def from_camera_to_scores(out):
    """Commands: generate a camera's recording, import it, check it, and run with one memory bank."""
    recordings, mine = out / "recordings" / "depth_png", out / "datasets" / "mine"
    yield ["lab/make_camera.py", out / "recordings", "--kinds", "depth_png"]
    for folder, split in (("train_good", "train/good"), ("test_good", "test/good"), ("test_dent", "test/dent")):
        camera = ["--intrinsics", recordings / "camera.json", "--unit", "mm", "--remove_plane"]
        target = ["-o", mine, "--category", "knob", "--split", split]
        yield ["tools/import_parts.py", recordings / folder, *target, *camera]
    yield ["tools/check_dataset.py", mine]
    yield [
        "main.py",
        "--method_name",
        "Point_MAE",
        "--num_group",
        "64",
        "--group_size",
        "16",
        "--checkpoint_dir",
        out / "checkpoints",
        "--dataset_type",
        "folder",
        "--dataset_path",
        mine,
        "--output_dir",
        out / "results_mine",
    ]


FULL = [
    Step(
        "SMOKE TEST: your own camera, from a generated recording to scores; untrained weights, the scores mean "
        "nothing.",
        from_camera_to_scores,
        lambda out: f"The imported parts with a contact sheet are under {out}/datasets/mine.",
    ),
    Step(
        "SMOKE TEST: the paper's data sets, from small generated downloads to the tables; untrained weights, the "
        "scores mean nothing.",
        from_download_to_table,
        lambda out: (
            f"The paper's tables are under {out}/tables, a page to look at under {out}/report: untrained "
            "weights and generated parts, so they say nothing about M3DM."
        ),
    ),
]
