"""Smoke test of a patched M3DM checkout: its own main.py, runner and classes, on the CPU, in about a minute.

    python selftest.py CHECKOUT [--main NAME] [--category NAME] [options of its main.py]

It works in a copy. A few generated samples take the place of the data, random features that of the networks (class
Model), empty modules that of CUDA packages that are not installed; everything else is the checkout's own code. Each
round of test samples is scored a second time, from what compute_single_s_s_map returned. With --category nothing is
replaced but the list of categories, so data and weights have to be at hand. Needs what the checkout needs. Exit code:
0 fine, 1 a difference, or it could not run.
"""

import argparse
import ast
import importlib.machinery
import importlib.util
import os
import re
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np

CATEGORIES = ("bagel", "cable_gland")
TRAIN, TEST, SIZE = 1, 3, 224  # parts, and pixels where the runner gives no img_size
NEEDED = ("numpy", "torch", "sklearn", "scipy", "pandas", "tabulate", "tqdm", "PIL")  # never replaced by empty modules
# options that keep it small, each used only if the checkout has it
SMALL = {"--f_coreset": "1", "--num_group": "64", "--group_size": "16", "--ocsvm_maxiter": "50", "--use_uff": None}
STUBS = "scoring_selftest_stubs"
REPLACED = re.compile(rb"^(?:def|class) (\w+_classes|get_data_loader|Model)\(", re.M)
WORKFLOW = """\
name: scoring add-on
on: [push, pull_request]
jobs:
  selftest:  # generated samples: no data, no weights, no GPU
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "3.10"}
      - run: pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu
      - run: pip install "numpy<2" scikit-learn scipy pandas tabulate tqdm pillow matplotlib timm
      - run: python .github/scoring_selftest.py . --main MAIN
  subset:  # one category of real data; set the repository variable on a runner that has data and weights
    if: vars.SCORING_CATEGORY != ''
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
        with: {clean: false}
      - run: >-
          python .github/scoring_selftest.py . --main MAIN --category "${{ vars.SCORING_CATEGORY }}"
          ${{ vars.SCORING_OPTIONS }}
"""


def workflow_files(root, entry):
    """{path: bytes} of the workflow and of the copy of this file that it runs."""
    folder = Path(root) / ".github"
    text = WORKFLOW.replace("MAIN", entry).encode()
    return {
        folder / "workflows" / "scoring_addon.yml": text,
        folder / "scoring_selftest.py": Path(__file__).read_bytes(),
    }


def run(root, entry, options, category="", changes=None):
    """Run a copy of a checkout, with the files ``changes`` {name: bytes}; returns (exit code, [line])."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        declared = b"".join(_copied(root, copy, category, changes or {}))
        if not category:
            small = {name: value for name, value in SMALL.items() if name.encode() in declared and name not in options}
            options = [*options, *(word for pair in small.items() for word in pair if word)]
        command = [sys.executable, "-B", os.path.abspath(__file__), "--inside", entry, category, *options]
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"), "MPLBACKEND": "Agg"}
        out = subprocess.run(command, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = out.stdout.decode("utf-8", "replace").splitlines()
    lines = [line.replace(STUBS + ": ", "") for line in text if line.startswith((STUBS + ": ", "error: "))]
    return min(out.returncode, 1), ["selftest: " + line for line in lines or text[-5:]]


def _copied(root, copy, category, changes):
    """Copy a checkout's Python files, with what is replaced in them, and link the rest; yields the files' bytes."""
    paths = [path.relative_to(root) for path in root.rglob("*.py")]
    hidden = [any(part[0] == "." or part == "site-packages" for part in path.parts) for path in paths]
    names = [path.as_posix() for path, skipped in zip(paths, hidden) if not skipped]
    for name in {**dict.fromkeys(names), **changes}:
        data = changes.get(name) or (root / name).read_bytes()
        yield data
        found = sorted(set(REPLACED.findall(data)))
        for of in found if not category else [of for of in found if of.endswith(b"_classes")]:
            kind = b"classes" if of.endswith(b"_classes") else of
            data += b"\nimport %s\n%s = %s.%s\n" % (STUBS.encode(), of, STUBS.encode(), kind)
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(data)
    for path in root.iterdir():
        if not (copy / path.name).exists() and path.name not in ("results", ".git"):
            (copy / path.name).symlink_to(path.resolve())
    (copy / "results").mkdir()


# ---------------------------------------------------------------- inside the process that runs main.py


def classes():
    """The categories that are run."""
    return list(CATEGORIES)


def get_data_loader(split, class_name, img_size=SIZE, *args, **kwargs):
    """Generated samples: ((rgb [1, 3, S, S], xyz [1, 3, S, S], depth), label), for tests with mask and path."""
    rng, train = np.random.RandomState(len(split + class_name)), split.startswith("train")
    tensor = getattr(sys.modules.get("torch"), "from_numpy", np.asarray)
    samples = []
    for i in range(TRAIN if train else TEST):
        rgb, size = rng.normal(size=(1, 3, img_size, img_size)), img_size // 3
        xyz, mask = np.zeros_like(rgb), np.zeros((1, 1, img_size, img_size))
        part, defect = slice(size, 2 * size), slice(size + 1, size + size // 2)
        xyz[0, :2, part, part] = np.stack(np.meshgrid(*2 * [np.linspace(-0.1, 0.1, size)]))
        xyz[0, 2, part, part] = 0.5 + 0.01 * rng.normal(size=(size, size))
        if not train and i % 2:
            mask[0, 0, defect, defect] = 1
            rgb, xyz = rgb + (1 + i) * mask, xyz + 0.1 * i * mask * (xyz != 0)
        kind = "crack" if mask.any() else "good"
        path = "data/{}/{}/{}/rgb/{:03d}.png".format(class_name, split, kind, i)
        sample, label = tuple(tensor(of.astype(np.float32)) for of in (rgb, xyz, xyz)), np.array([int(mask.any())])
        more = () if train else (tensor(mask.astype(np.float32)),)
        samples.append((sample, *more, tensor(label), *([] if train else [[path]])))
    return samples


def Model(*args, num_group=64, **kwargs):
    """Networks whose features, [1, 768, 28, 28] and [1, 1152, G], are fixed random projections of the sample."""
    import torch

    class Networks(torch.nn.Module):
        def __init__(self):
            super().__init__()
            generator = torch.Generator().manual_seed(0)
            self.of_rgb = torch.randn(768, 3, generator=generator)
            self.of_xyz = torch.randn(1152, 3, generator=generator)

        def forward(self, rgb, xyz, *args, **kwargs):
            pooled = torch.nn.functional.adaptive_avg_pool2d(rgb, 28)
            index = torch.linspace(0, xyz.shape[2] - 1, num_group).long()
            center = xyz[:, :, index].permute(0, 2, 1)
            features = torch.einsum("cd,bgd->bcg", self.of_xyz, center) + 0.1
            return torch.einsum("cd,bdhw->bchw", self.of_rgb, pooled), features, center, index[None], index[None]

    return Networks()


_found, _maps = [], {}


def watch(addon):
    """Score each round a second time, by what the methods' ``compute_single_s_s_map`` returned."""
    check, record, apply = addon.check, addon.record, addon.apply

    def watched_check(runner, *names):
        check(runner, *names)
        for value in vars(runner).values():
            for method in value.values() if isinstance(value, dict) else [value]:
                _maps.pop(id(method), None)  # training may compute maps too
                if hasattr(method, "compute_single_s_s_map") and "compute_single_s_s_map" not in vars(method):
                    vars(method)["compute_single_s_s_map"] = _logged(method.compute_single_s_s_map)

    def watched_record(method, rgb, xyz, fusion=None):
        record(method, rgb, xyz, fusion)
        _maps.setdefault(id(method), []).append([_maps.get(modal) for modal in ("rgb", "xyz", "fusion")])

    def watched_apply(method, *args, **kwargs):
        if vars(method).get("scoring_busy"):
            return apply(method, *args, **kwargs)
        known, decision = _maps.pop(id(method), []), [np.array(m, dtype=np.float64) for m in method.predictions]
        apply(method, *args, **kwargs)
        if known:
            of, n = vars(method).get("args"), len(known)
            p = addon.parameters_from(argparse.Namespace(**of) if isinstance(of, dict) else of)
            own = addon.score_test_set(decision[-n:], [addon.SampleMaps(*maps) for maps in known], p)
            pairs = zip((np.ravel(method.image_preds[-n:]), method.predictions[-n:]), own)
            off = max(np.max(np.abs(np.subtract(given, of))) / np.max(np.abs(of)) for given, of in pairs)
            name = vars(method).get("scoring_round") or "round"
            _found.append((type(method).__name__, name, n, off, own[1][0].shape))

    addon.check, addon.record, addon.apply = watched_check, watched_record, watched_apply


def _logged(compute):
    def logged(patch, dist, dims, modal="xyz", *args, **kwargs):
        s, s_map = compute(patch, dist, dims, modal, *args, **kwargs)
        copy = np.array(s_map.detach().cpu() if hasattr(s_map, "detach") else s_map, dtype=np.float64)
        _maps[modal] = copy.reshape(copy.shape[-2:])
        return s, s_map

    return logged


def replace_packages():
    """Put empty modules where the checkout imports packages that are not installed, and torch on the CPU."""
    names = set()
    for path in Path(".").rglob("*.py"):
        try:
            nodes = list(ast.walk(ast.parse(path.read_bytes())))
        except SyntaxError:  # the run will tell, if it imports the file
            continue
        names.update(alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names)
        names.update(n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level)

    def empty(name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda self, *args, **kwargs: None})

    tops = {name.split(".")[0] for name in names}
    missing = {top for top in tops - {*NEEDED, STUBS} if importlib.util.find_spec(top) is None}
    for parts in (name.split(".") for name in names):
        for i in range(len(parts) if parts[0] in missing else 0):
            spec = importlib.machinery.ModuleSpec(".".join(parts[: i + 1]), None, is_package=True)
            module = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
            module.__getattr__ = empty
    if "torch" in tops:
        import torch

        torch.cuda.is_available = lambda: False
        torch.load = lambda *args, **kwargs: {"model": {}, "base_model": {}}
        torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *args, **kwargs: self
        to = torch.Tensor.to
        torch.Tensor.to = lambda self, *args, **kwargs: (
            self if args and str(args[0]).startswith("cuda") else to(self, *args, **kwargs)
        )


def inside(entry, category, *options):
    """Run the script and print what was found, one line per round; returns the exit code."""
    sys.path.insert(0, os.getcwd())
    sys.modules[STUBS] = sys.modules[__name__]
    if category:
        globals()["CATEGORIES"] = (category,)
    else:
        replace_packages()
    import scoring_addon

    watch(scoring_addon)
    sys.argv, failure = [entry, *options, "--scoring", "disagreement"], ""
    try:
        runpy.run_path(entry, run_name="__main__")
    except SystemExit as end:
        failure = "{} ended with code {}".format(entry, end.code) if end.code else ""
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        at = "{}, line {}".format(os.path.relpath(place.filename), place.lineno)
        failure = "could not run on: {}: {} ({})".format(type(error).__name__, error, at)
    failure = failure or ("" if _found else "no test sample was recorded")
    text = "{}: {}: {} samples recorded and scored, maps {}x{}, {:.0e} from a second scoring"
    lines = [text.format(name, of, n, *size, off) for name, of, n, off, size in _found]
    failed = failure or not all(off < 1e-9 for _, _, _, off, _ in _found)
    for line in [*lines, *[failure][: bool(failure)], "failed" if failed else "passed: " + " ".join(sys.argv)]:
        print("{}: {}".format(STUBS, line))
    return 1 if failed else 0


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--main", default="main.py")
    parser.add_argument("--category", default="")
    args, options = parser.parse_known_args(argv)
    if not (args.checkout / "scoring_addon.py").is_file():
        parser.error("{}: has no scoring_addon.py; patches/apply.py puts it there".format(args.checkout))
    code, lines = run(args.checkout.resolve(), args.main, options, args.category)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(inside(*sys.argv[2:]) if sys.argv[1:2] == ["--inside"] else main())
