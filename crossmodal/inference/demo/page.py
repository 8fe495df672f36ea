"""What the page shows, as HTML. Whatever a user named, a file or a folder or a label, is escaped here."""

import json
from collections.abc import Sequence
from html import escape

from crossmodal.inference.colours import colours_of, ink_on
from crossmodal.inference.demo.drawing import HEIGHT, WIDTH, spectrogram_png, steps_path, ticks, waveform_path
from crossmodal.inference.demo.listening import (
    ACTED,
    MEGABYTE,
    Heard,
    Limits,
    Listened,
    Listener,
    agreement,
    differences,
)
from crossmodal.inference.predict.overview import RATE, look_over
from crossmodal.inference.prediction import SILENCE, Prediction, Segment, Timeline
from crossmodal.inference.timeline import means_over_time

_TITLES = {"model": "The model", "control": "Its control"}
_SYNTHETIC = "Trained on the synthetic corpus: it shows that the machine works and says nothing about people."
_DEPENDENT = "Measured on people it was trained on: its figures say nothing about strangers."


def header_html(listeners: Sequence[Listener]) -> str:
    """The top of the page: what it is, what it is not, and what is wrong with the models that it compares."""
    notes = [f'<p class="cm-note" role="note">{escape(ACTED)}</p>']
    if apart := differences(listeners):
        notes.append(
            f'<p class="cm-warning" role="note">These two are no pair: they differ in {escape(", ".join(apart))}, so '
            "what differs below need not come from the teacher.</p>"
        )
    return f"<header><h1>What a voice model hears</h1>{''.join(notes)}</header>"


def picker_html(limits: Limits) -> str:
    """Where a recording is dropped, chosen or made."""
    seconds, megabytes = limits.seconds, limits.megabytes
    longest = f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} seconds"
    return (
        f'<div class="cm-picker" data-bytes="{megabytes * MEGABYTE:.0f}" data-seconds="{seconds:g}">'
        '<label class="cm-drop"><input type="file" accept="audio/*,video/*" aria-label="Choose a recording">'
        "<span><strong>Drop a recording here</strong>, or click to choose one</span>"
        f"<small>Any sound or video with sound, up to {longest} and {megabytes:g} MB</small></label>"
        '<button type="button" class="cm-record" aria-pressed="false"><i></i><span class="cm-word">Record</span>'
        '</button><p class="cm-status" role="status"></p></div>'
    )


def footer_html(listeners: Sequence[Listener]) -> str:
    """What becomes of a recording."""
    rate = listeners[0].recognizer.sample_rate
    return (
        '<footer class="cm-foot"><p>Recordings go to the program that serves this page and nowhere else. It keeps them '
        "for an hour at most, and deletes them when it stops. The sound is played as the model hears it: one channel, "
        f"{rate / 1000:g} kHz.</p></footer>"
    )


def error_html(sentence: str) -> str:
    """One sentence in place of a result."""
    return f'<p class="cm-error" role="alert">{escape(sentence)}</p>'


def result_html(listened: Listened, sound_url: str) -> str:
    """All that is to be seen of a recording.

    Args:
        listened: What the models say of it.
        sound_url: Where the browser finds its sound.
    """
    duration = listened.duration
    said = "; ".join(f"{_TITLES[one.listener.role].lower()} hears {_mostly(one)}" for one in listened.heard)
    models = "".join(_model_html(one, duration) for one in listened.heard)
    same = ""
    if len(listened.heard) == 2:
        share = agreement(listened.heard[0].timeline, listened.heard[1].timeline)
        same = f'<p class="cm-agreement">Both say the same over {_percent(share)} of the recording.</p>'
    return (
        f'<section class="cm-result" data-duration="{duration}" aria-label="Result for {escape(listened.file)}" '
        f'data-said="{escape(f"{listened.file}, {_seconds(duration)}: {said}.")}">'
        f"<h2>{escape(listened.file)} <small>{_seconds(duration)}</small></h2>"
        f'<audio controls preload="auto" src="{escape(sound_url)}" aria-label="The recording"></audio>'
        f"{_sound_html(listened)}"
        f'<div class="cm-models">{models}</div>{same}</section>'
    )


def _sound_html(listened: Listened) -> str:
    overview = look_over(listened.waveform, listened.sample_rate)
    wave = _svg(waveform_path(overview, listened.duration), "cm-wave")
    top = f"{RATE / 2000:g} kHz"
    scale = f'<span class="cm-scale"><span>{top}</span><span>0</span></span>'
    image = f'<img src="{spectrogram_png(overview)}" alt="Spectrogram, 0 to {top}">'
    return (
        '<div class="cm-chart">'
        f"{_row('Sound', wave, 'cm-tall')}"
        f"{_row('Spectrum', image, 'cm-tall', scale)}"
        f"{_axis(listened.duration)}</div>"
        '<p class="cm-hint">Click into a picture to move the sound there.</p>'
    )


def _model_html(one: Heard, duration: float) -> str:
    listener, timeline = one.listener, one.timeline
    colours = colours_of(timeline.labels)
    edges, means = means_over_time(timeline.windows, timeline.labels)
    rows = "".join(
        _row(
            escape(label),
            _svg(steps_path(edges, means[:, place]), "cm-area"),
            "cm-emotion",
            f'<span class="cm-value">{_percent(means[0, place])}</span>',
            f'style="--colour:{colours[label]}" data-label="{escape(label)}"',
        )
        for place, label in enumerate(timeline.labels)
    )
    curves = {
        "edges": [round(edge, 3) for edge in edges],
        "means": [[round(float(value), 3) for value in row] for row in means],
        "segments": [[part.start, part.end, part.label] for part in timeline.segments],
    }
    first = timeline.segments[0].label
    return (
        f'<article class="cm-model" data-timeline="{escape(json.dumps(curves))}">'
        f"<h3>{_TITLES[listener.role]}</h3>"
        f'<p class="cm-about">{escape(_about(listener))}</p>'
        f"{_whole_html(one)}"
        f'<div class="cm-chart"><p class="cm-now" aria-hidden="true">At <span class="cm-time">0.0 s</span>: '
        f'<strong class="cm-label">{escape(first)}</strong></p>'
        f"{_row('Emotion', _ribbon(timeline, duration), 'cm-ribbon')}"
        f"{rows}{_axis(duration)}</div>{_list_html(timeline)}</article>"
    )


def _whole_html(one: Heard) -> str:
    if one.prediction is None:
        return f'<p class="cm-whole">Mostly <strong>{escape(_mostly(one))}</strong></p>'
    likeliest, *others = _ranked(one.prediction)
    then = f", then {', '.join(others[:2])}" if others else ""
    return f'<p class="cm-whole">All in all <strong>{escape(likeliest)}</strong>{escape(then)}</p>'


def _ranked(prediction: Prediction) -> list[str]:
    if prediction.is_silence:
        return [SILENCE]
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    return [f"{label} {_percent(probability)}" for label, probability in ranked]


def _mostly(one: Heard) -> str:
    """The label of the whole, or of most of it where it is too long for one."""
    if one.prediction is not None:
        return _ranked(one.prediction)[0]
    seconds: dict[str, float] = {}
    for part in one.timeline.segments:
        seconds[part.label] = seconds.get(part.label, 0.0) + part.end - part.start
    label = max(seconds, key=seconds.__getitem__)
    return f"{label}, {_percent(seconds[label] / one.timeline.duration)} of the time"


def _about(listener: Listener) -> str:
    config = listener.recognizer.config
    corpus = config.get("corpus", {}).get("kind")
    parts = [listener.name, *(config["model"].get(key) for key in ("front_end", "encoder"))]
    where = f", trained on RAVDESS {config.get('channel', '')}".rstrip() if corpus == "ravdess" else ""
    sentences = [f"{', '.join(part for part in parts if part)}{where}."]
    sentences += [_SYNTHETIC] * (corpus == "synthetic") + [_DEPENDENT] * bool(config.get("speaker_dependent"))
    return " ".join(sentences)


def _ribbon(timeline: Timeline, duration: float) -> str:
    colours = colours_of(timeline.labels)
    parts = []
    for part in timeline.segments:
        left, width = (f"{100 * seconds / duration:.3f}%" for seconds in (part.start, part.end - part.start))
        colour = colours[part.label]
        look = f"left:{left};width:{width};background-color:{colour};color:{ink_on(colour)}"
        kind = "cm-part cm-silence" if part.label == SILENCE else "cm-part"
        name = f"<span>{escape(part.label)}</span>"
        parts.append(f'<span class="{kind}" title="{escape(_describe(part))}" style="{look}">{name}</span>')
    return "".join(parts)


def _list_html(timeline: Timeline) -> str:
    """The same without pictures; each line starts the sound where it begins."""
    items = "".join(
        f'<li><button type="button" class="cm-play" data-seek="{part.start}">{escape(_describe(part))}</button></li>'
        for part in timeline.segments
    )
    return f"<details><summary>As a list</summary><ol>{items}</ol></details>"


def _describe(part: Segment) -> str:
    score = "" if part.label == SILENCE else f", {_percent(part.score)}"
    return f"{part.start:.1f} to {part.end:.1f} s: {part.label}{score}"


def _row(name: str, content: str, kind: str, aside: str = "", attributes: str = "") -> str:
    return (
        f'<div class="cm-row {kind}" {attributes}><span class="cm-name">{name}</span>'
        f'<div class="cm-track">{content}<i class="cm-cursor"></i></div><span class="cm-aside">{aside}</span></div>'
    )


def _svg(path: str, kind: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{path}"/></svg>'
    )


def _axis(duration: float) -> str:
    marks = "".join(f'<span style="left:{100 * tick / duration:.2f}%">{tick:g}</span>' for tick in ticks(duration))
    return (
        '<div class="cm-row cm-axis" aria-hidden="true"><span class="cm-name"></span>'
        f'<div class="cm-marks">{marks}</div><span class="cm-aside">s</span></div>'
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def _seconds(duration: float) -> str:
    return f"{duration:.1f}\N{NO-BREAK SPACE}s"
