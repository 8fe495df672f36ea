"""Datamodules of any corpus: audio, video and paired."""

from crossmodal.datamodules.base import CorpusDataModule


class AudioDataModule(CorpusDataModule):
    """Audio clips with batches of ``waveform`` and ``waveform_length``, for a student alone.

    See `CorpusDataModule` for the arguments.
    """

    needs_audio = True


class VideoDataModule(CorpusDataModule):
    """Faces with batches of ``faces``, or of ``face_embeddings`` if embeddings or face features are given.

    See `CorpusDataModule` for the arguments.
    """

    needs_faces = True


class PairedDataModule(CorpusDataModule):
    """Clips with audio and face, for transfer: waveforms with teacher outputs, embeddings or faces.

    With `teacher_outputs`, a batch has ``teacher_embedding`` and ``teacher_logits`` and no faces, and a teacher that
    was trained on a validation or test actor raises an error. See `CorpusDataModule` for the arguments.
    """

    needs_audio = True
    needs_faces = True
