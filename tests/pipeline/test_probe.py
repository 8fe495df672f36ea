import subprocess, sys, time
def test_p(tiny_args, finished, tmp_path):
    a=[w for w in finished.args if not w.startswith(("--runs","--teacher.trainer"))]
    args=[sys.executable,"-X","importtime","-m","crossmodal","fit",*a,f"--runs={tmp_path}","--stages=teacher","--seed_everything=9","--teacher.trainer.max_epochs=20"]
    t=time.time()
    p=subprocess.Popen([sys.executable,"-m","crossmodal","fit",*args[6:]] if False else [w for w in args if w not in("-X","importtime")],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL)
    last=tmp_path/"fit"/"teacher"/"checkpoints"/"last.ckpt"; first=None
    while p.poll() is None:
        if last.exists() and first is None: first=time.time()-t
        time.sleep(.01)
    print("FIRST",first,"END",time.time()-t)
