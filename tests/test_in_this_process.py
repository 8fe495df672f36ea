from crossmodal.errors import MediaError
from crossmodal.process_pool import Failure
from tests.in_this_process import in_this_process


def test_a_media_error_is_a_lasting_failure_as_in_a_child():
    def work(job):
        if job == "damaged":
            raise MediaError("a.wav", "it is damaged")
        return job.upper()

    outcomes = dict(in_this_process(work, ["good", "damaged", "other"], description="Decoding", num_processes=2))
    assert outcomes == {"good": "GOOD", "damaged": outcomes["damaged"], "other": "OTHER"}
    assert isinstance(outcomes["damaged"], Failure)
    assert outcomes["damaged"].lasting


def test_a_busy_job_is_done_again_after_the_others():
    answers = iter(["busy", "made", "found"])
    outcomes = in_this_process(lambda job: next(answers), ["a", "b"], again=lambda result: result == "busy")
    assert list(outcomes) == [("b", "made"), ("a", "found")]
