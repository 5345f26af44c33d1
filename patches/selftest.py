"""Smoke test of a patched M3DM checkout: its own main.py, runner and classes, on the CPU, in about a minute.

    python selftest.py CHECKOUT [--main NAME] [--category NAME] [options of its main.py]

It works in a copy. A few generated samples take the place of the data, random features that of the networks (class
Model), empty modules that of CUDA packages that are not installed; everything else is the checkout's own code. Each
round of test samples is computed a second time, by other code, from what compute_single_s_s_map returned. With
--category nothing is replaced but the list of categories, so data and weights have to be at hand.
Needs what the checkout needs. Exit code: 0 fine, 1 a difference, or it could not run.
"""

import argparse
import importlib.abc
import importlib.machinery
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import traceback
import types
from pathlib import Path

import numpy as np

CATEGORIES = ("bagel", "cable_gland")
TRAIN, TEST, SIZE = 1, 3, 224  # parts, and pixels where the runner gives no img_size
NEEDED = ("numpy", "torch", "sklearn", "scipy", "pandas", "tabulate", "tqdm", "PIL")  # never replaced by empty modules
# options that keep it small, each used only if the checkout has it
SMALL = {"--f_coreset": "1", "--num_group": "64", "--group_size": "16", "--ocsvm_maxiter": "50"}
STUBS = "scoring_selftest_stubs"
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


def copy_of(root, target, files):
    """Copy Python files of a checkout to ``target``, and link its other files and folders; returns ``target``."""
    for path in files:
        place = target / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(path), str(place))
    for path in root.iterdir():
        if not (target / path.name).exists() and path.name not in ("results", ".git"):
            (target / path.name).symlink_to(path.resolve())
    (target / "results").mkdir()
    return target


def run(copy, entry, options, category=""):
    """Run a patched copy of a checkout, which is changed; returns (exit code, [line])."""
    texts = {path: path.read_bytes() for path in copy.rglob("*.py") if path.name not in (entry, "scoring_addon.py")}
    declared = (copy / entry).read_bytes() + b"".join(texts.values())
    if not category:
        small = [word for flag, value in SMALL.items() if flag not in options for word in (flag, value)]
        options = [*options, *(w for i, w in enumerate(small) if small[i - i % 2].encode() in declared)]
        options += ["--use_uff"] if b"--use_uff" in declared and "--use_uff" not in options else []
    for path, text in texts.items():
        names = set(re.findall(rb"^def (\w+_classes)\(", text, re.M))
        if not category:
            names |= set(re.findall(rb"^def (get_data_loader)\(", text, re.M)) | set(
                re.findall(rb"^class (Model)\(", text, re.M)
            )
        lines = [b"import %s" % STUBS.encode()] + [b"%s = %s.%s" % (n, STUBS.encode(), _stub(n)) for n in sorted(names)]
        if names:
            path.write_bytes(text + b"\n" + b"\n".join(lines) + b"\n")
    command = [sys.executable, "-B", os.path.abspath(__file__), "--inside", entry, category, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"), "MPLBACKEND": "Agg"}
    uses_torch = any(b"import torch" in text for text in texts.values())
    environment["SCORING_SELFTEST_TORCH"] = "1" if uses_torch else ""
    result = subprocess.run(command, cwd=str(copy), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = result.stdout.decode("utf-8", "replace").splitlines()
    lines = [line.replace(STUBS + ": ", "") for line in text if line.startswith((STUBS + ": ", "error: "))]
    if result.returncode and not lines:
        lines = text[-5:]
    return min(result.returncode, 1), ["selftest: " + line for line in lines]


def _stub(name):
    return b"classes" if name.endswith(b"_classes") else name


# ---------------------------------------------------------------- inside the process that runs main.py


class Finished(Exception):
    """Enough categories have run."""


class Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives an empty module where the checkout imports a package that is not installed; attributes: empty classes."""

    def __init__(self):
        self.names = set()

    def find_spec(self, name, path=None, target=None):
        top, frame = name.split(".")[0], sys._getframe(1)
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        ours = frame is not None and os.path.realpath(frame.f_code.co_filename).startswith(os.path.realpath("."))
        if not ours or top in NEEDED or os.path.exists(top) or os.path.exists(top + ".py"):
            return None  # a library may look for what it does not need
        if path is not None and top not in self.names:
            return None  # a missing part of a package that is there
        self.names.add(top)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        def empty(name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {"__init__": lambda self, *args, **kwargs: None})

        module = types.ModuleType(spec.name)
        module.__getattr__ = empty
        return module

    def exec_module(self, module):
        pass


def classes():
    """The categories that are run."""
    return list(CATEGORIES)


def get_data_loader(split, class_name, img_size=SIZE, *args, **kwargs):
    """Generated samples: ((rgb [1, 3, S, S], xyz [1, 3, S, S], depth), label), for tests with mask and path."""
    if class_name not in _seen and len(_seen) == len(CATEGORIES):
        raise Finished
    _seen.append(class_name) if class_name not in _seen else None
    rng, train = np.random.RandomState(len(_seen) + 10 * (split == "train")), split.startswith("train")
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
        sample = tuple(_tensor(of.astype(np.float32)) for of in (rgb, xyz, xyz))
        label = _tensor(np.array([int(mask.any())]))
        samples.append((sample, label) if train else (sample, _tensor(mask.astype(np.float32)), label, [path]))
    return samples


def _tensor(array):
    if os.environ["SCORING_SELFTEST_TORCH"]:
        import torch

        return torch.from_numpy(array)
    return array


def __getattr__(name):
    """``Model``: features [1, 768, 28, 28] and [1, 1152, G], fixed random projections of the sample."""
    if name != "Model":
        raise AttributeError(name)
    import torch

    class Model(torch.nn.Module):
        def __init__(self, *args, **kwargs):
            super().__init__()
            self.groups = kwargs.get("num_group", 64)
            generator = torch.Generator().manual_seed(0)
            self.of_rgb = torch.randn(768, 3, generator=generator)
            self.of_xyz = torch.randn(1152, 3, generator=generator)

        def forward(self, rgb, xyz, *args, **kwargs):
            pooled = torch.nn.functional.adaptive_avg_pool2d(rgb, 28)
            index = torch.linspace(0, xyz.shape[2] - 1, self.groups).long()
            center = xyz[:, :, index].permute(0, 2, 1)
            features = torch.einsum("cd,bgd->bcg", self.of_xyz, center) + 0.1
            return torch.einsum("cd,bdhw->bchw", self.of_rgb, pooled), features, center, index[None], index[None]

    return Model


_seen, _found, _maps, _faults = [], [], {}, []


def reference(decision, rgb, xyz, p):
    """S_final [n] and M_pix [n, H, W], all samples at once; ``p``: the add-on's parameters."""

    def unit(m):
        low, high = m.min((1, 2), keepdims=True), m.max((1, 2), keepdims=True)
        return (m - low) / (high - low + 1e-8)

    def tilde(v):
        return (v - v.min()) / (v.max() - v.min()) if v.max() > v.min() else v * 0

    dis = np.abs(unit(rgb) - unit(xyz))
    pix = decision * (1 + p.lam * dis)
    flat = np.sort(pix.reshape(len(pix), -1), axis=1)
    base, q95 = flat[:, -p.topk :].mean(1), np.percentile(flat, 95, axis=1)
    robust = p.weights[0] * q95 + p.weights[1] * flat.mean(1) + p.weights[2] * dis.mean((1, 2))
    r, c = 1 - abs(tilde(base) - tilde(q95)), abs(tilde(base) - tilde(robust))
    w = 1 / (1 + np.exp(p.eta[1] * r - p.eta[0] * c))
    recovery = p.delta * np.clip(q95 - base, 0, None)
    if p.recovery == "normalized":
        recovery = p.delta * r * np.clip(tilde(q95) - tilde(base), 0, None) * (base.max() - base.min())
    return (1 - w) * base + w * robust + recovery, pix


def watch(addon):
    """Make the add-on's hooks report what they get and what they leave."""
    check, record, apply = addon.check, addon.record, addon.apply

    def watched_check(runner, *names):
        check(runner, *names)
        for value in vars(runner).values():
            for method in value.values() if isinstance(value, dict) else [value]:
                if hasattr(method, "compute_single_s_s_map") and "compute_single_s_s_map" not in vars(method):
                    vars(method)["compute_single_s_s_map"] = _logged(method.compute_single_s_s_map)

    def watched_record(method, rgb, xyz, fusion=None):
        record(method, rgb, xyz, fusion)
        _maps.setdefault(id(method), []).append({modal: _maps.get(modal) for modal in ("rgb", "xyz", "fusion")})

    def watched_apply(method, *args, **kwargs):
        if vars(method).get("scoring_busy"):
            return apply(method, *args, **kwargs)
        decision = [np.array(m, dtype=np.float64) for m in method.predictions]
        known = _maps.pop(id(method), [])
        apply(method, *args, **kwargs)
        if known:
            of = vars(method).get("args")
            p = addon.parameters_from(argparse.Namespace(**of) if isinstance(of, dict) else of)
            decision = np.stack(decision[len(decision) - len(known) :])
            rgb, xyz = (np.stack([maps[modal] for maps in known]) for modal in ("rgb", "xyz"))
            if p.map_source == "bank":
                decision = np.stack([maps["fusion"] for maps in known])
            scores, pix = reference(decision, rgb, xyz, p)
            n = len(known)
            off = max(
                np.max(np.abs(np.ravel(method.image_preds[-n:]) - scores)) / np.max(np.abs(scores)),
                np.max(np.abs(np.stack(method.predictions[-n:]) - pix)) / np.max(np.abs(pix)),
            )
            _found.append((type(method).__name__, vars(method).get("scoring_round", ""), n, off, pix.shape[1:]))

    addon.check, addon.record, addon.apply = watched_check, watched_record, watched_apply


def _logged(compute):
    def logged(patch, dist, dims, modal="xyz", *args, **kwargs):
        s, s_map = compute(patch, dist, dims, modal, *args, **kwargs)
        copy = np.array(s_map.detach().cpu() if hasattr(s_map, "detach") else s_map, dtype=np.float64)
        _maps[modal] = copy.reshape(copy.shape[-2:])
        return s, s_map

    return logged


def _without_cuda():
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
        empty = Empty()
        sys.meta_path.append(empty)
        if os.environ["SCORING_SELFTEST_TORCH"]:
            _without_cuda()
    import scoring_addon

    watch(scoring_addon)
    sys.argv, failure = [entry, *options, "--scoring", "disagreement"], ""
    try:
        runpy.run_path(entry, run_name="__main__")
    except Finished:
        pass
    except SystemExit as end:
        failure = "{} ended with code {}".format(entry, end.code) if end.code else ""
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        at = "{}, line {}".format(os.path.relpath(place.filename), place.lineno)
        failure = "could not run on: {}: {} ({})".format(type(error).__name__, error, at)
    for name, of, n, off, size in _found:
        text = "{}: {}: {} samples recorded and scored, maps {}x{}, {:.0e} from a second computation"
        print("{}: {}".format(STUBS, text.format(name, of or "round", n, *size, off)))
    bad = [of for of in _found if not of[3] < 1e-9]
    for text in [failure] * bool(failure) + ["no test sample was recorded"] * (not _found and not failure):
        print("{}: {}".format(STUBS, text))
    print("{}: {}".format(STUBS, "failed" if bad or failure or not _found else "passed: " + " ".join(sys.argv)))
    return 1 if bad or failure or not _found else 0


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--main", default="main.py")
    parser.add_argument("--category", default="")
    args, options = parser.parse_known_args(argv)
    root = args.checkout.resolve()
    if not (root / "scoring_addon.py").is_file():
        parser.error("{}: has no scoring_addon.py; patches/apply.py puts it there".format(args.checkout))
    hidden = [p for p in root.rglob("*.py") if not any(part[0] == "." for part in p.relative_to(root).parts)]
    with tempfile.TemporaryDirectory() as folder:
        code, lines = run(copy_of(root, Path(folder) / "checkout", hidden), args.main, options, args.category)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(inside(*sys.argv[2:]) if sys.argv[1:2] == ["--inside"] else main())
