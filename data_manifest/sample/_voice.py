"""Source-filter speech synthesis: glottal pulses and breath through a moving vocal tract."""

import numpy as np
from numpy.typing import NDArray

from data_manifest.sample._expression import Prosody
from data_manifest.sample._speakers import Voice
from data_manifest.sample._speech import CONSONANTS, VOWELS, Consonant, Speech, Syllable, envelope

Floats = NDArray[np.float64]

RATE = 44100
HOP = 441
WINDOW = 2048
BANDWIDTHS = np.array([80.0, 100.0, 140.0, 220.0, 300.0])
HIGHER_FORMANTS = (3500.0, 4500.0)
# The largest peak of a clip, and the root mean square of a voice at rest.
MAX_PEAK = 0.9
REST_LEVEL = 0.07


def synthesise(speech: Speech, voice: Voice, prosody: Prosody, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a clip's audio, mono (samples,) float32 in -1 to 1 at `RATE` Hz."""
    times = np.arange(round(speech.duration * RATE)) / RATE
    loudness = envelope(speech, times)
    pitch = _pitch(speech, voice, prosody, times, rng)
    breath = np.clip(voice.breath + prosody.breath, 0.0, 0.8)
    aspiration = rng.normal(0.0, 0.25, times.size) * (0.4 + 0.6 * _open_phase(pitch))
    voiced = (1.0 - 0.6 * breath) * _pulses(pitch) + breath * aspiration
    murmur = sum((_murmur(s, times) for s in speech.syllables), start=np.zeros_like(times))
    sound = _filter_through_tract(voiced * np.maximum(loudness, murmur), speech, voice, prosody)
    sound += _consonant_noise(speech, times, rng)
    return _apply_recording(sound, loudness, voice, prosody, rng)


def _pitch(speech: Speech, voice: Voice, prosody: Prosody, times: Floats, rng: np.random.Generator) -> Floats:
    """Return the fundamental frequency in Hz, (samples,): a slope, accents, tremor and jitter."""
    position = times / speech.duration - 0.5
    semitones = prosody.pitch + prosody.slope * position
    for syllable in speech.syllables:
        middle = syllable.start + 0.45 * syllable.length
        height = prosody.swing * (0.7 + 1.6 * syllable.stress + rng.normal(0.0, 0.3))
        semitones = semitones + height * np.exp(-(((times - middle) / (0.5 * syllable.length)) ** 2))
    semitones = semitones + prosody.tremor * np.sin(2 * np.pi * (6.5 * times + rng.random()))
    knots = np.arange(0.0, speech.duration + 0.02, 0.01)
    jitter = np.interp(times, knots, rng.normal(0.0, 12.0 * prosody.jitter + 0.05, knots.size))
    pitch: Floats = voice.pitch * 2.0 ** ((semitones + jitter) / 12.0)
    return pitch


def _pulses(pitch: Floats) -> Floats:
    """Return the derivative of a smooth glottal pulse, (samples,); its steep closing edge adds the overtones."""
    phase = np.cumsum(pitch / RATE) % 1.0
    opening = np.sin(np.pi * phase / 0.6) * (phase < 0.6)
    # The edge spans two samples; otherwise aliasing would be audible in high voices.
    width = 2.0 * pitch / RATE
    closing = np.exp(-(((phase - 0.6) / width) ** 2)) * 1.6
    pulses: Floats = opening - closing - (opening - closing).mean()
    return pulses


def _open_phase(pitch: Floats) -> Floats:
    """Return 1 while the glottis is open and breath passes, 0 while it is closed, (samples,)."""
    return (np.cumsum(pitch / RATE) % 1.0 < 0.6).astype(np.float64)


def _murmur(syllable: Syllable, times: Floats) -> Floats:
    consonant = CONSONANTS[syllable.consonant]
    return 0.5 * consonant.voiced * _bump(times, syllable.start, consonant.length + 0.02)


def _bump(times: Floats, start: float, length: float) -> Floats:
    inside = np.clip((times - start) / length, 0.0, 1.0)
    bump: Floats = np.sin(np.pi * inside) ** 2
    return bump


def _formants(speech: Speech, voice: Voice, centres: Floats) -> Floats:
    """Return the formants in Hz at those times, (n, 5), which glide from vowel to vowel."""
    knots = [s.start + at * s.length for s in speech.syllables for at in (0.4, 0.8)]
    heights = np.array([VOWELS[s.vowel] for s in speech.syllables for _ in range(2)])
    moving = np.stack([np.interp(centres, knots, heights[:, k]) for k in range(3)], axis=1)
    fixed = np.broadcast_to(HIGHER_FORMANTS, (centres.size, 2))
    formants: Floats = np.concatenate([moving, fixed], axis=1) * voice.tract
    return formants


def _filter_through_tract(source: Floats, speech: Speech, voice: Voice, prosody: Prosody) -> Floats:
    """Return the source filtered by the formants, with overlap-add, (samples,)."""
    padded = np.pad(source, WINDOW)
    starts = np.arange(0, padded.size - WINDOW, HOP)
    window = np.hanning(WINDOW + 1)[:-1]
    frames = padded[starts[:, None] + np.arange(WINDOW)] * window
    spectrum = np.fft.rfft(frames, axis=1)
    centres = (starts + WINDOW / 2 - WINDOW) / RATE
    frequencies: Floats = np.fft.rfftfreq(WINDOW, 1 / RATE).astype(np.float64)
    response = _response(frequencies, _formants(speech, voice, centres))
    octaves = np.log2(np.maximum(frequencies, 60.0) / 500.0)
    tilt = 10.0 ** ((voice.tilt + prosody.tilt - 2.0) * octaves / 20.0)
    frames = np.fft.irfft(spectrum * response * tilt, n=WINDOW, axis=1)
    sound = np.zeros_like(padded)
    for start, frame in zip(starts, frames, strict=True):
        sound[start : start + WINDOW] += frame
    return sound[WINDOW : WINDOW + source.size] * (2 * HOP / WINDOW)


def _response(frequencies: Floats, formants: Floats) -> Floats:
    """Return the magnitude response of a cascade of resonators, (frames, frequencies)."""
    response = np.ones((formants.shape[0], frequencies.size))
    squares = frequencies**2
    for k, bandwidth in enumerate(BANDWIDTHS):
        centre = formants[:, k : k + 1] ** 2
        response *= centre / np.sqrt((squares - centre) ** 2 + squares * bandwidth**2)
    return response


def _consonant_noise(speech: Speech, times: Floats, rng: np.random.Generator) -> Floats:
    """Return the bursts and hisses of the consonants, (samples,)."""
    sound = np.zeros_like(times)
    frequencies: Floats = np.fft.rfftfreq(WINDOW * 4, 1 / RATE).astype(np.float64)
    for syllable in speech.syllables:
        consonant = CONSONANTS[syllable.consonant]
        hiss = _band(rng.normal(0.0, 1.0, WINDOW * 4), frequencies, consonant)
        first = round(syllable.start * RATE)
        span = slice(first, first + round(consonant.length * RATE))
        shape = _bump(times[span], syllable.start, consonant.length)
        sound[span] += 0.6 * consonant.noise * shape * hiss[: shape.size]
    return sound


def _band(noise: Floats, frequencies: Floats, consonant: Consonant) -> Floats:
    weight = np.exp(-(((frequencies - consonant.centre) / consonant.width) ** 2))
    band = np.fft.irfft(np.fft.rfft(noise) * weight)
    scaled: Floats = band / band.std()
    return scaled


def _apply_recording(
    sound: Floats, loudness: Floats, voice: Voice, prosody: Prosody, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the audio with the acted loudness, room noise and a recording level that varies between takes."""
    level = np.sqrt((sound**2)[loudness > 0.3].mean())
    gain = prosody.energy + voice.gain + rng.normal(0.0, 0.9)
    sound = sound / level * REST_LEVEL * 10.0 ** (gain / 20.0)
    frequencies = np.fft.rfftfreq(sound.size, 1 / RATE)
    hum = np.fft.irfft(np.fft.rfft(rng.normal(0.0, 1.0, sound.size)) / (1 + frequencies / 300), n=sound.size)
    sound = sound + hum / hum.std() * REST_LEVEL * 10.0 ** (-rng.uniform(26.0, 36.0) / 20.0)
    peak = np.abs(sound).max()
    recorded: NDArray[np.float32] = (sound * min(1.0, MAX_PEAK / peak)).astype(np.float32)
    return recorded
