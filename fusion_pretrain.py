"""Train UFF, the fusion module of M3DM, on the patch pairs that main.py --save_feature wrote.

python fusion_pretrain.py --data_path datasets/patch_lib --output_dir uff --epochs 3
"""

import argparse
import os

from common.argument_types import number
from common.commands import FAILED, FINE, Parser, add_device, add_switches, add_values, prose_and_examples, run_command
from common.errors import InputError, show_warnings, tell
from common.progress import note
from common.signals import run_to_the_end

PROGRAM = "fusion_pretrain.py"
GOES_ON = "interrupted; --resume goes on after the last epoch that was finished"


def build_parser() -> Parser:
    """The argument parser of fusion_pretrain.py; defaults are the release's."""
    parser = Parser(
        prog=PROGRAM,
        description="Train UFF on files of patch pairs. Writes checkpoint-<epoch>.pth for main.py --use_uff "
        "--fusion_module_path.",
        epilog=prose_and_examples(__doc__)[1],
    )
    whole = number(int, 1, 2**31 - 1)
    group = parser.add_argument_group("data")
    add_values(
        group,
        ("data_path", str, "datasets/patch_lib", "DIR", "folder of .pt files, float32 or half precision"),
        ("xyz_dim", whole, 1152, "N", "width of the xyz patches"),
        ("num_workers", number(int, 0, 64), 1, "N", "threads that read the files of a batch"),
    )

    group = parser.add_argument_group("training")
    add_values(
        group,
        ("batch_size", whole, 16, "N", "parts per batch; the last incomplete batch is dropped"),
        ("accum_iter", whole, 16, "N", "batches per optimiser step"),
        ("epochs", whole, 3, "N", "passes over the files"),
        ("steps", whole, None, "N", "optimiser steps instead of --epochs (the CVPR paper: 750)"),
        ("lr", number(float, 0, open_low=True), 0.003, "X", "learning rate after warm-up"),
        ("min_lr", number(float, 0), 0.0, "X", "learning rate that the cosine ends at"),
        ("warmup_epochs", number(float, 0), 1.0, "X", "epochs of linear warm-up (with --steps: a third of them)"),
        ("weight_decay", number(float, 0), 0.01, "X", "of AdamW (the release has the flag and always takes 0.01)"),
        ("seed", number(int, 0, 2**32 - 1), 0, "N", "of the first weights and the order of the files"),
    )
    group.add_argument(
        "--precision", default="auto", choices=("auto", "float32", "mixed"), help="auto: mixed on CUDA, else float32"
    )

    group = parser.add_argument_group("run and output")
    add_device(group)
    group.add_argument(
        "-o",
        "--output",
        "--output_dir",
        dest="output_dir",
        default="checkpoints",
        metavar="DIR",
        help="folder of the checkpoints",
    )
    add_values(
        group, ("save_every", whole, 1, "N", "epochs from checkpoint to checkpoint (the last is always written)")
    )
    anew = "start anew where --output_dir has checkpoints, which are deleted"
    add_switches(group, ("resume", "go on from the last checkpoint in --output_dir"), ("overwrite", anew))
    group.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)  # the release's launcher
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 fine, 1 stopped during training, 2 refused before any work."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.resume and args.overwrite:
        parser.error("--resume goes on, --overwrite starts anew: give one of them")
    if args.min_lr > args.lr:
        parser.error(f"--min_lr {args.min_lr} is more than --lr {args.lr}")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        parser.error("the launcher started several processes, one trains: give it --nproc_per_node 1 and one host")
    show_warnings()
    return run_command(PROGRAM, args, train, GOES_ON)


def train(args: argparse.Namespace) -> int:
    """Train as the options say; returns the exit code. InputError: data, output folder or checkpoint cannot be used;
    nothing was done."""
    from engine_fusion_pretrain import Training  # imported only after the options were checked: torch takes seconds

    training = Training(args)
    folder, plan = training.folder, training.plan
    note(
        f"{len(folder.paths)} files of xyz {folder.xyz_dim} + RGB {folder.rgb_dim}; {plan.steps} optimiser steps in "
        f"{plan.epochs} epochs, {plan.warmup} of them warm-up; on {training.device.type}"
    )
    try:
        checkpoint, last = training.run()
    except InputError as error:
        tell(PROGRAM, error)
        return FAILED
    told = f"loss {last.loss:.4f}, {last.accuracy:.1%} of pairs matched; " if last else ""
    print(f"{checkpoint}: {plan.steps} steps, {told}use it with main.py --use_uff --fusion_module_path {checkpoint}")
    return FINE


if __name__ == "__main__":
    run_to_the_end(main)
