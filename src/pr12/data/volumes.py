"""The hippocampus set of the Medical Segmentation Decathlon: folders of volumes, known by voxels.

It is published as one archive, Task04_Hippocampus.tar; copies of it are kept unpacked, some packed
anew or with voxels of another type. So the data are known by what the files say: the geometry and
the voxels of every subject.
"""

import hashlib
import json
import os
from pathlib import Path

from pr12.data import nifti
from pr12.data.archive import UnusableError

PREFIX = "volumes-sha256:"  # of the checksum of such a folder
LARGEST = 10_000_000  # bytes of one file unpacked; the largest has 370,336

# The 260 subjects that were seen here, in an unpacked copy. The archive was not, but what others
# report of it agrees: 260 pairs of 236 shapes, 33 images with values above 1e5. The paper (Simpson
# et al. 2019) counts 263, and some copies hold 010 and 281, two outliers, and 118, which has no
# label: files of subjects that are not listed here are left out.
NUMBERS = """
001 003 004 006 007 008 011 014 015 017 019 020 023 024 025 026 033 034 035 036 037 038 039 040
041 042 044 045 046 048 049 050 051 052 053 056 057 058 060 064 065 067 068 070 074 075 077 083
084 087 088 089 090 091 092 093 094 095 096 097 098 099 101 102 104 105 106 107 108 109 114 123
124 125 126 127 130 132 133 135 136 138 141 142 143 144 145 146 148 149 150 152 154 155 156 157
158 160 161 162 163 164 165 166 169 170 171 172 173 174 175 176 177 178 180 181 184 185 188 189
190 193 194 195 197 199 203 204 205 207 210 212 215 216 217 219 220 221 222 223 224 225 226 227
228 229 230 231 232 233 234 235 236 238 242 243 244 245 248 249 250 251 252 253 257 259 260 261
263 264 265 268 269 274 276 277 279 280 282 286 287 288 289 290 292 294 295 296 297 298 299 300
301 302 303 304 305 308 309 310 311 314 316 317 318 319 320 321 322 325 326 327 328 329 330 331
332 333 334 335 336 337 338 340 341 343 345 349 350 351 352 353 354 355 356 358 359 360 361 363
366 367 368 370 372 373 374 375 376 378 380 381 383 385 386 387 389 390 393 394
"""
SUBJECTS = tuple(f"hippocampus_{number}" for number in NUMBERS.split())


def file_names() -> set[str]:
    """Return the names of the files, one per subject.

    Examples
    --------
    >>> len(file_names()), min(file_names())
    (260, 'hippocampus_001.nii.gz')
    """
    return {f"{subject}.nii.gz" for subject in SUBJECTS}


def check_folder(folder: Path, checksum: str) -> None:
    """Check that a folder holds the volumes of all subjects, whole and with the right voxels.

    Parameters
    ----------
    folder : Path
        Names in it that begin with a dot do not count.
    checksum : str
        As `folder_checksum` gives it.

    Raises
    ------
    UnusableError
        With the file that is missing, damaged or too many, or with both checksums.
    FileNotFoundError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> check_folder(Path(tempfile.mkdtemp()), PREFIX + "0" * 64)
    Traceback (most recent call last):
    ...
    pr12.data.archive.UnusableError: lacks hippocampus_001.nii.gz and 259 more
    """
    folder.stat()
    if not folder.is_dir():
        raise UnusableError("is not a folder")
    present = {name for name in os.listdir(folder) if not name.startswith(".")}
    if missing := file_names() - present:
        raise UnusableError(f"lacks {_first(missing)}")
    if extra := present - file_names():
        raise UnusableError(f"holds what does not belong there, {_first(extra)}")
    measured = folder_checksum(folder)
    if measured != checksum:
        raise UnusableError(f"has the wrong checksum (expected {checksum}, found {measured})")


def folder_checksum(folder: Path) -> str:
    """Return the checksum of all subjects' volumes, whatever container they lie in.

    For each subject, in order, the SHA-256 covers one line of JSON (its name; the shape along z, y
    and x; the spacing in mm and the direction, both to four decimals) and the voxels as float64,
    little endian, in the order of memory. The origin is left out: nothing here depends on it.

    Parameters
    ----------
    folder : Path
        With a ``.nii.gz`` file for each of `SUBJECTS`.

    Returns
    -------
    str
        ``volumes-sha256:`` and 64 digits.

    Raises
    ------
    UnusableError
        With the first file that cannot be read.

    Examples
    --------
    >>> folder_checksum(Path("/nowhere"))
    Traceback (most recent call last):
    ...
    pr12.data.archive.UnusableError: holds hippocampus_001.nii.gz, which is missing
    """
    digest = hashlib.sha256()
    for subject in SUBJECTS:
        name = f"{subject}.nii.gz"
        try:
            volume = nifti.read_volume(folder / name, LARGEST)
        except ValueError as error:
            raise UnusableError(f"holds {name}, which {error}") from None
        # The sums make 0 of -0, which is equal but has other bytes.
        geometry = [[round(value, 4) + 0.0 for value in row] for row in volume[1:]]
        head = [subject, volume.voxels.shape, *geometry]
        digest.update(json.dumps(head).encode() + b"\n")
        digest.update((volume.voxels.astype("<f8") + 0.0).tobytes(order="C"))
    return PREFIX + digest.hexdigest()


def _first(names: set[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{min(names)}{more}"
