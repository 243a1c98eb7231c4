"""python -m examples.recognition: the study; with `kinetics` or `ntu`: the same networks on the user's own files."""

from pathlib import Path

from examples.recognition.tasks import tasks
from examples.study.command import study

app = study(tasks, "Recognises actions of skeletons: plain, converted and chiral networks.", Path(__file__).parent)

if __name__ == "__main__":
    app()
