"""A small program with the names and the call order of an M3DM checkout, in variants that users' checkouts have.

We wrote it ourselves. It needs only numpy: "patches" are small random maps, "banks" are constants. Its command

    python main.py [--method_name NAME] [--scoring NAME] [--dump FILE]

takes a fraction of a second. It appends the three result tables in results/. With --dump it saves the inputs of the
metrics.
"""

from pathlib import Path

MAIN = """\
import argparse

import numpy as np

from m3dm_runner import M3DM
from dataset import mvtec3d_classes

HEADINGS = {"image": "Image ROCAUC Results", "pixel": "Pixel ROCAUC Results", "aupro": "AU PRO Results"}


def run_all(args):
    rows, dump = {key: [] for key in HEADINGS}, {}
    for name in mvtec3d_classes():
        runner = M3DM(args)
        runner.fit(name)
        for key, value in zip(rows, runner.evaluate(name)):
            rows[key].append(round(float(value), 3))
        dump.update({name + "/" + key: value for key, value in runner.dump().items()})
    for key, values in rows.items():
        titles = ["Method"] + [name.title() for name in mvtec3d_classes()] + ["Mean"]
        cells = [args.method_name] + ["%.3f" % v for v in values] + ["%.3f" % np.mean(values)]
        text = "".join("| " + " | ".join(line) + " |\\n" for line in (titles, ["---"] * len(titles), cells))
        print(HEADINGS[key] + "\\n" + text)
        file = {"image": "image_rocauc", "pixel": "pixel_rocauc", "aupro": "aupro"}[key]
        with open("results/" + file + "_results.md", "a") as table:
            table.write(HEADINGS[key] + "\\n\\n" + text + "\\n\\n")
    if args.dump:
        np.savez(args.dump, **dump)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="anomaly detection")
    parser.add_argument("--method_name", default="DINO+Point_MAE+Fusion", type=str,
                        choices=["DINO", "DINO+Point_MAE", "DINO+Point_MAE+Fusion"])
    parser.add_argument("--dump", default=None)
    args = parser.parse_args()
    run_all(args)
"""

RUNNER = """\
from dataset import get_data_loader
from feature_extractors.multiple_features import DoubleRGBPointFeatures, RGBFeatures, TripleFeatures


class M3DM():
    def __init__(self, args):
        self.args = args
        kinds = {"DINO": RGBFeatures, "DINO+Point_MAE": DoubleRGBPointFeatures, "DINO+Point_MAE+Fusion": TripleFeatures}
        self.methods = {args.method_name: kinds[args.method_name](args)}

    def fit(self, class_name):
        for name, method in self.methods.items():
            for sample, _, _ in get_data_loader("train", class_name):
                method.add_sample_to_late_fusion_mem_bank(sample)
            method.run_late_fusion()

    def evaluate(self, class_name):
        for name, method in self.methods.items():
            for sample, mask, label in get_data_loader("test", class_name):
                method.predict(sample, mask, label)
            method.calculate_metrics()
            return method.image_rocauc, method.pixel_rocauc, method.au_pro

    def dump(self):
        method = list(self.methods.values())[0]
        return {"image_preds": method.image_preds, "pixel_preds": method.pixel_preds, "predictions": method.predictions,
                "gts": method.gts, "labels": method.image_labels, "seen": method.seen}
"""

DATASET = '''\
import zlib

import numpy as np

SIZE = 24


def mvtec3d_classes():
    return ["bagel", "cable_gland"]


def get_data_loader(split, class_name):
    """(three maps [SIZE, SIZE], mask [1, SIZE, SIZE], label [1]) of each part; every second test part has a bump."""
    rng = np.random.RandomState(zlib.crc32((split + class_name).encode()) % 1000)
    for i in range(5 if split == "train" else 12):
        maps = rng.gamma(2.0, size=(3, SIZE, SIZE)).astype(np.float32)
        mask = np.zeros((1, SIZE, SIZE), np.float32)
        if split == "test" and i % 2:
            mask[0, 4:9, 6:12] = 1
            maps[i % 3] += 1.5 * mask[0]
        yield maps, mask, np.array([int(mask.any())])
'''

FEATURES = """\
import numpy as np


def roc_auc(labels, values):
    order = np.argsort(values, kind="mergesort")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    positive = np.asarray(labels)[...] > 0.5
    n = positive.sum()
    return (ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(order) - n))


class Features(object):
    def __init__(self, args):
        self.args = args
        self.image_preds, self.image_labels = list(), list()
        self.pixel_preds, self.pixel_labels = list(), list()
        self.predictions, self.gts = [], []
        self.seen, self.fused = [], []
        self.image_rocauc = self.pixel_rocauc = self.au_pro = 0

    def compute_single_s_s_map(self, patch, dist, feature_map_dims, modal='xyz'):
        s_map = dist[None] * {'xyz': 2.0, 'rgb': 3.0, 'fusion': 1.0}[modal]
        return s_map.max(), s_map

    def run_late_fusion(self):
        self.mean = np.mean(self.fused, axis=0)

    def calculate_metrics(self):
        self.image_preds = np.stack(self.image_preds)
        self.image_labels = np.stack(self.image_labels)
        self.pixel_preds = np.array(self.pixel_preds)
        self.image_rocauc = roc_auc(self.image_labels[:, 0], self.image_preds[:, 0])
        self.pixel_rocauc = roc_auc(self.pixel_labels, self.pixel_preds)
        per_part = [roc_auc(gt.flatten(), pred.flatten()) for gt, pred in zip(self.gts, self.predictions) if gt.any()]
        self.au_pro = np.mean(per_part)
"""

MULTIPLE = '''\
import numpy as np

from feature_extractors.features import Features


class RGBFeatures(Features):
    def predict(self, sample, mask, label):
        self.compute_s_s_map(sample[1], mask, label)

    def add_sample_to_late_fusion_mem_bank(self, sample):
        self.fused.append([0.0])

    def compute_s_s_map(self, patch, mask, label):
        s, s_map = self.compute_single_s_s_map(patch, patch, (24, 24), modal='rgb')
        append_all(self, np.array([s]), s_map[0], mask, label)


class DoubleRGBPointFeatures(Features):
    def predict(self, sample, mask, label):
        self.compute_s_s_map(sample[0], sample[1], mask, label)

    def add_sample_to_late_fusion_mem_bank(self, sample):
        self.fused.append([0.0])

    def compute_s_s_map(self, xyz_patch, rgb_patch, mask, label):
        s_xyz, s_map_xyz = self.compute_single_s_s_map(xyz_patch, xyz_patch, (24, 24), modal='xyz')
        s_rgb, s_map_rgb = self.compute_single_s_s_map(rgb_patch, rgb_patch, (24, 24), modal='rgb')
        append_all(self, np.array([s_xyz + s_rgb]), (s_map_xyz + s_map_rgb)[0], mask, label)


class TripleFeatures(Features):
    """The full setting."""

    def add_sample_to_late_fusion_mem_bank(self, sample):
        xyz_patch, rgb_patch, fusion_patch = sample
        # the same names as below
        s_xyz, s_map_xyz = self.compute_single_s_s_map(xyz_patch, xyz_patch, (24, 24), modal='xyz')
        s_rgb, s_map_rgb = self.compute_single_s_s_map(rgb_patch, rgb_patch, (24, 24), modal='rgb')
        s_fusion, s_map_fusion = self.compute_single_s_s_map(fusion_patch, fusion_patch, (24, 24), modal='fusion')
        self.fused.append([s_xyz, s_rgb, s_fusion])

    def predict(self, sample, mask, label):
        xyz_patch, rgb_patch, fusion_patch = sample
        self.compute_s_s_map(xyz_patch, rgb_patch, fusion_patch, (24, 24), mask, label)

    def compute_s_s_map(self, xyz_patch, rgb_patch, fusion_patch, feature_map_dims, mask, label):
        \'\'\'image_preds, predictions: one entry per part\'\'\'
        s_xyz, s_map_xyz = self.compute_single_s_s_map(xyz_patch, xyz_patch, feature_map_dims, modal='xyz')
        s_rgb, s_map_rgb = self.compute_single_s_s_map(rgb_patch, rgb_patch, feature_map_dims, modal='rgb')
        s_fusion, s_map_fusion = self.compute_single_s_s_map(fusion_patch, fusion_patch, feature_map_dims, \
modal='fusion')

        self.seen.append(np.stack([np.array(m[0]) for m in (s_map_rgb, s_map_xyz, s_map_fusion)]))
        s = np.array([[s_xyz, 0.1 * s_rgb, s_fusion]])
        s_map = 1.0 * s_map_xyz + 0.1 * s_map_rgb + s_map_fusion
        s_map_rgb *= 0
        s = s @ (1 / self.mean)
        append_all(self, s, s_map[0], mask, label)


def append_all(method, s, s_map, mask, label):
    method.image_preds.append(s)
    method.image_labels.append(label)
    method.pixel_preds.extend(s_map.flatten().tolist())
    method.pixel_labels.extend(mask.flatten().tolist())
    method.predictions.append(s_map)
    method.gts.append(mask[0])
'''

TREE = {
    "main.py": MAIN,
    "m3dm_runner.py": RUNNER,
    "dataset.py": DATASET,
    "feature_extractors/features.py": FEATURES,
    "feature_extractors/multiple_features.py": MULTIPLE,
    "README.md": "A checkout.\n",
}
FULL, BASE = "feature_extractors/multiple_features.py", "feature_extractors/features.py"
CALL = "self.compute_single_s_s_map"
RGB_CALL = f"s_rgb, s_map_rgb = {CALL}(rgb_patch, rgb_patch, feature_map_dims, modal='rgb')"
PARSE = "args = parser.parse_args()"


def edited(changes):
    """{path: text} of the tree after ``changes`` {path: [(old, new)]}; each old text must occur."""
    files = dict(TREE)
    for path, pairs in changes.items():
        for old, new in pairs:
            assert old in files[path], (path, old)
            files[path] = files[path].replace(old, new)
    return files


def moved():
    """The full setting's class in a module and folder of its own."""
    start, end = MULTIPLE.index("class TripleFeatures"), MULTIPLE.index("def append_all")
    files = edited({"m3dm_runner.py": [(", TripleFeatures", "\nfrom my_methods.deep import triple")]})
    files["m3dm_runner.py"] = files["m3dm_runner.py"].replace(": TripleFeatures", ": triple.TripleFeatures")
    files[FULL] = MULTIPLE[:start] + MULTIPLE[end:]
    files["my_methods/deep/triple.py"] = (
        "import numpy as np\nfrom feature_extractors import features as f\n"
        "from feature_extractors.multiple_features import append_all\n\n\n"
        + MULTIPLE[start:end].replace("(Features)", "(f.Features)")
    )
    return files


def black():
    """A tree with one argument per line, double quotes, type hints and other names of locals."""
    names = {
        "s_xyz, s_map_xyz": "score_a, map_a",
        "s_rgb, s_map_rgb": "score_b, map_b",
        "s_fusion, s_map_fusion": "score_c, map_c",
    }
    pairs = []
    for old, new in names.items():
        modal = old[2:].split(",")[0]
        call = f"{CALL}({modal}_patch, {modal}_patch, feature_map_dims, modal='{modal}')"
        pairs.append(
            (
                f"{old} = {call}",
                f"{new} = {CALL}(\n            {modal}_patch,\n            {modal}_patch,\n"
                f"            feature_map_dims,\n"
                f'            modal="{modal}",\n        )  # of one bank',
            )
        )
    pairs += [
        ("(s_map_rgb, s_map_xyz, s_map_fusion)", "(map_b, map_a, map_c)"),
        ("[s_xyz, 0.1 * s_rgb, s_fusion]", "[score_a, 0.1 * score_b, score_c]"),
        ("1.0 * s_map_xyz + 0.1 * s_map_rgb + s_map_fusion", "1.0 * map_a + 0.1 * map_b + map_c"),
        ("s_map_rgb *= 0", "map_b *= 0"),
        (
            "def predict(self, sample, mask, label):",
            "def predict(self, sample: tuple, mask, label: 'np.ndarray') -> None:",
        ),
    ]
    return edited(
        {FULL: pairs, BASE: [("def calculate_metrics(self):", "def calculate_metrics(\n        self,\n    ) -> None:")]}
    )


def unpacked():
    """A tree with results as tuples, ``modal`` as positional argument, code under a context manager and a decorator,
    and maps in other variables."""
    with_block = "        with open(__file__):\n            "
    return edited(
        {
            FULL: [
                (
                    "        s_xyz, s_map_xyz = " + f"{CALL}(xyz_patch, xyz_patch, feature_map_dims, modal='xyz')",
                    with_block + f"of_xyz = {CALL}(xyz_patch, xyz_patch, feature_map_dims, 'xyz')",
                ),
                ("        " + RGB_CALL, with_block + f"of_rgb = {CALL}(rgb_patch, rgb_patch, feature_map_dims, 'rgb')"),
                (
                    "        s_fusion, s_map_fusion = "
                    + f"{CALL}(fusion_patch, fusion_patch, feature_map_dims, modal='fusion')\n",
                    with_block + f"of_fusion = {CALL}(fusion_patch, fusion_patch, feature_map_dims, 'fusion')\n"
                    "        (s_xyz, s_map_xyz), (s_rgb, s_map_rgb), (s_fusion, s_map_fusion) = of_xyz, "
                    "of_rgb, of_fusion\n",
                ),
                (
                    "    def compute_s_s_map(self, xyz_patch, rgb_patch, fusion_patch,",
                    "    @plain\n    def compute_s_s_map(self, xyz_patch, rgb_patch, fusion_patch,",
                ),
                ("class RGBFeatures", "def plain(function):\n    return function\n\n\nclass RGBFeatures"),
            ]
        }
    )


def docstrings():
    return edited(
        {
            BASE: [
                (
                    "    def calculate_metrics(self):\n",
                    '    def calculate_metrics(self):\n        """Three metrics."""\n        # in this order\n',
                )
            ],
            "main.py": [
                ("import argparse\n", '"""Runs."""\nfrom __future__ import annotations\nimport argparse\n'),
                (PARSE, "args, _ = parser.parse_known_args()"),
            ],
            FULL: [("import numpy as np\n", "from __future__ import annotations\nimport numpy as np\n")],
        }
    )


def function_parser(use):
    """A tree whose main.py makes the parser in a function ``get_parser``; ``use``: the code that parses."""
    return edited(
        {
            "main.py": [
                ('if __name__ == "__main__":\n    parser', "def get_parser():\n    parser"),
                (
                    f"    {PARSE}\n    run_all(args)",
                    f'    return parser\n\n\nif __name__ == "__main__":\n    {use}\n    run_all(args)',
                ),
            ]
        }
    )


def options_module():
    """A tree whose command line is built and parsed in a separate module."""
    start, end = MAIN.index("    parser = "), MAIN.index("    args = parser")
    files = edited(
        {
            "main.py": [
                ("import argparse\n", "from options.command_line import read_options\n"),
                (PARSE, "args = read_options()"),
            ]
        }
    )
    files["main.py"] = files["main.py"].replace(MAIN[start:end], "")
    files["options/command_line.py"] = (
        "import argparse\n\n\ndef read_options():\n" + MAIN[start:end] + "    return parser.parse_args()\n"
    )
    return files


def subclassed(method=""):
    """A tree with a user's class derived from the full setting; ``method``: source of a method to add to it."""
    files = edited({"m3dm_runner.py": [(": TripleFeatures}", ": Mine}"), ("import Double", "import Mine, Double")]})
    files[FULL] += "\n\nclass Mine(TripleFeatures):\n    colour = 'blue'\n" + method
    return files


OVERRIDE = "\n    def calculate_metrics(self):\n        super().calculate_metrics()\n"
UNRELATED = "\n\nclass Meter:\n    def calculate_metrics(self):\n        return 0\n"
# code that the patch accepts


def write_tree(folder, files):
    """Write ``files`` {path: text} into ``folder``; as latin-1 if a text begins with that coding cookie, else UTF-8."""
    for path, text in files.items():
        path = Path(folder) / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("latin-1" if text.startswith("# -*- coding: latin-1") else "utf-8"))
    (Path(folder) / "results").mkdir(exist_ok=True)
    return Path(folder)
