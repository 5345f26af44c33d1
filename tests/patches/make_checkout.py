"""A small program with the names and the call order of an M3DM checkout, in the shapes that public forks have.

We wrote it ourselves. It needs only numpy; "banks" are constants and maps follow from the sample's pixels. Its command

    python main.py [--method_name NAME] [--scoring NAME] [--dump FILE]

takes a fraction of a second and appends the three result tables in results/, without a line end, as the release does.
With --dump it saves what each call of ``calculate_metrics`` worked on.
"""

import textwrap

MAIN = """\
import argparse

import numpy as np

from m3dm_runner import M3DM
from dataset import mvtec3d_classes


def run_all(args):
    tables, dump = {"image_rocauc": [], "pixel_rocauc": [], "aupro": []}, {}
    for name in mvtec3d_classes():
        runner = M3DM(args)
        runner.fit(name)
        for values, value in zip(tables.values(), runner.evaluate(name)):
            values.append(round(float(value), 3))
        dump.update({name + "/" + key: value for key, value in runner.dump().items()})
    for key, values in tables.items():
        text = " | ".join([args.method_name] + ["%.3f" % value for value in values])
        print(text)
        with open("results/" + key + "_results.md", "a") as table:
            table.write(text)
    if args.dump:
        np.savez(args.dump, **dump)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="anomaly detection")
    parser.add_argument("--method_name", default="DINO+Point_MAE+Fusion", type=str, choices=[
        "DINO", "DINO+Point_MAE", "DINO+Point_MAE+Fusion"])
    parser.add_argument("--dump", default=None)
    args = parser.parse_args()
    run_all(args)
"""

RUNNER = """\
from feature_extractors import multiple_features

from dataset import get_data_loader


class M3DM():
    def __init__(self, args):
        self.args = args
        if args.method_name == "DINO":
            self.methods = {"DINO": multiple_features.RGBFeatures(args)}
        elif args.method_name == "DINO+Point_MAE":
            self.methods = {"DINO+Point_MAE": multiple_features.DoubleRGBPointFeatures(args)}
        elif args.method_name == "DINO+Point_MAE+Fusion":
            self.methods = {"DINO+Point_MAE+Fusion": multiple_features.TripleFeatures(args)}

    def fit(self, class_name):
        print("fitting", class_name)
        for sample, _ in get_data_loader("train", class_name=class_name, img_size=24):
            for method in self.methods.values():
                method.add_sample_to_mem_bank(sample)
        for sample, _ in get_data_loader("train", class_name=class_name, img_size=24):
            for method in self.methods.values():
                method.add_sample_to_late_fusion_mem_bank(sample)

    def evaluate(self, class_name):
        test_loader = get_data_loader("test", class_name=class_name, img_size=24)
        for sample, mask, label, rgb_path in test_loader:
            for method in self.methods.values():
                method.predict(sample, mask, label)
        for method_name, method in self.methods.items():
            method.calculate_metrics()
            print(class_name, method.image_rocauc, method.pixel_rocauc, method.au_pro)
        return method.image_rocauc, method.pixel_rocauc, method.au_pro

    def dump(self):
        return list(self.methods.values())[0].log
"""

DATASET = '''\
import zlib

import numpy as np

def mvtec3d_classes():
    return ["bagel", "cable_gland"]


def get_data_loader(split, class_name, img_size, defect=""):
    """((rgb, xyz, depth [1, 3, S, S]), label) of each part, for tests with mask and path; half are defective."""
    rng, items = np.random.RandomState(zlib.crc32((split + class_name + defect).encode()) % 1000), []
    for i in range(3 if split == "train" else 8):
        rgb, xyz = rng.gamma(2.0, size=(2, 1, 3, img_size, img_size)).astype(np.float32)
        mask = np.zeros((1, 1, img_size, img_size), np.float32)
        if split == "test" and i % 2:
            mask[0, 0, 4:9, 6:12] = 1
            (rgb if i % 4 == 1 else xyz)[:] += 1.5 * mask[0, 0]
        sample, label = (rgb, xyz, xyz), np.array([int(mask.any())])
        items.append((sample, label) if split == "train" else (sample, mask, label, ["%03d.png" % i]))
    return items
'''

FEATURES = """\
import numpy as np


def roc_auc_score(labels, values):
    values, defective = np.ravel(values), np.ravel(labels) > 0.5
    return np.mean(values[defective][:, None] > values[~defective][::7])


def calculate_au_pro(gts, predictions):
    return np.mean([roc_auc_score(gt, pred) for gt, pred in zip(gts, predictions) if gt.any()]), None


class Features(object):
    def __init__(self, args):
        self.args = args
        self.image_preds = list()
        self.image_labels = list()
        self.pixel_preds = list()
        self.pixel_labels = list()
        self.gts = []
        self.predictions = []
        self.seen, self.log, self.fused, self.total = [], {}, [], 0

    def patches(self, sample):
        rgb, xyz = (np.abs(np.asarray(of, dtype=np.float32)[0]).mean(0) for of in sample[:2])
        return xyz, rgb, xyz * rgb

    def add_sample_to_mem_bank(self, sample):
        self.patches(sample)

    def compute_single_s_s_map(self, patch, dist, feature_map_dims, modal='xyz'):
        s_map = dist[None] * {'xyz': 2.0, 'rgb': 3.0, 'fusion': 1.0, 'ps': 4.0}[modal]
        return s_map.max(), s_map

    def keep(self, s, s_map, mask, label):
        self.total += 1
        self.image_preds.append(np.array([s]))
        self.image_labels.append(np.asarray(label))
        self.pixel_preds.extend(s_map.flatten().tolist())
        self.pixel_labels.extend(np.asarray(mask).flatten().tolist())
        self.predictions.append(s_map[0])
        self.gts.append(np.asarray(mask)[0, 0])

    def calculate_metrics(self):
        self.image_preds = np.stack(self.image_preds)
        self.image_labels = np.stack(self.image_labels)
        self.pixel_preds = np.array(self.pixel_preds)

        self.image_rocauc = roc_auc_score(self.image_labels, self.image_preds)
        self.pixel_rocauc = roc_auc_score(self.pixel_labels, self.pixel_preds)
        self.au_pro, _ = calculate_au_pro(self.gts, self.predictions)
        self.write_log()

    def write_log(self):
        of = {"image": self.image_preds, "pixel": self.pixel_preds, "maps": self.predictions, "seen": self.seen}
        of["total"], of["metrics"] = self.total, [self.image_rocauc, self.pixel_rocauc, self.au_pro]
        n = len(self.log) // len(of)
        self.log.update({str(n) + "/" + key: np.array(value) for key, value in of.items()})
"""

MULTIPLE = '''\
import numpy as np

from feature_extractors.features import Features


class RGBFeatures(Features):
    def add_sample_to_late_fusion_mem_bank(self, sample):
        pass

    def predict(self, sample, mask, label):
        s, s_map = self.compute_single_s_s_map(None, self.patches(sample)[1], (24, 24), modal='rgb')
        self.keep(s, s_map, mask, label)


class DoubleRGBPointFeatures(Features):
    def add_sample_to_late_fusion_mem_bank(self, sample):
        xyz_patch, rgb_patch, _ = self.patches(sample)
        s_xyz, s_map_xyz = self.compute_single_s_s_map(xyz_patch, xyz_patch, (24, 24), modal='xyz')
        s_rgb, s_map_rgb = self.compute_single_s_s_map(rgb_patch, rgb_patch, (24, 24), modal='rgb')
        self.fused.append([s_xyz, s_rgb])

    def predict(self, sample, mask, label):
        xyz_patch, rgb_patch, _ = self.patches(sample)
        self.compute_s_s_map(xyz_patch, rgb_patch, (24, 24), mask, label)

    def compute_s_s_map(self, xyz_patch, rgb_patch, feature_map_dims, mask, label):
        s_xyz, s_map_xyz = self.compute_single_s_s_map(xyz_patch, xyz_patch, feature_map_dims, modal='xyz')
        s_rgb, s_map_rgb = self.compute_single_s_s_map(rgb_patch, rgb_patch, feature_map_dims, modal='rgb')
        self.seen.append(np.concatenate([s_map_rgb, s_map_xyz, 0 * s_map_xyz]))
        self.keep(s_xyz + s_rgb, s_map_xyz + s_map_rgb, mask, label)


class TripleFeatures(Features):
    """The full setting."""

    def add_sample_to_late_fusion_mem_bank(self, sample):
        xyz_patch, rgb_patch, fusion_patch = self.patches(sample)
        # the same names as below
        s_xyz, s_map_xyz = self.compute_single_s_s_map(xyz_patch, xyz_patch, (24, 24), modal='xyz')
        s_rgb, s_map_rgb = self.compute_single_s_s_map(rgb_patch, rgb_patch, (24, 24), modal='rgb')
        s_fusion, s_map_fusion = self.compute_single_s_s_map(fusion_patch, fusion_patch, (24, 24), modal='fusion')
        self.fused.append([s_xyz, s_rgb, s_fusion])

    def predict(self, sample, mask, label):
        xyz_patch, rgb_patch, fusion_patch = self.patches(sample)
        self.compute_s_s_map(xyz_patch, rgb_patch, fusion_patch, (24, 24), mask, label)

    def compute_s_s_map(self, xyz_patch, rgb_patch, fusion_patch, feature_map_dims, mask, label):
        \'\'\'one entry per part\'\'\'
        s_xyz, s_map_xyz = self.compute_single_s_s_map(xyz_patch, xyz_patch, feature_map_dims, modal='xyz')
        s_rgb, s_map_rgb = self.compute_single_s_s_map(rgb_patch, rgb_patch, feature_map_dims, modal='rgb')
        s_fusion, s_map_fusion = self.compute_single_s_s_map(fusion_patch, fusion_patch, feature_map_dims, \
modal='fusion')

        self.seen.append(np.concatenate([s_map_rgb, s_map_xyz, s_map_fusion]))
        s = s_xyz + 0.1 * s_rgb + s_fusion
        s_map = 1.0 * s_map_xyz + 0.1 * s_map_rgb + s_map_fusion
        s_map_rgb *= 0
        self.keep(s, s_map, mask, label)
'''

BASE, FULL, RUN = "feature_extractors/features.py", "feature_extractors/multiple_features.py", "m3dm_runner.py"
TREE = {
    "main.py": MAIN,
    RUN: RUNNER,
    "dataset.py": DATASET,
    BASE: FEATURES,
    FULL: MULTIPLE,
    "README.md": "A checkout.\n",
}
CALL = "self.compute_single_s_s_map"
CHOICES = """, choices=[
        "DINO", "DINO+Point_MAE", "DINO+Point_MAE+Fusion"]"""
RGB_CALL = f"s_rgb, s_map_rgb = {CALL}(rgb_patch, rgb_patch, feature_map_dims, modal='rgb')"
PARSE = "args = parser.parse_args()"
TRIPLE = MULTIPLE[MULTIPLE.index("class TripleFeatures") :]
ONE = {**TREE, FULL: MULTIPLE[: MULTIPLE.index("class Double")] + TRIPLE}  # a single class that can be recorded
EMPTY_LISTS = "".join(
    f"        self.{name} = []\n"
    for name in ("image_preds", "image_labels", "pixel_preds", "pixel_labels", "gts", "predictions", "seen")
)


def edited(changes, files=TREE):
    """{path: text} after ``changes`` {path: [(old, new)]}; each old text must occur."""
    files = dict(files)
    for path, pairs in changes.items():
        for old, new in pairs:
            assert old in files[path], (path, old)
            files[path] = files[path].replace(old, new)
    return files


def rounds():
    """A runner that measures each kind of defect by itself, and lists that are emptied after the metrics."""
    start, end = RUNNER.index("        test_loader"), RUNNER.index("        return method.image")
    body = RUNNER[start:end].replace("class_name=class_name", "class_name=class_name, defect=defect_name")
    body = "        for defect_name in ['hole', 'crack', 'bent']:\n" + textwrap.indent(body, "    ")
    files = edited({BASE: [("        self.write_log()\n", "        self.write_log()\n" + EMPTY_LISTS)]})
    return {**files, RUN: RUNNER[:start] + body + RUNNER[end:]}


def cumulative():
    """Rounds whose lists grow, metrics of local copies, a call without new samples, one method for all categories."""
    local = "        image_preds, image_labels = np.stack(self.image_preds), np.stack(self.image_labels)\n"
    files = edited(
        {
            BASE: [
                ("        self.image_preds = np.stack(self.image_preds)\n        self.image_labels = np.stack("
                 "self.image_labels)\n        self.pixel_preds = np.array(self.pixel_preds)\n", local),
                ("roc_auc_score(self.image_labels, self.image_preds)", "roc_auc_score(image_labels, image_preds)"),
            ],
            RUN: [
                ("                method.calculate_metrics()\n", 2 * ("                method.calculate_metrics()\n")),
                ("self.methods = {\"DINO+Point_MAE+Fusion\": multiple_features.TripleFeatures(args)}",
                 "self.methods = M3DM.known = getattr(M3DM, \"known\", None) or "
                 "{\"DINO+Point_MAE+Fusion\": multiple_features.TripleFeatures(args)}"),
            ],
        },
        rounds(),
    )  # fmt: skip
    return edited({BASE: [(EMPTY_LISTS, "")]}, files)


def own_names():
    """Methods and an option of a fork's own: further classes, one of another base, one that inherits."""
    more = (
        TRIPLE.replace("TripleFeatures", "TripleFeatures_PS").replace("0.1 * s_map_rgb", "0.5 * s_map_rgb")
        + """

class Mine(TripleFeatures):
    colour = 'blue'


class Hiding(TripleFeatures):
    def compute_s_s_map(self, xyz_patch, rgb_patch, fusion_patch, dims, mask, label):
        self.keep(0.0, xyz_patch[None], mask, label)


class Separate(object):
    def __init__(self, args):
        self.args, self.predictions = args, []

    def calculate_metrics(self):
        self.image_rocauc = self.pixel_rocauc = self.au_pro = 0.5

    add_sample_to_mem_bank = add_sample_to_late_fusion_mem_bank = predict = print
"""
    )
    chain = "        elif args.method in dir(multiple_features):\n"
    chain += "            self.methods = {'x': getattr(multiple_features, args.method)(args)}\n"
    return edited(
        {
            "main.py": [("--method_name", "--method"), ("args.method_name", "args.method"), (CHOICES, "")],
            RUN: [("args.method_name", "args.method"), ("\n    def fit", chain + "\n    def fit")],
        },
        {**TREE, FULL: MULTIPLE + "\n\n" + more},
    )


def elsewhere():
    """A script of another name, the runner in a folder, a second script with options."""
    files = edited({"main.py": [("from m3dm_runner import", "from runners.hybrid import")]})
    files["Test.py"], files["runners/hybrid.py"] = files.pop("main.py"), files.pop(RUN)
    return {**files, "train_uff.py": "import argparse\nargparse.ArgumentParser().parse_args()\n"}


def black():
    """One argument per line, a type hint, a docstring, metrics that take arguments."""
    calls = [
        (
            f"feature_map_dims, modal='{modal}')",
            f"\n            feature_map_dims,\n            '{modal}',\n        )  # bank",
        )
        for modal in ("xyz", "rgb")
    ]
    return edited(
        {
            FULL: calls,
            BASE: [
                ("    def calculate_metrics(self):\n", "    def calculate_metrics(\n        self, path_list=None, "
                 'save=True\n    ) -> None:\n        """Three metrics."""\n'),
            ],
            RUN: [("method.calculate_metrics()", "method.calculate_metrics([rgb_path], save=False)")],
            "main.py": [("import argparse\n", '"""Runs."""\nfrom __future__ import annotations\nimport argparse\n')],
        }
    )  # fmt: skip


def in_a_loop():
    """The three maps in the body of a loop."""
    start = ONE[FULL].index("        s_xyz, s_map_xyz", ONE[FULL].index("one entry"))
    end = ONE[FULL].index("\n        self.seen", start)
    body = "        for scale in (1,):\n" + textwrap.indent(ONE[FULL][start:end], "    ")
    return {**ONE, FULL: ONE[FULL][:start] + body + ONE[FULL][end:]}


def lines_end(endings, files=TREE):
    """Each file's lines end in turn with one of ``endings``."""
    out = {}
    for path, text in files.items():
        lines = text.split("\n")
        out[path] = "".join(line + endings[i % len(endings)] for i, line in enumerate(lines[:-1])) + lines[-1]
    return out


def write_tree(folder, files):
    """Write {path: text}, with the encoding that its first line names; returns the folder."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        encoding = "latin-1" if "latin-1" in text.splitlines()[0] else "utf-8"
        (folder / path).write_bytes(text.encode(encoding))
    return folder
