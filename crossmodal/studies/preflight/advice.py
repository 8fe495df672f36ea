"""The rules, with their thresholds, that turn the numbers of the pre-flight into advice (see docs/preflight.md)."""

from typing import Any, Literal, TypedDict

from crossmodal.evaluation.similarity import CARRIED_SHARE
from crossmodal.labels_for_people import interval_text

Verdict = Literal["teacher_at_chance", "little_to_teach", "not_in_the_sound", "only_the_label", "can_help"]

# Least gain in UAR of the late fusion over the student that shows complementary information in the face.
FUSION_GAIN = 0.02
# A model has memorised its training clips if its training UAR is at least this, and this far above validation.
MEMORISED_UAR = 0.95
MEMORISED_GAP = 0.15
# A student has not converged if its training UAR is less than this above validation.
CONVERGED_GAP = 0.05

_FUSION = "(late fusion adds {gain:+.1f} points to the student, 95 % interval {fusion})"
_CLAUSES: dict[Verdict, str] = {
    "teacher_at_chance": "Do not use this teacher: on validation its UAR ({range}) cannot be "
    "distinguished from chance ({chance:.2f}), so try other faces, another backbone or longer training",
    "little_to_teach": "Unlikely to help: the teacher is {better} than the student alone (UAR {teacher:.2f} against "
    "{student:.2f}) and their late fusion adds {gain:+.1f} points to the student, so the face adds almost no "
    "information to the voice",
    "not_in_the_sound": f"The face adds information {_FUSION}, but sound carries little of it "
    "({carried:.0%} of the teacher's dimensions can be predicted): prefer soft labels (kd_loss) or relations "
    "(align_loss rkd) to aligning single embeddings, and expect a small gain",
    "only_the_label": f"Unlikely to help with labelled clips: the face adds information {_FUSION}, but sound carries "
    "little of it beyond the label ({beyond:.0%} of the teacher's dimensions can be predicted), so add unlabelled "
    "clips, or compare with self-distillation (--teaching.by voice)",
    "can_help": f"This teacher can help: the face adds information {_FUSION} and sound carries part of it "
    "({carried:.0%} of the teacher's dimensions can be predicted), so run fit with alignment (align_loss) and soft "
    "labels (kd_loss) in addition to the labels, and with several seeds",
}
_CAN_LABEL = (
    f"This teacher can help: the face adds information {_FUSION} and can label the unlabelled training clips "
    "({unlabelled}), so run fit, whose defaults are then made for them, with several seeds"
)
_MEMORISED = "the {} has memorised its training clips (UAR {:.2f} on them, {:.2f} on validation), so {}"
_REMEDIES = {
    "teacher": "its outputs for them add little to the label: use cross-fitted outputs (--teaching.cross_fit)",
    "student": "try more augmentation or a smaller student",
}
_NOT_CONVERGED = (
    "the student has not converged (UAR {train:.2f} on training clips, {val:.2f} on validation), so train it longer "
    "before measuring a gain"
)
_SMALL_FACES = (
    "the backbone's weights ({weights}) were trained on objects, not on faces, and the face crops ({face_size} pixels) "
    "are smaller than its input ({input_size}), so use face-trained weights and a larger --data.face_size"
)


class Advice(TypedDict):
    """A verdict for programs, and a sentence for people."""

    verdict: Verdict
    sentence: str


def advise(numbers: dict[str, Any]) -> Advice:
    """Predict from all numbers of the pre-flight whether a teacher can help a student.

    The first of five rules that applies gives the verdict:

    1. the interval of the teacher's UAR reaches down to chance, or without an interval the UAR: ``teacher_at_chance``;
    2. late fusion gains less than `FUSION_GAIN` over the student alone: ``little_to_teach``;
    3. sound predicts fewer than `CARRIED_SHARE` of the dimensions of the teacher's embedding, within actors:
       ``not_in_the_sound``;
    4. the same after subtracting the mean of the label, and every training clip has a label: ``only_the_label``;
    5. else: ``can_help``.

    Problems with the backbone and with the training of either model are appended.
    """
    teacher, student = numbers["uar"]["teacher"], numbers["uar"]["student"]
    embedding, fusion = numbers["sound_carries"]["teacher_embedding"], numbers["fusion_gain"]
    interval = teacher["val_ci95"] or (teacher["val"],)
    values = {
        "chance": numbers["chance_uar"],
        "worst": interval[0],
        "range": " to ".join(f"{bound:.2f}" for bound in interval),
        "teacher": teacher["val"],
        "student": student["val"],
        "better": "better" if teacher["val"] > student["val"] else "not better",
        "gain": 100 * fusion["uar"],
        "fusion": interval_text(fusion["ci95"], "{:+.1f} to {:+.1f}", 100),
        "carried": embedding["within_actor"]["share_carried"],
        "beyond": embedding["beyond_label"]["share_carried"],
        "unlabelled": numbers["corpus"]["unlabelled_clips"],
    }
    verdict, clause = _verdict(values)
    clauses = [clause.format(**values)]
    for name, uar in (("teacher", teacher), ("student", student)):
        gap = uar["train"] - uar["val"]
        if uar["train"] >= MEMORISED_UAR and gap >= MEMORISED_GAP:
            clauses.append(_MEMORISED.format(name, uar["train"], uar["val"], _REMEDIES[name]))
        elif name == "student" and gap < CONVERGED_GAP:
            clauses.append(_NOT_CONVERGED.format(**uar))
    if small_faces := numbers["small_faces"]:
        clauses.append(_SMALL_FACES.format(**small_faces))
    return Advice(verdict=verdict, sentence="; ".join(clauses) + ".")


def _verdict(values: dict[str, Any]) -> tuple[Verdict, str]:
    """Return the verdict and its clause."""
    verdict: Verdict = "can_help"
    if values["worst"] <= values["chance"]:
        verdict = "teacher_at_chance"
    elif values["gain"] < 100 * FUSION_GAIN:
        verdict = "little_to_teach"
    elif values["carried"] < CARRIED_SHARE:
        verdict = "not_in_the_sound"
    elif values["beyond"] < CARRIED_SHARE:
        if values["unlabelled"]:
            return verdict, _CAN_LABEL
        verdict = "only_the_label"
    return verdict, _CLAUSES[verdict]
