import json
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[3] / "tools" / "imagenet_words.py"
NOUNS = """\
  1 a licence
001 06 n 01 clothing 0 000 | a covering
002 06 n 02 dress 0 frock 0 001 @ 001 n 0000 | a one-piece garment
003 06 n 02 attire 0 dress 0 001 @ 001 n 0000 | clothing of a kind
004 06 n 01 gown 0 001 @ 002 n 0000 | long dress
005 06 n 01 mask 0 001 @ 003 n 0000 | a covering of the face
006 06 n 01 ball_gown 0 001 @ 004 n 0000 | a gown for balls
"""
SENSES = """\
dress%1:06:00:: 002 1 15
dress%1:06:01:: 003 2 4
attire%1:06:00:: 003 1 3
gown%1:06:00:: 004 1 5
"""


def test_common_senses_broader_and_narrower_names(tmp_path):
    (tmp_path / "data.noun").write_text(NOUNS)
    (tmp_path / "index.sense").write_text(SENSES)
    (tmp_path / "imagenet_synsets.txt").write_text("n1\nn2\n")
    (tmp_path / "imagenet_synset_to_lemma.txt").write_text("n1\tgown\nn2\tmask\n")
    (tmp_path / "imagenet_synset_to_definition.txt").write_text("n1\tlong dress\nn2\ta covering of the face\n")
    out = tmp_path / "words.json"
    subprocess.run([sys.executable, TOOL, tmp_path, tmp_path, out], check=True, capture_output=True)
    assert json.loads(out.read_text()) == {
        "classes": ["gown", "mask"],
        "words": {"attire": [1], "clothing": [0, 1], "dress": [0], "frock": [0], "gown": [0], "mask": [1]},
        "narrower": {"ball gown": [0]},
    }
