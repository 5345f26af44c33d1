"""Generated checkouts shaped like public forks: several classes compute the three maps, and the runner decides which
one it builds for a method's name."""

from collections import namedtuple

from tests.patches.make_checkout import FULL, MAIN, MULTIPLE, RUNNER, TREE

Fork = namedtuple("Fork", "files recorded says runs refused before_run", defaults=((), None))
Fork.__doc__ = """A checkout: {path: text}; {"path: class"} that are recorded; texts that --check prints; the flags of
runs that record; methods that --scoring refuses; {old path: new path} to move before a run, what a user would do."""

NAME = "DINO+Point_MAE+Fusion"
TRIPLE = MULTIPLE[MULTIPLE.index("class TripleFeatures") : MULTIPLE.index("def append_all")]
IMPORT = "from feature_extractors.multiple_features import DoubleRGBPointFeatures, RGBFeatures, TripleFeatures"
TABLE = RUNNER[RUNNER.index("        kinds = ") : RUNNER.index("    def fit")]
CHOICES = '"DINO", "DINO+Point_MAE", "DINO+Point_MAE+Fusion"'
M = "multiple_features."


def variant(name, factor):
    """Source of a copy of the full setting's class that multiplies the xyz map by another factor."""
    return TRIPLE.replace("TripleFeatures", name).replace("1.0 * s_map_xyz", f"{factor} * s_map_xyz")


THREE = MULTIPLE + "\n\n" + variant("TripleFeatures_PS", 2.0) + variant("TripleFeatures_VS", 3.0)


def runner(body, imports="from feature_extractors import multiple_features"):
    """The runner's source with another way to build methods. ``body``: code that sets self.methods from args; its
    blocks are indented by four spaces."""
    lines = "".join("        " + line + "\n" if line else "\n" for line in body.strip("\n").split("\n"))
    return RUNNER.replace(IMPORT, imports).replace(TABLE, lines + "\n")


def chain(*pairs):
    """An if chain over (method's name, class), as in the release, where the dictionary's key is only a label."""
    lines = []
    for i, (name, cls) in enumerate(pairs):
        lines += [
            f'{"elif" if i else "if"} args.method_name == "{name}":',
            f'    self.methods = {{"{name.replace("+PS", "")}": {cls}(args)}}',
        ]
    return "\n".join(lines)


def tree(choices=(), multiple=THREE, **files):
    """A checkout whose --method_name also takes ``choices``; ``files``: {path without ``.py``: text} to add."""
    more = "".join(f', "{name}"' for name in choices)
    files = {path + ".py": text for path, text in files.items()}
    return {**TREE, "main.py": MAIN.replace(CHOICES, CHOICES + more), FULL: multiple, **files}


RELEASE = [("DINO", M + "RGBFeatures"), ("DINO+Point_MAE", M + "DoubleRGBPointFeatures"), (NAME, M + "TripleFeatures")]
PS, VS = (NAME + "+PS", M + "TripleFeatures_PS"), (NAME + "+VS", M + "TripleFeatures_VS")
RECORDS = f"{FULL}: line 46: TripleFeatures.compute_s_s_map: is recorded, since "
NOT_PS = f"TripleFeatures_PS.compute_s_s_map: is not recorded: it is built for {NAME}+PS only"
DICTIONARY = f'''
kinds = {{"DINO": {M}RGBFeatures, "{NAME}+PS": {M}TripleFeatures_PS,
         "{NAME}": {M}TripleFeatures, "{NAME}+VS": {M}TripleFeatures_VS}}
self.methods = {{args.method_name: kinds[args.method_name](args)}}
'''
ONE, PS_ONLY = {f"{FULL}: TripleFeatures"}, {f"{FULL}: TripleFeatures_PS"}
BOTH = ONE | PS_ONLY
BUILD = "self.methods = {args.method_name: build(args)}"


OTHER = "feature_extractors/self_features.py"


def second_module():
    """A checkout with copies of the classes in another module, from which the full setting is built."""
    files = tree([NAME + "+old"], MULTIPLE)
    files[OTHER] = (
        "import numpy as np\n\nfrom feature_extractors.features import Features\n"
        "from feature_extractors.multiple_features import append_all\n\n\n" + variant("TripleFeatures", 2.0)
    )
    files["m3dm_runner.py"] = runner(
        chain(RELEASE[0], (NAME + "+old", M + "TripleFeatures"), (NAME, "self_features.TripleFeatures")),
        "from feature_extractors import multiple_features, self_features",
    )
    return files


def distilled():
    """A checkout with two variants of a distilled modality under their own names, and without the full setting."""
    names = ("WithDistilled", "WithDistilledFromFeatures")
    pairs = [RELEASE[0], (names[0], M + "TripleFeatures_PS"), (names[1], M + "TripleFeatures_VS")]
    head, tail = THREE.index("class TripleFeatures"), THREE.index("def append_all")
    files = tree(multiple=THREE[:head] + THREE[tail:], m3dm_runner=runner(chain(*pairs)))
    files["main.py"] = MAIN.replace(CHOICES, '"DINO", "{}", "{}"'.format(*names)).replace(
        f'default="{NAME}"', f'default="{names[0]}"'
    )
    return files


def registry(register):
    """A checkout whose classes register themselves in a separate module; ``register``: {class: decorator or call}."""
    text = THREE.replace("import numpy as np\n", "import numpy as np\n\nfrom registry import KINDS, register\n", 1)
    for name, code in register.items():
        text = text.replace(f"class {name}(", f"{code}\nclass {name}(") if code.startswith("@") else text + f"\n{code}"
    keep = (
        "KINDS = {}\n\n\ndef register(name, cls=None):\n    def add(cls):\n        KINDS[name] = cls\n"
        "        return cls\n    return add(cls) if cls else add\n"
    )
    return tree(
        [PS[0], VS[0]],
        text,
        registry=keep,
        m3dm_runner=runner(
            "self.methods = {args.method_name: KINDS[args.method_name](args)}",
            "import feature_extractors.multiple_features\nfrom registry import KINDS",
        ),
    )


DECORATED = {
    "RGBFeatures": '@register("DINO")',
    "TripleFeatures": f'@register("{PS[0]}")',
    "TripleFeatures_PS": f'@register("{NAME}")',
    "TripleFeatures_VS": f'@register(name="{VS[0]}")',
}
CALLED = {
    "RGBFeatures": 'register("DINO", RGBFeatures)',
    "TripleFeatures": f'register("{NAME}", TripleFeatures)',
    "TripleFeatures_PS": f'register("{PS[0]}", TripleFeatures_PS)',
}
EARLY = f"""
def build(args):
    if args.method_name == FUSION:
        return {M}TripleFeatures(args)
    if args.method_name == "DINO":
        return {M}RGBFeatures(args)
    return {M}TripleFeatures_PS(args)


class M3DM"""
BY_NAME = f'''
CLASSES = {{"DINO": "RGBFeatures", "{NAME}": "TripleFeatures_PS", "{VS[0]}": "TripleFeatures_VS"}}


class M3DM'''
MATCH = f'''
match args.method_name:
    case "DINO":
        self.methods = {{"DINO": {M}RGBFeatures(args)}}
    case "{NAME}":
        self.methods = {{"full": {M}TripleFeatures(args)}}
    case _:
        self.methods = {{"PS": {M}TripleFeatures_PS(args)}}
'''
SEVERAL = f'''
if args.method_name == "{NAME}":
    kind = {M}TripleFeatures_PS if args.ps else {M}TripleFeatures
else:
    kind = {M}RGBFeatures
self.methods = {{args.method_name: kind(args)}}
'''


def several():
    files = tree([], m3dm_runner=runner(SEVERAL))
    flag = '    parser.add_argument("--ps", action="store_true")\n    args = parser'
    return {**files, "main.py": files["main.py"].replace("    args = parser", flag)}


def renamed(missing):
    """A checkout published with a renamed runner file. main.py imports it by the new name. With ``missing``, main.py
    imports the old name, and the runner a module that is missing: the user has to rename the files."""
    body = chain(*RELEASE, PS, VS)
    if missing:
        body = runner(body, "from feature_extractors import multiple_features_clean as multiple_features")
    files = tree([PS[0], VS[0]], m3dm_runner1=body if missing else runner(body))
    del files["m3dm_runner.py"]
    if not missing:
        files["main.py"] = files["main.py"].replace("from m3dm_runner ", "from m3dm_runner1 ")
    return files


FORKS = {
    "the release's chain": Fork(
        tree(multiple=MULTIPLE, m3dm_runner=runner(chain(*RELEASE))),
        ONE,
        [RECORDS + f"m3dm_runner.py: line 13 builds it for {NAME}"],
        [[]],
    ),
    "three classes, a chain": Fork(
        tree([PS[0], VS[0]], m3dm_runner=runner(chain(*RELEASE, PS, VS))),
        ONE,
        [RECORDS + f"m3dm_runner.py: line 13 builds it for {NAME}", NOT_PS],
        [[]],
        (PS[0], VS[0]),
    ),
    "three classes, a dictionary": Fork(
        tree([PS[0], VS[0]], m3dm_runner=runner(DICTIONARY)),
        ONE,
        [RECORDS + f"m3dm_runner.py: line 9 builds it for {NAME}", NOT_PS],
        [[]],
        (PS[0], VS[0]),
    ),
    "three classes, another one is the full setting": Fork(
        tree(
            [PS[0]],
            m3dm_runner=runner(chain(*RELEASE[:2], (PS[0], M + "TripleFeatures"), (NAME, M + "TripleFeatures_PS"))),
        ),
        PS_ONLY,
        [
            f"TripleFeatures_PS.compute_s_s_map: is recorded, since m3dm_runner.py: line 15 builds it for {NAME}",
            f"TripleFeatures.compute_s_s_map: is not recorded: it is built for {PS[0]} only",
        ],
        [[]],
        (PS[0],),
    ),
    "a second module with copies": Fork(
        second_module(),
        {OTHER + ": TripleFeatures"},
        [
            OTHER
            + f": line 22: TripleFeatures.compute_s_s_map: is recorded, since m3dm_runner.py: line 13 builds it for "
            f"{NAME}",
            f"{FULL}: line 46: TripleFeatures.compute_s_s_map: is not recorded",
        ],
        [[]],
        (NAME + "+old",),
    ),
    "two variants with a distilled modality": Fork(
        distilled(),
        {f"{FULL}: TripleFeatures_PS", f"{FULL}: TripleFeatures_VS"},
        [
            "TripleFeatures_PS.compute_s_s_map: is recorded, since m3dm_runner.py: line 11 builds it for "
            "WithDistilled\n",
            "m3dm_runner.py: line 13 builds it for WithDistilledFromFeatures",
        ],
        [["--method_name", "WithDistilled"], ["--method_name", "WithDistilledFromFeatures"]],
    ),
    "a renamed runner": Fork(
        renamed(False), ONE, [RECORDS + f"m3dm_runner1.py: line 13 builds it for {NAME}"], [[]], (PS[0], VS[0])
    ),
    "a renamed runner that nothing imports": Fork(
        renamed(True),
        ONE,
        [RECORDS + f"m3dm_runner1.py: line 13 builds it for {NAME}"],
        [[]],
        (PS[0], VS[0]),
        {"m3dm_runner1.py": "m3dm_runner.py", FULL: FULL.replace(".py", "_clean.py")},
    ),
    "an alias": Fork(
        tree(
            [PS[0]],
            THREE + "\n\nFull, Old = TripleFeatures_PS, TripleFeatures\n",
            m3dm_runner=runner(
                chain((NAME, "Full"), (PS[0], "Old")), "from feature_extractors.multiple_features import Full, Old"
            ),
        ),
        PS_ONLY,
        [f"TripleFeatures_PS.compute_s_s_map: is recorded, since m3dm_runner.py: line 9 builds it for {NAME}"],
        [[]],
        (PS[0],),
    ),
    "an import under another name": Fork(
        tree(
            [PS[0]],
            **{
                "feature_extractors/__init__": (
                    "from .multiple_features import TripleFeatures as Old, TripleFeatures_PS as TripleFeatures\n"
                )
            },
            m3dm_runner=runner(
                chain((NAME, "Full"), (PS[0], "Old")), "from feature_extractors import Old, TripleFeatures as Full"
            ),
        ),
        PS_ONLY,
        [f"TripleFeatures_PS.compute_s_s_map: is recorded, since m3dm_runner.py: line 9 builds it for {NAME}"],
        [[]],
        (PS[0],),
    ),
    "several that can be built": Fork(
        several(),
        BOTH,
        [
            RECORDS + f"m3dm_runner.py: line 9 builds it for {NAME}",
            "TripleFeatures_PS.compute_s_s_map: is recorded, since m3dm_runner.py: line 9 builds it",
        ],
        [[], ["--ps"]],
    ),
    "a registry of decorators": Fork(
        registry(DECORATED),
        PS_ONLY,
        [f"TripleFeatures_PS.compute_s_s_map: is recorded, since {FULL}: line 73 builds it for {NAME}"],
        [[]],
        (PS[0], VS[0]),
    ),
    "a registry of calls": Fork(
        registry(CALLED),
        ONE,
        [f"TripleFeatures.compute_s_s_map: is recorded, since {FULL}: line ", NOT_PS],
        [[]],
        (PS[0],),
    ),
    "a constant and a function that returns early": Fork(
        tree(
            [PS[0]],
            names=f'FUSION = "{NAME}"\n',
            m3dm_runner=runner(BUILD)
            .replace("\nclass M3DM", EARLY)
            .replace("import multiple", "import multiple", 1)
            .replace("from dataset", "from names import FUSION\nfrom dataset"),
        ),
        ONE,
        [RECORDS + f"m3dm_runner.py: line 8 builds it for {NAME}"],
        [[]],
        (PS[0], "DINO+Point_MAE"),
    ),
    "a class by its name": Fork(
        tree(
            [VS[0]],
            m3dm_runner=runner(
                "self.methods = {args.method_name: getattr(multiple_features, CLASSES[args.method_name])(args)}"
            ).replace("\nclass M3DM", BY_NAME),
        ),
        PS_ONLY,
        [f"TripleFeatures_PS.compute_s_s_map: is recorded, since m3dm_runner.py: line 5 builds it for {NAME}"],
        [[]],
        (VS[0],),
    ),
    "a copy that nothing builds": Fork(
        tree(multiple=MULTIPLE + "\n\n" + TRIPLE.replace("TripleFeatures", "Copy")),
        ONE,
        [RECORDS + f"m3dm_runner.py: line 8 builds it for {NAME}"],
        [[]],
    ),
    "a class that is defined twice": Fork(
        tree(multiple=MULTIPLE.replace("class Triple", variant("TripleFeatures", 2.0) + "class Triple")),
        ONE,
        [f"{FULL}: line 75: TripleFeatures.compute_s_s_map: is recorded, since m3dm_runner.py: line 8"],
        [[]],
    ),
    "a class that inherits the method": Fork(
        tree(
            multiple=MULTIPLE
            + "\n\nclass Mine(TripleFeatures):\n    colour = 'blue'\n\n\n"
            + variant("Other", 2.0)
            + "\n\nif __name__ == '__main__':\n    Other(None)\n",
            m3dm_runner=runner(chain((NAME, M + "Mine"), (PS[0], M + "Other"))),
        ),
        ONE,
        [RECORDS + f"m3dm_runner.py: line 9 builds it (as Mine) for {NAME}"],
        [[]],
    ),
    "a match": Fork(
        tree([PS[0]], m3dm_runner=runner(MATCH)), ONE, [RECORDS + f"m3dm_runner.py: line 12 builds it for {NAME}"], [[]]
    ),
}
