"""main.py --seeds: one run per seed, and the table of means and standard deviations over the seeds."""

import dataclasses
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.commands import FAILED, FINE, REFUSED
from common.errors import InputError, tell
from common.progress import note
from runs.options import RunOptions


def run_seeds(args: RunOptions, run_once: Callable[[RunOptions], tuple[int, Any]]) -> int:
    """Do one run per seed of --seeds, each in a folder of its own, and write seeds.md after each. Returns the exit
    code.

    Args:
        args: options as ``runs.options.parse_arguments`` returns them.
        run_once: function of options that returns (exit code, RunRecord).
    """
    from runs.results import write_seeds  # imported here: scikit-learn takes a second

    codes: list[int] = []
    metrics: dict[int, Any] = {}
    table = ""
    for seed in dict.fromkeys(args.seeds or ()):
        folder = f"seed_{seed}"
        changes: dict[str, Any] = {
            "seed": seed,
            "output_dir": str(Path(args.output_dir) / folder),
            **{
                name: getattr(args, name) and str(Path(getattr(args, name)) / folder)
                for name in ("save_maps", "save_model")
            },
        }
        note(f"seed {seed}:")
        try:
            code, run = run_once(dataclasses.replace(args, **changes))
        except KeyboardInterrupt:  # before the seed's first category
            tell("main.py", f"interrupted; seed {seed} and later ones are not run")
            codes.append(FAILED)
            break
        except InputError as error:
            print(f"main.py: seed {seed}: {error}", file=sys.stderr)
            codes.append(REFUSED)
            continue
        except Exception as error:  # one failing seed must not stop the others
            traceback.print_exc()
            print(f"main.py: seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
            codes.append(FAILED)
            continue
        codes.append(code)
        if run.metrics:
            metrics[seed] = run.metrics
            try:
                table = write_seeds(args.output_dir, args.method_name, metrics)
            except OSError as error:
                print(
                    f"main.py: {args.output_dir}/seeds.md cannot be written: {error.strerror or error}", file=sys.stderr
                )
                codes.append(FAILED)
        if run.interrupted:
            break
    if table:
        print("\n" + table)
    return REFUSED if set(codes) == {REFUSED} else FAILED if any(codes) else FINE
