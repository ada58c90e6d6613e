import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from metricsmith.evaluation.corruption import read_ledger
from metricsmith.evaluation.panda import make_panda
from metricsmith.evaluation.panda.mistakes import mask_box
from metricsmith.sandbox.errors import DataError

TINY = (1, 1, 1)


@pytest.fixture(scope="module")
def panda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "panda"
    make_panda(root, clips=(4, 1, 1), frames=6)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def pixels(path: Path) -> np.ndarray:
    with PilImage.open(path) as picture:
        return np.asarray(picture)


def boxes(folder: Path) -> dict[str, object]:
    """The box of each object that meta.json tells of, by the id that a ledger would give it."""
    found = {}
    for video, facts in json.loads((folder / "meta.json").read_text())["videos"].items():
        for number, thing in facts["objects"].items():
            assert thing["category"] == "giant_panda"
            for frame in thing["frames"]:
                indices = pixels(folder / "Annotations" / video / f"{frame}.png")
                found[f"{video}/{frame}/{number}"] = mask_box(indices == int(number))
    return found


def test_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_panda(tmp_path / name, seed=seed, clips=TINY, frames=2)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert a["test/JPEGImages/panda_002/00000.jpg"] != c["test/JPEGImages/panda_002/00000.jpg"]


def test_every_folder_is_in_the_youtube_vos_layout(panda: Path) -> None:
    videos = {
        "train": {"panda_000", "panda_001", "panda_002", "panda_003"},
        "valid": {"panda_004"},
        "test": {"panda_005"},
    }
    videos["reference"] = videos["train"]
    assert len(list((panda / "valid").rglob("*.jpg"))) == 3, "every second frame of six"
    for name, expected in videos.items():
        folder = panda / name
        assert set(json.loads((folder / "meta.json").read_text())["videos"]) == expected
        for video in expected:
            for index in range(0, 6, 2 if name in ("valid", "test") else 1):
                assert pixels(folder / "JPEGImages" / video / f"{index:05d}.jpg").shape == (270, 480, 3)
                with PilImage.open(folder / "Annotations" / video / f"{index:05d}.png") as mask:
                    assert (mask.mode, mask.size) == ("P", (480, 270))


@pytest.mark.parametrize("name", ["train", "valid", "test", "reference"])
def test_meta_lists_exactly_the_objects_in_the_masks(panda: Path, name: str) -> None:
    in_masks = set()
    for path in (panda / name / "Annotations").rglob("*.png"):
        numbers = set(np.unique(pixels(path)).tolist()) - {0}
        in_masks |= {f"{path.parent.name}/{path.stem}/{number}" for number in numbers}
    assert boxes(panda / name).keys() == in_masks
    assert in_masks


def test_ledger_is_the_difference_between_train_and_reference(panda: Path) -> None:
    written, true = boxes(panda / "train"), boxes(panda / "reference")
    ledger = {str(h.box_id): h for h in read_ledger(panda / "ledger.jsonl")}
    assert ledger
    assert {key for key in true if written.get(key) != true[key]} == ledger.keys()
    for key, harm in ledger.items():
        assert key.rsplit("/", 1)[0] == harm.image_id
        assert (harm.before, harm.after) == (true[key], written.get(key))


def test_reference_takes_no_second_copy_of_the_images(panda: Path) -> None:
    image = "JPEGImages/panda_000/00000.jpg"
    assert (panda / "reference" / image).samefile(panda / "train" / image)


def test_finished_data_set_is_not_drawn_again(panda: Path) -> None:
    def never(what: str, done: int, total: int) -> None:
        raise AssertionError("drawn again")

    make_panda(panda, clips=(4, 1, 1), frames=6, progress=never)


def test_other_settings_are_refused(panda: Path) -> None:
    with pytest.raises(DataError, match=r"other settings .* remove the folder"):
        make_panda(panda, seed=1, clips=(4, 1, 1), frames=6)


def test_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="something else"):
        make_panda(tmp_path, clips=TINY, frames=1)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_interrupted_drawing_leaves_nothing_half_done(tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_panda(tmp_path / "panda", clips=TINY, frames=1, progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_progress_counts_every_frame(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    make_panda(
        tmp_path / "panda",
        clips=TINY,
        frames=2,
        progress=lambda what, done, total: told.append((done, total)),
    )
    assert told == [(done, 4) for done in range(5)]
