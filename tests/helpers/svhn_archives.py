"""Small archives in exactly the format of SVHN's full numbers."""

import io
import tarfile

import h5py
import numpy as np
from PIL import Image

# name, boxes as (left, top, width, height, label)
ONE = ("1.png", [(5.0, 4.0, 10.0, 20.0, 10.0)])
TWO = ("2.png", [(12.0, 6.0, 8.0, 16.0, 1.0), (22.0, 8.0, 8.0, 16.0, 9.0)])
SIX = ("3.png", [(3.0 + 6 * i, 5.0, 6.0, 12.0, i + 1.0) for i in range(6)])


def mat(houses, change=None):
    """Write digitStruct.mat as MATLAB 7.3 does: HDF5 behind a block of 512 bytes of text."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        refs, count = file.create_group("#refs#"), [0]

        def add(values):
            count[0] += 1
            return refs.create_dataset(f"r{count[0]}", data=values).ref

        names, boxes = [], []
        for name, listed in houses:
            names.append(add(np.array([[ord(letter)] for letter in name], np.uint16)))
            group = refs.create_group(f"b{len(boxes)}")
            for index, field in enumerate(("left", "top", "width", "height", "label")):
                values = [np.array([[box[index]]], np.float64) for box in listed]
                if len(values) == 1:
                    group.create_dataset(field, data=values[0])
                    continue
                of = group.create_dataset(field, (len(values), 1), h5py.ref_dtype)
                for row, value in enumerate(values):
                    of[row, 0] = add(value)
            boxes.append(group.ref)
        top = file.create_group("digitStruct")
        for field, pointers in (("name", names), ("bbox", boxes)):
            of = top.create_dataset(field, (len(pointers), 1), h5py.ref_dtype)
            for row, pointer in enumerate(pointers):
                of[row, 0] = pointer
        if change:
            change(file)
    content = bytearray(stream.getvalue())
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Dec  5 2011 HDF5 schema 1.00"
    content[: len(header)] = header
    return bytes(content)


def png(side=40, colour=(200, 100, 50)):
    stream = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(stream, format="PNG")
    return stream.getvalue()


def pack(path, folder, members):
    with tarfile.open(path, "w:gz") as archive:
        top = tarfile.TarInfo(f"{folder}/")
        top.type = tarfile.DIRTYPE
        archive.addfile(top)
        for name, content in members.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def members(houses):
    pictures = {name: png() for name, _ in houses}
    return {**pictures, "digitStruct.mat": mat(houses), "see_bboxes.m": b"% plots"}
