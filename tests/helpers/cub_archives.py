"""Archives in the format of CUB-200-2011's, for tests."""

import io
import tarfile

from PIL import Image

ALBATROSS, LAYSAN = "001.Black_footed_Albatross", "002.Laysan_Albatross"
NAMES = {
    1: f"{ALBATROSS}/Black_Footed_Albatross_0046_18.jpg",
    2: f"{ALBATROSS}/Black_Footed_Albatross_0009_34.jpg",
    3: f"{LAYSAN}/Laysan_Albatross_0002_1027.jpg",
}
LISTS = {
    "images.txt": "".join(f"{key} {name}\n" for key, name in NAMES.items()),
    "classes.txt": f"1 {ALBATROSS}\n2 {LAYSAN}\n",
    "image_class_labels.txt": "1 1\n2 1\n3 2\n",
    "train_test_split.txt": "1 0\n2 1\n3 1\n",
}


def jpeg(colour=(200, 100, 50), size=(40, 30), mode="RGB"):
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


def members(**changes):
    """Return the members of the real archive, by name, after changes; None leaves one out."""
    lists = {f"CUB_200_2011/{name}": text.encode() for name, text in LISTS.items()}
    pictures = {f"CUB_200_2011/images/{name}": jpeg() for name in NAMES.values()}
    every = {"CUB_200_2011/README": b"text", **pictures, **lists}
    for name, content in changes.items():
        key = f"CUB_200_2011/{name.replace('__', '.')}"
        every[key] = content.encode() if isinstance(content, str) else content
    return {name: content for name, content in every.items() if content is not None}


def pack(path, contents):
    with tarfile.open(path, "w:gz") as archive:
        for folder in ("CUB_200_2011", "CUB_200_2011/images"):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path
