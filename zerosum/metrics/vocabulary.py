"""The names of scores: what each says, which value is the better one, and what to keep in mind of it."""

from typing import Literal

#: generated samples, and real ones, below which scores are said to be of few images
FEW, FEW_REAL = 1000, 100

#: which of two values of a score is the better one
Better = Literal["less", "more", "near 1"]

#: score -> (which value is better, what it says); the order of tables
MEANING: dict[str, tuple[Better, str]] = {
    "fid": ("less", "Frechet distance: how far the two sets are apart"),
    "kid": ("less", "kernel distance: the same without Gaussians, unbiased"),
    "precision": ("more", "share of generated samples that look real"),
    "recall": ("more", "share of real samples that the generator could have made"),
    "density": ("near 1", "how densely generated samples lie where real ones do, over how densely those do"),
    "coverage": ("more", "share of real samples with a generated one near them"),
    "inception_score": ("more", "clear and varied classes"),
    "diversity": ("near 1", "spread of generated samples over that of real ones"),
    "sharpness": ("near 1", "strength of edges over that of real samples; noise adds to it"),
    "marginals": ("less", "distance of the distributions of columns, from 0 to 1, mean over columns"),
    "correlations": ("less", "difference of the correlations of pairs of encoded columns, mean"),
    "accuracy": ("more", "share of generated samples of the class that was asked for"),
    "worst_class_accuracy": ("more", "the same in the worst class"),
    "cross_entropy": ("less", "how unsure the classifier is of the class that was asked for, in nats"),
    "class_fid": ("less", "Frechet distance inside a class, mean over classes"),
    "worst_class_fid": ("less", "the same in the worst class"),
    "class_diversity": ("near 1", "spread inside a class over that of the real class, mean over classes"),
    "worst_class_diversity": ("near 1", "the same in the class with the least of it"),
    "worst_class_share": ("near 1", "how often the rarest class is drawn, over how often it is in the data"),
    "memorised": ("less", "share of samples that are copies of training ones"),
    "psnr": ("more", "peak signal to noise ratio against the true images, in dB; favours blur over a wrong guess"),
    "ssim": ("more", "structural similarity to the true images, 1 is equal"),
    "obedience": ("more", "correlation of forced actions with what a model that learnt from real frames reads"),
    "cycle_error": ("less", "mean absolute difference, of 255, of a picture and what comes back of it"),
}
#: score -> what stands behind its ±
ERRORS = {"kid": "jackknife standard error", "inception_score": "standard deviation over 10 splits"}


def kind_of(name: str) -> str:
    """
    >>> kind_of("fid50k_full@inception")
    'fid'
    >>> kind_of("worst_class_fid1497@classifier")
    'worst_class_fid'
    """
    head = name.partition("@")[0].removesuffix("_full")
    return head.removesuffix("k").rstrip("0123456789")


def shortfall(name: str, value: float) -> float:
    """How far a value is from the best one of its score: less is better, whatever the score.

    >>> shortfall("fid10k@classifier", 3.0), shortfall("accuracy", 0.5), shortfall("diversity", 1.25)
    (3.0, -0.5, 0.25)
    """
    better, _ = MEANING[kind_of(name)]
    return abs(value - 1) if better == "near 1" else -value if better == "more" else value


def few_images(generated: int, real: int | None) -> str | None:
    """What to keep in mind of scores of few images; None where there are enough. real: None where nobody knows."""
    if generated >= FEW and (real is None or real >= FEW_REAL):
        return None
    counts = f"{generated:,} generated" + ("" if real is None else f", {real:,} real")
    return (
        f"few images ({counts}): fid is biased upwards, an Inception score downwards, the more so the fewer there "
        "are; compare only scores of equal numbers"
    )


def score_name(kind: str, images: int, extractor: str, full: bool = False) -> str:
    """
    >>> score_name("fid", 10_000, "classifier")
    'fid10k@classifier'
    >>> score_name("kid", 1497, "random")
    'kid1497@random'
    """
    count = f"{images // 1000}k" if images % 1000 == 0 else str(images)
    return f"{kind}{count}{'_full' if full else ''}@{extractor}"
