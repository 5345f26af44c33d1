"""Generated checkouts of many shapes: those that patches/ accepts, and those that it refuses."""

from tests.patches.make_checkout import (
    BASE,
    FEATURES,
    FULL,
    MULTIPLE,
    OVERRIDE,
    PARSE,
    RGB_CALL,
    TREE,
    UNRELATED,
    black,
    docstrings,
    edited,
    function_parser,
    moved,
    options_module,
    subclassed,
    unpacked,
)

SHAPES = {
    "as released": lambda: dict(TREE),
    "CRLF": lambda: {path: text.replace("\n", "\r\n") for path, text in TREE.items()},
    "tabs": lambda: {path: text.replace("    ", "\t") for path, text in TREE.items()},
    "class moved": moved,
    "unrelated calculate_metrics": lambda: {**TREE, FULL: MULTIPLE + UNRELATED},
    "black": black,
    "unpacked": unpacked,
    "docstrings": docstrings,
    "get_parser": lambda: function_parser("parser = get_parser()\n    args = parser.parse_args()"),
    "get_parser().parse_args()": lambda: function_parser("args = get_parser().parse_args()"),
    "options module": options_module,
    "subclassed": subclassed,
    "another way to predict": lambda: subclassed(
        "\n    def __call__(self, sample, mask, label):\n        return self.predict(sample, mask, label)\n"
    ),
    "BOM": lambda: {path: "\ufeff" + text for path, text in TREE.items()},
    "latin-1": lambda: {path: "# -*- coding: latin-1 -*-\nHELLO = 'Grüße'\n" + text for path, text in TREE.items()},
    "no newline at the end": lambda: {path: text.rstrip("\n") for path, text in TREE.items()},
    "broken file that nothing imports": lambda: {
        **TREE,
        "old/draft.py": "def (:\n",
        ".hidden/x.py": FEATURES,
        "venv/pyvenv.cfg": "",
        "venv/f.py": MULTIPLE,
    },
    "classes of the same names elsewhere": lambda: {
        **edited(
            {
                "main.py": [("import numpy as np\n", "import numpy as np\nimport plots\n")],
                BASE: [
                    ("import numpy as np\n", "from abc import ABC\nimport numpy as np\n"),
                    ("class Features(object)", "class Features(ABC)"),
                ],
            }
        ),
        "plots.py": UNRELATED.replace("Meter", "Features") + UNRELATED.replace("Meter", "ABC"),
    },
    "backup of the class": lambda: {
        **TREE,
        "old/multiple_features.py": MULTIPLE,
        "train_uff.py": "import argparse\nparser = argparse.ArgumentParser()\nargs = parser.parse_args()\n",
    },
    "loaded by name": lambda: edited(
        {
            "m3dm_runner.py": [
                (
                    "from feature_extractors.multiple_features import DoubleRGBPointFeatures, RGBFeatures, "
                    "TripleFeatures",
                    "import importlib\nM = importlib.import_module('feature_extractors.' + 'multiple_features')\n"
                    "DoubleRGBPointFeatures, RGBFeatures, TripleFeatures = M.DoubleRGBPointFeatures, M.RGBFeatures, "
                    "M.TripleFeatures",
                )
            ]
        }
    ),
}
# what it refuses: files, words that the message has to hold
REFUSED = {
    "metrics overridden": (
        lambda: {
            **TREE,
            FULL: MULTIPLE.replace("class TripleFeatures(Features):", "class TripleFeatures(Features):" + OVERRIDE),
        },
        (FULL, "TripleFeatures.calculate_metrics", "scoring_addon.apply(self)"),
    ),
    "metrics overridden in another method's class": (
        lambda: {
            **TREE,
            FULL: MULTIPLE.replace("class RGBFeatures(Features):", "class RGBFeatures(Features):" + OVERRIDE),
        },
        (FULL, "RGBFeatures.calculate_metrics"),
    ),
    "metrics overridden in a subclass": (lambda: subclassed(OVERRIDE), (FULL, "Mine.calculate_metrics")),
    "no metrics": (
        lambda: edited(
            {BASE: [("calculate_metrics", "metrics")], "m3dm_runner.py": [("calculate_metrics", "metrics")]}
        ),
        ("calculate_metrics", "apply(self)"),
    ),
    "no fusion call": (
        lambda: {**TREE, FULL: MULTIPLE.replace("modal='fusion'", "modal=self.third")},
        ("compute_single_s_s_map", "record(self"),
    ),
    "shared with training": (
        lambda: edited(
            {
                FULL: [
                    (
                        "        self.fused.append([s_xyz, s_rgb, s_fusion])",
                        "        self.compute_s_s_map(*sample, (24, 24), None, None)",
                    )
                ]
            }
        ),
        (FULL, "run by add_sample_to_late_fusion_mem_bank", "record(self"),
    ),
    "shared with a training pass of another name": (
        lambda: {
            path: text.replace("add_sample_to_late_fusion_mem_bank", "second_pass")
            for path, text in REFUSED["shared with training"][0]().items()
        },
        (FULL, "run by second_pass"),
    ),
    "changed between the calls": (
        lambda: edited({FULL: [("        " + RGB_CALL, "        s_map_xyz = s_map_xyz * 2\n        " + RGB_CALL)]}),
        (FULL, "assigned again"),
    ),
    "in a branch": (
        lambda: edited({FULL: [("        " + RGB_CALL, "        if label is not None:\n            " + RGB_CALL)]}),
        (FULL, "branch"),
    ),
    "on one line": (
        lambda: edited(
            {FULL: [("feature_map_dims, modal='fusion')\n", "feature_map_dims, modal='fusion'); done = 1\n")]}
        ),
        (FULL, "shares its line"),
    ),
    "on one line, in latin-1": (
        lambda: {
            **TREE,
            FULL: "# -*- coding: latin-1 -*-\n"
            + MULTIPLE.replace("s_fusion, s_map_fusion", "größe, s_map_fusion")
            .replace("s_fusion]", "größe]")
            .replace("feature_map_dims, modal='fusion')\n", "feature_map_dims, modal='fusion');1\n"),
        },
        (FULL, "shares its line"),
    ),
    "two parsers": (
        lambda: edited(
            {
                "main.py": [
                    (
                        "    parser = ",
                        "    first = argparse.ArgumentParser(add_help=False)\n"
                        "    known, _ = first.parse_known_args()\n    parser = ",
                    )
                ]
            }
        ),
        ("main.py", "several places", "add_arguments(PARSER)"),
    ),
    "two parsers of one name": (
        lambda: edited(
            {
                "main.py": [
                    (
                        "    parser = ",
                        "    parser = argparse.ArgumentParser(add_help=False)\n"
                        "    parser.parse_known_args()\n    parser = ",
                    )
                ]
            }
        ),
        ("main.py", "not certain that parser"),
    ),
    "no parser": (
        lambda: edited({"main.py": [(PARSE, "args = argparse.Namespace(dump=None, method_name='DINO')")]}),
        ("main.py", "parse_args()"),
    ),
    "a flag of the same name": (
        lambda: edited(
            {"main.py": [(f"    {PARSE}", f"    parser.add_argument('--scoring', default='')\n    {PARSE}")]}
        ),
        ("main.py", "--scoring"),
    ),
    "user's own scoring_addon.py": (
        lambda: {**TREE, "scoring_addon.py": "mine = 1\n"},
        ("scoring_addon.py", "move it away"),
    ),
}
