"""Metrics of the validation pairs before registration, with the data preparation of a bundle.

    python docs/benchmarks/identity.py bundles/morphseek_brain_mri_oasis/configs/train.json DATA \
        --num-labels 32 --spatial-size 40 48 56
"""

from __future__ import annotations

import argparse

import torch
from monai.bundle import ConfigParser

from morphseek_monai.metrics import RegistrationDice, RegistrationHD95


def main() -> None:
    """Evaluate the zero field."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="train.json of a bundle")
    parser.add_argument("dataset_dir")
    parser.add_argument("--num-labels", type=int, required=True)
    parser.add_argument("--spatial-size", type=int, nargs=3, default=[-1, -1, -1])
    args = parser.parse_args()
    config = ConfigParser()
    config.read_config(args.config)
    config.update(
        {"dataset_dir": args.dataset_dir, "num_labels": args.num_labels, "spatial_size": args.spatial_size}
    )
    metrics = {"Dice": RegistrationDice(args.num_labels), "HD95 (voxels)": RegistrationHD95(args.num_labels)}
    pairs = config.get_parsed_content("validate#dataset")
    for i in range(len(pairs)):
        label = pairs[i]["label"][None]
        for metric in metrics.values():
            metric(torch.zeros(1, 3, *label.shape[2:]), label)
    for name, metric in metrics.items():
        print(f"{name}: {metric.aggregate().item():.4f}")


if __name__ == "__main__":
    main()
