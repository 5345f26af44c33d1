import argparse
import dataclasses
import itertools
import pickle
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

import main
from feature_extractors.multiple_features import METHODS
from feature_extractors.settings import Fixes, Settings
from models import models
from models.checkpoints import DINO_BASE, POINT_BERT, POINT_MAE, UFF, load_into, read_checkpoint
from models.feature_fusion import FeatureFusionBlock
from tests.make_data import make_category
from utils.errors import InputError
from utils.options import FIXES, METHOD_BANKS, RGB_BACKBONE_NAMES, XYZ_BACKBONE_NAMES, build_parser, parse_arguments

DEFAULTS = {
    "method_name": "DINO+Point_MAE+Fusion", "max_sample": 400, "memory_bank": "multiple",
    "rgb_backbone_name": "vit_base_patch8_224_dino", "xyz_backbone_name": "Point_MAE",
    "fusion_module_path": "checkpoints/checkpoint-0.pth", "save_feature": False, "save_feature_path": "datasets/patch_lib",
    "use_uff": False, "save_preds": False, "group_size": 128, "num_group": 1024, "random_state": None,
    "dataset_type": "mvtec3d", "dataset_path": "datasets/mvtec3d", "img_size": 224, "xyz_s_lambda": 1.0,
    "xyz_smap_lambda": 1.0, "rgb_s_lambda": 0.1, "rgb_smap_lambda": 0.1, "fusion_s_lambda": 1.0, "fusion_smap_lambda": 1.0,
    "coreset_eps": 0.9, "f_coreset": 0.1, "asy_memory_bank": None, "ocsvm_nu": 0.5, "ocsvm_maxiter": 1000,
    "rm_zero_for_project": False, "scoring": ["baseline"], "scoring_lambda": 0.5, "scoring_topk": 64,
    "scoring_weights": [0.6, 0.25, 0.15], "scoring_eta": [1.0, 1.0], "scoring_delta": 0.2, "scoring_map": "decision",
    "category": None, "fix": [], "eval_mode": False, "device": "auto", "num_workers": 1, "output_dir": "results",
    "checkpoint_dir": "checkpoints", "seed": 0, "seeds": None, "multiscale": False, "save_maps": None, "save_train_maps": False,
    "scoring_recovery": "printed", "scoring_reference": "test", "shots": None,
    "spool_dir": "results", "amp": False, "overwrite": False, "half_coreset": False, "unit": None, "no_check": False,
}
FIX_NAMES = {"eval_mode", "scaling", "coreset_sizes", "float_maps", "max_sample", "zero_row", "late_fusion", "save_feature", "zero_points"}
ONE_BANK = ("DINO", "Point_MAE", "Fusion")


@pytest.fixture(autouse=True)
def keep_signal_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def parse(*flags, method="DINO+Point_MAE"):
    return parse_arguments(["--method_name", method, *flags])


def usage_error(capsys, *flags):
    """The one line on stderr after the flags were refused with exit code 2."""
    with pytest.raises(SystemExit) as info:
        parse_arguments(list(flags))
    assert info.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("main.py: error: ")
    return err


@pytest.mark.parametrize("name", DEFAULTS)
def test_default(name):
    extra = [] if name == "use_uff" else ["--use_uff"]
    args = build_parser().parse_args([]) if name in ("use_uff", "method_name") else parse_arguments(extra)
    assert getattr(args, name) == DEFAULTS[name]


def test_no_option_beyond_the_documented_ones():
    assert set(vars(parse_arguments(["--use_uff"]))) == set(DEFAULTS) | {"min_points", "train_maps", "fixes"}


@pytest.mark.parametrize("method, banks", [
    ("DINO", ["rgb"]), ("Point_MAE", ["xyz"]), ("Fusion", ["fusion"]), ("DINO+Point_MAE", ["xyz", "rgb"]),
    ("DINO+Point_MAE+add", ["xyz", "rgb"]), ("DINO+Point_MAE+Fusion", ["xyz", "rgb", "fusion"])])
def test_memory_bank_follows_from_the_method(method, banks):
    fitting = "single" if len(banks) == 1 else "multiple"
    assert list(METHOD_BANKS[method]) == banks
    assert parse("--use_uff", method=method).memory_bank == fitting
    assert parse("--use_uff", "--memory_bank", fitting, method=method).memory_bank == fitting


@pytest.mark.parametrize("method, groups", [("DINO", 0), ("Point_MAE", 7), ("Fusion", 7), ("DINO+Point_MAE", 7)])
def test_min_points(method, groups):
    assert parse("--use_uff", "--num_group", "7", method=method).min_points == groups


def test_names_agree_with_the_networks():
    assert list(RGB_BACKBONE_NAMES) == list(models.RGB_BACKBONES)
    assert list(XYZ_BACKBONE_NAMES) == list(models.XYZ_BACKBONES)
    assert list(METHOD_BANKS) == list(METHODS)
    assert {name: list(kind.bank_names) for name, kind in METHODS.items()} == {k: list(v) for k, v in METHOD_BANKS.items()}


def test_fix_all():
    assert set(FIXES) == FIX_NAMES == {field.name for field in dataclasses.fields(Fixes)}
    assert parse("--fix", "all").fixes == Fixes.of(["all"]) == Fixes(**dict.fromkeys(FIX_NAMES, True))
    assert parse("--fix", "all").fix == sorted(FIX_NAMES)
    assert parse("--fix", "scaling", "all").fix == sorted(FIX_NAMES)
    assert parse("--fix", "zero_row", "scaling", "zero_row").fix == ["scaling", "zero_row"]
    assert parse("--fix", "all").eval_mode and not parse("--fix", "scaling").eval_mode


def test_eval_mode_equals_its_fix():
    assert vars(parse("--eval_mode")) == vars(parse("--fix", "eval_mode")) == vars(parse("--eval_mode", "--fix", "eval_mode"))
    assert parse("--eval_mode", "--fix", "scaling").fix == ["eval_mode", "scaling"]
    assert parse("--eval_mode").eval_mode


CONTRADICTIONS = [
    *[(["--method_name", m, "--use_uff", "--memory_bank", "multiple"], "--memory_bank") for m in ONE_BANK],
    *[(["--method_name", m, "--use_uff", "--memory_bank", "single"], "--memory_bank") for m in METHOD_BANKS if m not in ONE_BANK],
    ([], "--use_uff"), (["--method_name", "Fusion"], "--use_uff"),
    *[(["--method_name", m, "--use_uff", "--scoring", "baseline", "disagreement"], "--scoring disagreement") for m in ONE_BANK],
    *[(["--method_name", m, "--scoring_map", "bank"], "--scoring_map bank") for m in ("DINO", "Point_MAE", "DINO+Point_MAE", "DINO+Point_MAE+add")],
    *[(["--method_name", m, "--save_feature"], "--save_feature") for m in ("DINO", "Point_MAE")],
]


@pytest.mark.parametrize("flags, named", CONTRADICTIONS)
def test_contradiction(capsys, flags, named):
    line = usage_error(capsys, *flags)
    assert named in line and (not flags or flags[1] in line)


@pytest.mark.parametrize("flags", [
    ["--scoring", "disagreement"], ["--scoring", "disagreement", "--method_name", "DINO+Point_MAE+add"], ["--save_feature"],
    ["--scoring_map", "bank", "--use_uff", "--method_name", "DINO+Point_MAE+Fusion"], ["--save_feature", "--use_uff", "--method_name", "Fusion"]])
def test_sensible_combination(flags):
    parse(*flags)


def test_every_combination_of_method_scoring_and_map_works_or_is_refused(capsys):
    """What parses can be scored: the same evaluation is scored for real, so that nothing fails after hours."""
    import evaluation
    from scoring_addon import SCORINGS, parameters_from
    from tests.make_maps import make_evaluation
    everything = make_evaluation(size=16, train=2)
    accepted = 0
    for method, scoring, source, reference in itertools.product(METHOD_BANKS, [*SCORINGS, "all"], ("decision", "bank"), ("test", "train")):
        flags = ["--use_uff", "--scoring", scoring, "--scoring_map", source, "--scoring_reference", reference]
        try:
            args = parse(*flags, method=method)
        except SystemExit as end:
            err = capsys.readouterr().err
            assert end.code == 2 and len(err.splitlines()) == 1 and (scoring in err or source == "bank"), (method, *flags)
            continue
        banks = METHOD_BANKS[method]
        own = dataclasses.replace(everything, bank_map={name: everything.bank_map[name] for name in banks},
                                  bank_score={name: everything.bank_score[name] for name in banks})
        assert "all" not in args.scoring
        scored = evaluation.score(own, args.scoring, parameters_from(args), args.scoring_reference)
        assert set(scored) == {"baseline", *args.scoring} and all(len(evaluation.metrics(own, {n: s})) == 1 for n, s in scored.items())
        accepted += 1
    assert accepted > 60


def test_all_is_all_that_the_method_has():
    assert parse("--scoring", "all", method="DINO").scoring == ["baseline", "pixel_max", "pixel_topk"]
    assert len(parse("--scoring", "all").scoring) == 8


def test_a_first_run_is_told_what_it_needs(capsys):
    with pytest.raises(SystemExit):
        parse_arguments([])
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1 and all(word in line for word in ("--dataset_path", "--checkpoint_dir", "--fusion_module_path", "make demo"))


def test_help_shows_defaults_of_zero(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "of numpy, random and torch, set anew for each category (default: 0)" in words and "(default: False)" not in words


def test_the_settings_follow_the_command_line():
    from utils.options import default_of, method_settings
    settings = Settings(**method_settings(parse_arguments(["--use_uff"])))
    released = Settings()
    for name in {field.name for field in dataclasses.fields(released)} - {"spool_dir", "score_lambdas", "map_lambdas"}:
        assert getattr(settings, name) == getattr(released, name), name
    assert dict(settings.score_lambdas) == dict(released.score_lambdas) and dict(settings.map_lambdas) == dict(released.map_lambdas)
    assert default_of("f_coreset") == released.f_coreset


OUT_OF_RANGE = [
    "max_sample 0", "max_sample -1", "max_sample 1.5", "shots 0", "shots 1.5", "max_sample nan", "group_size 0", "num_group 2", "img_size 55",
    "num_workers -1", "coreset_eps 0", "coreset_eps 1", "coreset_eps nan", "f_coreset 0", "f_coreset -0.1", "f_coreset 1.01",
    "f_coreset nan", "asy_memory_bank 0", "ocsvm_nu 0", "ocsvm_nu 1.1", "ocsvm_nu nan", "ocsvm_maxiter 0", "seed -1", "seed x",
    "seed 4294967296", "random_state -1", "random_state 4294967296", "random_state 1.5",
    *[f"{bank}_{kind}_lambda {value}" for bank in ("xyz", "rgb", "fusion") for kind in ("s", "smap") for value in ("nan", "inf")],
    "scoring_lambda -1", "scoring_lambda nan", "scoring_lambda inf", "scoring_topk 0", "scoring_topk 2.5", "scoring_delta -0.1",
    "scoring_delta nan", "scoring_weights 1 nan 1", "scoring_weights 1 1", "scoring_eta inf 1", "scoring_eta 1", "scoring_eta 1 x",
    *[f"{flag} 1{'0' * 400}" for flag in ("seed", "random_state", "max_sample", "scoring_topk", "scoring_lambda")],
    "scoring other", "scoring_map other", "fix other", "fix", "method_name other", "memory_bank other", "device other",
    "rgb_backbone_name other", "xyz_backbone_name other", "dataset_type other",
]


@pytest.mark.parametrize("text", OUT_OF_RANGE)
def test_out_of_range(capsys, text):
    flag, *values = text.split()
    assert f"--{flag}" in usage_error(capsys, "--use_uff", f"--{flag}", *values)


@pytest.mark.parametrize("text", ["f_coreset 1", "coreset_eps 0.999", "ocsvm_nu 1", "num_group 3", "img_size 56", "num_workers 0", "max_sample 1",
                                  "seed 4294967295", "random_state 0", "scoring_lambda 0", "scoring_topk 1", "xyz_s_lambda -1"])
def test_limits_are_allowed(text):
    flag, value = text.split()
    assert getattr(parse(f"--{flag}", value), flag) == float(value)


def test_help_answers_without_torch():
    code = ("import sys, main\ntry:\n    main.main(['--help'])\n"
            "except SystemExit as end:\n    assert 'torch' not in sys.modules; sys.exit(end.code)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(main.__file__).parent)
    assert done.returncode == 0 and done.stderr == ""
    words = done.stdout.replace(",", " ").split()
    assert [name for name in DEFAULTS if f"--{name}" not in words] == []
    assert [name for name in (*FIX_NAMES, "all") if f"{name}" not in words and f"{name}:" not in words] == []
    assert [name for name in (*METHODS, *models.RGB_BACKBONES) if name not in words] == []


@pytest.fixture
def refused(tmp_path, capsys):
    """Function: run main with flags, expect a refusal, return its line."""

    def run(*flags, output=tmp_path / "out"):
        where = {"--dataset_path": tmp_path / "data", "--checkpoint_dir": tmp_path / "checkpoints", "--output_dir": output}
        argv = ["--method_name", "Point_MAE", "--device", "cpu", *(str(x) for pair in where.items() for x in pair), *flags]
        assert main.main(argv) == 2
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1 and err.startswith("main.py: ")
        if Path(output).is_dir():
            assert [path.name for path in Path(output).iterdir() if path.name != "examination.json"] == []
        return err

    (tmp_path / "checkpoints").mkdir()
    return run


def save(folder, name, content):
    torch.save(content, folder / name)
    return folder / name


def test_dataset_missing(refused, tmp_path):
    assert str(tmp_path / "data") in refused()


def test_category_missing(refused, tmp_path):
    make_category(tmp_path / "data")
    line = refused("--category", "toy", "other")
    assert str(tmp_path / "data" / "other") in line and "toy" in line


def test_no_category_of_the_list(refused, tmp_path):
    make_category(tmp_path / "data")
    assert str(tmp_path / "data" / "bagel") in refused()


@pytest.mark.parametrize("part", ["train/good", "test"])
def test_category_without_a_part(refused, tmp_path, part):
    folder = make_category(tmp_path / "data") / part
    folder.rename(tmp_path / "elsewhere")
    assert str(folder) in refused("--category", "toy")


@pytest.mark.parametrize("flag", ["--output_dir", "--save_feature_path"])
def test_folder_below_a_regular_file(refused, tmp_path, flag):
    make_category(tmp_path / "data")
    (tmp_path / "file").write_text("kept")
    taken = tmp_path / "file" / "out"
    line = refused("--category", "toy", "--save_feature", "--method_name", "DINO+Point_MAE", flag, str(taken))
    assert str(taken) in line and (tmp_path / "file").read_text() == "kept"


def test_xyz_checkpoint_missing(refused, tmp_path):
    make_category(tmp_path / "data")
    line = refused("--category", "toy")
    assert str(tmp_path / "checkpoints" / "pointmae_pretrain.pth") in line
    assert "Point-MAE" in line and "github.com/nomewang/M3DM" in line


def test_rgb_checkpoint_missing_without_network(refused, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", offline)
    make_category(tmp_path / "data")
    line = refused("--category", "toy", "--method_name", "DINO")
    assert str(tmp_path / "checkpoints" / "dino_vitbase8_pretrain.pth") in line
    assert "DINO" in line and "dl.fbaipublicfiles.com/dino" in line


@pytest.mark.parametrize("content", [{"model": {"weight": torch.ones(1)}}, {"base_model": {"MAE_encoder.norm.weight": torch.ones(384)}}])
def test_wrong_xyz_checkpoint(refused, tmp_path, content):
    make_category(tmp_path / "data")
    path = save(tmp_path / "checkpoints", "pointmae_pretrain.pth", content)
    line = refused("--category", "toy")
    assert str(path) in line and "Point-MAE" in line


def test_device_missing(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    make_category(tmp_path / "data")
    assert "--device cuda" in refused("--category", "toy", "--device", "cuda")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(2, 3), nn.BatchNorm1d(3)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def refusal(call, path):
    with pytest.raises(InputError) as info:
        call()
    text = str(info.value)
    assert len(text.splitlines()) == 1 and str(path) in text
    return text


def wrapped(role, state):
    """A checkpoint in the layout of the role."""
    state = {f"module.{role.prefix}{key}": value for key, value in state.items()}
    return state if role.entry is None else {role.entry: state, "epoch": 3}


@pytest.mark.parametrize("role", [DINO_BASE, POINT_MAE, POINT_BERT, UFF])
def test_loads_the_layout_of_each_role(tmp_path, role):
    source, target = Small(), Small()
    content = wrapped(role, source.state_dict())
    path = save(tmp_path, "c.pth", content)
    assert load_into(target, path, role) is target
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)


def test_what_released_files_hold_besides_does_not_matter(tmp_path):
    content = wrapped(POINT_BERT, Small().state_dict()) | {"args": argparse.Namespace(lr=0.1)}
    del content["base_model"]["module.transformer_q.norm.num_batches_tracked"]
    content["base_model"] |= {"module.transformer_k.x": torch.ones(1), "module.transformer_q.cls_head.0.weight": torch.ones(1)}
    load_into(Small(), save(tmp_path, "c.pth", content), POINT_BERT)


@pytest.mark.parametrize("role", [POINT_MAE, POINT_BERT, UFF, DINO_BASE])
def test_checkpoint_missing(tmp_path, role):
    path = tmp_path / "absent.pth"
    text = refusal(lambda: read_checkpoint(path, role), path)
    assert role.title in text and role.source in text


def test_uff_heads_may_be_missing_but_nothing_else(tmp_path):
    state = {k: v for k, v in FeatureFusionBlock(4, 4).state_dict().items() if "head" not in k}
    path = save(tmp_path, "uff.pth", {"model": state})
    loaded = FeatureFusionBlock.from_checkpoint(path, 4, 4)
    assert torch.equal(loaded.xyz_mlp.fc1.weight, state["xyz_mlp.fc1.weight"])
    del state["rgb_mlp.fc2.bias"]
    save(tmp_path, "uff.pth", {"model": state})
    assert "rgb_mlp.fc2.bias" in refusal(lambda: FeatureFusionBlock.from_checkpoint(path, 4, 4), path)


def test_uff_path_with_a_point_mae_file(tmp_path):
    path = save(tmp_path, "checkpoint-0.pth", wrapped(POINT_MAE, Small().state_dict()))
    text = refusal(lambda: FeatureFusionBlock.from_checkpoint(path, 4, 4), path)
    assert "UFF" in text and "'base_model'" in text and "uff_pretrain.pth" in text


def test_uff_made_for_other_widths(tmp_path):
    path = save(tmp_path, "uff.pth", {"model": FeatureFusionBlock(4, 8).state_dict()})
    text = refusal(lambda: FeatureFusionBlock.from_checkpoint(path, 4, 4), path)
    assert "(8,)" in text or "8)" in text


@pytest.mark.parametrize("role, content", [
    (POINT_MAE, wrapped(UFF, Small().state_dict())), (POINT_MAE, Small().state_dict()), (POINT_MAE, wrapped(POINT_BERT, Small().state_dict())),
    (POINT_BERT, wrapped(POINT_MAE, Small().state_dict())), (DINO_BASE, wrapped(UFF, Small().state_dict())),
    (UFF, Small().state_dict()), (UFF, {"model": {}}), (UFF, {"model": [1]}), (UFF, [1]), (UFF, torch.ones(2)), (DINO_BASE, {}), (DINO_BASE, [1])])
def test_wrong_checkpoint_for_the_role(tmp_path, role, content):
    path = save(tmp_path, "c.pth", content)
    text = refusal(lambda: load_into(Small(), path, role), path)
    assert role.title in text and role.source in text


def test_keys_without_the_prefix_of_the_role(tmp_path):
    path = save(tmp_path, "c.pth", wrapped(POINT_BERT, Small().state_dict()))
    text = refusal(lambda: read_checkpoint(path, POINT_MAE), path)
    assert "MAE_encoder" in text and "transformer_q" in text


@pytest.mark.parametrize("content", [{}, [1]])
def test_message_for_a_plain_role_makes_sense(tmp_path, content):
    path = save(tmp_path, "c.pth", content)
    assert "None" not in refusal(lambda: read_checkpoint(path, DINO_BASE), path)


def changed(change):
    state = Small().state_dict()
    change(state)
    return wrapped(UFF, state)


@pytest.mark.parametrize("change, words", [
    (lambda s: s.update(extra=torch.ones(1)), ["'extra'", "unexpected"]),
    (lambda s: s.pop("fc.bias"), ["'fc.bias'", "missing"]),
    (lambda s: (s.pop("fc.bias"), s.pop("fc.weight")), ["'fc.weight'", "missing", "1 more"]),
    (lambda s: s.update({"fc.weight": torch.ones(3, 5)}), ["'fc.weight'", "(3, 5)", "(3, 2)"]),
    (lambda s: s.update({"fc.weight": 5}), ["'fc.weight'", "int"])])
def test_keys_have_to_fit(tmp_path, change, words):
    path = save(tmp_path, "c.pth", changed(change))
    module = Small()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    text = refusal(lambda: load_into(module, path, UFF), path)
    assert [word for word in words if word not in text] == []
    assert all(torch.equal(module.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize("how", ["torch", "nested", "pickle"])
def test_arbitrary_object_is_refused_and_not_run(tmp_path, how):
    path, mark = tmp_path / "c.pth", tmp_path / "ran"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Touch(mark), protocol=2))
    else:
        torch.save({"model": Touch(mark)} if how == "nested" else Touch(mark), path)
    assert "UFF" in refusal(lambda: read_checkpoint(path, UFF), path)
    assert not mark.exists()


def test_refused_pickle_prints_nothing_besides(tmp_path):
    path = tmp_path / "c.pth"
    path.write_bytes(pickle.dumps(Touch(tmp_path / "ran"), protocol=4))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        refusal(lambda: read_checkpoint(path, UFF), path)
    assert [str(w.message)[:60] for w in seen] == []


@pytest.mark.parametrize("content", [b"", b"\n", b"garbage" * 99, b"PK\x03\x04garbage", b"<html>not found</html>", b"\x80\x02", "truncated"])
def test_garbage_is_refused(tmp_path, content):
    path = save(tmp_path, "c.pth", wrapped(UFF, Small().state_dict()))
    path.write_bytes(path.read_bytes()[:-200] if content == "truncated" else content)
    assert "UFF" in refusal(lambda: read_checkpoint(path, UFF), path)
