"""The three datamodules of any corpus: what sounds, what is seen, and both."""

from crossmodal.datamodules.base import CorpusDataModule


class AudioDataModule(CorpusDataModule):
    """Voices: batches of ``waveform`` and ``waveform_length``, for a student alone.

    See `CorpusDataModule` for the arguments.
    """

    needs_audio = True


class VideoDataModule(CorpusDataModule):
    """Faces: batches of ``faces``, or of ``face_embeddings`` where those or face features are given.

    See `CorpusDataModule` for the arguments.
    """

    needs_faces = True


class PairedDataModule(CorpusDataModule):
    """Clips with sound and face, for teaching: waveforms beside teacher outputs, embeddings or faces.

    Where `teacher_outputs` is given, a batch holds ``teacher_embedding`` and ``teacher_logits`` and no faces, and a
    teacher that was trained on a validation or test actor is refused. See `CorpusDataModule` for the arguments.
    """

    needs_audio = True
    needs_faces = True
