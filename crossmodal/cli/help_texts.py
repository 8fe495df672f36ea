"""The help of the commands that read their own arguments. argparse writes that of the others."""

FIT = """\
usage: crossmodal fit [--config FILE]... [--key value]...

Train a face model, let it teach a voice model, fine-tune the voice model alone, and measure the gain against the same
voice model without a teacher. With no data given, it runs on a small synthetic corpus that it makes itself. A run that
was stopped goes on where it was; what did not change is not done again.

what to run on
  --data.root DIR              folder of the extracted RAVDESS files; none: the synthetic corpus
  --data.manifest FILE         or any corpus of yours, as a table: clip, audio, video, label, speaker, split
  --data.channel NAME          speech, song or both
  --data.label_set NAME        speech8, song6, speech6 or both8; none: the channel's own
  --data.protocol NAME         seq6, luna5, emobox6, chumachenko1, loso24, grouped (any speakers, in
                               --data.num_folds N folds), given (the manifest's split) or random
  --data.fold K                whose actors test, from 0
  --data.face_features FILE    CSV, Parquet or folder of .npy in place of pixels, as input of the teacher
  --data.num_video_frames N    face crops kept of a clip
  --data.batch_size N          clips in a batch

how to teach
  --teacher.model.backbone NAME             any timm model, with pretrained weights from the Hub ...
  --teacher.model.weights FILE              ... or from a file; --teacher.model.pretrained false for none
  --transfer.model.front_end NAME           mfcc, lmfb, both or ssl
  --transfer.model.encoder NAME             dense, lstm, tdnn, cnn, crnn, transformer or timm:NAME
  --transfer.model.kd_loss NAME             dist, dkd, kd or logit_std, with kd_loss_weight and temperature
  --transfer.model.align_loss NAME          cka, cosine, fd, mmd, mse, regression, rkd, shared_classifier or
                                            supcon, with align_loss_weight; more_losses takes further ones
  --teaching.by NAME                        face, voice (self-distillation) or both
  --teaching.cross_fit N                    outputs from teachers that were not trained on the clip's actor
  --{teacher,transfer,finetune}.trainer.max_epochs N

how to run
  --name NAME                  the run's folder is runs/NAME
  --stages LIST                of teacher,control,transfer,finetune
  --seed_everything N          the seed of everything
  --trainer.accelerator NAME   auto, cpu, gpu, ...; every argument of Lightning's Trainer works
  --trainer.logger wandb       log to Weights & Biases (--trainer.logger.offline true without an account)
  --config FILE                a YAML file of such keys, or the name of a shipped one (crossmodal configs lists them);
                               a later one is a delta on those before
  --print_config               print every key with its value, and stop

examples
  crossmodal fit
  crossmodal fit --data.root ravdess --teacher.model.backbone resnet18
  crossmodal fit --config ravdess_action_units --data.root ravdess --data.face_features au.csv
"""

TEST = """\
usage: crossmodal test --model FOLDER [--data.root DIR | --data.manifest FILE] [--data.key value]...
                       [--backend {torch,onnx,int8}] [--format {table,json}]

Measure a model on the test actors of a fold. The fold, the channel and the label set are those that the model was
trained for, unless told otherwise; a model that has seen a test actor is refused.

  --model FOLDER        the model folder, such as runs/fit/model
  --data.root DIR       folder of the extracted RAVDESS files; none: the synthetic corpus
  --data.manifest FILE  or any corpus of yours; its labels may be some of the model's
  --data.protocol NAME  and --data.fold K, --data.channel NAME, --data.label_set NAME: other test actors
  --backend NAME        torch; or onnx or int8, what crossmodal export wrote
  --format NAME         table for a person, json for a program

example
  crossmodal test --model runs/fit/model --data.root ravdess
"""

PREFLIGHT = """\
usage: crossmodal study preflight [--config FILE]... [--key value]...

Say, before the expensive run, whether this teacher can help this student. Takes the same arguments as fit, runs the
stages teacher and control of it (fit then finds them in the cache), and compares the two on training and validation
actors: who is right where the other errs, how alike their embeddings are, and how much of what the teacher says can be
told from sound. Prints a table and one sentence of advice, and writes runs/NAME/preflight.json and preflight.png.

  --data.root DIR, --data.fold K, --transfer.model.encoder NAME, ...   as for fit: crossmodal fit --help

examples
  crossmodal study preflight
  crossmodal study preflight --config ravdess_action_units --data.root ravdess --data.face_features au.csv
"""

STUDY_RUN = """\
usage: crossmodal study run FILE [--out DIR] [--jobs N] [--protocols LIST] [--folds LIST] [--seeds LIST]
                            [--methods LIST | --applications LIST] [--only LIST] [--print-commands] [--key value]...

Run what a study's file asks for: each of its methods on each fold with each seed, every one a run of fit with a control
of its own; or each of its applications, with the stages that are its own, under each protocol as well. A run that is
finished is never repeated, one that was stopped goes on where it was, one that failed is listed at the end (exit status
1) and tried again by the next call. Runs share the decoded corpus, teachers and controls. Afterwards, crossmodal study
report DIR makes the table and the page.

  FILE                 a YAML file, or the name of a shipped study: teaching, teaching_lstm, unlabelled, students, live
                       and applications (crossmodal configs lists all)
  --out DIR            the study's folder; default: studies/ and the file's name
  --jobs N             runs at a time, each in a process with one thread; default: 1
  --protocols LIST     in place of the file's, such as loso24,random; of applications
  --folds LIST         in place of the file's, such as 0,1
  --seeds LIST         in place of the file's, such as 0,1,2
  --methods LIST       some of the file's, by name; --applications LIST is the same
  --only LIST          some of the runs, by the names of their folders
  --print-commands     print a command line for each run that is not finished, for any scheduler, and run nothing
  --key value          for fit, in all runs: --data.root DIR, --transfer.trainer.max_epochs N, ...; wins over the file

examples
  crossmodal study run teaching --jobs 2 --data.root ravdess --data.face_features au.csv
  crossmodal study run applications --jobs 2 --folds 0 --seeds 0
  crossmodal study run applications --data.root ravdess --print-commands > commands.txt
"""
