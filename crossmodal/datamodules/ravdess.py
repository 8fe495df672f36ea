"""The three datamodules: what sounds, what is seen, and both."""

from crossmodal.datamodules.base import RAVDESSDataModule


class RAVDESSAudioDataModule(RAVDESSDataModule):
    """RAVDESS voices: batches of ``waveform`` and ``waveform_length``, for a student alone.

    See `RAVDESSDataModule` for the arguments.
    """

    needs_audio = True


class RAVDESSVideoDataModule(RAVDESSDataModule):
    """RAVDESS faces: batches of ``faces``, or of ``face_embeddings`` where those or face features are given.

    See `RAVDESSDataModule` for the arguments.
    """

    needs_faces = True


class RAVDESSPairedDataModule(RAVDESSDataModule):
    """RAVDESS clips with sound and face, for teaching: waveforms beside teacher outputs, embeddings or faces.

    Where `teacher_outputs` is given, a batch holds ``teacher_embedding`` and ``teacher_logits`` and no faces, and a
    teacher that was trained on a validation or test actor is refused. See `RAVDESSDataModule` for the arguments.
    """

    needs_audio = True
    needs_faces = True
