"""Help of the commands that parse their own arguments. argparse generates the help of the others."""

TRUST = "import the classes of the model's parts that are not in crossmodal; importing runs their modules' code"

FIT = """\
usage: crossmodal fit [--config FILE]... [--key value]...

Train a face model (teacher), train a voice model with it (student), fine-tune the student without the teacher, and
measure the gain over the same voice model trained without a teacher (control). Without data, the command generates a
small synthetic corpus and trains on it. An interrupted run is resumed when the command is rerun, and unchanged stages
are reused.

data
  --data.root DIR              folder of the extracted RAVDESS files; default: the synthetic corpus
  --data.manifest FILE         any other corpus, as a table: clip, audio, video, label, speaker, split
  --data.stream DIR_OR_URL     a stream of either, written by crossmodal data prepare
  --data.channel NAME          speech, song or both
  --data.label_set NAME        speech8, song6, speech6 or both8; default: that of the channel
  --data.protocol NAME         seq6, luna5, emobox6, chumachenko1, loso24, grouped (any speakers, in
                               --data.num_folds N folds), given (the manifest's split), random or module.Class
  --data.corpus NAME           a corpus of your own: module.Class; see docs/extending.md
  --data.fold K                test fold, from 0
  --data.face_features FILE    input of the teacher in place of pixels: CSV, Parquet or folder of .npy
  --data.num_video_frames N    face crops per clip
  --data.batch_size N          clips per batch

teacher and student
  --teacher.model.backbone NAME             any timm model, with pretrained weights from the Hub ...
  --teacher.model.weights FILE              ... or from a file; --teacher.model.pretrained false for none
  --transfer.model.front_end NAME           mfcc, lmfb, both or pretrained
  --transfer.model.encoder NAME             dense, lstm, tdnn, cnn, crnn or transformer;
                                            front_end and encoder may be your own: module.Class, with
                                            encoder.init_args.NAME VALUE; see docs/extending.md
  --transfer.model.kd_loss NAME             dist, kd or logit_std, with kd_loss_weight and temperature
  --transfer.model.align_loss NAME          cosine, mse, rkd or supcon, with align_loss_weight;
                                            more_losses adds others
                                            losses may be your own or of torch: module.Class
  --teaching.by NAME                        face, voice (self-distillation) or both
  --teaching.teacher NAME                   your own trained classifier, with --teaching.teacher_actors LIST
  --teaching.cross_fit N                    N teachers; outputs for a clip come from one not trained on its actor
  --{teacher,transfer,finetune}.trainer.max_epochs N

run
  --name NAME                  name of the run; its folder is runs/NAME, or runs/NAME-2, ... if that holds a run with
                               other settings
  --resume true                fail if there is no interrupted or finished run with these settings in the folder
  --stages LIST                some of teacher,supervised,control,transfer,finetune
  --seed_everything N          seed of all random numbers
  --trainer.accelerator NAME   auto, cpu, gpu, ...; all arguments of Lightning's Trainer are supported
  --trainer.logger wandb       log to Weights & Biases (--trainer.logger.offline true without an account)
  --config FILE                YAML file with these keys, or the name of a shipped config (see crossmodal configs);
                               later configs override earlier ones
  --print_config               print all keys with their values and exit

examples
  crossmodal fit
  crossmodal fit --data.root ravdess --teacher.model.backbone resnet18
  crossmodal fit --config ravdess_action_units --data.root ravdess --data.face_features au.csv
"""

TEST = """\
usage: crossmodal test --model FOLDER [--data.root DIR | --data.manifest FILE | --data.stream URL]
                       [--data.key value]... [--backend {torch,onnx,int8}] [--format {table,json}]
                       [--trust_own_code]

Evaluate a model on the test actors of a fold. Fold, channel and label set default to those of the model's training. A
model that was trained on a test actor is rejected.

  --model FOLDER        model folder, such as runs/fit/model
  --data.root DIR       folder of the extracted RAVDESS files; only a model of the synthetic corpus needs no recordings
  --data.manifest FILE  any other corpus; its labels must be labels of the model
  --data.stream URL     a stream of either: a folder or a URL
  --data.protocol NAME  and --data.fold K, --data.channel NAME, --data.label_set NAME: other test actors
  --backend NAME        torch, or the exported models onnx and int8 (see crossmodal export)
  --format NAME         table or json
  --trust_own_code      import the classes of the model's parts that are not in crossmodal

example
  crossmodal test --model runs/fit/model --data.root ravdess
"""

PREFLIGHT = """\
usage: crossmodal study preflight [--config FILE]... [--key value]...

Check, before the expensive run, whether this teacher can help this student. The command takes the arguments of fit
and runs its stages teacher, supervised and control, which fit then reuses. It compares both models on training and
validation actors: where one is correct and the other wrong, how similar their embeddings are, and how much of the
teacher's outputs can be predicted from audio. It prints a table and one sentence of advice, and writes
runs/NAME/preflight.json and preflight.png.

  --data.root DIR, --data.fold K, --transfer.model.encoder NAME, ...   as for fit: crossmodal fit --help

examples
  crossmodal study preflight
  crossmodal study preflight --config ravdess_action_units --data.root ravdess --data.face_features au.csv
"""
