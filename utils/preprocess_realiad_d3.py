"""Convert Real-IAD D3 as downloaded into what M3DM reads: PNG pictures, points and masks paired by sample.

    python utils/preprocess_realiad_d3.py DOWNLOAD -o datasets/realiad_d3

It reads <category>/{train,test}/{GOOD,<defect>}/{rgb/<sample>/*L05*RGB*.jpg, xyz/*.tiff, gt/rgb/*.png}; the names of a
sample's files agree up to the first "_". If points or a mask have another aspect ratio than the picture, one side is
enlarged by nearest neighbour, as in loading, so that no measurement is lost.
"""

import fnmatch
from pathlib import Path

import numpy as np
from PIL import Image

if not __package__:
    import checkout  # noqa: F401  puts the checkout on the path

from common.errors import InputError
from common.signals import run_to_the_end
from data import conversion as common
from data.organised_clouds import read_tiff, read_unexamined
from data.pairing import GOOD
from data.pictures import read_defect, read_picture

PROGRAM = "preprocess_realiad_d3.py"
SPLITS = ("train", "test")
PICTURES, CLOUDS = ("*l05*rgb*.jpg", "*l05*rgb*.jpeg"), ("*.tiff", "*.tif")


def main(argv=None):
    """Run the command line; returns the exit code: 0 fine, 1 something failed, 2 refused before any work."""
    return common.run(PROGRAM, build_parser(), argv, preprocess)


def build_parser():
    """The argument parser."""
    parser = common.build_parser(PROGRAM, __doc__, "realiad_d3")
    parser.add_argument("source", type=Path, metavar="SRC", help="the download: folder of the categories")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DST", help="folder for the result")
    text = "sensor: as measured, background where nothing was; pixel: x and y are the pixel's row and column, missing "
    text += "z the file's smallest, as in the data set's own M3DM fork"
    parser.add_argument("--xyz", default="sensor", choices=("sensor", "pixel"), help=text)
    return parser


def preprocess(args, command):
    """Convert what the options ask for; returns the exit code."""

    def of_category(category, folder):
        return list_category(category, folder, args.output, args.xyz)

    categories = common.find_categories(args.source, args.categories, "realiad_d3", args.output)
    coordinates = "millimetres" if args.xyz == "sensor" else "pixels"
    record = common.Record(args.output, PROGRAM, command, vars(args), ("xyz",), coordinates)
    looked_for = " and ".join(f"{split}/<defect>/{{rgb,xyz}}" for split in SPLITS)
    jobs, unpaired = common.list_jobs(categories, of_category, looked_for)
    return common.convert(record, args.output, categories, jobs, unpaired, args.workers)[0]


def list_category(category, folder, target, convention):
    """([Job], {sample: why it has no job}) of the category in ``folder``."""
    jobs, unpaired = [], {}
    for source in (place for split in SPLITS for place in sorted((folder / split).glob("[!.]*")) if place.is_dir()):
        good = source.name.lower() == GOOD
        kinds = {"rgb": find_files(source / "rgb", PICTURES), "xyz": find_files(source / "xyz", CLOUDS)}
        if not good:
            kinds["gt/rgb"] = find_files(source / "gt" / "rgb", ("*.png",))
        for sample in sorted(set().union(*kinds.values())):
            name = f"{category}/{source.parent.name}/{GOOD if good else source.name}/{sample}"
            files = {kind: found.get(sample, []) for kind, found in kinds.items()}
            wrong = [
                f"{len(paths) or 'no'} file{'s' * (len(paths) > 1)} in {kind}"
                for kind, paths in files.items()
                if len(paths) != 1
            ]
            if wrong:
                unpaired[name] = f"{source}: sample {sample} has {' and '.join(wrong)}, one each is needed"
            else:
                jobs.append(common.job_of(target, name, convert, [path for (path,) in files.values()], convention))
    return jobs, unpaired


def find_files(folder, patterns):
    """{sample id: [files]} of the files below ``folder`` whose lower-case name matches a pattern; ids end at the first
    "_"."""
    found = {}
    for path in sorted(folder.rglob("[!.]*")):
        if any(fnmatch.fnmatchcase(path.name.lower(), pattern) for pattern in patterns):
            found.setdefault(path.stem.split("_")[0], []).append(path)
    return found


def convert(files, folder, name, convention):
    """Convert a sample's ``files`` (rgb, xyz and in defect folders gt) into ``folder``; returns warnings.
    Raises InputError: a file cannot be used, or no pixel was measured."""
    rgb, notes = np.asarray(read_picture(files[0], "RGB")), []
    if convention == "sensor":
        xyz, _, notes = read_unexamined(files[1], "m")
    else:
        xyz = by_pixel(read_tiff(files[1])[0])
    if not xyz.all(axis=2).any():
        raise InputError(f"{files[1]}: no pixel was measured; fetch it again or take the sample out")
    height, width = aspect_size(xyz.shape, rgb.shape)
    xyz = xyz[np.arange(height) * xyz.shape[0] // height][:, np.arange(width) * xyz.shape[1] // width]
    gt = None
    if len(files) > 2:
        gt = read_defect(files[2]).astype(np.uint8) * 255
        gt = np.asarray(Image.fromarray(gt).resize(aspect_size(gt.shape, rgb.shape)[::-1], Image.NEAREST))
    common.save_sample(folder, name, rgb, xyz, gt)
    return notes


def by_pixel(points):
    """Points [H, W, 3] float32: (row, column, z), with the smallest z in place of missing ones; all 0 if all are
    missing."""
    height, width = points.shape[:2]
    z = points[..., 2].astype(np.float32)
    measured = np.isfinite(z)
    if not measured.any():
        return np.zeros((height, width, 3), np.float32)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([rows, columns, np.where(measured, z, z[measured].min())], axis=-1)


def aspect_size(shape, wanted):
    """(height, width): ``shape`` with one side enlarged, if needed, to the aspect ratio of ``wanted``."""
    height, width = shape[:2]
    return max(height, round(width * wanted[0] / wanted[1])), max(width, round(height * wanted[1] / wanted[0]))


if __name__ == "__main__":
    run_to_the_end(main)
