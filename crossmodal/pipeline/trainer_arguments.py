"""Arguments of Lightning's Trainer that cannot change the result of a stage, with the reasons.

All others are in the key of a stage, also those that a later version of Lightning adds.
"""

WITHOUT_EFFECT = {
    "default_root_dir": "a folder to write to",
    "enable_autolog_hparams": "logs the hyper-parameters",
    "enable_model_summary": "prints",
    "enable_progress_bar": "prints",
    "limit_predict_batches": "no stage calls Trainer.predict",
    "limit_test_batches": "no stage calls Trainer.test",
    "log_every_n_steps": "how often loggers write metrics of steps; callbacks get all of them",
    "logger": "writes metrics",
    "model_registry": "a place to upload checkpoints to",
    "profiler": "measures durations",
}
