"""Runners that tell classes apart in one of several styles, and checkouts whose class cannot be told."""

from tests.patches.fork_shapes import NAME, PS, RELEASE, THREE, TRIPLE, M, chain, runner, tree
from tests.patches.make_checkout import MULTIPLE

GUESSES = {  # what is refused: files, words of the message
    "the full setting's calls cannot be read": (
        tree([PS[0]], THREE.replace("modal='fusion'", "modal=self.third", 2), m3dm_runner=runner(chain(*RELEASE, PS))),
        (f"m3dm_runner.py: line 13: builds TripleFeatures for {NAME}, in which no method", "TripleFeatures_PS.comp"),
    ),
    "a class by a name that is put together": (
        tree(
            m3dm_runner=runner(
                "self.methods = {args.method_name: getattr(multiple_features, 'Triple' + "
                "args.method_name[:0] + 'Features')(args)}"
            )
        ),
        ("TripleFeatures.compute_s_s_map; ", "TripleFeatures_PS.comp", "it cannot be told which main.py builds"),
    ),
    "two methods of one class": (
        tree(
            multiple=MULTIPLE.replace(
                "    def compute_s_s_map(self, xyz_patch, rgb_patch, fusion_patch,",
                (
                    TRIPLE[TRIPLE.index("    def compute_s_s_map") :]
                    .replace("compute_s_s_map", "compute_again")
                    .rstrip()
                    + "\n\n    def compute_s_s_map(self, xyz_patch, rgb_patch, fusion_patch,"
                ),
            ).replace("fusion_patch = sample\n", "fusion_patch = sample\n        self.compute_again\n")
        ),
        ("TripleFeatures.compute_again", "several methods compute the three maps for TripleFeatures"),
    ),
    "metrics of a class that is built for another name are its own": (
        tree(
            [PS[0]],
            THREE.replace(
                "class TripleFeatures_PS(Features):",
                "class TripleFeatures_PS(Features):\n"
                "    def calculate_metrics(self):\n        super().calculate_metrics()\n",
            ),
            m3dm_runner=runner(chain(*RELEASE, PS)),
        ),
        ("TripleFeatures_PS.calculate_metrics: overrides ",),
    ),
}


# how a runner can tell classes apart: {style: function of {method's name: class} that gives the lines, at four spaces,
# that set self.methods}
STYLES = {
    "chain": lambda table: chain(*((name, M + cls) for name, cls in table.items())),
    "dictionary": lambda table: (
        "kinds = {"
        + ", ".join(f'"{name}": {M}{cls}' for name, cls in table.items())
        + "}\nself.methods = {args.method_name: kinds[args.method_name](args)}"
    ),
    "functions in a dictionary": lambda table: (
        "kinds = dict()\n"
        + "\n".join(f'kinds["{name}"] = lambda: {M}{cls}(args)' for name, cls in table.items())
        + "\nself.methods = {args.method_name: kinds[args.method_name]()}"
    ),
    "pairs": lambda table: (
        "for name, kind in ["
        + ", ".join(f'("{name}", {M}{cls})' for name, cls in table.items())
        + "]:\n    if name == args.method_name:\n        self.methods = {name: kind(args)}"
    ),
    "a variable and not equal": lambda table: (
        "chosen = args.method_name.strip()\n"
        + "\n".join(f'if not chosen != "{name}":\n    kind = {M}{cls}' for name, cls in table.items())
        + "\nself.methods = {chosen: kind(args)}"
    ),
    "nested": lambda table: (
        "kind = "
        + " ".join(f'{M}{cls} if vars(args)["method_name"] in ("{name}",) else' for name, cls in table.items())
        + " None\nself.methods = {args.method_name: kind(args)}"
    ),
    "names of classes": lambda table: (
        "kinds = {"
        + ", ".join(f'"{name}": "{cls}"' for name, cls in table.items())
        + "}\nself.methods = {args.method_name: getattr(multiple_features, kinds[args.method_name])(args)}"
    ),
}


def styled(style, table):
    """A checkout whose runner builds, in a style, the class of ``table`` {method's name: class}."""
    return tree(list(table), m3dm_runner=runner(STYLES[style](table)))
