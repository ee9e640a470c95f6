"""A small software renderer for toy cars: convex polygons, a perspective camera, a z-buffer, flat shading."""

from dataclasses import dataclass

import numpy as np

SUPERSAMPLING = 3  # samples per pixel and axis
DISTANCE = 13.0  # metres from the camera to what it looks at
FIELD = 5.1  # metres that the picture is wide there
TARGET = (0.0, 0.0, 0.76)  # what it looks at: over the middle of the car
LIGHT = np.array([-0.42, 0.72, 0.55]) / np.linalg.norm([-0.42, 0.72, 0.55])  # right, up, towards the camera

Colour = tuple[float, float, float]
Span = tuple[float, float]


@dataclass(frozen=True)
class Mesh:
    """Convex polygons, anticlockwise seen from outside.

    `corners` [F, K, 3] in metres (x forward, y left, z up), of which a face's first `counts` [F] are its own,
    unit `normals` [F, 3], `colours` [F, 3] in 0 to 1, and `glow` [F]: faces of their colour in any light.
    """

    corners: np.ndarray
    counts: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    glow: np.ndarray


class Builder:
    """Collects a mesh's polygons, each turned to face away from `centre`, a point inside the current part."""

    def __init__(self) -> None:
        self.centre = np.zeros(3)
        self.faces: list[tuple[np.ndarray, Colour, bool]] = []

    def add(self, polygon: np.ndarray, colour: Colour, glow: bool = False) -> None:
        """A flat convex polygon [K, 3], its corners in either order."""
        self.faces.append((polygon if self.outwards(polygon) > 0 else polygon[::-1], colour, glow))

    def patch(
        self, face: np.ndarray, u: Span, v: Span, colour: Colour, glow: bool = False,
        lift: float = 0.012, slant: float = 0.0,
    ) -> None:  # fmt: skip
        """A smaller quad on a quad [4, 3], from u[0] to u[1] along its first edge and v[0] to v[1] along its
        second, `lift` metres off it, its upper side moved by `slant` along u."""
        corners = [(u[0], v[0]), (u[1], v[0]), (u[1] + slant, v[1]), (u[0] + slant, v[1])]
        self.add(np.stack([on(face, *corner) for corner in corners]) + self.up(face) * lift, colour, glow)

    def disc(self, face: np.ndarray, u: float, v: float, radius: float, colour: Colour) -> None:
        """A glowing disc on a quad around its point (u, v); the radius in metres."""
        along = (face[1] - face[0]) / np.linalg.norm(face[1] - face[0])
        spokes = circle(10) @ np.stack([along, np.cross(normal(face), along)])
        self.add(on(face, u, v) + radius * spokes + self.up(face) * 0.02, colour, glow=True)

    def box(
        self, low: tuple[float, ...], high: tuple[float, ...], colour: Colour, shrink: float = 1.0
    ) -> list[np.ndarray]:
        """An upright box without a floor, its top `shrink` times as long and wide as its foot, with a centre
        of its own. Returns its back, front, right, left and top."""
        self.centre = (np.array(low) + high) / 2
        half = (np.array(high) - low) / 2
        signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij"), axis=-1)  # [2, 2, 2, 3]
        corners = self.centre + half * signs * np.where(signs[..., 2:] > 0, [shrink, shrink, 1], 1)
        edges = [(corners[i, 0], corners[i, 1]) for i in (0, 1)] + [
            (corners[0, j], corners[1, j]) for j in (0, 1)
        ]
        faces = [quad(*pair) for pair in (*edges, (corners[0, :, 1], corners[1, :, 1]))]
        for face in faces:
            self.add(face, colour)
        return faces

    def outwards(self, polygon: np.ndarray) -> float:
        """1 if the polygon runs anticlockwise seen from outside, else -1."""
        return np.sign(normal(polygon) @ (polygon.mean(axis=0) - self.centre))

    def up(self, polygon: np.ndarray) -> np.ndarray:
        return normal(polygon) * self.outwards(polygon)

    def mesh(self) -> Mesh:
        polygons, colours, glow = zip(*self.faces)
        most = max(map(len, polygons))
        padded = [np.concatenate([p, np.repeat(p[-1:], most - len(p), axis=0)]) for p in polygons]
        normals = np.stack([normal(polygon) for polygon in polygons])
        return Mesh(
            np.stack(padded), np.array([*map(len, polygons)]), normals, np.array(colours), np.array(glow)
        )


def quad(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Corners [4, 3] between two edges [2, 3]: u runs from the first to the second, v along both."""
    return np.stack([first[0], second[0], second[1], first[1]])


def on(face: np.ndarray, u: float, v: float) -> np.ndarray:
    """The point (u, v), each in 0 to 1, of a quad [4, 3]."""
    return (1 - v) * ((1 - u) * face[0] + u * face[1]) + v * ((1 - u) * face[3] + u * face[2])


def circle(corners: int) -> np.ndarray:
    """A regular polygon around the origin, [corners, 2], of radius 1."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def normal(polygon: np.ndarray) -> np.ndarray:
    """The unit normal of a polygon [K, 3] on the side from which it runs anticlockwise (Newell's method)."""
    total = np.cross(polygon, np.roll(polygon, -1, axis=0)).sum(axis=0)
    return total / np.linalg.norm(total)


def render(mesh: Mesh, azimuth: float, elevation: float, size: int) -> np.ndarray:
    """`mesh` on white, uint8 [size, size, 3], from angles in degrees: azimuth 0 is its front, 90 its left."""
    axes, side = camera_axes(np.radians(azimuth), np.radians(elevation)), size * SUPERSAMPLING
    focal = side * DISTANCE / FIELD
    local, normals = (mesh.corners - TARGET) @ axes.T, mesh.normals @ axes.T  # [F, K, 3], [F, 3]
    points = local[..., :2] * (
        focal / (DISTANCE - local[..., 2:])
    )  # [F, K, 2] in samples from the middle, y up
    # A point (u, v) is inside where, for every edge, across * u + along * v + offset >= 0.
    edges = following(points, mesh.counts) - points
    across, along = -edges[..., 1], edges[..., 0]
    offset = -(across * points[..., 0] + along * points[..., 1])
    # One over the depth of a face's plane is linear on the screen: near_u * u + near_v * v + near_0.
    scale = (normals * local[:, 0]).sum(axis=1) - normals[:, 2] * DISTANCE
    visible = np.flatnonzero(scale < -1e-9)  # seen from outside
    near_u, near_v, near_0 = (
        normals[:, 0] / focal / scale,
        normals[:, 1] / focal / scale,
        -normals[:, 2] / scale,
    )
    low = np.clip(np.floor(points.min(axis=1) + side / 2), 0, side).astype(int)
    high = np.clip(np.ceil(points.max(axis=1) + side / 2), 0, side).astype(int)

    samples = (np.arange(side) + 0.5 - side / 2).astype(np.float32)
    nearest = np.zeros((side, side), np.float32)  # one over the depth; rows run upwards
    shown = np.full((side, side), len(mesh.counts), np.int16)  # which face; past the last is the background
    across, along, offset, near_u, near_v, near_0 = (
        values.astype(np.float32) for values in (across, along, offset, near_u, near_v, near_0)
    )
    for face in visible:
        own, (x0, y0), (x1, y1) = slice(mesh.counts[face]), low[face], high[face]
        u, v, window = samples[x0:x1], samples[y0:y1], (slice(y0, y1), slice(x0, x1))
        rows = along[face, own, None] * v + offset[face, own, None]  # [edges, rows]
        columns = -across[face, own, None] * u  # [edges, columns]
        near = (near_v[face] * v + near_0[face])[:, None] + near_u[face] * u
        drawn = (rows[:, :, None] >= columns[:, None]).all(axis=0) & (near > nearest[window])
        np.copyto(nearest[window], near, where=drawn)
        np.copyto(shown[window], face, where=drawn)

    light = 0.56 + 0.16 * normals[:, 1] + 0.40 * np.maximum(normals @ LIGHT, 0)
    colours = np.minimum(mesh.colours * np.where(mesh.glow, 1, light)[:, None], 1)
    palette = np.concatenate([colours, np.ones((1, 3))]).astype(np.float32) * 255
    fine = palette[shown[::-1]].reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3)
    return np.round(fine.mean(axis=(1, 3))).astype(np.uint8)


def camera_axes(azimuth: float, elevation: float) -> np.ndarray:
    """Right, up and towards the camera, as rows, for angles in radians."""
    sine, cosine = np.sin(azimuth), np.cos(azimuth)
    lifted, level = np.sin(elevation), np.cos(elevation)
    up = [-cosine * lifted, -sine * lifted, level]
    return np.array([[-sine, cosine, 0], up, [cosine * level, sine * level, lifted]])


def following(points: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """For each corner the one after it, [F, K, 2]; a face's last one is followed by its first."""
    index = np.arange(1, points.shape[1] + 1)[None]
    return np.take_along_axis(points, np.where(index < counts[:, None], index, 0)[..., None], axis=1)
