"""Procedural cytology pictures with masks, for tests, the quick start and the embedded stand-ins.

A phantom is drawn in optical density and developed with the Beer-Lambert law,
`I = 255 * exp(-(H * h + E * e + A * a))`. Here h, e and a are the amounts of haematoxylin, eosin and amber at each
pixel, and H and E are the stain vectors of Ruifrok and Johnston (2001), Anal Quant Cytol Histol 23:291.
A phantom imitates fine-needle aspirates of the breast. It does not show any patient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["GENERAL", "MASK_LABELS", "RECIPES", "Recipe", "draw"]

Floats = NDArray[np.float64]
Window = tuple[slice, slice]

MASK_LABELS = {"background": 0, "cytoplasm": 1, "nucleus": 2, "stroma": 3}
"""Values of a mask's pixels."""

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29]) * 1.25
EOSIN = np.array([0.07, 0.99, 0.11])
AMBER = np.array([0.05, 0.18, 0.60])


@dataclass(frozen=True)
class Recipe:
    """What pictures of a class consist of. Pairs are ranges (low, high); lengths are shares of the picture's side."""

    clusters: tuple[int, int] = (0, 0)
    nuclei_per_cluster: tuple[int, int] = (8, 20)
    nucleus_radius: tuple[float, float] = (0.030, 0.036)
    nucleus_size_cv: float = 0.12
    spacing: tuple[float, float] = (2.4, 2.8)
    """Distance of neighbouring nuclei in a cluster, in nuclear radii."""
    disorder: float = 0.25
    """Displacement of nuclei from a hexagonal sheet, in nuclear radii (standard deviation)."""
    elongation: tuple[float, float] = (1.0, 1.35)
    nucleus_stain: tuple[float, float] = (0.75, 1.05)
    cytoplasm_stain: tuple[float, float] = (0.25, 0.40)
    foam_cells: tuple[int, int] = (0, 0)
    fibres: tuple[int, int] = (0, 0)
    bare_nuclei: tuple[int, int] = (0, 0)
    cyst_content: tuple[float, float] = (0.0, 0.0)
    """Optical density of the granular proteinaceous background."""


RECIPES = {
    # Cyst content and foam cells, with little epithelium.
    "cyt_kist_mast": Recipe(clusters=(0, 1), nuclei_per_cluster=(5, 9), foam_cells=(3, 6), cyst_content=(0.35, 0.60)),
    # Clusters of overlapping ductal cells among bare bipolar nuclei.
    "cyt_mast": Recipe(
        clusters=(2, 3),
        nuclei_per_cluster=(12, 24),
        nucleus_radius=(0.032, 0.038),
        nucleus_size_cv=0.16,
        spacing=(1.9, 2.3),
        disorder=0.5,
        bare_nuclei=(4, 9),
    ),
    # Fibrous stroma with spindle nuclei, and a small cohesive group beside the stroma.
    "cyt_nep_fib_mast": Recipe(
        clusters=(0, 1), nuclei_per_cluster=(7, 14), nucleus_radius=(0.024, 0.028), fibres=(16, 28), bare_nuclei=(1, 4)
    ),
    # Non-proliferative epithelium: one flat, regular honeycomb of small even nuclei.
    "cyt_nep_mast": Recipe(
        clusters=(1, 1),
        nuclei_per_cluster=(30, 55),
        nucleus_radius=(0.022, 0.026),
        nucleus_size_cv=0.05,
        spacing=(2.9, 3.3),
        disorder=0.12,
        elongation=(1.0, 1.15),
        nucleus_stain=(0.60, 0.80),
    ),
}
"""Recipes of the four classes."""

GENERAL = "cytology"
"""Class name of the general kind, on which a base may be trained."""


def general_recipe(rng: np.random.Generator) -> Recipe:
    """Return a random recipe over all kinds. It teaches a base what phantoms are, without the recipe of any class."""
    radius = rng.uniform(0.02, 0.042)
    spacing = rng.uniform(1.9, 3.2)
    recipe = Recipe(
        clusters=(1, int(rng.integers(1, 4))),
        nuclei_per_cluster=(5, int(rng.integers(8, 45))),
        nucleus_radius=(radius, radius * 1.15),
        nucleus_size_cv=rng.uniform(0.04, 0.2),
        spacing=(spacing, spacing * 1.15),
        disorder=rng.uniform(0.1, 0.5),
        nucleus_stain=(0.6, 1.1),
    )
    if rng.random() < 0.3:
        recipe = replace(recipe, foam_cells=(1, 5), cyst_content=(0.1, 0.7))
    if rng.random() < 0.3:
        recipe = replace(recipe, fibres=(4, 30))
    if rng.random() < 0.5:
        recipe = replace(recipe, bare_nuclei=(0, 9))
    return recipe


def draw(class_name: str, seed: int, size: int = 256) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture (size, size, 3) uint8 RGB and its mask (size, size) uint8 with the values of MASK_LABELS.

    class_name: a key of RECIPES, or "cytology" for the general kind. seed: at least 0.
    Raises KeyError for an unknown class.
    """
    rng = np.random.default_rng([seed, *class_name.encode()])
    recipe = general_recipe(rng) if class_name == GENERAL else RECIPES[class_name]
    return _Canvas(size, rng).paint(recipe)


class _Canvas:
    """Amounts of stain (size, size) float64 and the mask of a picture while it is drawn."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.rng = size, rng
        self.haematoxylin = np.zeros((size, size))
        self.eosin = np.zeros((size, size))
        self.amber = np.zeros((size, size))
        self.mask = np.zeros((size, size), np.uint8)
        self.y, self.x = (np.mgrid[0:size, 0:size] / size).astype(np.float32)
        self.chromatin, self.granules = self._texture(0.006), self._texture(0.012)

    def paint(self, recipe: Recipe) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        rng = self.rng
        self._background(rng.uniform(*recipe.cyst_content))
        if recipe.fibres[1]:
            self._stroma(self._count(recipe.fibres), recipe)
        for _ in range(self._count(recipe.foam_cells)):
            self._foam_cell(rng.uniform(0.12, 0.88, 2), rng.uniform(0.08, 0.13))
        for _ in range(self._count(recipe.clusters)):
            self._cluster(rng.uniform(0.22, 0.78, 2), recipe)
        for _ in range(self._count(recipe.bare_nuclei)):
            self._nucleus(
                rng.uniform(0.03, 0.97, 2), rng.uniform(0.020, 0.026), rng.uniform(1.5, 2.0), rng.uniform(0.9, 1.1)
            )
        return self._develop(), self.mask

    def _count(self, limits: tuple[int, int]) -> int:
        return int(self.rng.integers(limits[0], limits[1] + 1))

    def _texture(self, grain: float) -> Floats:
        """Return smooth noise with zero mean and unit deviation. grain: its length as a share of the side."""
        noise = gaussian_filter(self.rng.standard_normal((self.size, self.size)), grain * self.size, mode="wrap")
        return np.asarray((noise - noise.mean()) / noise.std())

    def _background(self, content: float) -> None:
        self.eosin += 0.04 + 0.012 * self._texture(0.08)
        self.haematoxylin += 0.03 + 0.008 * self._texture(0.12)
        if content > 0:
            grains = np.clip(self._texture(0.006), -1.5, 2.5) * 0.16 + self._texture(0.05) * 0.22
            self.amber += content * np.clip(1 + grains, 0, None)
            self.eosin += 0.3 * content * np.clip(1 + grains, 0, None)
            self.haematoxylin += 0.22 * content * np.clip(1 + grains, 0, None)

    def _window(self, centre: Floats, reach: float) -> Window:
        """Return the part of the picture within `reach` of `centre`, so that drawing a small object costs little."""
        low = np.clip((centre - reach) * self.size, 0, self.size - 1).astype(int)
        high = np.clip((centre + reach) * self.size, 1, self.size).astype(int) + 1
        return slice(low[1], high[1]), slice(low[0], high[0])

    def _blob(
        self,
        window: Window,
        centre: Floats,
        radius: float,
        elongation: float,
        lobes: float,
        angle: float | None = None,
    ) -> Floats:
        """Return a field like a signed distance, above 0 in an ellipse. Its outline varies by `lobes` of the radius."""
        angle = self.rng.uniform(0, np.pi) if angle is None else angle
        dx, dy = self.x[window] - centre[0], self.y[window] - centre[1]
        u = (dx * np.cos(angle) + dy * np.sin(angle)) / np.sqrt(elongation)
        v = (-dx * np.sin(angle) + dy * np.cos(angle)) * np.sqrt(elongation)
        distance = np.hypot(u, v)
        unit = (u + 1j * v) / np.maximum(distance, 1e-6)
        outline = np.ones_like(distance)
        power = unit
        for order in (2, 3, 4):
            power = power * unit
            phase = self.rng.uniform(0, 2 * np.pi)
            wobble = power.real * np.cos(phase) - power.imag * np.sin(phase)
            outline += lobes / order * self.rng.standard_normal() * wobble
        return np.asarray(radius * outline - distance)

    def _soft(self, field: Floats, width: float = 0.004) -> Floats:
        return np.asarray(1 / (1 + np.exp(-np.clip(field / width, -40, 40))))

    def _nucleus(
        self, centre: Floats, radius: float, elongation: float, stain: float, angle: float | None = None
    ) -> None:
        window = self._window(centre, 1.4 * radius * np.sqrt(elongation) + 0.02)
        field = self._blob(window, centre, radius, elongation, 0.06, angle)
        inside = self._soft(field, 0.0025)
        rim = np.exp(-((field - 0.004) ** 2) / (2 * 0.0035**2))
        amount = stain * (0.85 + 0.16 * self.chromatin[window]) + 0.25 * stain * rim
        haematoxylin, eosin = self.haematoxylin[window], self.eosin[window]
        haematoxylin *= 1 - 0.75 * inside
        haematoxylin += inside * np.clip(amount, 0.1, None)
        eosin *= 1 - 0.6 * inside
        eosin += 0.12 * inside
        self.amber[window] *= 1 - 0.8 * inside
        if self.rng.random() < 0.5:
            offset = self.rng.normal(0, 0.3 * radius, 2)
            nucleolus = self._blob(window, centre + offset, radius * 0.16, 1, 0.1)
            haematoxylin += 0.35 * stain * self._soft(nucleolus, 0.002)
        self.mask[window][field > 0] = MASK_LABELS["nucleus"]

    def _cytoplasm(self, field: Floats, eosin: float, haematoxylin: float) -> None:
        inside = self._soft(field, 0.007)
        texture = 1 + 0.10 * self.granules
        self.eosin = np.maximum(self.eosin, inside * eosin * texture)
        self.haematoxylin = np.maximum(self.haematoxylin, inside * haematoxylin * texture)
        self.mask[(field > 0) & (self.mask != MASK_LABELS["nucleus"])] = MASK_LABELS["cytoplasm"]

    def _cluster(self, centre: Floats, recipe: Recipe) -> None:
        """Draw a sheet of cells with nuclei near the points of a hexagonal lattice, starting at the centre."""
        rng = self.rng
        radius = rng.uniform(*recipe.nucleus_radius)
        pitch = radius * rng.uniform(*recipe.spacing)
        count = self._count(recipe.nuclei_per_cluster)
        reach = int(np.ceil(np.sqrt(count))) + 2
        row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        lattice = np.stack([column + 0.5 * (row % 2), row * np.sqrt(0.75)], -1).reshape(-1, 2) * pitch
        turn, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.5)
        key = np.hypot(lattice[:, 0] / stretch, lattice[:, 1] * stretch) * rng.uniform(0.8, 1.2, len(lattice))
        lattice = lattice[np.argsort(key)[:count]] + rng.normal(0, recipe.disorder * radius, (count, 2))
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        centres = centre + lattice @ rotation.T
        eosin = rng.uniform(*recipe.cytoplasm_stain)
        sheet = np.full((self.size, self.size), -1.0)
        for point in centres:
            window = self._window(point, 2 * pitch + 0.05)
            cell = self._blob(window, point, pitch * 0.72, rng.uniform(1, 1.2), 0.10)
            sheet[window] = np.maximum(sheet[window], cell)
        self._cytoplasm(sheet, eosin, 0.45 * eosin)
        for point in centres:
            size = radius * np.exp(rng.normal(0, recipe.nucleus_size_cv))
            self._nucleus(point, size, rng.uniform(*recipe.elongation), rng.uniform(*recipe.nucleus_stain))

    def _foam_cell(self, centre: Floats, radius: float) -> None:
        """Draw a macrophage: a large round cell full of vacuoles, with a small nucleus away from the centre."""
        rng = self.rng
        window = self._window(centre, 1.5 * radius + 0.02)
        field = self._blob(window, centre, radius, rng.uniform(1, 1.2), 0.05)
        inside = self._soft(field, 0.004)
        bubbles = np.zeros_like(field)
        for _ in range(int(rng.integers(22, 38))):
            place = centre + rng.normal(0, 0.5 * radius, 2)
            bubble = self._blob(window, place, radius * rng.uniform(0.10, 0.22), 1, 0.05)
            bubbles = np.maximum(bubbles, self._soft(bubble, 0.003))
        rim = np.exp(-(field**2) / (2 * 0.004**2))
        self.amber[window] *= 1 - 0.85 * inside
        for stain, amount in ((self.eosin[window], 0.30), (self.haematoxylin[window], 0.24)):
            stain *= 1 - inside
            stain += inside * (amount * (1 - 0.75 * bubbles) + 0.12 * rim)
        self.mask[window][field > 0] = MASK_LABELS["cytoplasm"]
        direction = rng.uniform(0, 2 * np.pi)
        place = centre + 0.55 * radius * np.array([np.cos(direction), np.sin(direction)])
        self._nucleus(place, radius * rng.uniform(0.24, 0.32), rng.uniform(1.1, 1.5), rng.uniform(0.75, 0.95))

    def _stroma(self, count: int, recipe: Recipe) -> None:
        """Draw a bundle of wavy collagen fibres along one direction, with spindle nuclei between them."""
        rng = self.rng
        direction, wave = rng.uniform(0, np.pi), rng.uniform(0.02, 0.05)
        along = (self.x - 0.5) * np.cos(direction) + (self.y - 0.5) * np.sin(direction)
        across = -(self.x - 0.5) * np.sin(direction) + (self.y - 0.5) * np.cos(direction)
        across = (
            across + wave * np.sin(2 * np.pi * (along * rng.uniform(1, 2) + rng.random())) + 0.006 * self._texture(0.04)
        )
        middle, width = rng.uniform(-0.12, 0.12), rng.uniform(0.14, 0.24)
        body = self._soft(width - np.abs(across - middle), 0.012)
        fibres = np.zeros_like(body)
        for _ in range(count):
            place = middle + rng.uniform(-width, width)
            fibres += rng.uniform(0.4, 1.0) * np.exp(-((across - place) ** 2) / (2 * rng.uniform(0.004, 0.010) ** 2))
        self.eosin += body * (0.22 + 0.24 * np.clip(fibres, 0, 2))
        self.haematoxylin += 0.05 * body
        self.mask[body > 0.5] = MASK_LABELS["stroma"]
        spots = np.argwhere(body > 0.8) / self.size
        for index in rng.integers(0, len(spots), max(3, count // 3)):
            slope = direction + rng.normal(0, 0.15)
            self._nucleus(
                spots[index][::-1], rng.uniform(*recipe.nucleus_radius) * 0.75, rng.uniform(3.0, 5.0), 0.85, slope
            )

    def _develop(self) -> NDArray[np.uint8]:
        """Return the picture by the Beer-Lambert law, with random stain strengths, slight blur and sensor noise."""
        rng = self.rng
        strength = rng.normal(1, 0.06, 3)
        density = (
            self.haematoxylin[..., None] * HAEMATOXYLIN * strength[0]
            + self.eosin[..., None] * EOSIN * strength[1]
            + self.amber[..., None] * AMBER * strength[2]
        )
        white = np.array([0.97, 0.965, 0.955]) + rng.normal(0, 0.006, 3)
        light = gaussian_filter(white * np.exp(-density), (0.0022 * self.size, 0.0022 * self.size, 0))
        light += rng.normal(0, 0.006, light.shape)
        return np.asarray(np.clip(light * 255 + 0.5, 0, 255), np.uint8)
