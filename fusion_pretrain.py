"""Train UFF, the fusion module of M3DM, on the patch pairs that main.py --save_feature wrote.

python fusion_pretrain.py --data_path datasets/patch_lib --output_dir uff --epochs 3
"""

import argparse
from typing import TYPE_CHECKING

from common.argument_types import number
from common.commands import HelpFormatter, Parser, add_device, add_switches, add_values, prose_and_examples
from common.errors import InputError, show_warnings, tell
from common.files import check_writable
from common.signals import first_signal_stops, run_to_the_end

if TYPE_CHECKING:
    from engine_fusion_pretrain import Training
    from uff_training.processes import Processes

PROGRAM = "fusion_pretrain.py"
FINE, FAILED, REFUSED = 0, 1, 2


def build_parser() -> Parser:
    """The argument parser of fusion_pretrain.py; defaults are the release's."""
    parser = Parser(
        prog="fusion_pretrain.py",
        formatter_class=HelpFormatter,
        description="Train UFF on files of patch pairs. Runs on one device, or on several processes under torchrun. "
        "Writes checkpoint-<epoch>.pth for main.py --use_uff --fusion_module_path, and the loss curve uff_loss.csv and "
        "uff_loss.png.",
        epilog=prose_and_examples(__doc__)[1],
    )
    most = 2**31 - 1
    whole = number(int, 1, most)
    group = parser.add_argument_group("data")
    widths = "width of the xyz patches (default: as the files show it, else 1152)"
    add_values(
        group,
        ("data_path", str, "datasets/patch_lib", "DIR", "folder of .pt files, float32 or half precision"),
        ("xyz_dim", whole, None, "N", widths),
        ("num_workers", number(int, 0, 64), 1, "N", "threads that read files; each keeps one part in memory"),
    )
    group.add_argument(
        "--pair_order",
        default="matching",
        choices=("matching", "released"),
        help="matching: RGB patches that the release wrote in scrambled order (defect 7) are brought back to "
        "their xyz patches; released: all files are used in the scrambled order",
    )
    group.add_argument(
        "--background",
        default="any_zero",
        choices=("any_zero", "all_zero"),
        help="patches left out: any_zero, whose xyz half holds a zero (as released); all_zero, whose xyz half "
        "is all zero (for FPFH, whose zeros are values)",
    )

    group = parser.add_argument_group("training")
    steps = (
        "optimiser steps of warm-up instead of --warmup_epochs (with --steps: a third of them, as in the CVPR paper)"
    )
    add_values(
        group,
        ("batch_size", whole, 16, "N", "parts per batch and process; the last incomplete batch is dropped"),
        ("accum_iter", whole, 16, "N", "batches per optimiser step"),
        ("epochs", whole, 3, "N", "passes over the files"),
        ("steps", whole, None, "N", "optimiser steps instead of --epochs (the CVPR paper: 750)"),
        ("lr", number(float, 0, open_low=True), 0.003, "X", "learning rate after warm-up"),
        ("min_lr", number(float, 0), 0.0, "X", "learning rate that the cosine ends at"),
        ("warmup_epochs", number(float, 0), 1.0, "X", "epochs of linear warm-up"),
        ("warmup_steps", number(int, 0, most), None, "N", steps),
        ("weight_decay", number(float, 0), 0.01, "X", "of AdamW (the release has the flag and always takes 0.01)"),
        ("seed", number(int, 0, 2**32 - 1), 0, "N", "of the first weights and the order of the files"),
    )
    group.add_argument(
        "--negatives",
        default="gathered",
        choices=("gathered", "own"),
        help="under torchrun: pairs are told apart from those of all processes, as one process with all of "
        "them does; or of their own only",
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
        help="checkpoints and loss curve",
    )
    add_values(
        group, ("save_every", whole, 1, "N", "epochs from checkpoint to checkpoint (the last is always written)")
    )
    group.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="FILE",
        help="go on from this checkpoint (no FILE: the last one in --output_dir)",
    )
    anew = "start anew where --output_dir has checkpoints, which are deleted"
    add_switches(group, ("overwrite", anew))
    group.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)  # older launchers add it
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 fine, 1 stopped during training, 2 refused before any work."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.resume is not None and args.overwrite:
        parser.error("--resume goes on, --overwrite starts anew: give one of them")
    if args.min_lr > args.lr:
        parser.error(f"--min_lr {args.min_lr} is more than --lr {args.lr}")
    show_warnings()
    begun = False
    from uff_training import processes  # imported only after the options were checked: torch takes seconds

    try:
        with first_signal_stops(PROGRAM):
            training = prepare(args, processes.start(args.device))
            begun = True
            trained = training.run(quiet=args.quiet)
    except InputError as error:
        tell(PROGRAM, error)
        if isinstance(error, processes.StoppedTogether):
            processes.wait()  # torchrun stops the others as soon as one ends; wait until all have printed their reason
        return FAILED if begun else REFUSED
    except OSError as error:
        tell(PROGRAM, f"{error.filename or args.output_dir}: {error.strerror or error}")
        return FAILED if begun else REFUSED
    except KeyboardInterrupt:
        tell(PROGRAM, "interrupted; --resume goes on after the last epoch that was finished")
        return FAILED
    finally:
        processes.stop()
    if training.processes.first:
        print(
            f"{trained.checkpoint}: {trained.steps} steps, loss {trained.loss:.4f}, {trained.accuracy:.1%} of pairs "
            f"matched; use it with main.py --use_uff --fusion_module_path {trained.checkpoint}"
        )
    return FINE


def prepare(args: argparse.Namespace, processes: "Processes") -> "Training":
    """Check data and output folder, and build the Training; with --resume, restored from its checkpoint.

    Raises:
        InputError: data, output folder or checkpoint cannot be used.
    """
    import engine_fusion_pretrain as engine
    from uff_training.patch_pairs import find_pair_files
    from uff_training.training_plan import TrainingSettings

    settings = TrainingSettings(**{name: getattr(args, name) for name in TrainingSettings.__dataclass_fields__})
    with processes.together():
        folder = find_pair_files(args.data_path, args.xyz_dim)
        found = engine.checkpoints_in(args.output_dir)
        if processes.first:
            check_writable(args.output_dir)
            if found and args.resume is None and not args.overwrite:
                raise InputError(
                    f"{found[max(found)]}: a training has been here; --resume goes on with it, --overwrite starts "
                    "anew and deletes its checkpoints, or choose another --output_dir"
                )
        if args.resume == "" and not found:
            raise InputError(f"{args.output_dir}: no checkpoint-<epoch>.pth to go on from; leave out --resume")
    recorded = {"data_path": args.data_path, "output_dir": args.output_dir}
    training = engine.Training(folder, settings, args.output_dir, processes, recorded)
    if args.resume is not None:
        training.resume(args.resume or found[max(found)])
    elif args.overwrite and processes.first:
        for path in found.values():
            path.unlink()
    if processes.first and not args.quiet:
        print(
            f"{len(folder.paths)} files of xyz {folder.xyz_dim} + RGB {folder.rgb_dim}; {training.plan.steps} "
            f"optimiser steps in {training.plan.epochs} epochs, {training.plan.warmup} of them warm-up; "
            f"{processes.world} process{'es' * (processes.world > 1)} on {processes.device.type}",
            flush=True,
        )
    return training


if __name__ == "__main__":
    run_to_the_end(main)
