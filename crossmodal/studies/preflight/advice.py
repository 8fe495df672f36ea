"""The rules, with their thresholds, that turn the numbers of the pre-flight into advice (see docs/preflight.md)."""

from typing import Any, Literal, TypedDict

Verdict = Literal["teacher_at_chance", "little_to_teach", "not_in_the_sound", "only_the_label", "can_help"]

# Least gain in UAR of the late fusion over the student that shows complementary information in the face.
FUSION_GAIN = 0.02
# R^2 above which a dimension of the teacher counts as predictable from sound, and the least share of such dimensions.
CARRIED_R2 = 0.05
CARRIED_SHARE = 0.10
# A model has memorised its training clips if its training UAR is at least this, and this far above validation.
MEMORISED_UAR = 0.95
MEMORISED_GAP = 0.15
# A student has not converged if its training UAR is less than this above validation.
CONVERGED_GAP = 0.05


class Advice(TypedDict):
    """A verdict for programs, and a sentence for people."""

    verdict: Verdict
    sentence: str


def advise(numbers: dict[str, Any]) -> Advice:
    """Predict whether a teacher can help a student.

    The first of five rules that applies gives the verdict:

    1. the interval of the teacher's UAR reaches down to chance: ``teacher_at_chance``;
    2. late fusion gains less than `FUSION_GAIN` over the student alone: ``little_to_teach``;
    3. sound predicts fewer than `CARRIED_SHARE` of the dimensions of the teacher's embedding, within actors:
       ``not_in_the_sound``;
    4. the same after subtracting the mean of the label, and every training clip has a label: ``only_the_label``;
    5. else: ``can_help``.

    Problems with the training of either model are appended.

    Args:
        numbers: Result of `crossmodal.studies.preflight.measures.measure`, and the ``corpus`` of the run's summary.
    """
    verdict = _verdict(numbers)
    clauses = [_CLAUSES[verdict](numbers), *_training_clauses(numbers)]
    return Advice(verdict=verdict, sentence="; ".join(clauses) + ".")


def _verdict(numbers: dict[str, Any]) -> Verdict:
    if numbers["uar"]["teacher"]["val_ci95"][0] <= numbers["chance_uar"]:
        return "teacher_at_chance"
    if numbers["fusion_gain"]["uar"] < FUSION_GAIN:
        return "little_to_teach"
    if _carried(numbers) < CARRIED_SHARE:
        return "not_in_the_sound"
    if _is_label_only(numbers) and not numbers["corpus"]["unlabelled_clips"]:
        return "only_the_label"
    return "can_help"


def _at_chance(numbers: dict[str, Any]) -> str:
    low, high = numbers["uar"]["teacher"]["val_ci95"]
    return (
        f"Do not use this teacher: on validation its UAR ({low:.2f} to {high:.2f}) cannot be distinguished from "
        f"chance ({numbers['chance_uar']:.2f}), so try other faces, another backbone or longer training"
    )


def _little_to_teach(numbers: dict[str, Any]) -> str:
    teacher, student = (numbers["uar"][name]["val"] for name in ("teacher", "student"))
    better = "better" if teacher > student else "not better"
    return (
        f"Unlikely to help: the teacher is {better} than the student alone (UAR {teacher:.2f} against {student:.2f}) "
        f"and their late fusion adds {100 * numbers['fusion_gain']['uar']:+.1f} points to the student, so the face "
        "adds almost no information to the voice"
    )


def _not_in_the_sound(numbers: dict[str, Any]) -> str:
    return (
        f"The face adds information ({_fusion(numbers)}), but sound carries little of it ({_carried(numbers):.0%} of "
        "the teacher's dimensions can be predicted): prefer soft labels (kd_loss) or relations (align_loss rkd or cka) "
        "to aligning single embeddings, and expect a small gain"
    )


def _only_the_label(numbers: dict[str, Any]) -> str:
    return (
        f"Unlikely to help with labelled clips: the face adds information ({_fusion(numbers)}), but sound carries "
        f"little of it beyond the label ({_carried(numbers, 'beyond_label'):.0%} of the teacher's dimensions can be "
        "predicted), so add unlabelled clips, or compare with self-distillation (--teaching.by voice)"
    )


def _can_help(numbers: dict[str, Any]) -> str:
    if _is_label_only(numbers):
        unlabelled = numbers["corpus"]["unlabelled_clips"]
        return (
            f"This teacher can help: the face adds information ({_fusion(numbers)}) and can label the unlabelled "
            f"training clips ({unlabelled}), so run fit with soft labels (kd_loss: kd, weight 1) and several seeds"
        )
    return (
        f"This teacher can help: the face adds information ({_fusion(numbers)}) and sound carries part of it "
        f"({_carried(numbers):.0%} of the teacher's dimensions can be predicted), so run fit with alignment "
        "(align_loss) and soft labels (kd_loss) in addition to the labels, and with several seeds"
    )


_CLAUSES = {
    "teacher_at_chance": _at_chance,
    "little_to_teach": _little_to_teach,
    "not_in_the_sound": _not_in_the_sound,
    "only_the_label": _only_the_label,
    "can_help": _can_help,
}


def _carried(numbers: dict[str, Any], kind: str = "within_actor") -> float:
    """Return the share of the teacher's dimensions that sound predicts."""
    return float(numbers["sound_carries"]["teacher_embedding"][kind]["share_carried"])


def _is_label_only(numbers: dict[str, Any]) -> bool:
    return _carried(numbers, "beyond_label") < CARRIED_SHARE


def _fusion(numbers: dict[str, Any]) -> str:
    low, high = (100 * bound for bound in numbers["fusion_gain"]["ci95"])
    gain = 100 * numbers["fusion_gain"]["uar"]
    return f"late fusion adds {gain:+.1f} points to the student, 95 % interval {low:+.1f} to {high:+.1f}"


def _training_clauses(numbers: dict[str, Any]) -> list[str]:
    teacher, student = numbers["uar"]["teacher"], numbers["uar"]["student"]
    clauses = []
    if _has_memorised(teacher):
        clauses.append(
            "the teacher has memorised its training clips "
            f"(UAR {teacher['train']:.2f} on them, {teacher['val']:.2f} on validation), so its outputs for them add "
            "little to the label: use cross-fitted outputs (--teaching.cross_fit)"
        )
    if _has_memorised(student):
        clauses.append(
            "the student has memorised its training clips "
            f"(UAR {student['train']:.2f} on them, {student['val']:.2f} on validation), so try more augmentation or a "
            "smaller student"
        )
    elif student["train"] - student["val"] < CONVERGED_GAP:
        clauses.append(
            f"the student has not converged (UAR {student['train']:.2f} on training clips, {student['val']:.2f} on "
            "validation), so train it longer before measuring a gain"
        )
    return clauses


def _has_memorised(uar: dict[str, Any]) -> bool:
    return bool(uar["train"] >= MEMORISED_UAR and uar["train"] - uar["val"] >= MEMORISED_GAP)
