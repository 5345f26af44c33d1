"""What the options change in the methods: sizes, scales, --fix, --save_feature, maps of another size."""

import io
import shutil

import numpy as np
import pytest
import torch

from common.errors import InputError
from feature_extractors import features
from m3dm_runner import M3DM, build_method
from runs.options import parse_arguments
from tests.fakes import FakeExtractor

WIDTH = {"rgb": 6, "xyz": 5, "fusion": 11}
ROWS = {"rgb": 784, "xyz": 3136, "fusion": 3136}


@pytest.fixture
def build():
    """Function: a method whose networks are replaced by random patches, and its parts."""

    def make(*flags, parts=4, mode=("--eval_mode",)):
        args = parse_arguments(["--use_uff", *mode, *flags])
        rng = np.random.default_rng(0)
        samples = [
            {n: torch.from_numpy(rng.standard_normal((ROWS[n], WIDTH[n])).astype(np.float32) * 2 + 1) for n in WIDTH}
            for _ in range(parts)
        ]
        for sample in samples:
            sample["xyz"][:100] = 0
        return build_method(args, FakeExtractor(**WIDTH)), samples

    return make


def banked(method, samples):
    for sample in samples:
        method.add_sample_to_mem_bank(sample, class_name="cookie")
    method.run_coreset()
    return method


def fitted(method, samples):
    """After both passes."""
    banked(method, samples)
    if method.needs_late_fusion_pass:
        for sample in samples:
            method.add_sample_to_late_fusion_mem_bank(sample)
        method.run_late_fusion()
    return method


KEPT = int(0.1 * 4 * 3136)


@pytest.mark.parametrize(
    "flags, sizes",
    [
        ((), (KEPT + 1, int(0.1 * KEPT), int(0.1 * KEPT))),  # chained, as released
        (("--fix", "coreset_sizes"), (KEPT + 1, int(0.1 * 4 * 784), KEPT)),
        (("--max_rows", "300"), (301, 30, 30)),
        (("--asy_memory_bank", "2", "--f_coreset", "1"), (2 * 3136 + 1, 4 * 784, 2 * 3136)),
    ],
)
def test_sizes(build, flags, sizes):
    banks = banked(*build(*flags)).banks
    assert tuple(len(banks[name]) for name in ("xyz", "rgb", "fusion")) == sizes


@pytest.mark.parametrize("fix", [False, True])
def test_all_banks_have_the_xyz_mean_and_rgb_std_as_released(build, fix):
    method, samples = build("--f_coreset", "1", *["--fix", "scaling"] * fix)
    banked(method, samples)
    for name, bank in method.banks.items():
        of_mean, of_std = (
            torch.cat([s[of] for s in samples]).double() for of in ((name,) * 2 if fix else ("xyz", "rgb"))
        )
        assert bank.mean == pytest.approx(float(of_mean.mean()), rel=1e-5)
        assert bank.std == pytest.approx(float(of_std.std()), rel=1e-5)
    rows = (samples[2]["rgb"] - method.banks["rgb"].mean) / method.banks["rgb"].std
    torch.testing.assert_close(method.banks["rgb"].rows[2 * 784 : 3 * 784], rows)


def test_zero_row(build):
    released = banked(*build()).banks["xyz"]
    assert not released.rows[-1].any()
    fixed = banked(*build("--fix", "zero_row")).banks["xyz"]
    torch.testing.assert_close(fixed.rows[-1] * fixed.std + fixed.mean, torch.zeros(WIDTH["xyz"]), atol=1e-6, rtol=0)
    distance = fixed.measure(torch.zeros(1, WIDTH["xyz"]))[1].distance
    assert float(distance) < 1e-2


def test_fix_late_fusion_leaves_own_rows_out(build):
    def train_scores(*flags):
        return np.stack(fitted(*build("--f_coreset", "1", *flags)).late_fusion.train_scores)

    assert train_scores().max() < 0.05
    assert train_scores("--fix", "late_fusion").min() > 0.05


def test_negative_late_fusion_weights_are_warned_about(build, caplog):
    weights = fitted(*build("--xyz_s_lambda", "-1", "--f_coreset", "0.05")).late_fusion.weights
    assert min(weights["score"]) < 0 <= min(weights["pixel"])
    assert [r.getMessage() for r in caplog.records if "score weights are partly negative" in r.getMessage()]


def test_rm_zero_for_project(build):
    method = banked(*build("--method_name", "Point_MAE", "--rm_zero_for_project", "--f_coreset", "1"))
    rows = method.banks["xyz"].rows
    assert len(rows) == 4 * 3036 + 1 and not rows[-1].any() and (rows[:-1] != 0).all()


@pytest.mark.parametrize("fix", [(), ("--fix", "save_feature")])
def test_feature_to_save(build, fix):
    method, samples = build("--method_name", "DINO+Point_MAE", "--save_feature", *fix)
    saved = method.feature_to_save(samples[1])
    assert torch.equal(saved[:, : WIDTH["xyz"]], samples[1]["xyz"])
    rgb = saved[:, WIDTH["xyz"] :]
    for row in (0, 1, 57, 783, 784, 2000, 3135):
        a, i = divmod(row, 784)
        y, x = divmod(row, 56)
        source = (4 * i + a) % 784 if not fix else (y // 2) * 28 + x // 2
        assert torch.equal(rgb[row], samples[1]["rgb"][source])


OF_IMG_SIZE = ("DINO+Point_MAE+Fusion", "DINO+Point_MAE+add", "Fusion")  # methods whose maps have the side img_size


@pytest.mark.parametrize("method_name", [*OF_IMG_SIZE, "DINO", "Point_MAE", "DINO+Point_MAE"])
def test_the_releases_names_and_the_size_of_the_maps(build, method_name):
    size = 112 if method_name in OF_IMG_SIZE else 224
    method, samples = build("--method_name", method_name, "--img_size", "112")
    fitted(method, samples[:3])
    mask = torch.zeros(1, 1, 224, 224)
    mask[..., 50:90, 60:100] = 1
    for label in (0, 1):
        method.predict(samples[3], mask * label, torch.tensor([label]))
    assert method.predictions[1].shape == method.gts[1].shape == (size, size)
    assert method.gts[1].mean() == pytest.approx(1600 / 224**2)
    method.calculate_metrics()
    assert method.image_preds.shape == method.image_labels.shape == (2, 1)
    assert len(method.pixel_preds) == len(method.pixel_labels) == 2 * size**2
    assert method.image_rocauc == 0.5 and 0 <= method.pixel_rocauc <= 1 and 0 <= method.au_pro <= 1


def test_spooled_banks_equal_those_in_memory(build, monkeypatch, tmp_path):
    def rows(limit, *flags):
        monkeypatch.setattr(features, "IN_MEMORY", limit)
        method, samples = build("--spool_dir", str(tmp_path), "--random_state", "0", *flags)
        method.reserve(len(samples))
        assert all(isinstance(store._file, io.BytesIO) == (limit > 0) for store in method.stores.values())
        fitted(method, samples)
        return [(bank.rows, bank.part) for bank in method.banks.values()]

    for flags in ((), ("--f_coreset", "1", "--fix", "all")):
        for (a, b), (c, d) in zip(rows(0, *flags), rows(2**40, *flags)):
            assert torch.equal(a, c) and torch.equal(b, d)
    assert not list(tmp_path.iterdir())


def test_eval_mode_recalls_the_first_pass_and_train_mode_does_not(build):
    method, samples = build()
    banked(method, samples)
    assert method.keeps_patches
    for i, sample in enumerate(samples):
        assert all(torch.equal(patches, sample[name]) for name, patches in method.kept_patches(i).items())
        method.add_patches_to_late_fusion(method.kept_patches(i))
    method.run_late_fusion()
    assert not method.keeps_patches  # memory and disk are given back
    limited, _ = build("--asy_memory_bank", "2")
    assert not banked(limited, samples).keeps_patches
    train, _ = build(mode=())
    assert not banked(train, samples).keeps_patches


class Sequence(FakeExtractor):
    """Shows given patches in turn, whatever the sample."""

    def __init__(self, samples):
        super().__init__(**WIDTH)
        self.samples, self.seen = samples, 0

    def extract(self, sample, banks=None, zero_points=False):
        self.seen += 1
        return self.samples[(self.seen - 1) % len(self.samples)]


@pytest.fixture
def runner(build, dataset_path):
    """Function: a runner on the fixture category, whose networks are replaced by random patches."""

    def make(*flags, mode=("--eval_mode",)):
        args = parse_arguments(
            [*"--use_uff --num_workers 0 --random_state 0 --dataset_path".split(), str(dataset_path), *mode, *flags]
        )
        return M3DM(args, Sequence(build()[1]))

    return make


@pytest.mark.parametrize("mode, passes", [(("--eval_mode",), 1), ((), 2)])
def test_each_training_part_is_extracted_once_in_eval_mode_and_a_second_fit_starts_anew(runner, mode, passes):
    run = runner(mode=mode)
    run.fit("cookie")
    assert run.extractor.seen == passes * 4 and run.method.late_fusion.weights and run.extractor.training == (not mode)
    once = run.method
    run.fit("cookie")
    assert run.method.added == 4 and once.late_fusion.weights == run.method.late_fusion.weights
    assert all(torch.equal(bank.rows, run.method.banks[name].rows) for name, bank in once.banks.items())


def test_save_feature_names_never_clash(runner, tmp_path, dataset_path):
    run = runner("--save_feature", "--save_feature_path", str(tmp_path))
    run._save_feature("cookie1", 2, torch.zeros(1, sum(run.extractor.widths.values())))
    run.fit("cookie")
    assert {path.name for path in tmp_path.iterdir()} == {"cookie1-2.pt", *(f"cookie{i}.pt" for i in range(4))}
    assert torch.equal(torch.load(tmp_path / "cookie2.pt", weights_only=True), run.extractor.samples[2]["fusion"])


def test_a_bank_too_small_to_score_is_refused_before_extraction(runner):
    run = runner("--f_coreset", "0.01")
    with pytest.raises(InputError, match="rgb bank would keep 1 rows of 4 training parts.*--f_coreset"):
        run.fit("cookie")
    assert run.extractor.seen == 0


def test_a_defect_folder_without_masks_beside_one_with_them(runner, dataset_path, tmp_path):
    shutil.copytree(dataset_path / "cookie", tmp_path / "cookie")
    shutil.rmtree(tmp_path / "cookie" / "test" / "hole" / "gt")
    run = runner("--dataset_path", str(tmp_path))
    run.fit("cookie")
    run.evaluate("cookie")
    assert run.evaluation.has_mask.tolist() == [defect != "hole" for defect in run.evaluation.defect]
    image, pixel, au_pro = run.metrics["baseline"]
    assert image is not None and pixel is None and au_pro is None
