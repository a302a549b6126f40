"""Write 512 x 512 x 200 int16 CT-like volumes, each with one lumpy lesion, for timing extraction.

usage: ct_phantoms.py OUT_DIR      -> {iso30,iso80,ani30,ani80}_{image,label}.nrrd (uncompressed) and three_lesions_*
(.nii.gz)
iso = 1 mm voxels, ani = 0.78 x 0.78 x 1.5 mm; 30/80 = lesion diameter in mm. Deterministic.
"""

import os
import sys

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.ndimage import gaussian_filter, zoom

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
rng = np.random.default_rng(0)
Z, Y, X = 200, 512, 512
coarse = zoom(rng.standard_normal((25, 64, 64)).astype(np.float32), 8, order=1)
body = gaussian_filter(np.where(coarse > 0.25, 40, np.where(coarse < -0.3, -850, -90)).astype(np.float32), 1.0)
texture = gaussian_filter(rng.standard_normal((Z, Y, X)).astype(np.float32), 1.5)
texture /= texture.std()
z, y, x = np.ogrid[:Z, :Y, :X]


def add_lesion(volume, label, centre, diameter_mm, spacing, value):
    """Draw a lumpy sphere with a hypodense core into volume and label (both (Z, Y, X)); spacing is (x, y, z) in mm."""
    radius = diameter_mm / 2
    squared = (
        ((z - centre[0]) * spacing[2]) ** 2 + ((y - centre[1]) * spacing[1]) ** 2 + ((x - centre[2]) * spacing[0]) ** 2
    )
    angle = np.arctan2((y - centre[1]) * spacing[1], (x - centre[2]) * spacing[0])
    inside = np.broadcast_to(squared < (radius * (1 + 0.08 * np.sin(5 * angle))) ** 2, (Z, Y, X))
    core = np.broadcast_to(squared / radius**2 < 0.25, (Z, Y, X))
    volume[inside] = 45 + 35 * texture[inside] - 20 * core[inside]
    label[inside] = value


def write(name, spacing, lesions, suffix):
    volume, label = body.copy(), np.zeros((Z, Y, X), np.uint8)
    for value, (centre, diameter_mm) in enumerate(lesions, start=1):
        add_lesion(volume, label, centre, diameter_mm, spacing, value)
    volume += rng.standard_normal(volume.shape, dtype=np.float32) * 12
    for array, kind in ((np.clip(np.rint(volume), -1024, 3071).astype(np.int16), "image"), (label, "label")):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        sitk.WriteImage(image, f"{out}/{name}_{kind}{suffix}", suffix.endswith("gz"))
    print(name, [int((label == v).sum()) for v in range(1, len(lesions) + 1)])


CENTRE = (100, 256, 200)
for name, spacing in (("iso", (1.0, 1.0, 1.0)), ("ani", (0.78, 0.78, 1.5))):
    for diameter_mm in (30, 80):
        write(f"{name}{diameter_mm}", spacing, [(CENTRE, diameter_mm)], ".nrrd")
write(
    "three_lesions", (0.78, 0.78, 1.5), [((60, 180, 150), 30), ((100, 256, 330), 45), ((150, 360, 220), 20)], ".nii.gz"
)
