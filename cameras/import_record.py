"""preprocessing.json of an imported split: which part came from which files, and what has changed since."""

from cameras.recordings import part_names
from common.errors import InputError
from common.files import sha256_of
from data.conversion import Record, mark_of


class PartsRecord(Record):
    """preprocessing.json of a split; it also records the files of each part."""

    def name_parts(self, source, parts):
        """{name: Files} of ``parts``. Parts of earlier runs, known by their cloud, keep their names.
        Raises InputError: the split holds parts of another recording."""
        whose, known = str(source.resolve()), dict(self.earlier.get("parts", {}))
        if self.earlier.get("source", whose) != whose:
            raise InputError(
                f"{self.path}: this split was imported from {self.earlier['source']}, not {whose}; put both recordings "
                "in one folder and import that into a new split, or choose another --output"
            )
        name_of = {path: name for name, entry in known.items() for path in entry["files"]}
        clouds = [files.cloud.relative_to(source).as_posix() for files in parts]
        new = [files for files, cloud in zip(parts, clouds) if cloud not in name_of]
        names = {files.cloud: name for name, files in part_names(source, new, tuple(known)).items()}
        self.content.update(source=whose, parts=known)
        return {name_of.get(cloud) or names[files.cloud]: files for files, cloud in zip(parts, clouds)}

    def renew(self, folder, source, named):
        """Have parts written anew whose files have changed; returns texts on them and on parts whose files are gone."""
        known, told = self.content["parts"], []
        for name, files in named.items():
            own = {"files": [p.relative_to(source).as_posix() for p in files.paths]}
            own["sha256"] = [_content(path) for path in files.paths]
            before, mark = {"sha256": (), **known.get(name, own)}, mark_of(folder, name)
            known[name] = own
            now, then = (set(zip(of["files"], of["sha256"])) for of in (own, before))
            if mark.exists() and now != then:
                shown = ", ".join(sorted({path for path, _ in now ^ then}))
                told.append(f"{name}: imported anew, since its files are not those of its import: {shown}")
                mark.unlink()
        for name in known.keys() - named.keys():
            if mark_of(folder, name).exists():
                gone = f"its files ({', '.join(known[name]['files'])}) are no longer in {source}"
                told.append(f"{name}: {gone}; it stays in {folder}: to take it out, remove its files there")
        return told


def _content(path):
    try:
        return sha256_of(path)
    except OSError:  # reading the part will report that
        return ""
