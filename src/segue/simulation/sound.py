"""The sound of the tracks of a simulated world: short pieces of music made from latent points.

Each `Control` of a piece follows one coordinate of the track's latent point, more or less closely;
what no control follows cannot be heard. `docs/reference/world.md` has the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from segue.simulation import instruments as play
from segue.simulation.catalog import Music, generator
from segue.simulation.instruments import RATE, Float32

_STEPS = 16  # of a bar of four beats


class Control(NamedTuple):
    """A property of a piece that its latent point decides."""

    name: str
    factor: int
    """Coordinate of the latent point."""
    share: float
    """Correlation of the control with the coordinate; the rest is noise of the track."""


CONTROLS = (
    Control("tempo", 0, 0.95),
    Control("density", 1, 0.95),
    Control("key", 2, 0.95),
    Control("mode", 3, 0.9),
    Control("groove", 4, 0.95),
    Control("contour", 5, 0.95),
    Control("tremolo", 6, 0.95),
    Control("length", 7, 0.9),
    Control("register", 8, 0.9),
    Control("brightness", 9, 0.9),
    Control("mix", 10, 0.85),
    Control("drums", 11, 0.8),
    Control("harmony", 12, 0.5),
    Control("swing", 13, 0.5),
)
"""Controls of the sound by coordinate. Coordinates without a control are silent."""


def sound_controls(music: Music, seed: int) -> Float32:
    """Value of each control of each track, 0 to 1 and about uniform. (tracks, controls)"""
    factors = [control.factor for control in CONTROLS]
    share = np.array([control.share for control in CONTROLS])
    points = music.track_latents[:, factors]
    noise = generator(seed, "sound").standard_normal(points.shape)
    stands = ndtr(share * points + np.sqrt(1 - share**2) * noise)
    return np.ascontiguousarray(stands, np.float32)  # safetensors would write columns as rows


_PROGRESSIONS = (
    (0, 5, 3, 4),
    (0, 3, 4, 3),
    (0, 4, 5, 3),
    (0, 2, 3, 4),
    (0, 5, 1, 4),
    (0, 3, 0, 4),
    (0, 6, 5, 4),
    (0, 2, 5, 3),
)
"""Degrees of the scale that chords stand on."""


@dataclass(frozen=True)
class Style:
    """Habits that all pieces of an artist share, unrelated to its point."""

    progression: tuple[int, ...]
    bass_steps: tuple[int, ...]
    """Steps of a bar on which the bass plays."""
    hollow: float
    kick: float
    """Hz."""
    snare: float
    """Hz."""
    echo: float


def make_style(seed: int, artist: int) -> Style:
    """The habits of an artist."""
    rng = generator(seed, "style", artist)
    others = rng.choice(np.arange(2, _STEPS, 2), 3, replace=False)
    return Style(
        progression=_PROGRESSIONS[rng.integers(len(_PROGRESSIONS))],
        bass_steps=(0, *others.tolist()),
        hollow=rng.uniform(0, 0.9),
        kick=rng.uniform(42, 58),
        snare=rng.uniform(160, 230),
        echo=rng.uniform(0.15, 0.4),
    )


def _grow(low: float, high: float, at: float) -> float:
    """Between two values, by equal ratios."""
    return float(low * (high / low) ** at)


def scale(key: float, mode: float) -> list[int]:
    """Pitch classes of a scale from its tonic up.

    Args:
        key: 0 to 1, from five flats to five sharps.
        mode: 0 to 1, from phrygian (dark) to lydian (bright).
    """
    signature = round(10 * key) - 5  # in fifths from C major
    tonic = signature + 4 - min(int(6 * mode), 5)
    classes = [7 * fifth % 12 for fifth in range(signature - 1, signature + 6)]
    return sorted(classes, key=lambda pitch: (pitch - 7 * tonic) % 12)


def _above(classes: list[int], lowest: int, count: int) -> list[int]:
    """The first so many pitches of these classes from a MIDI pitch up."""
    return [pitch for pitch in range(lowest, lowest + 48) if pitch % 12 in classes][:count]


# Velocities over the sixteen steps of a bar: a drum kit's straight way and its broken way.
_KICK = np.zeros((2, _STEPS))
_KICK[0, [0, 4, 8, 12]], _KICK[1, [0, 3, 6, 10]] = 1, (1, 0.8, 0.9, 1)
_SNARE = np.zeros((2, _STEPS))
_SNARE[0, [4, 12]], _SNARE[1, [8, 15]] = 1, (1, 0.5)
_HAT = np.zeros((2, _STEPS))
_HAT[0, 2::4], _HAT[1, [0, 3, 5, 6, 8, 11, 13, 14]] = 1, 0.8

_RANGE = 6  # chord tones that plucks climb through
_FIGURE = (0, 2, 1, 2)  # chord tones of the sixteenths of a beat, above its first


class _Piece:
    """A piece on its way: events are put on a grid of sixteenths, instrument after instrument."""

    def __init__(
        self, controls: Float32, style: Style, rng: np.random.Generator, samples: int
    ) -> None:
        at = dict(zip((c.name for c in CONTROLS), controls.tolist(), strict=True))
        self._at, self._style, self._rng = at, style, rng
        self._samples = samples
        step = RATE * 15 / _grow(70, 160, at["tempo"])
        self._sixteenth = step / RATE  # seconds; notes and drums last in proportion to it
        count = int(samples / step) + 1
        first = int(rng.integers(4)) * 4  # a piece is cut from the middle of something
        late = step * 0.3 * at["swing"] * (np.arange(count) % 2)
        starts = (np.arange(count) * step + late).astype(np.int64)
        self._starts = starts[starts < samples]
        count = len(self._starts)
        self._steps = np.arange(first, first + count) % _STEPS
        self._scale = scale(at["key"], at["mode"])
        steps_a_chord = 16 if at["harmony"] < 0.33 else 8 if at["harmony"] < 0.67 else 4
        chords = (np.arange(first, first + count) // steps_a_chord) % len(style.progression)
        turn = int(rng.integers(len(style.progression)))
        self._chords = [style.progression[(c + turn) % len(style.progression)] for c in chords]
        self._cutoff = _grow(500, 4_500, at["brightness"])

    def _classes(self, degree: int) -> list[int]:
        """Pitch classes of the triad on a degree."""
        return [self._scale[(degree + third) % 7] for third in (0, 2, 4)]

    def _put(self, onto: Float32, number: int, sound: Float32, level: float) -> None:
        """Add a sound from the start of a sixteenth on."""
        start = int(self._starts[number])
        end = min(start + len(sound), len(onto))
        onto[start:end] += np.float32(level) * sound[: end - start]

    def pads(self) -> Float32:
        """Held chords that swell at the rate of the tremolo."""
        out = np.zeros(self._samples, np.float32)
        changes = np.flatnonzero(np.diff(self._chords, prepend=-1))
        ends = np.append(self._starts[changes[1:]], self._samples)
        for change, end in zip(changes, ends, strict=True):
            start = self._starts[change]
            pitches = _above(self._classes(self._chords[change]), 64, 3)
            out[start:end] = play.chord(pitches, self._cutoff, self._style.hollow, int(end - start))
        hertz = _grow(0.8, 4, self._at["tremolo"])
        turns = np.arange(self._samples, dtype=np.float32) * np.float32(2 * np.pi * hertz / RATE)
        out *= np.float32(0.58) + np.float32(0.42) * np.cos(
            turns + np.float32(self._rng.uniform(0, 6))
        )
        return out

    def plucks(self) -> Float32:
        """Broken chords: so dense, so long, so high, from beat to beat rising or falling."""
        at, out, notes = self._at, np.zeros(self._samples, np.float32), {}
        lowest = round(57 + 14 * at["register"])
        decay = self._sixteenth * _grow(0.4, 4, at["length"])
        often = np.array([1, 2 * at["density"] - 1, 2 * at["density"], 2 * at["density"] - 1])
        strong = np.clip(often, 0, 1)[self._steps % 4]
        rises = self._rng.random(len(self._steps) // 4 + 2) < 1.4 * at["contour"] - 0.2
        place = int(self._rng.integers(_RANGE))
        for number, degree in enumerate(self._chords):
            if number % 4 == 0:
                place = (place + (1 if rises[number // 4] else -1)) % _RANGE
            if strong[number] < 0.1:
                continue
            pitch = _above(self._classes(degree), lowest, _RANGE + 2)[place + _FIGURE[number % 4]]
            if pitch not in notes:
                notes[pitch] = play.pluck(pitch, decay, self._cutoff, self._style.hollow)
            self._put(out, number, notes[pitch], strong[number])
        return out

    def bells(self) -> Float32:
        """A slow melody."""
        out = np.zeros(self._samples, np.float32)
        place = int(self._rng.integers(7))
        pitches = _above(self._scale, 76, 8)
        for number in np.flatnonzero(self._steps % 4 == 0).tolist():
            if self._rng.random() < 0.45:
                place = int(np.clip(place + self._rng.integers(-2, 3), 0, 7))
                sound = play.bell(pitches[place], 0.4)
                self._put(out, number, sound, self._rng.uniform(0.6, 1))
        return out

    def basses(self) -> Float32:
        """Roots of the chords."""
        out, notes = np.zeros(self._samples, np.float32), {}
        for number, step in enumerate(self._steps):
            if step in self._style.bass_steps:
                pitch = _above([self._scale[self._chords[number]]], 36, 1)[0]
                if pitch not in notes:
                    notes[pitch] = play.bass(pitch, 3 * self._sixteenth)
                self._put(out, number, notes[pitch], 1 if step == 0 else 0.8)
        return out

    def drums(self) -> Float32:
        """A kit that goes from a straight to a broken pattern."""
        out, broken = np.zeros(self._samples, np.float32), self._at["groove"]
        kit = (
            (_KICK, play.kick(self._style.kick, self._sixteenth), 1.0),
            (_SNARE, play.snare(self._rng, self._style.snare, self._sixteenth / 2), 0.6),
            (_HAT, play.hat(self._rng, self._sixteenth / 4), 0.5),
        )
        for pattern, sound, level in kit:
            strong = ((1 - broken) * pattern[0] + broken * pattern[1])[self._steps]
            strong *= level * self._rng.uniform(0.85, 1, len(strong))
            for number in np.flatnonzero(strong).tolist():
                self._put(out, number, sound, strong[number])
        return out

    def mixed(self) -> Float32:
        """All instruments together."""
        at, jitter = self._at, 10 ** (self._rng.normal(0, 2, 5) / 20)
        parts = (self.pads(), self.plucks(), self.bells(), self.basses(), self.drums())
        toward = np.pi / 2 * (0.2 + 0.6 * at["mix"])  # from the pads to the plucks
        levels = (
            0.13 * np.cos(toward),
            0.45 * np.sin(toward),
            0.15,
            0.22,
            _grow(0.18, 0.75, at["drums"]),
        )
        out = np.zeros(self._samples, np.float32)
        for part, level, by in zip(parts, levels, jitter, strict=True):
            out += np.float32(level * by) * part
        return play.in_a_room(out, self._style.echo, self._rng.normal(0, 1))


def render(controls: Float32, style: Style, rng: np.random.Generator, seconds: float) -> Float32:
    """A piece of music, equally loud as any other, within -1 and 1. (seconds * RATE,)

    Args:
        controls: 0 to 1, in the order of `CONTROLS`. (controls,)
        style: style of its artist.
        rng: random generator of the other choices.
        seconds: how long.
    """
    piece = _Piece(controls, style, rng, round(seconds * RATE)).mixed()
    piece *= np.float32(0.16) / np.sqrt(np.mean(piece**2))
    piece /= np.sqrt(1 + piece**2)  # a soft limit below 1
    return play.faded(piece, 0.02, 0.5)
