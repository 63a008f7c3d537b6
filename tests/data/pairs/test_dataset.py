from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, decollate_batch
from monai.transforms import Compose, LoadImaged, RandFlipd, RandGaussianNoised, Resized

from morphseek_monai.data import DataError, PairDataset


class CountCalls:
    """Counts how often each image is prepared; a class, so that workers can pickle it."""

    def __init__(self, then: Any) -> None:
        self.then = then
        self.calls: list[str] = []

    def __call__(self, item: dict[str, Any]) -> Any:
        self.calls.append(item["image"])
        return self.then(item)


def test_channels_are_moving_then_fixed(write_subject: Any, load: Compose) -> None:
    subjects = [write_subject("a"), write_subject("b")]
    for item in PairDataset(subjects, load):
        for channel, role in enumerate(("moving", "fixed")):
            image = nib.load(item[f"{role}_image"]).get_fdata()
            label = nib.load(item[f"{role}_label"]).get_fdata()
            torch.testing.assert_close(item["image"][channel].double(), torch.from_numpy(image))
            assert torch.equal(item["label"][channel].double(), torch.from_numpy(label))
        assert item["image"].dtype == torch.float32 and type(item["image"]) is torch.Tensor
        assert item["label"].dtype == torch.uint8
        assert item["labelled"] is True
        assert (item["moving_id"], item["fixed_id"]) in {("a_image", "b_image"), ("b_image", "a_image")}
        np.testing.assert_allclose(item["affine"], np.diag([2.0, 2.0, 3.0, 1.0]))


def test_every_ordered_pair_once(write_subject: Any, load: Compose) -> None:
    dataset = PairDataset([write_subject(name) for name in "abc"], load)
    pairs = [(item["moving_id"][0], item["fixed_id"][0]) for item in dataset]
    assert len(dataset) == 6
    assert set(pairs) == {(m, f) for m in "abc" for f in "abc" if m != f}


def test_each_subject_is_prepared_once_unless_told_otherwise(write_subject: Any, load: Compose) -> None:
    subjects = [write_subject(name) for name in "abc"]
    for cache, expected in ((True, 3), (False, 12)):
        transform = CountCalls(load)
        for _ in PairDataset(subjects, transform, cache=cache):
            pass
        assert len(transform.calls) == expected


def test_explicit_pairs_stay_as_listed_and_share_subjects(write_subject: Any, load: Compose) -> None:
    a, b, c = (write_subject(name) for name in "abc")
    transform = CountCalls(load)
    dataset = PairDataset(
        [{"fixed": a, "moving": b}, {"fixed": a, "moving": c}, {"fixed": c, "moving": a}], transform
    )
    assert [(i["fixed_id"][0], i["moving_id"][0]) for i in dataset] == [("a", "b"), ("a", "c"), ("c", "a")]
    assert len(transform.calls) == 3


def test_items_are_not_aliased_to_the_cache(write_subject: Any, load: Compose) -> None:
    dataset = PairDataset([write_subject("a"), write_subject("b")], load)
    before = dataset[0]["image"].clone()
    dataset[0]["image"].zero_()
    assert torch.equal(dataset[0]["image"], before)


def test_random_mode_repeats_for_an_epoch_and_differs_between_epochs(
    write_subject: Any, load: Compose
) -> None:
    subjects = [write_subject(name) for name in "abcd"]

    def epoch(dataset: PairDataset, number: int) -> list[tuple[str, str]]:
        dataset.set_epoch(number)
        return [(item["moving_id"], item["fixed_id"]) for item in dataset]

    dataset = PairDataset(subjects, load, mode="random", length=8, seed=5)
    first, second = epoch(dataset, 1), epoch(dataset, 2)
    assert len(first) == 8 and first != second
    assert all(moving != fixed for moving, fixed in first + second)
    resumed = PairDataset(subjects, load, mode="random", length=8, seed=5)
    assert epoch(resumed, 2) == second
    assert epoch(PairDataset(subjects, load, mode="random", length=8, seed=6), 1) != first
    assert len(PairDataset(subjects, load, mode="random")) == 4


def test_persistent_workers_follow_set_epoch(write_subject: Any, load: Compose) -> None:
    subjects = [write_subject(name) for name in "abcd"]
    dataset = PairDataset(subjects, load, mode="random", length=6)
    loader = DataLoader(dataset, batch_size=1, num_workers=1, persistent_workers=True)
    for number in (1, 2):
        dataset.set_epoch(number)
        seen = [batch["fixed_id"][0] + batch["moving_id"][0] for batch in loader]
        assert seen == [item["fixed_id"] + item["moving_id"] for item in dataset]


def test_collates_and_decollates(write_subject: Any, load: Compose) -> None:
    subjects = [write_subject("a"), write_subject("b"), {"image": write_subject("c")["image"]}]
    batch = next(iter(DataLoader(PairDataset(subjects, load), batch_size=6)))
    assert batch["image"].shape == (6, 2, 6, 5, 4) and batch["label"].shape == (6, 2, 6, 5, 4)
    assert batch["labelled"].dtype == torch.bool and batch["labelled"].tolist().count(True) == 2
    assert batch["affine"].shape == (6, 4, 4)
    items = decollate_batch(batch)
    assert [item["moving_label"] for item in items] == batch["moving_label"]
    assert [bool(item["labelled"]) for item in items] == batch["labelled"].tolist()


def test_label_dtypes_of_a_batch_may_differ(write_subject: Any, load: Compose) -> None:
    wide = np.zeros((6, 5, 4), np.int16)
    wide[0] = 300
    subjects = [write_subject("a", label=wide), write_subject("b"), write_subject("c")]
    batch = next(iter(DataLoader(PairDataset(subjects, load), batch_size=6)))
    assert int(batch["label"].max()) == 300


def test_labels_outside_the_labelled_share_are_never_opened(write_subject: Any, load: Compose) -> None:
    subjects = [write_subject(name) for name in "abcd"]
    chosen = PairDataset(subjects, load, labelled=2).use_label
    for subject, use in zip(subjects, chosen):
        if not use:
            Path(subject["label"]).write_bytes(b"not an image")
    items = list(PairDataset(subjects, load, labelled=2))
    assert sum(item["labelled"] for item in items) == 2
    for item in items:
        for channel, role in enumerate(("moving", "fixed")):
            assert bool(item[f"{role}_label"]) == bool(item["label"][channel].any())


def test_relation_and_modalities_from_learn2reg_names(write_subject: Any, load: Compose) -> None:
    subjects = []
    for case in ("0001", "0002"):
        for kind in ("0000", "0001"):
            files = write_subject(f"T_{case}_{kind}")
            subjects.append({**files, "id": f"T_{case}_{kind}"})
    dataset = PairDataset(subjects, load, relation="within", modalities=("0000", "0001"))
    assert [(i["fixed_id"], i["moving_id"]) for i in dataset] == [
        ("T_0001_0000", "T_0001_0001"),
        ("T_0002_0000", "T_0002_0001"),
    ]


def test_pair_transform_sees_both_channels(write_subject: Any, load: Compose) -> None:
    subjects = [write_subject("a"), write_subject("b")]
    plain = PairDataset(subjects, load)[0]
    flipped = PairDataset(
        subjects, load, pair_transform=[RandFlipd(["image", "label"], prob=1.0, spatial_axis=0)]
    )[0]
    assert torch.equal(torch.as_tensor(flipped["image"]), plain["image"].flip(1))
    assert torch.equal(torch.as_tensor(flipped["label"]), plain["label"].flip(1))


@pytest.mark.parametrize("several", [True, False], ids=["list", "one"])
def test_pair_transform_draws_by_seed_epoch_and_index_alone(several: bool) -> None:
    """Whoever takes the items in whatever order: workers, ranks, a resumed run."""
    subjects = [{"image": torch.rand(1, 4, 4, 4), "id": name} for name in "abc"]
    noise = RandGaussianNoised("image", prob=0.5, std=1.0)

    def dataset(seed: int = 0, epoch: int = 1) -> PairDataset:
        transforms = [noise, RandFlipd(["image", "label"], prob=0.5)] if several else noise
        pairs = PairDataset(subjects, pair_transform=transforms, seed=seed)
        pairs.set_epoch(epoch)
        return pairs

    def draw(pairs: PairDataset, *order: int) -> dict[int, Any]:
        return {i: torch.as_tensor(pairs[i]["image"]).numpy().tobytes() for i in order}

    first = draw(dataset(), *range(6))
    pairs = dataset()
    assert draw(pairs, 5, 2, 0) | draw(pairs, 4, 3, 1) == first
    pairs.set_epoch(2)
    others = [draw(pairs, *range(6)), draw(dataset(seed=1), *range(6))]
    pairs.set_epoch(1)
    assert draw(pairs, *range(6)) == first
    assert all(other != first for other in others)
    plain = draw(PairDataset(subjects), *range(6))
    assert len({first[i] == plain[i] for i in range(6)}) == 2  # some are changed, some are not


def test_one_subject_is_paired_with_itself(write_subject: Any, load: Compose) -> None:
    with pytest.warns(UserWarning, match="only one subject, a_image: it is paired with itself"):
        dataset = PairDataset([write_subject("a")], load, relation="within")
    assert len(dataset) == 1
    assert torch.equal(dataset[0]["image"][0], dataset[0]["image"][1])


def test_two_subjects_do_not_warn(write_subject: Any, load: Compose) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PairDataset([write_subject("a"), write_subject("b")], load)


def test_pickles_with_its_cache(write_subject: Any, load: Compose) -> None:
    dataset = PairDataset([write_subject("a"), write_subject("b")], load, mode="random", length=3)
    dataset.set_epoch(4)
    copy = pickle.loads(pickle.dumps(dataset))
    assert [i["fixed_id"] for i in copy] == [i["fixed_id"] for i in dataset]


def test_iteration_ends_and_negative_indices_work() -> None:
    subjects = [{"image": torch.rand(1, 2, 2, 2)} for _ in range(3)]
    dataset = PairDataset(subjects)
    assert len(list(dataset)) == 6
    assert dataset[-1]["fixed_id"] == dataset[5]["fixed_id"] == "array 2"
    with pytest.raises(IndexError):
        dataset[6]


def test_resized_pairs_carry_the_affine_of_the_network_grid(write_subject: Any) -> None:
    transform = [LoadImaged("image", ensure_channel_first=True), Resized("image", (3, 5, 8))]
    subjects = [{"image": write_subject(name)["image"]} for name in "ab"]
    affine = PairDataset(subjects, transform)[0]["affine"]
    np.testing.assert_allclose(np.diag(affine), [4.0, 2.0, 1.5, 1.0])


def test_shapes_of_a_pair_must_agree(write_subject: Any, load: Compose) -> None:
    dataset = PairDataset([write_subject("a"), write_subject("b", shape=(6, 5, 5))], load)
    with pytest.raises(
        DataError, match=r"\(6, 5, 5\) of moving .*b_image.* and \(6, 5, 4\) of fixed .*a_image.*Resized"
    ):
        dataset[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([], "the data list is empty"),
        ([{"label": "x"}, {"image": "y"}], r"must be \{'image': path, 'label': path\}, got \{'label': 'x'\}"),
        (["a.nii.gz", "b.nii.gz"], "must be .* got 'a.nii.gz'"),
        ([{"image": "nowhere.nii.gz"}] * 2, "image nowhere.nii.gz does not exist; correct the path"),
        ([{"fixed": {"image": "nowhere.nii.gz"}, "moving": {}}], "image nowhere.nii.gz does not exist"),
    ],
)
def test_bad_lists_are_refused_at_once(data: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        PairDataset(data)


def test_missing_label_file_is_refused_at_once(write_subject: Any) -> None:
    subjects = [write_subject("a"), {**write_subject("b"), "label": "nowhere.nii.gz"}]
    with pytest.raises(DataError, match="label nowhere.nii.gz does not exist"):
        PairDataset(subjects)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mode": "some"}, "'mode' must be one of"),
        ({"length": 3}, "'length' must be positive and needs mode 'random', got 3"),
        ({"mode": "random", "length": 0}, "'length' must be positive"),
        ({"relation": "among"}, "'relation' must be one of"),
        ({"labelled": 1.5}, "'labelled' must be a share"),
    ],
)
def test_bad_options(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        PairDataset([{"image": torch.rand(1, 2, 2, 2)} for _ in range(2)], **options)


def test_masks_are_moving_then_fixed_and_ones_where_unknown(write_subject: Any, load: Compose) -> None:
    drawn = np.zeros((6, 5, 4), np.uint8)
    drawn[2:] = 1
    subjects = [write_subject("a", mask=drawn), write_subject("b")]
    expected = {"a_image": torch.from_numpy(drawn), "b_image": torch.ones(6, 5, 4, dtype=torch.uint8)}
    dataset = PairDataset(subjects, load, use_mask=True)
    for item in dataset:
        assert item["mask"].dtype == torch.uint8
        for channel, role in enumerate(("moving", "fixed")):
            assert torch.equal(item["mask"][channel], expected[item[f"{role}_id"]])
    batch = next(iter(DataLoader(dataset, batch_size=2)))
    assert batch["mask"].shape == (2, 2, 6, 5, 4)
    assert torch.equal(decollate_batch(batch)[1]["mask"], dataset[1]["mask"])


def test_mask_files_are_never_opened_by_default(write_subject: Any, load: Compose) -> None:
    subjects = [write_subject(name, mask=np.ones((6, 5, 4))) for name in "ab"]
    Path(subjects[0]["mask"]).write_bytes(b"not an image")
    Path(subjects[1]["mask"]).unlink()
    assert "mask" not in PairDataset(subjects, load)[0]
    with pytest.raises(DataError, match=r"mask \S*b_mask\.nii\.gz does not exist"):
        PairDataset(subjects, load, use_mask=True)


def test_items_stay_plain_tensors_whatever_a_transform_returns(write_subject: Any, load: Compose) -> None:
    """MONAI's RandFlipd returns a MetaTensor only where it flips; a batch of both would not be one type."""
    subjects = [write_subject("OASIS_0001_0000"), write_subject("OASIS_0002_0000")]
    pairs = PairDataset(subjects, load, pair_transform=[RandFlipd("image", prob=1.0, spatial_axis=0)])
    assert type(RandFlipd("image", prob=1.0)({"image": pairs[0]["image"]})["image"]) is not torch.Tensor
    assert {type(pairs[i][key]) for i in range(2) for key in ("image", "label")} == {torch.Tensor}


def test_pair_transform_sees_the_masks(write_subject: Any, load: Compose) -> None:
    subjects = [write_subject(name, mask=np.uint8(np.indices((6, 5, 4))[0] > 1)) for name in "ab"]
    flip = [RandFlipd(["image", "label", "mask"], prob=1.0, spatial_axis=0)]
    plain, flipped = (
        PairDataset(subjects, load, pair_transform=t, use_mask=True)[0]["mask"] for t in (None, flip)
    )
    assert not torch.equal(plain, plain.flip(1))
    assert torch.equal(torch.as_tensor(flipped), plain.flip(1))
